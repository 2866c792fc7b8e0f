"""Associations of pairs of columns of a table, and their distance between samples and real rows."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from gen_jax.data.spec import Spec
from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.tables.encoding import indicators, levelled, reference, standardised

KINDS = "Pearson's r of two numbers, Cramer's V of two columns of levels, the correlation ratio of one of each"


def associations(spec: Spec, x: np.ndarray) -> np.ndarray:
    """Returns the association of each pair of columns [D, D], see `KINDS`; 1 in the diagonal, 0 of a constant column.

    A pair is computed on the rows that have both cells. A number is centred by the mean of all its cells.

    Args:
      spec: facts of the table.
      x: raw rows [N, D].
    """
    has_levels, matrix = levelled(spec), np.eye(x.shape[1])
    numbers, levels = np.flatnonzero(~has_levels), np.flatnonzero(has_levels)
    z = standardised(spec, x)  # [N, G]
    observed = (~np.isnan(z)).astype(float)
    z = np.nan_to_num(z - np.nansum(z, 0) / np.maximum(observed.sum(0), 1))
    square = z**2
    matrix[np.ix_(numbers, numbers)] = _quotient(z.T @ z, np.sqrt((square.T @ observed) * (observed.T @ square)))
    blocks = indicators(spec, x)
    for place, block in zip(levels, blocks):
        counts, sums = block.T @ observed, block.T @ z  # [K, G]
        ratio = np.sqrt(_quotient(_quotient(sums**2, counts).sum(0), (block.T @ square).sum(0)))
        matrix[place, numbers] = matrix[numbers, place] = np.minimum(ratio, 1)
        for other_place, other in zip(levels, blocks):
            if other_place < place:
                v = cramers_v(block.T @ other)
                matrix[place, other_place] = matrix[other_place, place] = v
    np.fill_diagonal(matrix, 1)
    return matrix


def cramers_v(counts: np.ndarray) -> float:
    """Returns Cramer's V, sqrt(chi^2 / (n (min(R, C) - 1))), of a table of counts [R, C] over the levels that occur."""
    counts = counts[counts.sum(1) > 0][:, counts.sum(0) > 0]
    if min(counts.shape) < 2:
        return 0.0
    expected = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    chi = ((counts - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi / counts.sum() / (min(counts.shape) - 1)))


def pairwise(real: Real) -> Computation | None:
    """Prepares the mean over pairs of columns of the absolute difference of their associations."""
    spec = real.spec
    if not spec.tabular or spec.shape[0] < 2:
        return None

    @cache
    def real_associations() -> np.ndarray:
        return associations(spec, reference(real))

    def values(samples: Rows) -> Mapping[str, Any]:
        pairs = np.triu_indices(spec.shape[0], 1)
        gaps = np.abs(associations(spec, samples["x"]) - real_associations())[pairs]
        return {"pairwise": float(gaps.mean()), "largest": float(gaps.max())}

    return Computation(values, lambda: {"of": KINDS, "reference": real.train})


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)


PAIRWISE = Measure(
    (
        Metric(
            "pairwise",
            f"mean over pairs of columns of the absolute difference of their associations: {KINDS}",
            expected="0",
            better=-1,
        ),
    ),
    pairwise,
    data="a table of two columns or more",
    least=2,
)
