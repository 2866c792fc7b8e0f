"""Statistics of the columns of a table: shift and scale, and the marginals that pictures of samples show."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.data.domain import FULL
from gen_jax.data.source import Source
from gen_jax.data.tables.schema import Columns

BINS = 20  # largest number of bins of the marginal of a column of numbers
MOST_VALUES = 1e9  # largest number of possible values of a column whose bins hold equally many possible values


def marginals(schema: Columns, x: np.ndarray) -> list[list[float]]:
    """Returns the marginal of each column, see `shares`.

    Args:
      schema: facts of the columns.
      x: rows [N, D].
    """
    return [shares(column, x[:, place]).tolist() for place, column in enumerate(schema)]


def shares(column: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    """Returns the shares of a column's levels, or of the parts of its range, in values.

    Missing cells, NaN, do not count. Values beyond the range count to its ends.

    Args:
      column: facts of the column.
      x: values [N].
    """
    edges = parts(column)
    counts = np.histogram(np.clip(x[~np.isnan(x)], column["low"], column["high"]), edges)[0]
    return np.round(counts / max(counts.sum(), 1), 6)


def parts(column: Mapping[str, Any]) -> np.ndarray:
    """Returns the edges of a column's levels, or of at most `BINS` equal parts of its range.

    All parts contain the same number of values that can be written with the column's decimals.

    Args:
      column: facts of the column.
    """
    low, high = column["low"], column["high"]
    digits = 0 if "levels" in column or column["kind"] == "integer" else column["decimals"]
    max_parts = len(column["levels"]) if "levels" in column else BINS
    gap = 10.0**-digits
    if digits >= FULL or (high - low) / gap + 1 > gap * MOST_VALUES:
        return np.linspace(low, max(high, low + 1e-9), BINS + 1)
    values = round((high - low) / gap) + 1
    width = -(-values // max_parts)
    return low + gap * (width * np.arange(-(-values // width) + 1) - 0.5)


def standard(source: Source, split: str) -> tuple[list[float], list[float], list[float], list[float]]:
    """Returns shift, scale, low and high of the columns of a table.

    Numbers get mean 0 and standard deviation 1 in the rows of the split. Levels are not changed.

    Args:
      source: the table.
      split: name of the split.
    """
    schema, x = source.info["columns"], source.rows(split, np.arange(source.sizes[split]))["x"]
    real = np.array(["levels" not in column for column in schema])
    with np.errstate(over="ignore", under="ignore"):
        mean, deviation = np.nanmean(x, 0), np.nanstd(x, 0)
    lost = (deviation == 0) & (np.nanmin(x, 0) < np.nanmax(x, 0))
    for place in np.flatnonzero(~np.isfinite(mean + deviation) | lost):
        mean[place], deviation[place] = mean_and_deviation(x[~np.isnan(x[:, place]), place])
    shift = np.where(real, mean, 0.0)
    scale = np.where(real & (deviation > 0), deviation, 1.0)
    low, high = ([column[end] for column in schema] for end in ("low", "high"))
    return shift.tolist(), scale.tolist(), low, high


def mean_and_deviation(x: np.ndarray) -> tuple[float, float]:
    """Returns the mean and the standard deviation of values whose sum or squares may exceed float64.

    Args:
      x: values [N].
    """
    largest = float(abs(x).max()) or 1.0
    return largest * float((x / largest).mean()), largest * float((x / largest).std())
