"""The Frechet distance and precision, recall, density and coverage of features beside their formulas in NumPy and SciPy.

The formulas as their papers have them: a root of the product of covariances by `scipy.linalg.sqrtm`, and matrices of all distances
by matrix products.
"""

from functools import partial

import numpy as np

from pairs import Pair, Run, Setting

ROWS, FEATURES, NEIGHBOURS = {"frechet": 10_000, "prdc": 4_000}, 256, 5


def features(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Made-up features of samples and of real rows [N, FEATURES], which overlap."""
    random = np.random.default_rng(0)
    mixing = random.normal(size=(FEATURES, FEATURES)) / FEATURES**0.5
    return tuple((random.normal(shift, 1, (rows, FEATURES)) @ mixing).astype(np.float32) for shift in (0.05, 0))


def ours(setting: Setting, name: str) -> Run:
    from gen_jax.metrics.images.distances import frechet_distance
    from gen_jax.metrics.images.neighbours import neighbour_statistics

    x, y = features(ROWS[name])
    score = frechet_distance if name == "frechet" else partial(neighbour_statistics, k=NEIGHBOURS)
    return partial(counted, score, x, y)


def formulas(setting: Setting, name: str) -> Run:
    return partial(counted, {"frechet": frechet, "prdc": prdc}[name], *features(ROWS[name]))


def counted(score, x: np.ndarray, y: np.ndarray) -> int:
    """One score."""
    score(x, y)
    return 1


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Heusel et al. 2017 (arXiv 1706.08500), equation 6."""
    from scipy.linalg import sqrtm

    one, other = (np.cov(each, rowvar=False) for each in (x, y))
    return np.square(x.mean(0) - y.mean(0)).sum() + np.trace(one + other - 2 * sqrtm(one @ other).real)


def prdc(x: np.ndarray, y: np.ndarray) -> tuple[float, ...]:
    """Naeem et al. 2020 (arXiv 2002.09797), section 3: x are samples, y real rows."""
    x_radii, y_radii = (np.partition(apart(each, each), NEIGHBOURS, axis=1)[:, NEIGHBOURS] for each in (x, y))
    distances = apart(y, x)
    within = distances < y_radii[:, None]
    recall = (distances < x_radii[None]).any(1).mean()
    return within.any(0).mean(), recall, within.sum(0).mean() / NEIGHBOURS, within.any(1).mean()


def apart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distances [N, M] in float64 by a matrix product, as scikit-learn has them."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    squared = np.square(x).sum(1)[:, None] + np.square(y).sum(1) - 2 * (x @ y.T)
    return np.sqrt(np.maximum(squared, 0))


PAIRS = {
    name: Pair(work.format(ROWS[name], FEATURES), partial(ours, name=name), {"formula": partial(formulas, name=name)})
    for name, work in {
        "frechet": "Frechet distance of 2 x {:,} rows of {} features",
        "prdc": "precision, recall, density, coverage of 2 x {:,} rows of {} features",
    }.items()
}
