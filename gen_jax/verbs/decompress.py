"""Restores the images of a compressed file. It needs no JAX."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from gen_jax.coding import chunks, container, images, integer
from gen_jax.coding.integer import Network
from gen_jax.data.limits import ask
from gen_jax.errors import UserError

MODEL = "compressor.npz"


def compressor(workdir: Path) -> tuple[Network, bytes]:
    """Returns the integer network of a run, and the SHA-256 of its file.

    Args:
      workdir: directory of the run.

    Raises:
      UserError: if there is no network, or it cannot be read.
    """
    path = workdir / MODEL
    content = read_file(path)
    try:
        return integer.from_bytes(content), hashlib.sha256(content).digest()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_file(path: Path) -> bytes:
    """Returns the content of a file.

    Args:
      path: the file.

    Raises:
      UserError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); expected a file of gen_jax.compress") from None


def decompress(
    content: bytes, network: Network, digest: bytes, progress: Callable = lambda num: None
) -> tuple[container.Header, Iterator[np.ndarray]]:
    """Returns the header of a file and its images, [n, H, W, C] uint8 for each chunk, which are decoded on demand.

    Args:
      content: bytes of the file.
      network: the integer network.
      digest: SHA-256 of the file of the network.
      progress: function that is called with the number of further decoded images; by default it does nothing.

    Raises:
      UserError: for a damaged file, another model or another version, also during decoding; see `container.read`.
    """
    header, stored_chunks = container.read(content, digest)
    if header.shape != network.shape:
        raise container.Damaged(
            f"the file holds {images.describe(header.shape)}; expected {images.describe(network.shape)}"
        )
    ask(header.size * int(np.prod(header.shape)), "a chunk of images")
    nums = (min(header.size, header.num - start) for start in range(0, header.num, header.size))
    return header, (chunks.decode(network, chunk, num, progress) for chunk, num in zip(stored_chunks, nums))
