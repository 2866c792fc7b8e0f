"""CLI: completes the missing part of a run's test rows, or of your own rows, several times each.

python -m gen_jax.inpaint --workdir runs/vae --mask lower --out repaired.png [--completions 4] [--num 8] [--data images.npy]

The picture has a line for each image: the image, its observed part on grey, and its completions. With it a `.npz` file
is written. It holds `x` [N, *shape] and `completions` [N, K, *shape] in the domain of the data, and `mask` [N, *shape].
The mask is 1 for an observed number, as everywhere in this project. Observed numbers are returned exactly.

A model whose `sample` honours `x` and `mask` draws the completions. For a model that only decodes (a GAN), the latent
is searched.
"""

import numpy as np

from gen_jax import config
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.feed.rows import FLAGS, read_rows
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.sample_files import arrays
from gen_jax.devices import startup
from gen_jax.errors import UserError
from gen_jax.files import write
from gen_jax.storage import loading
from gen_jax.verbs import best_replica
from gen_jax.verbs.complete import EXPECTED, complete, draw_rows, parse_mask
from gen_jax.verbs.draw import HOW, chosen_options, options_in

LIMITS = {"num": (1, 100_000), "completions": (1, 1000), "seed": (0, config.LARGEST - 1)}


def main(argv: list[str]) -> None:
    """Completes the first `--num` rows of the data of `--workdir`, or of `--data`, into `--out`.

    Args:
      argv: the command and its arguments.
    """
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "mask": (None, f"missing part of the rows: {EXPECTED}"),
            **FLAGS,
            "num": (8, "number of rows from the start of the split"),
            "how": ([], HOW),
            "completions": (4, "number of completions of each row"),
            "seed": (0, "seed of the completions and of random masks"),
            "step": (None, "step of the checkpoint; by default the selected checkpoint, or else the newest"),
            "replica": ("0", "number of the replica, from 0, or best"),
            "out": (None, "file to write: picture (.png, with the arrays beside it) or arrays alone (.npz)"),
        },
        required="workdir",
    )
    out = command_line.output_file(flags.out, "repaired.png", (".png", ".npz"))
    if flags.mask is None:
        raise UserError(f"--mask is missing; expected {EXPECTED}")
    command_line.check_bounds(flags, LIMITS)
    startup.start()
    loaded = loading.load(
        flags.workdir, command_line.integer("step", flags.step), best_replica.replica(flags.workdir, flags.replica)
    )
    spec = loaded.spec
    if out.suffix == ".png" and not kind_of(spec).pixels:
        raise UserError(
            f"--out is {out} and {spec.name} holds {spec.kind} data; expected .npz, because its completions are arrays"
        )
    mask = parse_mask(flags.mask, flags.num, flags.seed, spec)
    origin, rows = read_rows(spec, loaded.config["data"], flags.split, flags.data, flags.num)
    completes = {"x", "mask"} <= {*loaded.model.given}  # else the latent is searched, and no sampler is asked
    how = chosen_options(loaded.config["sample"] if completes else {}, options_in(flags.how))
    completions = complete(loaded.model, loaded.state, spec, rows, mask, flags.completions, flags.seed, how)
    found = {"x": rows["x"], "mask": mask.astype(np.uint8), "completions": completions}
    files = {out.with_suffix(".npz"): arrays(found, spec)}
    if out.suffix == ".png":
        files[out] = draw_rows(rows["x"], mask, completions, spec)
    for path, content in files.items():
        write(path, content)
    hidden = f"{1 - mask.mean():.0%} of the numbers hidden"
    print(f"{flags.completions} completions of {flags.num} rows of {origin}, {hidden}, by step {loaded.step} in {out}")


if __name__ == "__main__":
    command(main)
