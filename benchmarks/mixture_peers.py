"""EM of `models.mixture`, Gaussians of full covariance, beside scikit-learn's and pomegranate's, alternating in one process.

    pip install pomegranate
    python benchmarks/mixture_peers.py [--rounds 5] [--iterations 10] [--threads 2]

The same rows, start and number of iterations. Prints medians in milliseconds an iteration, their ratios, and how far the
means end from those of scikit-learn in float64; compilation is not counted. scikit-learn's time holds one E-step more,
after the last iteration. A peer that cannot be imported is named and left out.
"""

import argparse
import importlib.util
import os
import statistics
import warnings
from collections.abc import Callable

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--iterations", type=int, default=10)
parser.add_argument("--threads", type=int, default=os.cpu_count())
FLAGS = parser.parse_args()
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: FLAGS.threads])  # before a library counts the cores

import jax
import jax.numpy as jnp
import numpy as np
from alternate import times
from sklearn.mixture import GaussianMixture

from gen_jax.data.spec import Spec
from gen_jax.models.mixture import mixture

SHAPES = ((200_000, 2, 8), (200_000, 25, 8), (20_000, 25, 32))  # rows, numbers, components
FLOOR = 1e-6
Run = Callable[[], np.ndarray]  # all iterations from the start -> means [K, D]


def problem(rows: int, size: int, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clusters [N, D], and the means where EM begins, with unit covariances and equal weights."""
    random = np.random.default_rng(0)
    means = random.normal(0, 2, (components, size))
    x = means[random.integers(components, size=rows)] + random.normal(0, 1, (rows, size))
    return x, x[random.choice(rows, components, replace=False)]


def ours(x: np.ndarray, start: np.ndarray) -> Run:
    """Steps of `models.mixture`, the rows on the device."""
    spec = Spec("noise", "vector", x.shape[1:], "float32", 0.0, 1.0, -1.0, 1.0, None, {}, "", {})
    model = mixture(spec, len(start), floor=FLOOR)
    batch = {"x": jnp.asarray(x, jnp.float32)}
    first = jax.eval_shape(model.init, jax.random.key(0), batch)
    fresh = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), first)
    even, unit = np.full(len(start), -np.log(len(start))), np.tile(np.eye(x.shape[1]), (len(start), 1, 1, 1))
    named = {"log_weight": even, "mean": start[:, None], "covariance": unit}
    params = fresh.params._replace(**{name: jnp.asarray(each, jnp.float32) for name, each in named.items()})
    step = jax.jit(model.step)

    def run() -> np.ndarray:
        state = fresh._replace(params=params)
        for _ in range(FLAGS.iterations):
            state, _ = step(jax.random.key(0), state, batch)
        return np.asarray(state.params.mean[:, 0])

    return run


def scikit(x: np.ndarray, start: np.ndarray, dtype: str) -> Run:
    """scikit-learn's, which computes in the type of the rows."""
    begin = {"weights_init": np.full(len(start), 1 / len(start)), "means_init": start}
    begin["precisions_init"] = np.tile(np.eye(x.shape[1]), (len(start), 1, 1))
    begin = {name: each.astype(dtype) for name, each in begin.items()}
    model = GaussianMixture(len(start), max_iter=FLAGS.iterations, tol=0, reg_covar=FLOOR, **begin)
    rows = x.astype(dtype)
    return lambda: model.fit(rows).means_


def pomegranate(x: np.ndarray, start: np.ndarray) -> Run:
    """pomegranate's, in float32."""
    import torch
    from pomegranate.distributions import Normal
    from pomegranate.gmm import GeneralMixtureModel

    rows, means, unit = torch.tensor(x, dtype=torch.float32), torch.tensor(start).float(), torch.eye(x.shape[1])

    def run() -> np.ndarray:
        parts = [Normal(mean.clone(), unit.clone()) for mean in means]
        even = torch.full((len(parts),), 1 / len(parts))
        model = GeneralMixtureModel(parts, priors=even, max_iter=FLAGS.iterations, tol=-float("inf"))
        model.fit(rows)
        return np.stack([part.means.detach().numpy() for part in model.distributions])

    return run


def main() -> None:
    warnings.simplefilter("ignore")
    for shape in SHAPES:
        print("rows {:,}, numbers {}, components {}".format(*shape))
        x, start = problem(*shape)
        runs = {"gen_jax": ours(x, start)}
        runs |= {f"scikit-learn, {dtype}": scikit(x, start, dtype) for dtype in ("float64", "float32")}
        if importlib.util.find_spec("pomegranate"):
            runs["pomegranate"] = pomegranate(x, start)
        else:
            print("  pomegranate: not installed")
        exact = runs["scikit-learn, float64"]()
        apart = {name: np.abs(run() - exact).max() for name, run in runs.items()}
        medians = {name: statistics.median(ms) / FLAGS.iterations for name, ms in times(runs, FLAGS.rounds).items()}
        for name, ms in medians.items():
            print(f"  {name:22} {ms:8.2f} ms, {ms / medians['gen_jax']:6.2f} x, means off by {apart[name]:.1e}")


if __name__ == "__main__":
    main()
