"""Completes images with missing parts: masks by name or from a file, and completions by models that can complete."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.feed.rows import Rows
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.pictures import strip
from gen_jax.data.npz_files import read_array
from gen_jax.data.spec import Spec, to_model
from gen_jax.errors import UserError, nearest, readable
from gen_jax.model import Model, State
from gen_jax.verbs.conditioning import conditions_of_rows, needs_condition
from gen_jax.verbs.draw import draw
from gen_jax.verbs.latent_search import with_latent_search

SIZE = 64  # completions of a compiled call, so that any number of completions needs one compilation
HALVES = {  # name -> (height, width) -> missing part of an image, as slices
    "centre": lambda h, w: (slice(h // 4, h - h // 4), slice(w // 4, w - w // 4)),
    "lower": lambda h, w: (slice(h // 2, h), slice(w)),
    "upper": lambda h, w: (slice(h // 2), slice(w)),
    "left": lambda h, w: (slice(h), slice(w // 2)),
    "right": lambda h, w: (slice(h), slice(w // 2, w)),
}
EXPECTED = f"{', '.join(HALVES)}, random:0.5 (the share that is hidden) or a .npy file (1 = seen, 0 = hidden)"


def parse_mask(text: str, num: int, seed: int, spec: Spec) -> np.ndarray:
    """Returns a mask of the observed numbers of rows, [num, *shape] bool.

    Args:
      text: a name in `HALVES`; `random:SHARE` for a share of missing pixels, drawn for row i from (seed, i) alone; or a
        .npy file of 0 and 1, [H, W], [*shape] or [num, *shape].
      num: number of rows.
      seed: seed of a random mask.
      spec: facts of the data.

    Raises:
      UserError: for any other text, and for a mask without missing numbers.
    """
    pixels = spec.shape[:2] if kind_of(spec).pixels else spec.shape
    if text.endswith(".npy"):
        mask = _read_mask(Path(text), num, pixels, spec)
    elif text.startswith("random:"):
        try:
            share = float(text.removeprefix("random:"))
        except ValueError:
            share = -1.0
        if not 0 < share <= 1:
            raise UserError(
                f"--mask is {text}; expected a share that is hidden, above 0 and at most 1, such as random:0.5"
            )
        size = int(np.prod(pixels))
        orders = [np.random.default_rng([seed, row]).permutation(size) for row in range(num)]
        mask = (np.stack(orders) >= round(share * size)).reshape(num, *pixels)
    elif not kind_of(spec).pixels:
        raise UserError(
            f"--mask is {text} and {spec.name} holds {spec.kind} data; expected random:0.5 (the share that is hidden) "
            "or a .npy file (1 = seen, 0 = hidden)"
        )
    else:
        mask = np.ones((num, *pixels), bool)
        mask[:, *HALVES[_named(text)](*pixels)] = False
    if mask.all():
        raise UserError(f"--mask {text} hides nothing; expected at least one 0 (1 is what is seen, 0 what is hidden)")
    mask = mask.reshape(*mask.shape, *(1,) * (1 + len(spec.shape) - mask.ndim))
    return np.broadcast_to(mask, (num, *spec.shape))


def _named(text: str) -> str:
    if text not in HALVES:
        raise UserError(f"unknown --mask {text!r}; expected {EXPECTED}{nearest(text, HALVES)}")
    return text


def _read_mask(path: Path, num: int, pixels: tuple[int, ...], spec: Spec) -> np.ndarray:
    with readable(f"--mask {path}", "a .npy file"):
        mask = read_array(path)
    shapes = tuple(dict.fromkeys((pixels, spec.shape, (num, *spec.shape))))
    if mask.shape not in shapes:
        raise UserError(f"shape of --mask {path} is {mask.shape}; expected {' or '.join(map(str, shapes))}")
    if mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
        raise UserError(f"--mask {path} holds other numbers; expected 1 for what is seen and 0 for what is hidden")
    return (mask > 0) if mask.shape[:1] == (num,) and mask.ndim > len(spec.shape) else np.stack([mask > 0] * num)


def completing(model: Model, spec: Spec) -> Model:
    """Returns the model, with a search of its latent if its `sample` does not honour `x` and `mask`.

    Args:
      model: the model.
      spec: facts of the data.
    """
    return model if {"x", "mask"} <= set(model.given) else with_latent_search(model, spec)


def complete(
    model: Model,
    state: State,
    spec: Spec,
    rows: Rows,
    mask: np.ndarray,
    completions: int,
    seed: int,
    how: Mapping[str, Any] | None = None,
) -> np.ndarray:
    """Returns completions of raw rows, [N, K, *shape]. Observed numbers stay as they are in the rows.

    Completion k of row i depends on (seed, i * K + k) alone. Completions are raw, like the rows.

    Args:
      model: the model.
      state: the state.
      spec: facts of the data.
      rows: raw rows `x` [N, *shape], and `y` [N] if the model reads labels.
      mask: observed numbers, [N, *shape] bool.
      completions: number of completions of a row, K.
      seed: seed of the draws.
      how: options of the sampler; by default None.

    Raises:
      UserError: for a model that cannot complete, rows without the labels that the model reads, or an option that the
        model does not have.
    """
    model, num = completing(model, spec), len(rows["x"])
    given = {"x": np.where(mask, to_model(spec, rows["x"]), 0), "mask": mask}
    if "y" in model.given:
        if "y" not in rows:
            raise UserError(
                "labels of these rows are missing; expected labels beside x, which this model reads. Give a .npz "
                "with x and y"
            )
        given["y"] = rows["y"]
    if needs_condition(model):
        given |= conditions_of_rows(model, spec, rows).given or {}
    given = {name: np.repeat(value, completions, axis=0) for name, value in given.items()}
    x = draw(model, state, spec, seed, num * completions, given, how, size=SIZE)["x"]
    x = x.reshape(num, completions, *spec.shape)
    return np.where(mask[:, None], rows["x"][:, None].astype(x.dtype), x)


def draw_rows(x: np.ndarray, mask: np.ndarray, completions: np.ndarray, spec: Spec) -> bytes:
    """Returns a PNG with one line for each image: the image, its observed part and its completions.

    Args:
      x: raw images [N, *shape].
      mask: observed numbers, [N, *shape] bool.
      completions: raw completions [N, K, *shape].
      spec: facts of the data.
    """
    grey = (np.min(spec.low) + np.max(spec.high)) / 2
    seen = np.where(mask, x, grey)
    return strip(np.concatenate([x[:, None], seen[:, None], completions], axis=1), spec)
