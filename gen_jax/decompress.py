"""CLI and functions: give back the images that gen_jax.compress put into a file, every bit of them.

python -m gen_jax.decompress --workdir runs/vae images.gjx images.npy     a folder, where a folder was compressed

All it needs of the run is `compressor.npz`, and no JAX. Exit codes: 3 the file is damaged, 4 another model wrote it,
5 it is of another version of the format or of the entropy coder, 2 anything else; nothing is written then.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from gen_jax import command_line
from gen_jax.coding import chunks, container, images, integer
from gen_jax.coding.integer import Network
from gen_jax.data.limits import ask
from gen_jax.errors import UserError, command

MODEL = "compressor.npz"
FLAGS = {
    "workdir": (None, f"directory of the run that wrote the file; {MODEL} is all that it must hold"),
    "IN": (None, "file that gen_jax.compress wrote"),
    "OUT": (None, "file or folder to write: .npy where an array was compressed, a new folder where a folder was"),
}


def compressor(workdir: Path) -> tuple[Network, bytes]:
    """The integer network of a run and the SHA-256 of its file.

    Raises:
      UserError: where there is none, or it cannot be read.
    """
    path = workdir / MODEL
    content = read_file(path)
    try:
        return integer.from_bytes(content), hashlib.sha256(content).digest()
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_file(path: Path) -> bytes:
    """The content of a file.

    Raises:
      UserError: where it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def decompress(
    content: bytes, network: Network, digest: bytes, progress: Callable = lambda num: None
) -> tuple[container.Header, Iterator[np.ndarray]]:
    """The header of a file and its images, [n, H, W, C] uint8 for each chunk, decoded when asked for.

    `digest` is the SHA-256 of the network's file; `progress` is told how many more images are done.

    Raises:
      UserError: for a damaged file, another model or another version, also while decoding; see `container.read`.
    """
    header, held = container.read(content, digest)
    if header.shape != network.shape:
        raise container.Damaged(f"the file holds {images.describe(header.shape)}, not {images.describe(network.shape)}")
    ask(header.size * int(np.prod(header.shape)), "a chunk of images")
    nums = (min(header.size, header.num - start) for start in range(0, header.num, header.size))
    return header, (chunks.decode(network, chunk, num, progress) for chunk, num in zip(held, nums))


def main(argv: list[str]) -> None:
    """Writes the images of IN to OUT, whole or not at all."""
    flags = command_line.parse(argv, FLAGS, required="workdir", positional=("IN", "OUT"))
    content = read_file(Path(flags.IN))
    network, digest = compressor(Path(flags.workdir))
    with tqdm(desc="decoding", unit="image", dynamic_ncols=True, disable=None, leave=False) as bar:
        header, decoded = decompress(content, network, digest, bar.update)
        bar.reset(header.num)
        images.save(Path(flags.OUT), header, decoded)
    print(f"{header.num} images in {flags.OUT}, as they were")


if __name__ == "__main__":
    command(main)
