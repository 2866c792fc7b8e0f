"""EM of `models.mixture`, Gaussians of full covariance, beside scikit-learn's and pomegranate's.

The same rows, start and number of iterations. scikit-learn computes in the type of its rows; its time holds one E-step
more, after the last iteration.
"""

import warnings
from functools import partial

import numpy as np

from pairs import Pair, Run, Setting, spec_of

SHAPES = {  # rows, numbers, components, iterations of a round
    "mixture_rows": (200_000, 2, 8, 5),
    "mixture_numbers": (200_000, 25, 8, 2),
    "mixture_components": (20_000, 25, 32, 5),
}
FLOOR = 1e-6


def problem(rows: int, size: int, components: int, _: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clusters [N, D], and the means where EM begins, with unit covariances and equal weights."""
    random = np.random.default_rng(0)
    means = random.normal(0, 2, (components, size))
    x = means[random.integers(components, size=rows)] + random.normal(0, 1, (rows, size))
    return x, x[random.choice(rows, components, replace=False)]


def ours(setting: Setting, shape: tuple[int, ...]) -> Run:
    """Steps of `models.mixture`, the rows on the device."""
    import jax
    import jax.numpy as jnp

    from gen_jax.models.mixture import mixture

    x, start = problem(*shape)
    model = mixture(spec_of("vector", x.shape[1:]), len(start), floor=FLOOR)
    batch = {"x": jnp.asarray(x, jnp.float32)}
    first = jax.eval_shape(model.init, jax.random.key(0), batch)
    fresh = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), first)
    even, unit = np.full(len(start), -np.log(len(start))), np.tile(np.eye(x.shape[1]), (len(start), 1, 1, 1))
    named = {"log_weight": even, "mean": start[:, None], "covariance": unit}
    params = fresh.params._replace(**{name: jnp.asarray(each, jnp.float32) for name, each in named.items()})
    step = jax.jit(model.step)

    def run() -> int:
        state = fresh._replace(params=params)
        for _ in range(shape[3]):
            state, _ = step(jax.random.key(0), state, batch)
        jax.block_until_ready(state)
        return shape[3]

    return run


def scikit(setting: Setting, shape: tuple[int, ...], dtype: str) -> Run:
    """scikit-learn's."""
    from sklearn.mixture import GaussianMixture

    warnings.simplefilter("ignore")  # it has not converged
    x, start = problem(*shape)
    begin = {"weights_init": np.full(len(start), 1 / len(start)), "means_init": start}
    begin["precisions_init"] = np.tile(np.eye(x.shape[1]), (len(start), 1, 1))
    begin = {name: each.astype(dtype) for name, each in begin.items()}
    model = GaussianMixture(len(start), max_iter=shape[3], tol=0, reg_covar=FLOOR, **begin)
    rows = x.astype(dtype)

    def run() -> int:
        model.fit(rows)
        return shape[3]

    return run


def pomegranate(setting: Setting, shape: tuple[int, ...]) -> Run:
    """pomegranate's, in float32."""
    import torch
    from pomegranate.distributions import Normal
    from pomegranate.gmm import GeneralMixtureModel

    x, start = problem(*shape)
    rows, means, unit = torch.tensor(x, dtype=torch.float32), torch.tensor(start).float(), torch.eye(x.shape[1])

    def run() -> int:
        parts = [Normal(mean.clone(), unit.clone()) for mean in means]
        even = torch.full((len(parts),), 1 / len(parts))
        model = GeneralMixtureModel(parts, priors=even, max_iter=shape[3], tol=-float("inf"))
        model.fit(rows)
        return shape[3]

    return run


PAIRS = {
    name: Pair(
        "an iteration of EM of a mixture: {:,} x {} numbers, {} components".format(*shape),
        partial(ours, shape=shape),
        {
            "scikit-learn, float32": partial(scikit, shape=shape, dtype="float32"),
            "scikit-learn": partial(scikit, shape=shape, dtype="float64"),
            "pomegranate": partial(pomegranate, shape=shape),
        },
    )
    for name, shape in SHAPES.items()
}
