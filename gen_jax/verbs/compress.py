"""Compresses images to bytes by the integer network of a run, and compares the size with other formats."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from gen_jax import files
from gen_jax.coding import chunks, container, integer
from gen_jax.coding.images import Images, describe
from gen_jax.coding.integer import Network
from gen_jax.coding.rivals import rivals
from gen_jax.errors import UserError
from gen_jax.storage import loading
from gen_jax.verbs.decompress import MODEL, decompress


def make_compressor(workdir: Path) -> None:
    """Writes the integer network of a run, if the run has no network yet.

    Args:
      workdir: directory of the run.

    Raises:
      UserError: for a directory without a run, or a model that cannot compress.
    """
    if (workdir / MODEL).exists():
        return

    loaded = loading.load(workdir)
    if "integer_network" not in loaded.model.extras:
        raise UserError(
            f"{workdir} holds a model {loaded.config['model']['name']!r}; expected a vae, or a model of your own with the "
            f"extra integer_network"
        )
    network = loaded.model.extras["integer_network"](loaded.state)
    integer.check(network)
    files.write(workdir / MODEL, integer.to_bytes(network))
    print(f"made {workdir / MODEL} of step {loaded.step}")


def pieces(images: Images, size: int) -> Iterator[np.ndarray]:
    """Yields the images in parts [size, H, W, C] uint8. The last part may be smaller.

    Args:
      images: the images.
      size: number of images of a part.
    """
    return (images.read(start, min(start + size, images.num)) for start in range(0, images.num, size))


def compress(
    images: Images, network: Network, digest: bytes, size: int, progress: Callable = lambda num: None
) -> bytes:
    """Returns images as the bytes of a compressed file.

    Args:
      images: the images.
      network: the integer network.
      digest: SHA-256 of the file of the network.
      size: number of images of a chunk.
      progress: function that is called with the number of further images; by default it does nothing.

    Raises:
      UserError: for images that the network does not model.
    """
    if images.shape not in (network.shape, ()):
        raise UserError(
            f"the images are {describe(images.shape)}; expected {describe(network.shape)}, which this model compresses"
        )
    coded = [
        chunks.encode(network, pixels, index * size, progress) for index, pixels in enumerate(pieces(images, size))
    ]
    header = container.Header(digest, images.num, size, network.shape, images.dims, images.dtype, images.names)
    return container.write(header, coded)


def verify(content: bytes, images: Images, network: Network, digest: bytes, progress: Callable) -> None:
    """Decodes a file as `decompress` does, and compares the images.

    Args:
      content: bytes of the compressed file.
      images: the images.
      network: the integer network.
      digest: SHA-256 of the file of the network.
      progress: function that is called with the number of further images.

    Raises:
      UserError: if the decoded images differ.
    """
    header, decoded = decompress(content, network, digest, progress)
    held = (header.num, header.dims, header.dtype, header.names)
    if held != (images.num, images.dims, images.dtype, images.names) or not all(
        np.array_equal(*pair) for pair in zip(decoded, pieces(images, header.size), strict=True)
    ):
        raise container.Damaged(
            "the decoded images differ from the images; expected the same images, so nothing is written. Please "
            "report this"
        )


def report(content: bytes, images: Images, network: Network, digest: bytes, model: Path) -> None:
    """Prints the size of the file with all its parts, and the sizes in other formats.

    Args:
      content: bytes of the compressed file.
      images: the images.
      network: the integer network.
      digest: SHA-256 of the file of the network.
      model: file of the network.
    """
    sizes = rivals(pieces(images, 1000), network.levels)
    width = max(map(len, sizes))
    for name, size in {"this file": len(content), **sizes}.items():
        bits = f"{8 * size / (images.num * np.prod(network.shape)):8.4f} bits per dimension" if images.num else ""
        print(f"{name:{width}} {size:12,} bytes {bits}")
    used = Counter(chunks.NAMES[chunk.method] for chunk in container.read(content, digest)[1])
    print("Chunks by method: " + (", ".join(f"{num} {name}" for name, num in used.items()) or "none") + ".")
    print(f"To read it takes {model} too, {model.stat().st_size:,} bytes, the same for all files.")
