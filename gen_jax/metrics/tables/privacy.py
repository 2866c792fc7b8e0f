"""Whether samples of a table are nearer to the rows that were learnt from than to others of the same kind."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import gammaln

from gen_jax.metrics.features import Real, Rows, some
from gen_jax.metrics.images.neighbours import squared_distances
from gen_jax.metrics.measure import Measure
from gen_jax.metrics.tables.encoding import encoded

SAMPLES = 2000  # whose nearest rows are looked for, at most
DISTANCE = "Euclidean, numbers with deviation 1, two levels 1 apart"


def nearer(samples: np.ndarray, train: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each sample [N, F] the chance that of `train` [T, F], as many drawn at random as there are `others` [M, F], M <= T,
    one is nearer than all the others; ties count half. 0.5 on average where rows of both kinds are alike."""
    found, everything = [], np.concatenate([train, others])
    for _, squared in squared_distances(samples, everything):
        to_train, to_others = squared[:, : len(train)], squared[:, len(train) :]
        least = to_others.min(1, keepdims=True)
        slack = 1e-9 * (1 + least)  # of rounding: equal rows are equally far
        counts = [(to_train < least + side * slack).sum(1) for side in (-1, 1)]
        found.append(np.mean([1 - _none_of(len(train), len(others), count) for count in counts], 0))
    return np.concatenate(found)


def _none_of(rows: int, drawn: int, near: np.ndarray) -> np.ndarray:
    """The chance that none of `near` rows is among those drawn of all."""
    far = rows - near
    log_p = (
        gammaln(far + 1.0)
        - gammaln(np.maximum(far - drawn, 0) + 1.0)
        - gammaln(rows + 1.0)
        + gammaln(rows - drawn + 1.0)
    )
    return np.where(far >= drawn, np.exp(log_p), 0.0)


def nearest_record(real: Real) -> Measure | None:
    """Share of samples that are nearer to a row learnt from than to a held-out one, of as many of either; 0.5 is best.

    Held out is the first half of the test rows; the other half are the oracle.
    """
    spec = real.spec
    if not spec.tabular or real.test is None or spec.sizes[real.test] < 2:
        return None

    def halves() -> tuple[np.ndarray, np.ndarray]:
        x = some(real.rows(real.test), spec.sizes[real.test])["x"]
        return x[: len(x) // 2], x[len(x) // 2 :]

    def values(samples: Rows) -> Mapping[str, Any]:
        train, others = real.rows(real.train)["x"], halves()[0]
        some_of, train, others = (_spread(real, x) for x in (samples["x"][:SAMPLES], train, others[: len(train)]))
        each = nearer(some_of, train, others)
        return {"nearest_record": float(each.mean()), "standard_error": float(each.std() / np.sqrt(len(each)))}

    def oracle(num: int) -> tuple[str, Rows]:
        return f"the other half of {real.test}", {"x": halves()[1][:num]}

    protocol = {"held_out": f"half of {real.test}", "distance": DISTANCE, "rows": f"the first {SAMPLES}"}
    return Measure(values, lambda: protocol, oracle)


def _spread(real: Real, x: np.ndarray) -> np.ndarray:
    """Encoded rows in which two levels are 1 apart."""
    at = int(sum("levels" not in column for column in real.spec.info["columns"]))
    x = encoded(real.spec, x)
    return np.concatenate([x[:, :at], x[:, at:] / np.sqrt(2)], 1)
