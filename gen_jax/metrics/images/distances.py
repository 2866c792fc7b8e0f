"""Distances between the distributions of two sets of features, in float64."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.images.neighbours import blocks
from gen_jax.metrics.measure import Computation, Measure, Metric


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the Frechet distance of Gaussians fitted to two sets of features.

    |m_x - m_y|^2 + Tr(S_x + S_y - 2 (S_x^1/2 S_y S_x^1/2)^1/2): Heusel et al. 2017 (arXiv 1706.08500), equation 6. The
    symmetric root is by `eigh` with its rounding noise cut off. So it exists with fewer rows than features, and with a
    constant feature.

    Args:
      x: features [N, F].
      y: features [M, F].
    """
    x_mean, x_covariance = _gaussian(x)
    y_mean, y_covariance = _gaussian(y)
    root = _root(x_covariance)
    cross = np.sqrt(_positive(np.linalg.eigvalsh(root @ y_covariance @ root))).sum()
    between_means = np.square(x_mean - y_mean).sum()
    return max(float(between_means + np.trace(x_covariance) + np.trace(y_covariance) - 2 * cross), 0.0)


def _gaussian(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean [F] and the unbiased covariance [F, F] of rows."""
    x = np.asarray(x, np.float64)
    mean = x.mean(0)
    centred = x - mean
    scatter = centred.T @ centred  # of one array, because NumPy then computes half of the products
    return mean, scatter / max(len(x) - 1, 1)


def _root(matrix: np.ndarray) -> np.ndarray:
    """Returns the symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(_positive(values)) @ vectors.T


def _positive(values: np.ndarray) -> np.ndarray:
    """Returns eigenvalues with 0 for values that are negative or within the rounding of the largest."""
    return np.where(values > values.max() * len(values) * np.finfo(np.float64).eps, values, 0.0)


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the unbiased squared MMD of two sets of features with the kernel k(a, b) = (a.b / F + 1)^3.

    MMD^2 = mean of k(x, x') + mean of k(y, y') - 2 mean of k(x, y), over all pairs of different rows. Between equal
    distributions it is below 0 by chance. Binkowski et al. 2018 (arXiv 1801.01401), equations 4 and 5.

    Args:
      x: features [N, F].
      y: features [M, F].
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    within = [(_kernel_sum(a, a) - _cubic((a * a).sum(1), a).sum()) / (len(a) * (len(a) - 1)) for a in (x, y)]
    return float(sum(within) - 2 * _kernel_sum(x, y) / (len(x) * len(y)))


def _cubic(product: np.ndarray, x: np.ndarray) -> np.ndarray:
    base = product / x.shape[1] + 1
    return base * base * base


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    """Returns the sum of the kernel over all pairs of rows."""
    return sum(float(_cubic(x[part] @ y.T, x).sum()) for part in blocks(len(x), len(y)))


def inception_score(log_prob: np.ndarray) -> float:
    """Returns the inception score, exp(mean of KL(p(y|x) || p(y))), from 1 to K.

    Salimans et al. 2016 (arXiv 1606.03498), section 4.

    Args:
      log_prob: log-probabilities of the classes [N, K].
    """
    log_prob = np.asarray(log_prob, np.float64)
    prob = np.exp(log_prob)
    share = prob.mean(0, keepdims=True)
    terms = np.where(prob > 0, log_prob - np.log(np.where(share > 0, share, 1)), 0)
    return float(np.exp((prob * terms).sum(1).mean()))


def frechet(real: Real) -> Computation | None:
    """Prepares the Frechet distance from the features of train rows to the features of samples."""
    return _distance(real, "frechet", frechet_distance)


def kernel(real: Real) -> Computation | None:
    """Prepares the unbiased squared MMD between the features of train rows and the features of samples."""
    return _distance(real, "kernel", kernel_distance)


def _distance(real: Real, name: str, distance: Callable[[np.ndarray, np.ndarray], float]) -> Computation | None:
    features = real.features
    if features is None or real.spec.sizes[real.train] < 2:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        return {name: distance(features.embed(samples["x"]), features.reference())}

    return Computation(values, features.protocol)


FRECHET = Measure(
    (
        Metric(
            "frechet",
            "Frechet distance of Gaussians fitted to the features of train rows and of samples",
            expected="0",
            better=-1,
            selects=True,
        ),
    ),
    frechet,
    data="labels, or rows of at most 256 numbers",
    least=2,
    reference="Heusel et al. 2017 (arXiv 1706.08500), equation 6",
)
KERNEL = Measure(
    (
        Metric(
            "kernel",
            "unbiased squared MMD with a cubic kernel between the features of train rows and of samples",
            expected="0",
            better=-1,
            selects=True,
        ),
    ),
    kernel,
    data="labels, or rows of at most 256 numbers",
    least=2,
    reference="Binkowski et al. 2018 (arXiv 1801.01401), equations 4 and 5",
)
