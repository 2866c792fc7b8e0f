"""The record of an emission density of a hidden Markov model, and the sums that densities share. No chains, no state.

Arrays are time-major: T frames, B sequences, K states. `x` is [T, B] int32 tokens or [T, B, D] float32. `observed`
marks the observed tokens [T, B] or the observed cells [T, B, D]; missing cells are marginalised. `shares` [T, B, K] are
the weights with which frames belong to states.

A prior is given as pseudo-counts, where 0 is no prior. The penalty is minus the logarithm of its density up to a
constant. `maximise` returns the mode of the posterior.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.distributions.linalg import matmul, quotient


class Emission(NamedTuple):
    """A family of densities as pure functions of its parameters, a pytree whose leaves have K as first axis."""

    start: Callable  # (key, x, observed, states) -> shares [T, B, K] for the fit of the first parameters
    log_likelihood: Callable  # (params, x, observed) -> [T, B, K] nats; 0 if all cells of a frame are missing
    statistics: Callable  # (x, observed, shares) -> expected statistics, a pytree whose leaves have K as first axis
    blend: Callable  # (old, new, keep, add) -> statistics of `keep` times the old and `add` times the new data
    maximise: Callable  # (statistics, params) -> params; states and cells without observations keep their params
    penalty: Callable  # (params) -> [], minus the log-density of the prior
    draw: Callable  # (key, params, z) -> x of one frame in state z []
    blank: Callable  # (states, x) -> params of the least information, for frames like x
    whole: bool = False  # whether a frame must be observed completely or not at all


def log_normalised(counts: jax.Array, old: jax.Array) -> jax.Array:
    """Returns rows of counts as log-probabilities.

    Args:
      counts: counts [..., N].
      old: log-probabilities [..., N], which a row without counts keeps.
    """
    total = counts.sum(-1, keepdims=True)
    return jnp.where(total > 0, jnp.log(quotient(counts, total)), old)


def dirichlet_penalty(log_prob: jax.Array, strength: float) -> jax.Array:
    """Returns -sum_k strength log p_k: a Dirichlet(1 + strength) prior on each row, up to its constant.

    Args:
      log_prob: log-probabilities [..., N].
      strength: pseudo-counts of each entry.
    """
    return -strength * log_prob.sum() if strength else jnp.zeros(())


def gathered(shares: jax.Array, cells: jax.Array) -> jax.Array:
    """Returns sum_t,b shares_tbk cells_tbd [K, D], computed as one matrix product.

    Args:
      shares: shares of the frames [T, B, K].
      cells: numbers of the frames [T, B, D].
    """
    return matmul(shares.reshape(-1, shares.shape[-1]).T, cells.reshape(-1, cells.shape[-1]))


def blend_counts(old: Any, new: Any, keep: jax.Array, add: jax.Array) -> Any:
    """Returns keep old + add new, for statistics that are sums (Cappe and Moulines 2009, arXiv 0712.4273, eq. 11).

    Args:
      old: old statistics, a tree.
      new: new statistics, a tree of the same shapes.
      keep: factor [] of the old statistics.
      add: factor [] of the new statistics.
    """
    return jax.tree.map(lambda old, new: keep * old + add * new, old, new)


def mean_cells(x: jax.Array, observed: jax.Array) -> jax.Array:
    """Returns the mean of the observed cells in each dimension [D]; 0 if no cell is observed.

    Args:
      x: numbers [T, B, D].
      observed: observed cells [T, B, D] bool.
    """
    return quotient(jnp.where(observed, x, 0).sum((0, 1)), observed.sum((0, 1)).astype(jnp.float32))


def near_seeds(key: jax.Array, x: jax.Array, observed: jax.Array, states: int) -> jax.Array:
    """Returns shares exp(-d^2 / s) of K frames chosen by k-means++, where d is the distance to a chosen frame.

    s is the mean of d^2 to the nearest chosen frame. A missing cell counts as the mean of its dimension. Frames without
    observed cells are never chosen. K-means++: Arthur and Vassilvitskii 2007.

    Args:
      key: random key.
      x: numbers [T, B, D].
      observed: observed cells [T, B, D] bool.
      states: number of states K.

    Returns:
      Shares [T, B, K].
    """
    rows = observed.any(-1).reshape(-1).astype(jnp.float32)  # [N]
    middle = mean_cells(x, observed)
    flat = jnp.where(observed, x - middle.reshape(1, 1, -1), 0).reshape(-1, x.shape[-1])  # [N, D]

    def choose_seed(nearest: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        weight = jnp.where((nearest * rows).max() > 0, nearest, 1) * rows  # any frame, if no other frame is left
        seed = flat[jax.random.categorical(key, jnp.log(weight))]
        return jnp.minimum(nearest, jnp.square(flat - seed[None]).sum(-1)), seed

    far = jnp.full(len(flat), jnp.finfo(jnp.float32).max)
    nearest, seeds = jax.lax.scan(choose_seed, far, jax.random.split(key, states))  # [N], [K, D]
    size = jnp.vdot(nearest, rows) / jnp.maximum(rows.sum(), 1)
    squares = jnp.square(flat).sum(-1)[:, None] + jnp.square(seeds).sum(-1)[None] - 2 * matmul(flat, seeds.T)  # [N, K]
    shares = jax.nn.softmax(-squares / jnp.maximum(size, 1e-6 * squares.max() + 1e-12))
    return shares.reshape(*x.shape[:2], states)
