"""Rows of a table as the classifiers and the distances of its measures read them."""

import numpy as np

from gen_jax.data.spec import Spec, columns
from gen_jax.errors import UserError, choose
from gen_jax.metrics.features import Real, Rows, subset

MOST = 20_000  # train rows that samples are compared with, at most
ENCODING = "numbers with mean 0 and deviation 1, levels as indicators; an empty cell is the mean, or no level"


def levelled(spec: Spec) -> np.ndarray:
    """Returns whether each column of a table has levels, [D] bool.

    Args:
      spec: facts of the table.
    """
    return np.array(["levels" in column for column in columns(spec)])


def standardised(spec: Spec, x: np.ndarray) -> np.ndarray:
    """Returns the G columns of numbers of raw rows [N, D] with mean 0 and standard deviation 1 in the train rows.

    Args:
      spec: facts of the table.
      x: raw rows [N, D].

    Returns:
      Numbers [N, G]; NaN in missing cells.
    """
    return ((x - np.asarray(spec.shift)) / np.asarray(spec.scale))[:, ~levelled(spec)]


def indicators(spec: Spec, x: np.ndarray) -> list[np.ndarray]:
    """Returns the levels of raw rows [N, D] as 0 and 1, [N, K] of each column with levels."""
    sizes = {place: len(column["levels"]) for place, column in enumerate(columns(spec)) if "levels" in column}
    return [(x[:, place, None] == np.arange(size)[None]).astype(np.float64) for place, size in sizes.items()]


def encoded(spec: Spec, x: np.ndarray, without: int | None = None) -> np.ndarray:
    """Returns raw rows as numbers [N, F]; see `ENCODING`.

    Args:
      spec: facts of the table.
      x: raw rows [N, D].
      without: place of a column with levels that is left out.
    """
    places = np.flatnonzero(levelled(spec))
    blocks = [block for place, block in zip(places, indicators(spec, x)) if place != without]
    return np.concatenate([np.nan_to_num(standardised(spec, x)), *blocks], 1)


def reference(real: Real, num: int = MOST) -> np.ndarray:
    """Returns at most `num` rows [N, D] of the training split, in random order."""
    return subset(real.rows(real.train), num)["x"]


def emptied(samples: Rows, real: np.ndarray) -> np.ndarray:
    """Returns samples [N, D] with cells missing where they are missing in real rows, unless samples have missing cells.

    Models draw whole rows. Without this, a missing cell would tell a real row from a sample.

    Args:
      samples: samples of a table.
      real: real rows [M, D], which are repeated if there are fewer.
    """
    x = samples["x"]
    if np.isnan(x).any():
        return x
    missing = np.isnan(np.resize(real, (len(x), real.shape[1])))
    return np.where(missing, np.nan, x)


def target_of(spec: Spec, name: str | None) -> int | None:
    """Returns the place of the column that classifiers predict.

    Args:
      spec: facts of the table.
      name: name of the column; None: the last column with levels.

    Returns:
      The place; None if no column has levels.

    Raises:
      UserError: for an unknown column, or a column of numbers.
    """
    names, has_levels = [column["name"] for column in columns(spec)], levelled(spec)
    if name is None:
        return int(np.flatnonzero(has_levels)[-1]) if has_levels.any() else None
    place = names.index(choose("column in evaluate.target", name, names))
    if not has_levels[place]:
        others = ", ".join(other for other, levels in zip(names, has_levels) if levels) or "none"
        raise UserError(f"evaluate.target {name!r} holds numbers; expected a column with levels: {others}")
    return place
