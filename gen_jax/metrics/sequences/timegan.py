"""TimeGAN's scores of series: can a small GRU tell samples from real rows, and what does it learn from them for real ones?

Yoon et al. 2019 (NeurIPS), section 5. The nets and their training are the authors' (a GRU of half as many units as
columns, Adam 1e-3, 128 rows a step, of a discriminator 128 real ones and 128 samples); rows are split in their own order,
so that no window of the last fifth has trained.
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
from gen_jax.metrics.measure import Measure
from gen_jax.nets.recurrent import Recurrent

BATCH, RATE, REPEATS = 128, 1e-3, 5
STEPS = {"discriminative_score": 2000, "predictive_score": 5000}
TRAINED = 0.8  # share of the rows that a discriminator learns from


class Reader(nn.Module):
    """One number for each frame [N, T] of series [N, T, D]."""

    units: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        layers = Recurrent("gru", self.units)
        return nn.Dense(1)(layers.unroll(layers.init_carry(len(x)), x)[1])[..., 0]


@partial(jax.jit, static_argnums=(0, 1, 2))
def learnt(net: Reader, loss: Callable, steps: int, key: jax.Array, x: jax.Array, y: jax.Array) -> Any:
    """The weights of `net` after `steps` of Adam on `loss(net(x), y)` of x [S, N, T, D], `BATCH` random rows of each of S."""
    init_key, batch_key = jax.random.split(key)
    params, tx = net.init(init_key, x[0, :1]), optax.adam(RATE)

    def step(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
        params, state = carry
        rows = jax.random.randint(key, (len(x), BATCH), 0, x.shape[1])
        some_x, some_y = (jax.vmap(lambda each, rows: each[rows])(each, rows) for each in (x, y))
        some_x, some_y = (each.reshape(-1, *each.shape[2:]) for each in (some_x, some_y))
        gradient = jax.grad(lambda params: loss(net.apply(params, some_x), some_y))(params)
        updates, state = tx.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, tx.init(params)), jax.random.split(batch_key, steps))[0][0]


def cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    """Of the last frame's logit."""
    return optax.sigmoid_binary_cross_entropy(logits[:, -1], y).mean()


def absolute(predicted: jax.Array, y: jax.Array) -> jax.Array:
    """Mean absolute error of every frame."""
    return jnp.abs(jax.nn.sigmoid(predicted) - y).mean()


def discriminative_score(real: np.ndarray, samples: np.ndarray, seed: int = 0) -> float:
    """|accuracy - 1/2| on held-out rows of a GRU that learnt to tell `samples` from `real` [N, T, D] in [0, 1]."""
    num = min(len(real), len(samples))
    cut = int(TRAINED * num)
    x, y = np.stack([real[:cut], samples[:cut]]), np.repeat([[1.0], [0.0]], cut, 1).astype(np.float32)
    net = Reader(max(1, real.shape[2] // 2))
    params = learnt(net, cross_entropy, STEPS["discriminative_score"], root(seed, "judges"), x, y)
    right = [(net.apply(params, each[cut:num])[:, -1] > 0) == side for each, side in ((real, True), (samples, False))]
    return float(abs(np.concatenate(right).mean() - 0.5))


def predictive_score(real: np.ndarray, samples: np.ndarray, seed: int = 0) -> float:
    """Mean absolute error on `real` of a GRU that learnt from `samples` to say the last column one frame ahead."""

    def task(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return x[None, :, :-1, : max(1, x.shape[2] - 1)], x[None, :, 1:, -1]

    net = Reader(max(1, real.shape[2] // 2))
    params = learnt(net, absolute, STEPS["predictive_score"], root(seed, "judges"), *task(samples))
    (x,), (y,) = task(real)
    return float(absolute(net.apply(params, x), y))


SCORES = {"discriminative_score": discriminative_score, "predictive_score": predictive_score}


def score(name: str, real: Real) -> Measure | None:
    """The score of that name, with the mean and the standard deviation of several trainings."""
    spec = real.spec
    if not (kind_of(spec).time and kind_of(spec).columns) or not comparable(spec) or spec.shape[0] < 2:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        reference = some_in_order(real.rows(real.train), len(samples["x"]))
        each = [SCORES[name](scaled(spec, reference), scaled(spec, samples["x"]), seed) for seed in range(REPEATS)]
        return {name: float(np.mean(each)), "deviation": float(np.std(each, ddof=1))}

    protocol = {
        "judge": "GRU of half as many units as columns",
        "steps": STEPS[name],
        "repeats": REPEATS,
        "reference": real.train,
    }
    return Measure(values, lambda: protocol, least=10)


def some_in_order(rows: Rows, num: int) -> np.ndarray:
    """As many rows as there are samples, in their own order."""
    order = np.sort(np.random.default_rng(0).permutation(len(rows["x"]))[:num])
    return rows["x"][order]


discriminative, predictive = (partial(score, name) for name in SCORES)
