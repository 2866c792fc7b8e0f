"""CLI: compresses images into one small file by a trained VAE, without loss; gen_jax.decompress restores them.

python -m gen_jax.compress --workdir runs/vae images.npy images.gjx     [N, H, W, C] or [N, H, W] of uint8 or bool
python -m gen_jax.compress --workdir runs/vae folder images.gjx         PNG files: their names and pixels are kept

The first call writes `compressor.npz`, an exact integer version of the net, to the run's directory. This file is never
written again, because every compressed file needs the net that wrote it. On another machine, a copy of `compressor.npz`
is enough for decompressing.
"""

from pathlib import Path

from tqdm import tqdm

from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.coding import container
from gen_jax.coding.images import open_images, whole
from gen_jax.verbs.compress import compress, make_compressor, report, verify
from gen_jax.verbs.decompress import MODEL, compressor

FLAGS = {
    "workdir": (None, f"directory of the run, or a directory with its {MODEL}"),
    "IN": (None, "images: a .npy array, or a folder of PNG files"),
    "OUT": (None, "file to write"),
    "chunk": (
        1000,
        "number of images that are coded together; more images need less space, fewer images need less memory",
    ),
    "verify": (True, "decode the result and compare it with the images before the file is written"),
}


def main(argv: list[str]) -> None:
    """Compresses IN to OUT, completely or not at all.

    Args:
      argv: the command and its arguments.
    """
    flags = command_line.parse(argv, FLAGS, required="workdir", positional=("IN", "OUT"))
    command_line.check_bounds(flags, {"chunk": (1, container.LARGEST_CHUNK)})
    workdir, images = Path(flags.workdir), open_images(Path(flags.IN))
    make_compressor(workdir)
    network, digest = compressor(workdir)
    bar = {"total": images.num, "unit": "image", "dynamic_ncols": True, "disable": None, "leave": False}
    with tqdm(desc="encoding", **bar) as encoding:
        content = compress(images, network, digest, flags.chunk, encoding.update)
    if flags.verify:
        with tqdm(desc="verifying", **bar) as verifying:
            verify(content, images, network, digest, verifying.update)
    with whole(Path(flags.OUT)) as target:
        target.write_bytes(content)
    print(f"{images.num} images in {flags.OUT}" + (", verified: they come back as they are" if flags.verify else ""))
    report(content, images, network, digest, workdir / MODEL)


if __name__ == "__main__":
    command(main)
