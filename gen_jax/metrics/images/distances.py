"""Distances between the distributions of two sets of features, in float64. Nothing here knows where features come from."""

import numpy as np

from gen_jax.metrics.images.neighbours import blocks


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """|m1 - m2|^2 + Tr(S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2), of Gaussians fitted to features [N, F] and [M, F].

    The symmetric root by `eigh`, whose rounding noise is cut off, so that neither fewer rows than features nor a
    constant feature makes it fail. Heusel et al. 2017 (arXiv 1706.08500), equation 6.
    """
    (mean, one), (other_mean, other) = _gaussian(x), _gaussian(y)
    root = _root(one)
    cross = np.sqrt(_positive(np.linalg.eigvalsh(root @ other @ root))).sum()
    return max(float(np.square(mean - other_mean).sum() + np.trace(one) + np.trace(other) - 2 * cross), 0.0)


def _gaussian(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [F] and unbiased covariance [F, F]."""
    x = np.asarray(x, np.float64)
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / max(len(x) - 1, 1)  # of one array: half the products


def _root(matrix: np.ndarray) -> np.ndarray:
    """The symmetric root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(_positive(values)) @ vectors.T


def _positive(values: np.ndarray) -> np.ndarray:
    """Eigenvalues without those that are negative or no more than rounding of the largest."""
    return np.where(values > values.max() * len(values) * np.finfo(np.float64).eps, values, 0.0)


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased MMD^2 = mean of k(x, x') + mean of k(y, y') - 2 mean of k(x, y), k(a, b) = (a.b / F + 1)^3.

    Of features [N, F] and [M, F], over all pairs of different rows; below 0 by chance where the distributions are the
    same. Binkowski et al. 2018 (arXiv 1801.01401), equations 4 and 5.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    within = [(_kernel_sum(a, a) - _cubic((a * a).sum(1), a).sum()) / (len(a) * (len(a) - 1)) for a in (x, y)]
    return float(sum(within) - 2 * _kernel_sum(x, y) / (len(x) * len(y)))


def _cubic(product: np.ndarray, x: np.ndarray) -> np.ndarray:
    base = product / x.shape[1] + 1
    return base * base * base


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    """The sum of k over all pairs."""
    return sum(float(_cubic(x[part] @ y.T, x).sum()) for part in blocks(len(x), len(y)))


def inception_score(log_prob: np.ndarray) -> float:
    """exp(mean of KL(p(y|x) || p(y))) of class log-probabilities [N, K]: 1 to K. Salimans et al. 2016, section 4."""
    log_prob = np.asarray(log_prob, np.float64)
    prob = np.exp(log_prob)
    share = prob.mean(0, keepdims=True)
    terms = np.where(prob > 0, log_prob - np.log(np.where(share > 0, share, 1)), 0)
    return float(np.exp((prob * terms).sum(1).mean()))
