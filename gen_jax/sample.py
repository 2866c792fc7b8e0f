"""CLI and function: draw from a trained run.

python -m gen_jax.sample --workdir runs/gan --num 64 --out digits.png [--given y=3]
"""

from collections.abc import Mapping

import jax
import numpy as np

from gen_jax import config, run, sharding
from gen_jax.data.pictures import encode
from gen_jax.data.spec import Spec, to_data
from gen_jax.errors import UserError, choose, command
from gen_jax.model import Model, State

CHUNK = 256  # samples per compiled call: one compilation whatever `num`, and sample i depends on (seed, i) alone


def draw(
    model: Model, state: State, spec: Spec, seed: int, num: int, given: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """`num` samples in the data's own domain: `x` [num, *shape] of the data's type, and whatever else is modelled.

    The leaves of `given` lead with `num`.
    """
    key = jax.random.key(seed)
    chunks = []
    for start in range(0, num, CHUNK):
        rows = np.minimum(np.arange(start, start + CHUNK), num - 1)  # the last chunk is whole too
        asked = {name: value[rows] for name, value in given.items()} if given else None
        drawn = model.sample(jax.random.fold_in(key, start // CHUNK), state, CHUNK, asked)
        chunks.append(jax.device_get(drawn))
    samples = {name: np.concatenate([chunk[name] for chunk in chunks])[:num] for name in chunks[0]}
    return {**samples, "x": to_data(spec, samples["x"])}


def parse_given(text: str | None, num: int, spec: Spec) -> dict[str, np.ndarray] | None:
    """What `--given` asks for: `y=CLASS` by number or name, or `y=all`, class i mod classes for sample i.

    Raises:
      UserError: for anything else, data without labels, or an unknown class.
    """
    if text is None:
        return None
    name, _, value = text.partition("=")
    if name != "y" or not value:
        raise UserError(f"--given {text}: expected y=CLASS or y=all")
    if not spec.classes:
        raise UserError(f"--given {text}: {spec.name} has no labels")
    if value == "all":
        return {"y": np.arange(num, dtype=np.int32) % len(spec.classes)}
    if value in spec.classes:
        value = str(spec.classes.index(value))
    if not value.isdecimal() or int(value) >= len(spec.classes):
        choose(f"class of {spec.name}", value, spec.classes)
    return {"y": np.full(num, int(value), np.int32)}


def main(argv: list[str]) -> None:
    """Draws `--num` samples from `--workdir` into `--out`."""
    flags = config.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "num": (64, "how many samples"),
            "seed": (0, "of the draw"),
            "step": (None, "checkpoint to draw from; the newest, or the selected one, where unset"),
            "replica": (0, "which of a run's replicas to draw from"),
            "given": (None, "what the samples are conditioned on: y=CLASS, or y=all for each class in turn"),
            "out": (None, "file to write: .npz holds arrays, .png a picture"),
        },
        required="workdir",
    )
    out = config.output_file(flags.out, "samples.png", (".npz", ".png"))
    config.check_bounds(flags, {"num": (1, config.LARGEST - 1), "seed": (0, config.LARGEST - 1)})
    sharding.start()
    loaded = run.load(flags.workdir, config.integer("step", flags.step), flags.replica)
    given = parse_given(flags.given, flags.num, loaded.spec)
    samples = draw(loaded.model, loaded.state, loaded.spec, flags.seed, flags.num, given)
    run.write(out, encode(samples, loaded.spec, out.suffix))
    print(f"{flags.num} samples of step {loaded.step} in {out}")


if __name__ == "__main__":
    command(main)
