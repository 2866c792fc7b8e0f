"""What nearest neighbours tell of samples: fidelity, diversity, copies of the training rows and of one another.

Distances are Euclidean, in blocks of rows, so that memory stays small whatever the number of rows.
"""

from collections.abc import Iterator

import numpy as np

BLOCK = 1 << 20  # distances held at once, which a cache holds too
LONG = 64  # rows of more numbers are far apart beside the rounding of float32


def blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of so many rows that a matrix of theirs with `columns` columns is at most `BLOCK` large."""
    size = max(1, BLOCK // max(columns, 1))
    return (slice(start, min(start + size, rows)) for start in range(0, rows, size))


def squared_distances(
    x: np.ndarray, y: np.ndarray, dtype: type[np.floating] = np.float64
) -> Iterator[tuple[slice, np.ndarray]]:
    """|x_i - y_j|^2 [block, M] for one block of the rows of x [N, D] after the other, against all of y [M, D].

    |x|^2 + |y|^2 - 2 x.y, around the mean of y; what is left by cancellation alone is 0, so that equal rows are.
    """
    mean = y.mean(0)
    x, y = (x - mean).astype(dtype), (y - mean).astype(dtype)
    x_square, y_square = np.square(x).sum(1), np.square(y).sum(1)
    noise = 64 * np.finfo(dtype).eps
    for part in blocks(len(x), len(y)):
        size = x_square[part, None] + y_square
        squared = size - 2 * (x[part] @ y.T)
        squared[squared < noise * size] = 0
        yield part, squared


def radii(x: np.ndarray, k: int) -> np.ndarray:
    """Squared distance [N] from each row of x [N, D] to the k-th nearest other row."""
    found = np.empty(len(x))
    for part, squared in squared_distances(x, x):
        squared[np.arange(len(squared)), np.arange(part.start, part.stop)] = -1  # itself comes first
        found[part] = np.partition(squared, k, axis=1)[:, k]
    return found


def neighbour_statistics(samples: np.ndarray, real: np.ndarray, k: int) -> dict[str, float]:
    """Precision, recall, density and coverage of samples [N, D] against real rows [M, D], by balls that end before the
    k-th nearest neighbour within each set; k < N, M.

    With B(r) the ball around r: precision is the share of samples in some B(real), recall that of real rows in some
    B(sample) (Kynkaanniemi et al. 2019, arXiv 1904.06991, equations 1 and 2); density the mean over samples of the
    number of B(real) around them, over k, and coverage the share of B(real) with a sample (Naeem et al. 2020, arXiv
    2002.09797, section 3). Equal distributions, N = M: density 1, coverage 1 - 2^-k.
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
    """Distance [N] from each row of x [N, D] to the nearest row of y [M, D]; where `others`, y is x and none is its own.

    The neighbour of long rows is searched for in float32; its distance is exact.
    """
    dtype = np.float32 if x.shape[1] > LONG else np.float64
    index = np.empty(len(x), np.int64)
    for part, squared in squared_distances(x, y, dtype):
        if others:
            squared[np.arange(len(squared)), np.arange(part.start, part.stop)] = np.inf
        index[part] = squared.argmin(1)
    found = np.empty(len(x))
    for part in blocks(len(x), x.shape[1]):
        found[part] = np.sqrt(np.square(x[part].astype(np.float64) - y[index[part]]).sum(1))
    return found
