"""Fits the modes by which nets read the numbers of a table: a mixture of Gaussians for each column. No JAX.

See Xu et al. 2019 (CTGAN, arXiv 1907.00503), section 4.2. A variational mixture determines the number of modes of a
column.
"""

import warnings
from typing import Any

import numpy as np

from gen_jax.data.spec import Spec, columns, to_model

MOST = 10  # largest number of modes of a column
LEAST = 0.005  # smallest weight of a mode that is kept
SPIKE, NARROW = 0.25, 1e-5  # share of rows above which a single number is a mode; standard deviation of this mode
PRIOR = 0.1  # prior variance of a mode in model space, where the variance of the column is 1
ROWS = 10_000  # largest number of rows to which a mixture is fitted
DIGITS = 6  # significant digits of the results, so that all machines get the same results


def with_modes(spec: Spec, x: np.ndarray) -> Spec:
    """Returns a table whose columns of numbers have `modes`.

    The modes are their weight, mean and standard deviation in model space.

    Args:
      spec: facts of the table.
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
    """Returns the weight, mean and standard deviation of the modes of a column.

    A number that many rows share, such as no capital gain, is a narrow mode. A sample of this mode is then exactly this
    number.

    Args:
      subset: values [n] of the column to which the modes are fitted.
      x: all values [N] of the column, which are used if all cells of the subset are missing.
    """
    observed = subset[~np.isnan(subset)]
    if not len(observed):
        observed = x[~np.isnan(x)]
    values, counts = np.unique(observed, return_counts=True)
    frequent = counts > SPIKE * len(observed)
    spikes, weight = values[frequent], counts[frequent] / len(observed)
    facts = {"weight": weight, "mean": spikes, "deviation": np.full(len(spikes), NARROW)}
    rest = observed[~np.isin(observed, spikes)]
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
        warnings.simplefilter("ignore")  # because the fit need not converge
        mixture.fit(x[:, None])
    kept = mixture.weights_ > LEAST
    weight = mixture.weights_[kept] / mixture.weights_[kept].sum()
    return {"weight": weight, "mean": mixture.means_[kept, 0], "deviation": np.sqrt(mixture.covariances_[kept, 0, 0])}
