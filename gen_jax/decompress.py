"""CLI: restores the images that gen_jax.compress wrote to a file, exactly.

python -m gen_jax.decompress --workdir runs/vae images.gjx images.npy     a folder, if a folder was compressed

It needs only `compressor.npz` of the run, and no JAX. Exit codes: 3 the file is damaged, 4 another model wrote it,
5 it has another version of the format or of the entropy coder, 2 any other error. Nothing is written after an error.
"""

from pathlib import Path

from tqdm import tqdm

from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.coding import images
from gen_jax.verbs.decompress import MODEL, compressor, decompress, read_file

FLAGS = {
    "workdir": (None, f"directory of the run that wrote the file; only {MODEL} is needed"),
    "IN": (None, "file that gen_jax.compress wrote"),
    "OUT": (None, "file or folder to write: a .npy file for a compressed array, a new folder for a compressed folder"),
}


def main(argv: list[str]) -> None:
    """Writes the images of IN to OUT, completely or not at all.

    Args:
      argv: the command and its arguments.
    """
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
