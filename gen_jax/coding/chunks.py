"""Chunks of images as bytes and back. A chunk decodes on its own, and uses the method with the fewest bytes."""

import lzma
import zlib
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gen_jax.coding import codec
from gen_jax.coding.integer import Network
from gen_jax.errors import UserError

STORED, LZMA, BITS_BACK = METHODS = range(3)  # by their numbers in files
NAMES = ("stored", "LZMA", "bits back")
DICTIONARY = 1 << 23  # size of LZMA's window in bytes
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": DICTIONARY}]


class Damaged(UserError):
    """Bytes that were changed after writing, or no longer decode to the original images."""

    code = 3


class Chunk(NamedTuple):
    """A chunk of images as bytes."""

    method: int  # one of `METHODS`
    step: int  # a pixel is its symbol times this step
    payload: bytes
    check: int  # CRC-32 of the packed symbols


def pack(symbols: np.ndarray, levels: int) -> bytes:
    """Returns symbols as plain bytes, or as bits if there are two levels.

    Args:
      symbols: symbols [N, pixels] uint8.
      levels: number of levels.
    """
    return np.packbits(symbols).tobytes() if levels == 2 else symbols.tobytes()


def to_symbols(pixels: np.ndarray, levels: int, start: int = 0) -> tuple[np.ndarray, int]:
    """Returns images as symbols. With two levels, the step between the symbols is the largest pixel.

    Args:
      pixels: images [N, H, W, C] uint8.
      levels: number of levels.
      start: number of the first image, for messages; by default 0.

    Returns:
      Symbols [N, pixels] uint8, and the step between them.

    Raises:
      UserError: for a pixel that is no symbol, naming the number of its image.
    """
    step = max(1, int(pixels.max(initial=0))) if levels == 2 else 1
    symbols = pixels.reshape(len(pixels), -1) // np.uint8(step)
    alien = (symbols * np.uint8(step) != pixels.reshape(symbols.shape)) | (symbols >= levels)
    if alien.any():
        index = int(alien.any(1).argmax())
        value = pixels[index].flat[alien[index].argmax()]
        known = f"0 and one other value, here {step}" if levels == 2 else f"0 to {levels - 1}"
        raise UserError(f"image {start + index} holds the value {value}; expected {known}, which this model compresses")
    return symbols, step


def encode(network: Network, pixels: np.ndarray, start: int = 0, progress: Callable = lambda num: None) -> Chunk:
    """Encodes images as a chunk.

    Args:
      network: the integer network.
      pixels: images [N, H, W, C] uint8.
      start: number of the first image, for messages; by default 0.
      progress: function that is called with the number of images encoded since the last call.

    Raises:
      UserError: for a pixel that is no symbol, as `to_symbols`.
    """
    symbols, step = to_symbols(pixels, network.levels, start)
    plain = pack(symbols, network.levels)
    words = codec.encode(network, symbols, progress).astype("<u4").tobytes()
    payloads = {STORED: plain, LZMA: lzma.compress(plain, lzma.FORMAT_RAW, filters=FILTERS), BITS_BACK: words}
    method = min(METHODS, key=lambda method: len(payloads[method]))
    return Chunk(method, step, payloads[method], zlib.crc32(plain))


def decode(network: Network, chunk: Chunk, num: int, progress: Callable = lambda num: None) -> np.ndarray:
    """Decodes the images of a chunk.

    Args:
      network: the integer network.
      chunk: the chunk.
      num: number of images.
      progress: function that is called with the number of images decoded since the last call.

    Returns:
      Images [num, H, W, C] uint8.

    Raises:
      Damaged: if the chunk does not decode, or decodes to other images.
    """
    levels, pixels = network.levels, int(np.prod(network.shape))
    try:
        if chunk.method == BITS_BACK:
            words = np.frombuffer(chunk.payload, "<u4").astype(np.uint32)
            symbols = codec.decode(network, words, num, progress)
        else:
            plain = chunk.payload if chunk.method == STORED else _unsqueezed(chunk.payload, num * pixels)
            symbols = np.frombuffer(plain, np.uint8)
            symbols = (np.unpackbits(symbols, count=num * pixels) if levels == 2 else symbols).reshape(num, pixels)
            progress(num)
    except (ValueError, lzma.LZMAError) as error:
        raise Damaged(f"the file does not decode: {error}") from None
    if zlib.crc32(pack(symbols, levels)) != chunk.check:
        raise Damaged("the file decodes to other images; expected the images that it was made of")
    return (symbols * np.uint8(chunk.step)).reshape(num, *network.shape)


def _unsqueezed(payload: bytes, max_size: int) -> bytes:
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS).decompress(payload, max_size + 1)
