"""The distance of each column of samples from the same column of real rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.data.spec import columns
from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.tables.encoding import reference


def total_variation(x: np.ndarray, y: np.ndarray, size: int) -> float:
    """Returns the total variation distance, half the sum of |p - q|, from 0 to 1.

    Args:
      x: codes [N].
      y: codes [M].
      size: number of levels.
    """
    p, q = (np.bincount(codes.astype(int), minlength=size) / len(codes) for codes in (x, y))
    return float(np.abs(p - q).sum() / 2)


def marginal(real: Real) -> Computation | None:
    """Prepares the mean over columns of their distance: total variation of levels, Kolmogorov-Smirnov of numbers.

    The details have the distance of each column, and the mean Wasserstein distance of the numbers in standard
    deviations.
    """
    spec = real.spec
    if not spec.tabular:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        from scipy.stats import ks_2samp, wasserstein_distance

        distances, moved = {}, []
        scales = np.broadcast_to(spec.scale, spec.shape)
        pair = samples["x"], reference(real)
        for place, column in enumerate(columns(spec)):
            x, y = (rows[~np.isnan(rows[:, place]), place] for rows in pair)
            if not len(x):
                continue  # because the test rows, which are the oracle, may lack a column that the train rows have
            if "levels" in column:
                distances[column["name"]] = total_variation(x, y, len(column["levels"]))
            else:
                distances[column["name"]] = float(ks_2samp(x, y, method="asymp").statistic)
                moved.append(wasserstein_distance(x, y) / scales[place])
        return {
            "marginal": float(np.mean([*distances.values()])) if distances else None,
            "columns": distances,
            "wasserstein": float(np.mean(moved)) if moved else None,
        }

    protocol = {"of": "mean of total variation (levels) and Kolmogorov-Smirnov (numbers)", "reference": real.train}
    return Computation(values, lambda: protocol)


MARGINAL = Measure(
    (
        Metric(
            "marginal",
            "mean over columns of their distance from 0 to 1: total variation of levels, Kolmogorov-Smirnov of numbers",
            expected="0",
            better=-1,
        ),
    ),
    marginal,
    data="a table",
)
