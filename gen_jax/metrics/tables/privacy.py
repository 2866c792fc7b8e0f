"""The share of samples of a table that are nearer to training rows than to other rows of the same distribution."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.data.spec import columns
from gen_jax.metrics.features import Real, Rows, subset
from gen_jax.metrics.images.neighbours import squared_distances
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.tables.encoding import encoded

SAMPLES = 2000  # samples whose nearest rows are searched for, at most
DISTANCE = "Euclidean, numbers with deviation 1, two levels 1 apart"


def nearer(samples: np.ndarray, train: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the probability [N] that a training row is nearest, among M random training rows and the M others.

    Ties count half. The mean is 0.5 if training rows and others have one distribution.

    Args:
      samples: rows [N, F].
      train: training rows [T, F].
      others: rows [M, F] with M <= T.
    """
    parts, everything = [], np.concatenate([train, others])
    for _, squared in squared_distances(samples, everything):
        to_train, to_others = squared[:, : len(train)], squared[:, len(train) :]
        least = to_others.min(1, keepdims=True)
        slack = 1e-9 * (1 + least)  # because of the rounding: equal rows are equally far
        counts = [(to_train < least + side * slack).sum(1) for side in (-1, 1)]
        parts.append(np.mean([1 - _none_of(len(train), len(others), count) for count in counts], 0))
    return np.concatenate(parts)


def _none_of(rows: int, num_drawn: int, near: np.ndarray) -> np.ndarray:
    """Returns the probability that none of the near rows is among the drawn rows.

    Args:
      rows: number of rows.
      num_drawn: number of rows that are drawn without replacement.
      near: number of near rows [N].
    """
    from scipy.special import gammaln  # slow to import

    far = rows - near
    log_p = (
        gammaln(far + 1.0)
        - gammaln(np.maximum(far - num_drawn, 0) + 1.0)
        - gammaln(rows + 1.0)
        + gammaln(rows - num_drawn + 1.0)
    )
    return np.where(far >= num_drawn, np.exp(log_p), 0.0)


def nearest_record(real: Real) -> Computation | None:
    """Prepares the share of samples that are nearer to a training row than to a held-out row, of equally many rows.

    The first half of the test rows is held out. The other half is the oracle.
    """
    spec, test = real.spec, real.test
    if not spec.tabular or test is None or spec.sizes[test] < 2:
        return None

    def halves() -> tuple[np.ndarray, np.ndarray]:
        x = subset(real.rows(test), spec.sizes[test])["x"]
        return x[: len(x) // 2], x[len(x) // 2 :]

    def values(samples: Rows) -> Mapping[str, Any]:
        train, others = real.rows(real.train)["x"], halves()[0]
        arrays = samples["x"][:SAMPLES], train, others[: len(train)]
        shares = nearer(*(_spread(real, x) for x in arrays))
        error = shares.std() / np.sqrt(len(shares))
        return {"nearest_record": float(shares.mean()), "standard_error": float(error)}

    def oracle(num: int) -> tuple[str, Rows]:
        return f"the other half of {test}", {"x": halves()[1][:num]}

    protocol = {"held_out": f"half of {test}", "distance": DISTANCE, "rows": f"the first {SAMPLES}"}
    return Computation(values, lambda: protocol, oracle)


def _spread(real: Real, x: np.ndarray) -> np.ndarray:
    """Returns encoded rows in which two levels are 1 apart."""
    numbers = sum("levels" not in column for column in columns(real.spec))
    x = encoded(real.spec, x)
    return np.concatenate([x[:, :numbers], x[:, numbers:] / np.sqrt(2)], 1)


NEAREST_RECORD = Measure(
    (
        Metric(
            "nearest_record",
            "share of samples that are nearer to a training row than to a held-out row, of equally many rows",
            expected="0.5",
        ),
    ),
    nearest_record,
    data="a table, and a test split of two rows or more (of a table of your own: data.test_path)",
    oracle="the other half of the test rows",
)
