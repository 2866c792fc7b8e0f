"""Rows of a table as the classifiers and the distances of its measures read them. No measure lives here."""

import numpy as np

from gen_jax.data.spec import Spec, columns
from gen_jax.errors import UserError, choose
from gen_jax.metrics.features import Real, Rows, some

MOST = 20_000  # real rows that samples are compared with, at most
ENCODING = "numbers with mean 0 and deviation 1, levels as indicators; an empty cell is the mean, or no level"


def levelled(spec: Spec) -> np.ndarray:
    """Which columns have levels [D] bool."""
    return np.array(["levels" in column for column in columns(spec)])


def standardised(spec: Spec, x: np.ndarray) -> np.ndarray:
    """The numbers of raw rows [N, D], each column of mean 0 and deviation 1 in the rows learnt from: [N, G], NaN where empty."""
    return ((x - np.asarray(spec.shift)) / np.asarray(spec.scale))[:, ~levelled(spec)]


def indicators(spec: Spec, x: np.ndarray) -> list[np.ndarray]:
    """Which level cells of raw rows [N, D] hold, 0 and 1, [N, K] of each column that has levels."""
    sizes = {at: len(column["levels"]) for at, column in enumerate(columns(spec)) if "levels" in column}
    return [(x[:, at, None] == np.arange(size)[None]).astype(np.float64) for at, size in sizes.items()]


def encoded(spec: Spec, x: np.ndarray, without: int | None = None) -> np.ndarray:
    """Raw rows [N, D] as numbers [N, F], see `ENCODING`; `without` the levels of one column."""
    held = [each for at, each in zip(np.flatnonzero(levelled(spec)), indicators(spec, x)) if at != without]
    return np.concatenate([np.nan_to_num(standardised(spec, x)), *held], 1)


def reference(real: Real, num: int = MOST) -> np.ndarray:
    """Rows of the training split [at most num, D], in random order."""
    return some(real.rows(real.train), num)["x"]


def emptied(samples: Rows, real: np.ndarray) -> np.ndarray:
    """Rows of samples with cells that are empty where those of real rows are, unless some are already.

    Models draw whole rows: without this, an empty cell would tell a real one.
    """
    x = samples["x"]
    return x if np.isnan(x).any() else np.where(np.isnan(np.resize(real, (len(x), real.shape[1]))), np.nan, x)


def target_of(spec: Spec, name: str | None) -> int | None:
    """The place of the column that classifiers tell: that of a name, or the last one with levels; None where none has.

    Raises:
      UserError: for a column that there is not, or one of numbers.
    """
    names, has = [column["name"] for column in columns(spec)], levelled(spec)
    if name is None:
        return int(np.flatnonzero(has)[-1]) if has.any() else None
    at = names.index(choose("column in evaluate.target", name, names))
    if not has[at]:
        others = ", ".join(each for each, levels in zip(names, has) if levels) or "none"
        raise UserError(f"evaluate.target {name!r} holds numbers; expected a column with levels: {others}")
    return at
