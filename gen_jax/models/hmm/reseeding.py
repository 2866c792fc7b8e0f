"""Reseeding: hidden states without data restart at the frames that the model explains worst."""

import jax
import jax.numpy as jnp

LEAST = 1e-3  # a state with fewer expected frames in all the data is dead


def dead_states(initial: jax.Array, transition: jax.Array) -> jax.Array:
    """Returns which states are dead [K] bool. No state is dead if there are no counts, as in a batch of padding.

    Args:
      initial: expected counts of first states [K].
      transition: expected counts of transitions [K, K].
    """
    occupancy = initial + transition.sum(0)  # [K]
    return (occupancy < LEAST) & (occupancy.sum() > 0)


def reseeded(shares: jax.Array, evidence: jax.Array, weight: jax.Array, dead: jax.Array) -> jax.Array:
    """Returns shares in which each dead state has one of the worst explained frames and a small part of every frame.

    All parts together weigh as much as the one frame.

    Args:
      shares: weights with which frames belong to states [T, B, K].
      evidence: log p(x_t | x_1..t-1) [T, B].
      weight: weights of the frames [T, B]; 0 for frames that do not count.
      dead: dead states [K] bool; without dead states the shares stay.
    """
    return jax.lax.cond(dead.any(), _reseeded, lambda shares, *_: shares, shares, evidence, weight, dead)


def _reseeded(shares: jax.Array, evidence: jax.Array, weight: jax.Array, dead: jax.Array) -> jax.Array:
    badness = jnp.where(weight > 0, -evidence, -jnp.inf).reshape(-1)
    worst = jax.lax.top_k(badness, len(dead))[1][jnp.cumsum(dead) - 1]  # [K], a different frame for each dead state
    seed = (jnp.arange(weight.size)[:, None] == worst[None]).reshape(shares.shape)
    pool = weight / jnp.maximum(weight.sum(), 1e-12)
    return jnp.where(dead.reshape(1, 1, -1), (seed * (weight > 0)[..., None]) + pool[..., None], shares)


def revived(log_prob: jax.Array, dead: jax.Array) -> jax.Array:
    """Returns rows that lead to each dead state with probability 1 / K; in a matrix, rows of dead states are uniform.

    Args:
      log_prob: log-probabilities of first states [K] or of transitions [K, K].
      dead: dead states [K] bool.
    """
    even = -jnp.log(jnp.full((), len(dead), jnp.float32))
    to_dead = dead.reshape(*(1,) * (log_prob.ndim - 1), -1)
    alive = jnp.where(to_dead, jnp.finfo(jnp.float32).min, log_prob)  # the probability of dead states goes to the rest
    alive = jnp.where(dead.any(), jax.nn.log_softmax(alive), log_prob)
    log_prob = jnp.where(to_dead, even, alive + jnp.log1p(-dead.mean()))
    return jnp.where(dead[:, None], even, log_prob) if log_prob.ndim == 2 else log_prob
