"""How far each column of samples is from that of real rows, by itself."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.data.spec import columns
from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Measure
from gen_jax.metrics.tables.encoding import reference


def total_variation(x: np.ndarray, y: np.ndarray, size: int) -> float:
    """Half the sum of |p - q| of codes [N] and [M] below `size`: from 0 to 1."""
    p, q = (np.bincount(each.astype(int), minlength=size) / len(each) for each in (x, y))
    return float(np.abs(p - q).sum() / 2)


def marginal(real: Real) -> Measure | None:
    """Mean over the columns of a distance from 0 to 1: total variation of levels, Kolmogorov-Smirnov of numbers.

    A column that is empty in every row of the real ones that stand beside samples is left out of their figure.

    In the details that of each, and the mean Wasserstein distance of the numbers in standard deviations.
    """
    spec = real.spec
    if not spec.tabular:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        from scipy.stats import ks_2samp, wasserstein_distance

        each, moved = {}, []
        for at, column in enumerate(columns(spec)):
            x, y = (rows[~np.isnan(rows[:, at]), at] for rows in (samples["x"], reference(real)))
            if not len(x):
                continue  # of real rows that are tested on: there is nothing to compare
            if "levels" in column:
                each[column["name"]] = total_variation(x, y, len(column["levels"]))
            else:
                each[column["name"]] = float(ks_2samp(x, y, method="asymp").statistic)
                moved.append(wasserstein_distance(x, y) / spec.scale[at])
        found = {"marginal": float(np.mean([*each.values()])) if each else None, "columns": each}
        return {**found, "wasserstein": float(np.mean(moved)) if moved else None}

    protocol = {"of": "mean of total variation (levels) and Kolmogorov-Smirnov (numbers)", "reference": real.train}
    return Measure(values, lambda: protocol)
