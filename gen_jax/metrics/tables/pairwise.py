"""How strongly each two columns of a table go together, and how far samples are from real rows in that."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from gen_jax.data.spec import Spec
from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Measure
from gen_jax.metrics.tables.encoding import indicators, levelled, reference, standardised

KINDS = "Pearson's r of two numbers, Cramer's V of two columns of levels, the correlation ratio of one of each"


def associations(spec: Spec, x: np.ndarray) -> np.ndarray:
    """The association of each two columns of raw rows [N, D]: `KINDS`, [D, D] with ones in the diagonal, 0 of a constant.

    Of what both columns have; a number is centred by all its cells.
    """
    has, found = levelled(spec), np.eye(x.shape[1])
    numbers, levels = np.flatnonzero(~has), np.flatnonzero(has)
    raw = standardised(spec, x)
    seen = (~np.isnan(raw)).astype(float)
    z = np.nan_to_num(raw - np.nansum(raw, 0) / np.maximum(seen.sum(0), 1))
    square = z**2
    found[np.ix_(numbers, numbers)] = _quotient(z.T @ z, np.sqrt((square.T @ seen) * (seen.T @ square)))
    held = indicators(spec, x)
    for place, one in enumerate(held):
        counts, sums = one.T @ seen, one.T @ z  # [K, G]
        ratio = np.sqrt(_quotient(_quotient(sums**2, counts).sum(0), (one.T @ square).sum(0)))
        found[levels[place], numbers] = found[numbers, levels[place]] = np.minimum(ratio, 1)
        for before, other in enumerate(held[:place]):
            v = cramers_v(one.T @ other)
            found[levels[place], levels[before]] = found[levels[before], levels[place]] = v
    np.fill_diagonal(found, 1)
    return found


def cramers_v(counts: np.ndarray) -> float:
    """sqrt(chi^2 / (n (min(R, C) - 1))) of a table of counts [R, C], over the levels that occur."""
    counts = counts[counts.sum(1) > 0][:, counts.sum(0) > 0]
    if min(counts.shape) < 2:
        return 0.0
    expected = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    chi = ((counts - expected) ** 2 / expected).sum()
    return float(np.sqrt(chi / counts.sum() / (min(counts.shape) - 1)))


def pairwise(real: Real) -> Measure | None:
    """Mean over the pairs of columns of the absolute difference of their associations."""
    spec = real.spec
    if not spec.tabular or spec.shape[0] < 2:
        return None

    @cache
    def learnt() -> np.ndarray:
        return associations(spec, reference(real))

    def values(samples: Rows) -> Mapping[str, Any]:
        pairs = np.triu_indices(spec.shape[0], 1)
        gaps = np.abs(associations(spec, samples["x"]) - learnt())[pairs]
        return {"pairwise": float(gaps.mean()), "largest": float(gaps.max())}

    return Measure(values, lambda: {"of": KINDS, "reference": real.train}, least=2)


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)
