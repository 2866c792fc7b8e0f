"""The modes of the numbers of a table, by which nets read them: a mixture of Gaussians for each column. Nothing here imports JAX.

Xu et al. 2019 (CTGAN, arXiv 1907.00503), section 4.2: a variational mixture finds how many modes a column has.
"""

import warnings
from typing import Any

import numpy as np

from gen_jax.data.spec import Spec, columns, to_model

MOST = 10  # modes of a column
LEAST = 0.005  # weight of a mode that is kept
SPIKE, NARROW = 0.25, 1e-5  # share of rows with one and the same number that make it a mode of its own; its deviation
PRIOR = 0.1  # of the variance of a mode, in model space, where that of the column is 1
ROWS = 10_000  # rows that a mixture is fitted to, at most
DIGITS = 6  # of what is found, so that it is the same wherever it is found


def with_modes(spec: Spec, x: np.ndarray) -> Spec:
    """A table whose columns of numbers have `modes`, fitted to raw rows x [N, D]: weight, mean and deviation of each mode,
    in model space."""
    x = to_model(spec, x).astype(np.float64)  # NaN where a cell is empty
    order = np.random.default_rng(0).permutation(len(x))[:ROWS]
    schema = [
        column if "levels" in column else {**column, "modes": modes(x[order, at], x[:, at])}
        for at, column in enumerate(columns(spec))
    ]
    return spec._replace(info={**spec.info, "columns": schema})


def modes(some: np.ndarray, x: np.ndarray) -> dict[str, list[float]]:
    """The modes of a column, by some of its values; by all of them where none of those is there.

    A number that is often exactly the same, such as no capital gain, is a narrow mode, so that it comes back as it was.
    """
    seen = some[~np.isnan(some)]
    seen = seen if len(seen) else x[~np.isnan(x)]
    values, counts = np.unique(seen, return_counts=True)
    often = values[counts > SPIKE * len(seen)]
    weight = counts[counts > SPIKE * len(seen)] / len(seen)
    found = {"weight": weight, "mean": often, "deviation": np.full(len(often), NARROW)}
    rest = seen[~np.isin(seen, often)]
    if len(rest) > 1:
        fitted = _mixture(rest)
        fitted["weight"] = fitted["weight"] * (1 - weight.sum())
        found = {name: np.concatenate([values, fitted[name]]) for name, values in found.items()}
    return {name: [float(f"{value:.{DIGITS}g}") for value in values] for name, values in found.items()}


def _mixture(x: np.ndarray) -> dict[str, Any]:
    from sklearn.mixture import BayesianGaussianMixture

    mixture = BayesianGaussianMixture(
        n_components=min(MOST, len(np.unique(x))),
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=1e-3,
        covariance_prior=[[PRIOR]],
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged: it need not
        mixture.fit(x[:, None])
    kept = mixture.weights_ > LEAST
    weight = mixture.weights_[kept] / mixture.weights_[kept].sum()
    return {"weight": weight, "mean": mixture.means_[kept, 0], "deviation": np.sqrt(mixture.covariances_[kept, 0, 0])}
