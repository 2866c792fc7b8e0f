"""The file of compressed images: a header with all that decoding needs, then the chunks. Little-endian.

The parts of the file, in order:

- magic, format, coder and its version, SHA-256 of compressor.npz
- number of images, number of images per chunk, H, W, C
- number of dimensions of the array, its type, number of bytes of the names
- the names (zlib)
- for each chunk: its method, step, number of bytes, CRC-32 of the bytes, CRC-32 of the images
- CRC-32 of all parts above
- the bytes of the chunks
"""

import os
import struct
import zlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import NamedTuple

from gen_jax.coding.chunks import METHODS, Chunk, Damaged
from gen_jax.errors import UserError

MAGIC, FORMAT = b"GJXC", 1
FIXED = struct.Struct("<4sB16s32sII3HBBI")
ENTRY = struct.Struct("<BBIII")
CHECK = struct.Struct("<I")
CODER = ("constriction " + ".".join(version("constriction").split(".")[:2])).encode().ljust(16)
LARGEST_CHUNK = 1 << 16  # in images
LONGEST_NAME = 1 << 12  # in bytes
TYPES = ("uint8", "bool")  # by their numbers in files


class OtherModel(UserError):
    """A file that was written with another compressor.npz."""

    code = 4


class OtherVersion(UserError):
    """A file of another format, or of another version of the entropy coder."""

    code = 5


class Header(NamedTuple):
    """The facts of a file, besides its chunks."""

    model: bytes  # SHA-256 of the compressor.npz that reads it
    num: int  # number of images
    size: int  # number of images per chunk; the last chunk may have fewer
    shape: tuple[int, int, int]  # H, W, C of an image
    dims: int  # dimensions of the array: 4, or 3 without channels; 0 for a folder
    dtype: str  # type of the array
    names: tuple[str, ...] = ()  # names of the images in a folder


def write(header: Header, chunks: Sequence[Chunk]) -> bytes:
    """Returns the content of a whole file.

    Args:
      header: facts of the images.
      chunks: the chunks in order.
    """
    names = zlib.compress(os.fsencode("\0".join(header.names)), 9) if header.names else b""
    fixed = (header.num, header.size, *header.shape, header.dims, TYPES.index(header.dtype), len(names))
    head = FIXED.pack(MAGIC, FORMAT, CODER, header.model, *fixed) + names
    for chunk in chunks:
        head += ENTRY.pack(chunk.method, chunk.step, len(chunk.payload), zlib.crc32(chunk.payload), chunk.check)
    return b"".join([head, CHECK.pack(zlib.crc32(head)), *(chunk.payload for chunk in chunks)])


def read(content: bytes, model: bytes) -> tuple[Header, list[Chunk]]:
    """Reads the header and the chunks of a file.

    Args:
      content: content of the file.
      model: SHA-256 of the compressor.npz that will decode the file.

    Raises:
      Damaged: for content that is no such file, or was changed, truncated or extended.
      OtherModel: for a file that was written with another compressor.npz.
      OtherVersion: for a file of another format or another version of the entropy coder.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise Damaged("the file begins with other bytes; expected a file of gen_jax.compress")
    if content[len(MAGIC) : len(MAGIC) + 1] not in (bytes([FORMAT]), b""):
        raise OtherVersion(
            f"format of the file is {content[len(MAGIC)]}; expected {FORMAT}. Use the version of gen_jax that wrote it"
        )
    if len(content) < FIXED.size:
        raise Damaged("the file is cut off; expected a whole file of gen_jax.compress")
    _, _, coder, digest, num, size, *shape, dims, dtype, length = FIXED.unpack_from(content)
    table = FIXED.size + length
    end = table + ENTRY.size * -(-num // max(size, 1))
    if len(content) < end + CHECK.size:
        raise Damaged("the file is cut off, or its header is damaged; expected a whole file of gen_jax.compress")
    if zlib.crc32(content[:end]) != CHECK.unpack_from(content, end)[0]:
        raise Damaged("the header of the file is damaged; expected a header that fits its checksum")
    if coder != CODER:
        raise OtherVersion(
            f"coder of the file is {coder.decode(errors='replace').strip()}; expected {CODER.decode().strip()}"
        )
    if digest != model:
        raise OtherModel(
            f"another model wrote the file; expected the model whose compressor.npz has the SHA-256 {digest.hex()}"
        )
    if not 1 <= size <= LARGEST_CHUNK or dims not in (0, 3, 4) or dtype >= len(TYPES):
        raise Damaged("the header of the file makes no sense; expected a file of gen_jax.compress")
    names = _names(content[FIXED.size : table], num) if dims == 0 else ()
    header = Header(digest, num, size, tuple(shape), dims, TYPES[dtype], names)
    return header, _chunks(content[end + CHECK.size :], list(ENTRY.iter_unpack(content[table:end])))


def _names(packed: bytes, num: int) -> tuple[str, ...]:
    try:
        unpacked = zlib.decompressobj().decompress(packed, LONGEST_NAME * num) if packed else b""
    except zlib.error as error:
        raise Damaged(f"the names in the file are damaged ({error}); expected compressed names") from None
    names = tuple(os.fsdecode(unpacked).split("\0")) if unpacked else ()
    if len(names) != num:
        raise Damaged(f"number of names in the file is {len(names)}; expected {num}, one for each image")
    return names


def _chunks(content: bytes, entries: list[tuple]) -> list[Chunk]:
    """Returns the chunks that the entries of the table describe. They must fill `content`."""
    if sum(length for _, _, length, _, _ in entries) != len(content):
        raise Damaged("the file is cut off, or something follows it; expected a whole file of gen_jax.compress")
    chunks, place = [], 0
    for index, (method, step, length, check, check_images) in enumerate(entries):
        payload = content[place : place + length]
        place += length
        if zlib.crc32(payload) != check:
            raise Damaged(f"chunk {index} of the file is damaged; expected bytes that fit their checksum")
        if method not in METHODS:
            raise Damaged(
                f"method of chunk {index} of the file is {method}; expected one of {', '.join(map(str, METHODS))}"
            )
        chunks.append(Chunk(method, step, payload, check_images))
    return chunks
