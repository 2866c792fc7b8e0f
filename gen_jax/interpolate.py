"""CLI: walks through the latent space of a trained run, from one draw of its prior to the next.

python -m gen_jax.interpolate --workdir runs/gan --out paths.png     a strip: one path a row
python -m gen_jax.interpolate --workdir runs/gan --out paths.gif     all paths in a grid, on loops that play endlessly
... --traverse      each row varies one latent, from -3 to 3 standard deviations of the prior around one draw
... --between       from code to code of real rows, if the model encodes: [--split test | --data images.npy]
"""

import numpy as np

from gen_jax import config, files
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.feed.rows import FLAGS, read_rows
from gen_jax.data.kinds.pictures import animate, strip
from gen_jax.devices import startup
from gen_jax.errors import UserError, choose
from gen_jax.storage import loading
from gen_jax.verbs import best_replica
from gen_jax.verbs.paths import CORNERS, PATHS, by_activity, paths, traversals

LIMITS = {"num": (1, 1000), "steps": (2, 1000), "seed": (0, config.LARGEST - 1)}


def main(argv: list[str]) -> None:
    """Draws latent paths of `--workdir` into `--out`.

    Args:
      argv: the command and its arguments.
    """
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "num": (8, "number of paths"),
            "steps": (16, "number of points from one sample of the prior to the next, both included"),
            "seed": (0, "seed of the samples"),
            "step": (None, "step of the checkpoint; by default the selected checkpoint, or else the newest"),
            "replica": ("0", "number of the replica, from 0, or best"),
            "latents": (
                "spherical",
                "interpolation of the latents: spherical, or linear, which stays in the support of a uniform prior",
            ),
            "traverse": (False, "vary one latent in each row; if the model encodes, the most active latents are first"),
            "between": (False, "walk between the codes of real rows"),
            **FLAGS,
            "out": (None, "file to write: strip (.png) or animation (.gif)"),
        },
        required="workdir",
    )
    out = command_line.output_file(flags.out, "paths.png", (".png", ".gif"))
    between = PATHS[choose("kind of --latents", flags.latents, PATHS)]
    command_line.check_bounds(flags, LIMITS)
    if flags.traverse and flags.between:
        raise UserError("--traverse and --between are both given; expected one of them")
    if not flags.between and (flags.split or flags.data):
        raise UserError(
            "--between is missing; expected it beside --split or --data, which choose the rows to walk between"
        )
    startup.start()
    loaded = loading.load(
        flags.workdir, command_line.integer("step", flags.step), best_replica.replica(flags.workdir, flags.replica)
    )
    closed = out.suffix == ".gif"
    description, rows = f"{flags.latents} paths", None
    if flags.traverse:
        order, which = by_activity(loaded)
        x = traversals(loaded, order, flags.num, flags.steps, flags.seed)
        x = np.concatenate([x, x[:, -2:0:-1]], axis=1) if closed else x  # there and back
        description = f"traversals of {which} ({', '.join(map(str, order[: len(x)]))})"
    else:
        if flags.between:
            num = flags.num * (CORNERS if closed else 2)
            origin, rows = read_rows(loaded.spec, loaded.config["data"], flags.split, flags.data, num)
            description += f" between {num} rows of {origin}"
        x = paths(loaded, flags.num, flags.steps, flags.seed, between, closed, rows)
    files.write(out, animate([*x.swapaxes(0, 1)], loaded.spec) if closed else strip(x, loaded.spec))
    print(f"{len(x)} {description} of step {loaded.step} in {out}")


if __name__ == "__main__":
    command(main)
