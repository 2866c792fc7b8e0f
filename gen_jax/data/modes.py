"""The modes of the numbers of a table, by which nets read them: a mixture of Gaussians for each column. Nothing here imports JAX.

Xu et al. 2019 (CTGAN, arXiv 1907.00503), section 4.2: a variational mixture finds how many modes a column has.
"""

import warnings
from typing import Any

import numpy as np

from gen_jax.data.spec import Spec, columns, to_model

MOST = 10  # modes of a column
LEAST = 0.005  # weight of a mode that is kept
FLOOR = 1e-8  # variance of a mode, in model space, at least: a value that repeats is a mode of its own
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
    """The modes of a column, by some of its values; by all of them where none of those is there."""
    from sklearn.mixture import BayesianGaussianMixture

    seen = some[~np.isnan(some)]
    seen = seen if len(seen) > 1 else np.resize(x[~np.isnan(x)], 2)
    mixture = BayesianGaussianMixture(
        n_components=min(MOST, len(np.unique(seen))),
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=1e-3,
        reg_covar=FLOOR,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged: it need not
        mixture.fit(seen[:, None])
    kept = mixture.weights_ > LEAST
    weight = mixture.weights_[kept] / mixture.weights_[kept].sum()
    found: dict[str, Any] = {"weight": weight, "mean": mixture.means_[kept, 0]}
    found["deviation"] = np.sqrt(mixture.covariances_[kept, 0, 0])
    return {name: [float(f"{value:.{DIGITS}g}") for value in values] for name, values in found.items()}
