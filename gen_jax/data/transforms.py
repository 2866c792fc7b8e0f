"""The affine transforms from the domain of the data to model space: x = (raw - shift) / scale."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gen_jax.data.feed.resident import CHUNK
from gen_jax.data.kinds import kind_of
from gen_jax.data.source import Source
from gen_jax.data.sources.binary import BINARY
from gen_jax.data.tables.statistics import standard
from gen_jax.errors import UserError, choose

ROWS = 16 * CHUNK  # number of rows that are read together to measure a range
TRANSFORMS = {  # (low, high, root mean square) -> (shift, scale)
    "signed": lambda low, high, rms: ((high + low) / 2, (high - low) / 2),  # to [-1, 1]
    "unit": lambda low, high, rms: (low, high - low),  # to [0, 1]
    "rms": lambda low, high, rms: (np.zeros_like(low), np.full_like(low, rms)),  # to unit root mean square
    **dict.fromkeys(("none", *BINARY), lambda low, high, rms: (np.zeros_like(low), np.ones_like(low))),
}


class Affine(NamedTuple):
    """Holds a transform and the domain of the data, as numbers or as lists with a number for each column."""

    shift: ArrayLike
    scale: ArrayLike
    low: ArrayLike  # smallest value of the domain
    high: ArrayLike  # largest value of the domain


def affine(source: Source, options: Mapping[str, Any], resident_rows: Mapping[str, np.ndarray]) -> Affine:
    """Returns the transform that `data.transform` names, or the default transform of the kind of data.

    Args:
      source: the rows.
      options: the `data` section of a config.
      resident_rows: raw rows [N, ...] of the split, if they are in memory; else empty.

    Raises:
      UserError: for a transform that does not fit the data, or a number that is not finite.
    """
    if source.tabular:
        transform = options.get("transform") or kind_of(source).default_transform
        choose(f"data.transform of a table, {source.name}:", transform, ("standard", "modes"))
        return Affine(*standard(source, options["split"]))
    transform = transform_of(source, options)
    with np.errstate(over="ignore", invalid="ignore"):  # because an overflow is refused below
        if source.limits:
            low, high = (np.asarray(limit, np.float64) for limit in source.limits)
            rms = float(high)
        else:
            low, high, rms = measured_range(source, options["split"], resident_rows)
        if transform in ("signed", "unit"):
            next_number = low + np.maximum(1, np.spacing(np.abs(low)))  # because beyond 2^53 low + 1 equals low
            high = np.where(high > low, high, next_number)  # a constant column maps to a constant
        shift, scale = TRANSFORMS[transform](low, high, rms)
        ends = ((np.stack([low, high]) - shift) / scale).astype(np.float32)
    if not (np.isfinite(ends).all() and np.isfinite(scale).all()):
        raise UserError(
            f"values of {source.name} are {np.min(low):g} to {np.max(high):g}; expected smaller values for "
            f"data.transform {transform!r}, which float32 can hold. Choose signed"
        )
    return Affine(shift, scale, low, high)


def transform_of(source: Source, options: Mapping[str, Any]) -> str:
    """Returns the name of the transform of data other than a table.

    Args:
      source: the rows.
      options: the `data` section of a config.

    Raises:
      UserError: for a transform that does not fit the data.
    """
    tokens = "vocabulary" in source.info
    default = "none" if tokens else kind_of(source).default_transform
    transform = choose("data.transform", options.get("transform") or default, TRANSFORMS)
    if tokens and transform != "none":
        raise UserError(
            f"data.transform is {transform!r} and {source.name} holds tokens; expected 'none', because tokens stay as "
            "they are"
        )
    if source.limits and transform == "rms":
        raise UserError(
            f"values of {source.name} are {source.limits[0]} to {source.limits[1]}; expected real numbers of any size "
            "for data.transform 'rms'. Choose signed or unit"
        )
    return transform


def measured_range(
    source: Source, split: str, resident_rows: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Measures the range of a split in one pass over its rows.

    Args:
      source: the rows.
      split: name of the split.
      resident_rows: raw rows [N, ...] of the split, if they are in memory; else empty.

    Returns:
      The smallest and the largest value, and the root mean square of all values. If the kind of the data has columns,
      the first two are values of each column [D].

    Raises:
      UserError: for the first row with a value that is not finite.
    """
    axes = tuple(range(len(source.shape) if kind_of(source).columns else len(source.shape) + 1))
    low, high, square = np.asarray(np.inf), np.asarray(-np.inf), 0.0
    num = source.sizes[split]
    for start in range(0, num, ROWS):
        indices = np.arange(start, min(start + ROWS, num))
        x = np.asarray(resident_rows["x"][indices] if resident_rows else source.rows(split, indices)["x"], np.float64)
        refuse_infinite(source.name, x, start)
        low, high = np.minimum(low, x.min(axes)), np.maximum(high, x.max(axes))
        square += np.square(x).sum()
    return low, high, float(np.sqrt(square / (num * np.prod(source.shape)))) or 1.0


def refuse_infinite(name: str, x: np.ndarray, first: int) -> None:
    """Refuses rows with a value that is not finite.

    Args:
      name: name of the data, for the error.
      x: rows [n, ...].
      first: number of the first of these rows.

    Raises:
      UserError: for the first such row.
    """
    rows = x.reshape(len(x), -1)
    finite = np.isfinite(rows)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise UserError(
            f"{name}: row {first + row}, entry {column} is {rows[row, column]}; expected finite numbers only"
        )
