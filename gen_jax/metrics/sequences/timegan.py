"""The scores of TimeGAN: a small GRU tells samples from real series, or is trained on samples to predict real series.

Yoon et al. 2019 (NeurIPS), section 5. The nets and their training are those of the authors: a GRU of half as many units
as columns, and Adam 1e-3 on 128 rows a step. A discriminator takes 128 real rows and 128 samples a step. Rows are split
in their own order, so that no window of the last fifth is trained on.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.data.kinds import kind_of
from gen_jax.keys import root
from gen_jax.metrics.features import Real, Rows, comparable
from gen_jax.metrics.images.classifier import scaled
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.progress import progress
from gen_jax.nets.recurrent import Recurrent

BATCH, RATE, REPEATS = 128, 1e-3, 5
STEPS = {"discriminative_score": 2000, "predictive_score": 5000}
Loss = Callable[[jax.Array, jax.Array], jax.Array]  # (predictions [B, T], y) -> mean loss
TRAINED = 0.8  # share of the rows that a discriminator is trained on


class Reader(nn.Module):
    """A GRU that gives one number [N, T] for each frame of series [N, T, D]."""

    units: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns a number for each frame of series [N, T, D], [N, T]."""
        layers = Recurrent("gru", self.units)
        return nn.Dense(1)(layers.unroll(layers.init_carry(len(x)), x)[1])[..., 0]


def read(net: Reader, params: Any, x: jax.Array | np.ndarray) -> jax.Array:
    """Returns the numbers [N, T] that a net with weights `params` gives for series x [N, T, D]."""
    apply: Callable[..., Any] = net.apply
    return apply(params, x)


@partial(jax.jit, static_argnums=(0, 1, 2))
def trained(net: Reader, loss: Loss, steps: int, key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
    """Trains a net with Adam on `loss(net(x), y)` and returns its weights.

    Args:
      net: the net.
      loss: (predictions [B, T], y) -> mean loss.
      steps: number of steps.
      key: of the initial weights and of the batches.
      x: series [S, N, T, D] of S sets; a step takes `BATCH` random rows of each set.
      y: targets [S, N, ...].
    """
    init_key, batch_key = jax.random.split(key)
    params = net.init(init_key, x[0, :1])
    tx = optax.adam(RATE)

    def step(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
        params, state = carry
        rows = jax.random.randint(key, (len(x), BATCH), 0, x.shape[1])
        batch_x, batch_y = (jax.vmap(lambda series, rows: series[rows])(array, rows) for array in (x, y))
        batch_x, batch_y = (array.reshape(-1, *array.shape[2:]) for array in (batch_x, batch_y))
        gradient = jax.grad(lambda params: loss(read(net, params, batch_x), batch_y))(params)
        updates, state = tx.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), jax.random.split(batch_key, steps))[0][0]


def cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the mean binary cross-entropy of the logit of the last frame."""
    return optax.sigmoid_binary_cross_entropy(logits[:, -1], y).mean()


def absolute(predicted: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the mean absolute error over all frames."""
    return jnp.abs(jax.nn.sigmoid(predicted) - y).mean()


def discriminative_score(real: np.ndarray, samples: np.ndarray, seed: int = 0) -> float:
    """Returns |accuracy - 1/2| on held-out rows of a GRU that is trained to tell samples from real rows.

    Args:
      real: series [N, T, D] in [0, 1].
      samples: series [M, T, D] in [0, 1].
      seed: of the training.
    """
    num = min(len(real), len(samples))
    cut = int(TRAINED * num)
    x = np.stack([real[:cut], samples[:cut]])  # [2, N, T, D]
    y = np.repeat([[1.0], [0.0]], cut, 1).astype(np.float32)  # [2, N]
    net = Reader(max(1, real.shape[2] // 2))
    params = trained(net, cross_entropy, STEPS["discriminative_score"], root(seed, "judges"), x, y)
    real_right = read(net, params, real[cut:num])[:, -1] > 0
    sample_right = ~(read(net, params, samples[cut:num])[:, -1] > 0)
    return float(abs(np.concatenate([real_right, sample_right]).mean() - 0.5))


def predictive_score(real: np.ndarray, samples: np.ndarray, seed: int = 0) -> float:
    """Returns the mean absolute error on real rows of a GRU that is trained on samples.

    The GRU predicts the last column one frame ahead from the other columns.

    Args:
      real: series [N, T, D] in [0, 1].
      samples: series [M, T, D] in [0, 1].
      seed: of the training.
    """

    def task(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x[None, :, :-1, : max(1, x.shape[2] - 1)], x[None, :, 1:, -1]

    net = Reader(max(1, real.shape[2] // 2))
    params = trained(net, absolute, STEPS["predictive_score"], root(seed, "judges"), *task(samples))
    x, y = task(real)
    return float(absolute(read(net, params, x[0]), y[0]))


def discriminative(real: Real) -> Computation | None:
    """Prepares the discriminative score, the mean of several trainings."""
    return _score(real, "discriminative_score", discriminative_score)


def predictive(real: Real) -> Computation | None:
    """Prepares the predictive score, the mean of several trainings."""
    return _score(real, "predictive_score", predictive_score)


def _score(real: Real, name: str, score: Callable[..., float]) -> Computation | None:
    spec = real.spec
    if not (kind_of(spec).time and kind_of(spec).columns) or not comparable(spec) or spec.shape[0] < 2:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        reference = ordered_subset(real.rows(real.train), len(samples["x"]))
        seeds = progress(range(REPEATS), "judges", "training")
        scores = [score(scaled(spec, reference), scaled(spec, samples["x"]), seed) for seed in seeds]
        return {name: float(np.mean(scores)), "deviation": float(np.std(scores, ddof=1))}

    protocol = {
        "judge": "GRU of half as many units as columns",
        "steps": STEPS[name],
        "repeats": REPEATS,
        "reference": real.train,
    }
    return Computation(values, lambda: protocol)


def ordered_subset(rows: Rows, num: int) -> np.ndarray:
    """Returns `num` random rows, or all rows if there are fewer, in their own order."""
    order = np.sort(np.random.default_rng(0).permutation(len(rows["x"]))[:num])
    return rows["x"][order]


DISCRIMINATIVE = Measure(
    (
        Metric(
            "discriminative_score",
            "|accuracy - 1/2| on held-out rows of a GRU that tells samples from real rows, mean of several trainings",
            expected="0",
            better=-1,
        ),
    ),
    discriminative,
    data="series of one length, of two frames or more",
    least=10,
    reference="Yoon et al. 2019 (NeurIPS), section 5",
)
PREDICTIVE = Measure(
    (
        Metric(
            "predictive_score",
            "mean absolute error on real rows in [0, 1] of a GRU that is trained on samples, mean of several trainings",
            better=-1,
        ),
    ),
    predictive,
    data="series of one length, of two frames or more",
    least=10,
    reference="Yoon et al. 2019 (NeurIPS), section 5",
)
