"""CLI: encodes the test rows of a run, or the rows of your file, by an autoencoder.

python -m gen_jax.encode --workdir runs/vae --out codes.npz [--plot codes.png] [--split test | --data images.npy]

`z` is the MEAN of the posterior q(z | x), not a draw from it. `scale` is its standard deviation, if the model has it.
`y` is the labels of the rows, if they have labels. A hidden Markov model gives its likeliest path, and a model with a
codebook its codes. Both are whole numbers, which have no plot. A model that speaks gives the number of frames of each
symbol, and its plot shows them below the recordings.
"""

from pathlib import Path

import numpy as np

from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.feed.rows import FLAGS, read_rows
from gen_jax.data.kinds.sample_files import arrays
from gen_jax.devices import startup
from gen_jax.errors import choose
from gen_jax.files import write
from gen_jax.storage import loading
from gen_jax.verbs import best_replica
from gen_jax.verbs.encode import BY, encode, plot_of_codes


def main(argv: list[str]) -> None:
    """Encodes a split of the data of `--workdir`, or `--data`, into `--out`.

    Args:
      argv: the command and its arguments.
    """
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            **FLAGS,
            "num": (None, "number of rows from the start of the split; by default all rows"),
            "step": (None, "step of the checkpoint; by default the selected checkpoint, or else the newest"),
            "replica": ("0", "number of the replica, from 0, or best"),
            "plot": (None, ".png file for a picture of the codes, coloured by label; by default none"),
            "by": ("pca", "projection of more than two latents in the picture: pca, or tsne"),
            "out": (None, "file to write: .npz with z (posterior means), scale and y"),
        },
        required="workdir",
    )
    out, num = command_line.output_file(flags.out, "codes.npz", (".npz",)), command_line.integer("num", flags.num, 1)
    if flags.plot is not None:
        choose("file type of --plot", Path(flags.plot).suffix, (".png",))
    choose("way to draw --by", flags.by, BY)
    startup.start()
    loaded = loading.load(
        flags.workdir, command_line.integer("step", flags.step), best_replica.replica(flags.workdir, flags.replica)
    )
    origin, rows = read_rows(loaded.spec, loaded.config["data"], flags.split, flags.data, num)
    codes = encode(loaded.model, loaded.state, loaded.spec, rows)
    files = {out: arrays(codes, loaded.spec)}
    if flags.plot is not None:
        files[Path(flags.plot)] = plot_of_codes(loaded.model, loaded.spec, rows, codes, flags.by)
    for path, content in files.items():
        write(path, content)
    what = "posterior means" if np.issubdtype(codes["z"].dtype, np.floating) else "codes"
    print(f"{len(rows['x'])} rows of {origin}: {what} z {list(codes['z'].shape)} of step {loaded.step} in {out}")


if __name__ == "__main__":
    command(main)
