"""CLI and function: draw from a trained run.

python -m gen_jax.sample --workdir runs/gan --num 64 --out digits.png
"""

from pathlib import Path

import jax
import numpy as np

from gen_jax import config, run, sharding
from gen_jax.data.pictures import encode
from gen_jax.data.spec import Spec, to_data
from gen_jax.errors import UserError, choose, command
from gen_jax.model import Model, State

CHUNK = 256  # samples per compiled call: one compilation whatever `num`, and sample i depends on (seed, i) alone


def draw(model: Model, state: State, spec: Spec, seed: int, num: int) -> dict[str, np.ndarray]:
    """`num` samples in the data's own domain: `x` [num, *shape] of the data's type, and whatever else is modelled."""
    key = jax.random.key(seed)
    chunks = [
        jax.device_get(model.sample(jax.random.fold_in(key, chunk), state, CHUNK)) for chunk in range(-(-num // CHUNK))
    ]
    samples = {name: np.concatenate([chunk[name] for chunk in chunks])[:num] for name in chunks[0]}
    return {**samples, "x": to_data(spec, samples["x"])}


def main(argv: list[str]) -> None:
    """Draws `--num` samples from `--workdir` into `--out`."""
    flags = config.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "num": (64, "how many samples"),
            "seed": (0, "of the draw"),
            "step": (None, "checkpoint to draw from; the newest where unset"),
            "out": (None, "file to write: .npz holds arrays, .png a picture"),
        },
        required="workdir",
    )
    if flags.out is None:
        raise UserError("--out is missing, for example --out samples.png")
    out = Path(flags.out)
    choose("file type of --out", out.suffix, (".npz", ".png"))
    for name, low in {"num": 1, "seed": 0}.items():
        if not low <= flags[name].value < config.LARGEST:
            raise UserError(f"--{name}={flags[name].value}: expected {low} to {config.LARGEST - 1}")
    sharding.start()
    loaded = run.load(flags.workdir, config.integer("step", flags.step))
    samples = draw(loaded.model, loaded.state, loaded.spec, flags.seed, flags.num)
    run.write(out, encode(samples, loaded.spec, out.suffix))
    print(f"{flags.num} samples of step {loaded.step} in {out}")


if __name__ == "__main__":
    command(main)
