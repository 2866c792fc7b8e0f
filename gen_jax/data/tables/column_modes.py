"""Fits the modes by which nets read the numbers of a table: a mixture of Gaussians for each column. No JAX.

Xu et al. 2019 (CTGAN, arXiv 1907.00503), section 4.2: a variational mixture determines the number of modes of a column.
"""

import warnings
from typing import Any

import numpy as np

from gen_jax.data.spec import Spec, columns, to_model

MOST = 10  # modes of a column
LEAST = 0.005  # weight of a mode that is kept
SPIKE, NARROW = 0.25, 1e-5  # share of rows with the same number above which it is a mode; its standard deviation
PRIOR = 0.1  # of the variance of a mode in model space, where the variance of the column is 1
ROWS = 10_000  # to which a mixture is fitted, at most
DIGITS = 6  # of the figures, so that all machines have the same


def with_modes(spec: Spec, x: np.ndarray) -> Spec:
    """Returns a table whose columns of numbers have `modes`: weight, mean and deviation of the modes in model space.

    Args:
      spec: the facts of the table.
      x: raw rows [N, D].
    """
    x = to_model(spec, x).astype(np.float64)  # NaN if a cell is missing
    order = np.random.default_rng(0).permutation(len(x))[:ROWS]
    schema = [
        column if "levels" in column else {**column, "modes": modes(x[order, place], x[:, place])}
        for place, column in enumerate(columns(spec))
    ]
    return spec._replace(info={**spec.info, "columns": schema})


def modes(subset: np.ndarray, x: np.ndarray) -> dict[str, list[float]]:
    """Returns weight, mean and deviation of the modes of a column.

    A number that many rows share, such as no capital gain, is a narrow mode, so that a sample of it is this number.

    Args:
      subset: values of the column to which the modes are fitted [n].
      x: all values of the column [N], for a subset whose cells are all missing.
    """
    seen = subset[~np.isnan(subset)]
    if not len(seen):
        seen = x[~np.isnan(x)]
    values, counts = np.unique(seen, return_counts=True)
    frequent = counts > SPIKE * len(seen)
    spikes, weight = values[frequent], counts[frequent] / len(seen)
    facts = {"weight": weight, "mean": spikes, "deviation": np.full(len(spikes), NARROW)}
    rest = seen[~np.isin(seen, spikes)]
    if len(rest) > 1:
        fitted = _mixture(rest)
        fitted["weight"] = fitted["weight"] * (1 - weight.sum())
        facts = {name: np.concatenate([figures, fitted[name]]) for name, figures in facts.items()}
    return {name: [float(f"{value:.{DIGITS}g}") for value in figures] for name, figures in facts.items()}


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
        warnings.simplefilter("ignore")  # it need not converge
        mixture.fit(x[:, None])
    kept = mixture.weights_ > LEAST
    weight = mixture.weights_[kept] / mixture.weights_[kept].sum()
    return {"weight": weight, "mean": mixture.means_[kept, 0], "deviation": np.sqrt(mixture.covariances_[kept, 0, 0])}
