"""CLI and functions: completes what is hidden of a run's test rows, or of a user's own, several times each.

python -m gen_jax.inpaint --workdir runs/vae --mask lower --out repaired.png [--completions 4] [--num 8] [--data images.npy]

The picture has a row for each image: the image, what is left of it on grey, the completions. Beside it `.npz` holds `x`
[N, *shape] and `completions` [N, K, *shape] in the data's own domain, and `mask` [N, *shape], 1 where a number is seen, as
everywhere in this project. What is seen comes back to the bit.

A model whose `sample` honours `x` and `mask` draws the completions; for one that only decodes (a GAN) its latent is searched.
"""

from pathlib import Path

import numpy as np

from gen_jax import best, command_line, config, run, sharding
from gen_jax.data.arrays import read_array
from gen_jax.data.pictures import strip
from gen_jax.data.rows import FLAGS, Rows, read_rows
from gen_jax.data.samples import arrays
from gen_jax.data.spec import Spec, to_model
from gen_jax.errors import UserError, choose, command, readable
from gen_jax.files import write
from gen_jax.model import Model, State
from gen_jax.models.latent_search import with_latent_search
from gen_jax.sample import draw

SIZE = 64  # completions per compiled call: one compilation whatever their number
LIMITS = {"num": (1, 100_000), "completions": (1, 1000), "seed": (0, config.LARGEST - 1)}
HALVES = {  # name -> (height, width) -> what of an image is hidden, as slices
    "centre": lambda h, w: (slice(h // 4, h - h // 4), slice(w // 4, w - w // 4)),
    "lower": lambda h, w: (slice(h // 2, h), slice(w)),
    "upper": lambda h, w: (slice(h // 2), slice(w)),
    "left": lambda h, w: (slice(h), slice(w // 2)),
    "right": lambda h, w: (slice(h), slice(w // 2, w)),
}
EXPECTED = f"{', '.join(HALVES)}, random:0.5 (the share that is hidden) or a .npy file (1 = seen, 0 = hidden)"


def parse_mask(text: str, num: int, seed: int, spec: Spec) -> np.ndarray:
    """What of `num` rows is seen [num, *shape] bool.

    Args:
      text: a name in `HALVES`, `random:SHARE`, so many pixels, others in each row (those of row i depend on (seed, i)
        alone), or a .npy file of 0 and 1, [H, W], [*shape] or [num, *shape].

    Raises:
      UserError: for anything else, and for a mask that hides nothing.
    """
    pixels = spec.shape[:2] if spec.kind == "image" else spec.shape
    if text.endswith(".npy"):
        mask = _read_mask(Path(text), num, pixels, spec)
    elif text.startswith("random:"):
        try:
            share = float(text.removeprefix("random:"))
        except ValueError:
            share = -1.0
        if not 0 < share <= 1:
            raise UserError(f"--mask {text}: expected a share that is hidden, above 0 and at most 1: random:0.5")
        size = int(np.prod(pixels))
        orders = [np.random.default_rng([seed, row]).permutation(size) for row in range(num)]
        mask = (np.stack(orders) >= round(share * size)).reshape(num, *pixels)
    elif spec.kind != "image":
        raise UserError(
            f"--mask {text}: {spec.name} holds {spec.kind} data, expected random:0.5 (the share that is hidden) or "
            f"a .npy file (1 = seen, 0 = hidden)"
        )
    else:
        mask = np.ones((num, *pixels), bool)
        mask[:, *HALVES[_named(text)](*pixels)] = False
    if mask.all():
        raise UserError(f"--mask {text}: it hides nothing (1 is what is seen, 0 what is hidden)")
    mask = mask.reshape(*mask.shape, *(1,) * (1 + len(spec.shape) - mask.ndim))
    return np.broadcast_to(mask, (num, *spec.shape))


def _named(text: str) -> str:
    try:
        return choose("--mask", text, HALVES)
    except UserError as error:
        raise UserError(f"{str(error).split('choices are')[0]}expected {EXPECTED}") from None


def _read_mask(path: Path, num: int, pixels: tuple[int, ...], spec: Spec) -> np.ndarray:
    with readable(f"--mask {path}: not a readable .npy file"):
        mask = read_array(path)
    shapes = tuple(dict.fromkeys((pixels, spec.shape, (num, *spec.shape))))
    if mask.shape not in shapes:
        raise UserError(f"--mask {path}: shape {mask.shape}; expected {' or '.join(map(str, shapes))}")
    if mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise UserError(f"--mask {path}: expected 1 for what is seen and 0 for what is hidden, nothing else")
    return (mask > 0) if mask.shape[:1] == (num,) and mask.ndim > len(spec.shape) else np.stack([mask > 0] * num)


def completing(model: Model) -> Model:
    """The model, with a search of its latent where its own `sample` does not honour `x` and `mask`."""
    return model if {"x", "mask"} <= set(model.given) else with_latent_search(model)


def complete(
    model: Model, state: State, spec: Spec, rows: Rows, mask: np.ndarray, completions: int, seed: int
) -> np.ndarray:
    """`completions` of each of the raw rows [N, K, *shape], raw too; what `mask` [N, *shape] shows is that of the rows.

    Completion k of row i depends on (seed, i * K + k) alone.

    Raises:
      UserError: for a model that cannot complete, or one of labels and rows without them.
    """
    model, num = completing(model), len(rows["x"])
    given = {"x": np.where(mask, to_model(spec, rows["x"]), 0), "mask": mask}
    if "y" in model.given:
        if "y" not in rows:
            raise UserError("this model reads the label beside x, and these rows have none: give a .npz with x and y")
        given["y"] = rows["y"]
    given = {name: np.repeat(value, completions, axis=0) for name, value in given.items()}
    x = draw(model, state, spec, seed, num * completions, given, size=SIZE)["x"]
    x = x.reshape(num, completions, *spec.shape)
    return np.where(mask[:, None], rows["x"][:, None].astype(x.dtype), x)


def draw_rows(x: np.ndarray, mask: np.ndarray, completions: np.ndarray, spec: Spec) -> bytes:
    """Images, what is seen of them and their completions as a PNG, a row each."""
    grey = (np.min(spec.low) + np.max(spec.high)) / 2
    seen = np.where(mask, x, grey)
    return strip(np.concatenate([x[:, None], seen[:, None], completions], axis=1), spec)


def main(argv: list[str]) -> None:
    """Completes the first `--num` rows of the data of `--workdir`, or of `--data`, into `--out`."""
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "mask": (None, f"what is hidden: {EXPECTED}"),
            **FLAGS,
            "num": (8, "how many rows, from the first on"),
            "completions": (4, "of each row"),
            "seed": (0, "of the completions, and of random masks"),
            "step": (None, "checkpoint to complete by; the newest, or the selected one, where unset"),
            "replica": ("0", "which of a run's replicas to complete by: a number, or best"),
            "out": (None, "file to write: .png a picture, with the arrays beside it, or .npz the arrays alone"),
        },
        required="workdir",
    )
    out = command_line.output_file(flags.out, "repaired.png", (".png", ".npz"))
    if flags.mask is None:
        raise UserError(f"--mask is missing; expected {EXPECTED}")
    command_line.check_bounds(flags, LIMITS)
    sharding.start()
    loaded = run.load(
        flags.workdir, command_line.integer("step", flags.step), best.replica(flags.workdir, flags.replica)
    )
    spec = loaded.spec
    if out.suffix == ".png" and spec.kind != "image":
        raise UserError(f"--out {out}: {spec.name} holds {spec.kind} data, whose completions are arrays: expected .npz")
    mask = parse_mask(flags.mask, flags.num, flags.seed, spec)
    origin, rows = read_rows(spec, loaded.config["data"], flags.split, flags.data, flags.num)
    completions = complete(loaded.model, loaded.state, spec, rows, mask, flags.completions, flags.seed)
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
