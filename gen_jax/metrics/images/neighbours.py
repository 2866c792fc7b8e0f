"""Nearest neighbours of samples among real rows, which show fidelity, diversity and copies.

Distances are Euclidean. They are computed in blocks of rows, so that memory stays small for any number of rows.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.progress import progress

BLOCK = 1 << 20  # distances in memory at once, because a cache holds as many
LONG = 64  # numbers of a row above which float32 suffices: the distances of long rows are large beside its rounding
NEIGHBOURS = 5  # k of precision, recall, density and coverage


def blocks(rows: int, columns: int) -> Iterator[slice]:
    """Returns slices of rows, such that a matrix of a slice and all columns has at most `BLOCK` entries."""
    size = max(1, BLOCK // max(columns, 1))
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def squared_distances(
    x: np.ndarray, y: np.ndarray, dtype: type[np.floating] = np.float64
) -> Iterator[tuple[slice, np.ndarray]]:
    """Yields |x_i - y_j|^2 [block, M] for one block of the rows of x after the other, against all rows of y.

    It is |x|^2 + |y|^2 - 2 x.y around the mean of y. A difference within the rounding is set to 0, so that equal rows
    have the distance 0.

    Args:
      x: rows [N, D].
      y: rows [M, D].
      dtype: of the distances.

    Yields:
      The slice of the rows of x, and their squared distances.
    """
    mean = y.mean(0)
    x, y = (x - mean).astype(dtype), (y - mean).astype(dtype)
    x_square, y_square = np.square(x).sum(1), np.square(y).sum(1)
    noise = 64 * np.finfo(dtype).eps
    for part in progress([*blocks(len(x), len(y))], "distances", "block"):
        size = x_square[part, None] + y_square
        squared = size - 2 * (x[part] @ y.T)
        squared[squared < noise * size] = 0
        yield part, squared


def radii(x: np.ndarray, k: int) -> np.ndarray:
    """Returns the squared distance [N] from each row of x [N, D] to its k-th nearest other row."""
    squared_radii = np.empty(len(x))
    for part, squared in squared_distances(x, x):
        squared[np.arange(len(squared)), np.arange(part.start, part.stop)] = -1  # the row itself comes first
        squared_radii[part] = np.partition(squared, k, axis=1)[:, k]
    return squared_radii


def neighbour_statistics(samples: np.ndarray, real: np.ndarray, k: int) -> dict[str, float]:
    """Returns precision, recall, density and coverage, by balls that reach to the k-th nearest neighbour in each set.

    B(r) is the ball around r. Precision is the share of samples in any B(real), recall the share of real rows in any
    B(sample): Kynkaanniemi et al. 2019 (arXiv 1904.06991), equations 1 and 2. Density is the mean over samples of the
    number of B(real) around them, divided by k. Coverage is the share of B(real) with a sample: Naeem et al. 2020
    (arXiv 2002.09797), section 3. Equal distributions with N = M have density 1 and coverage 1 - 2^-k.

    Args:
      samples: features [N, D].
      real: features [M, D] of real rows.
      k: number of neighbours, below N and M.
    """
    sample_radii, real_radii = radii(samples, k), radii(real, k)
    inside, dense = 0, 0
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for part, squared in squared_distances(samples, real):
        within = squared < real_radii[None]
        inside += int(within.any(1).sum())
        dense += int(within.sum())
        covered |= within.any(0)
        recalled |= (squared < sample_radii[part, None]).any(0)
    return {
        "precision": inside / len(samples),
        "recall": float(recalled.mean()),
        "density": dense / (k * len(samples)),
        "coverage": float(covered.mean()),
    }


def nearest(x: np.ndarray, y: np.ndarray, others: bool = False) -> np.ndarray:
    """Returns the distance [N] from each row of x to the nearest row of y.

    The neighbour of long rows is searched for in float32; its distance is exact.

    Args:
      x: rows [N, D].
      y: rows [M, D].
      others: y is x, and no row is its own neighbour.
    """
    dtype = np.float32 if x.shape[1] > LONG else np.float64
    index = np.empty(len(x), np.int64)
    for part, squared in squared_distances(x, y, dtype):
        if others:
            squared[np.arange(len(squared)), np.arange(part.start, part.stop)] = np.inf
        index[part] = squared.argmin(1)
    distance = np.empty(len(x))
    for part in blocks(len(x), x.shape[1]):
        distance[part] = np.sqrt(np.square(x[part].astype(np.float64) - y[index[part]]).sum(1))
    return distance


def prdc(real: Real) -> Computation | None:
    """Prepares precision, recall, density and coverage, of equally many samples and reference rows."""
    features = real.features
    if features is None or real.spec.sizes[real.train] <= NEIGHBOURS:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        x, reference = features.embed(samples["x"]), features.reference()
        num = min(len(x), len(reference))
        return neighbour_statistics(x[:num], reference[:num], NEIGHBOURS)

    def protocol() -> Mapping[str, Any]:
        return {**features.protocol(), "k": NEIGHBOURS, "rows": "as many samples as reference rows"}

    return Computation(values, protocol)


PRDC = Measure(
    (
        Metric("precision", "share of samples within the balls of real rows", better=1, selects=True),
        Metric("recall", "share of real rows within the balls of samples", better=1, selects=True),
        Metric("density", "mean number of balls of real rows around a sample, divided by k", expected="1"),
        Metric("coverage", "share of balls of real rows with a sample", expected="1 - 2^-k", better=1, selects=True),
    ),
    prdc,
    data="labels, or rows of at most 256 numbers",
    least=NEIGHBOURS + 1,
    reference="Kynkaanniemi et al. 2019 (arXiv 1904.06991), equations 1 and 2; "
    "Naeem et al. 2020 (arXiv 2002.09797), section 3",
)
