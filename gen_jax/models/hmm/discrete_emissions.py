"""Emission densities of tokens and of bits. Shapes: `emission_density.py`."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.distributions.linalg import NEVER, matmul, normalised
from gen_jax.errors import check_strengths
from gen_jax.models.hmm.emission_density import (
    Emission,
    blend_counts,
    dirichlet_penalty,
    gathered,
    log_normalised,
    near_seeds,
)


class Categorical(NamedTuple):
    log_prob: jax.Array  # [K, V] float32


class Bernoulli(NamedTuple):
    logits: jax.Array  # [K, D] float32


class Counts(NamedTuple):
    yes: jax.Array  # [K, D] or [K, V] float32, frames in which a key is down or a token occurs
    no: jax.Array | None  # [K, D] float32, frames in which a key is up; None for tokens


def categorical(values: int, strength: float = 0.1) -> Emission:
    """Returns a categorical density of tokens in each state.

    Args:
      values: number of values of a token, V.
      strength: pseudo-counts of each value in each state (a Dirichlet(1 + strength) prior); 0: no prior.

    Raises:
      UserError: for a negative strength.
    """
    check_strengths(strength=strength)
    return Emission(
        partial(start_tokens, values),
        tokens_log_likelihood,
        partial(tokens_statistics, values),
        blend_counts,
        partial(maximise_tokens, strength),
        partial(tokens_penalty, strength),
        draw_token,
        partial(blank_tokens, values),
    )


def start_tokens(values: int, key: jax.Array, x: jax.Array, observed: jax.Array, states: int) -> jax.Array:
    """Returns shares by a random table of tokens and states, so that states prefer different tokens."""
    table = jax.random.exponential(key, (values, states))  # a row, normalised, is Dirichlet(1)
    return normalised(table)[x]


def tokens_log_likelihood(params: Categorical, x: jax.Array, observed: jax.Array) -> jax.Array:
    """Returns log p(x_t | z_t = k) of the observed tokens, [T, B, K]."""
    return jnp.where(observed[..., None], params.log_prob.T[x], 0)


def tokens_statistics(values: int, x: jax.Array, observed: jax.Array, shares: jax.Array) -> Counts:
    """Returns the expected number of each token in each state."""
    seen = jax.nn.one_hot(x, values) * observed[..., None]
    return Counts(gathered(shares, seen), None)


def maximise_tokens(strength: float, statistics: Counts, params: Categorical) -> Categorical:
    """Returns the mode of the posterior of the probabilities (Rabiner 1989, eq. 40c)."""
    return Categorical(log_normalised(statistics.yes + strength, params.log_prob))


def tokens_penalty(strength: float, params: Categorical) -> jax.Array:
    """Returns minus the logarithm of the Dirichlet(1 + strength) prior, up to its constant."""
    return dirichlet_penalty(params.log_prob, strength)


def draw_token(key: jax.Array, params: Categorical, z: jax.Array) -> jax.Array:
    """Draws the token [] of one frame in state z []."""
    return jax.random.categorical(key, params.log_prob[z]).astype(jnp.int32)


def blank_tokens(values: int, states: int, x: jax.Array) -> Categorical:
    """Returns tokens that are equally probable in each state."""
    return Categorical(jnp.full((states, values), -math.log(values)))


def bernoulli(on: float = 0.1, off: float = 0.1) -> Emission:
    """Returns a density of bits in each state, independent given the state.

    Args:
      on: pseudo-counts of 1 of each bit in each state (a Beta(1 + on, 1 + off) prior); 0: no prior.
      off: pseudo-counts of 0.

    Raises:
      UserError: for a negative pseudo-count.
    """
    check_strengths(on=on, off=off)
    return Emission(
        near_seeds,
        bits_log_likelihood,
        bits_statistics,
        blend_counts,
        partial(maximise_bits, on, off),
        partial(bits_penalty, on, off),
        draw_bits,
        blank_bits,
    )


def bits_and_opposites(x: jax.Array, observed: jax.Array) -> jax.Array:
    """Returns the observed ones, and beside them the observed zeros, of bits [T, B, D], [T, B, 2 D] float32."""
    return jnp.concatenate([x * observed, (1 - x) * observed], -1)


def bits_log_likelihood(params: Bernoulli, x: jax.Array, observed: jax.Array) -> jax.Array:
    """Returns log p(x_t | z_t = k) of the observed bits, [T, B, K]."""
    logs = jnp.concatenate([jax.nn.log_sigmoid(params.logits), jax.nn.log_sigmoid(-params.logits)], -1)  # [K, 2 D]
    values = matmul(bits_and_opposites(x, observed), jnp.maximum(logs, NEVER).T)
    return jnp.where(values > NEVER / 2, values, -jnp.inf)


def bits_statistics(x: jax.Array, observed: jax.Array, shares: jax.Array) -> Counts:
    """Returns the expected number of ones and zeros of each bit in each state."""
    sums = gathered(shares, bits_and_opposites(x, observed))
    return Counts(*jnp.split(sums, 2, -1))


def maximise_bits(on: float, off: float, statistics: Counts, params: Bernoulli) -> Bernoulli:
    """Returns the mode of the posterior of the logits."""
    yes = statistics.yes + on
    no = statistics.no + off  # type: ignore[operator]  # counts of bits have both
    return Bernoulli(jnp.where(yes + no > 0, jnp.log(yes) - jnp.log(no), params.logits))


def bits_penalty(on: float, off: float, params: Bernoulli) -> jax.Array:
    """Returns minus the logarithm of the Beta(1 + on, 1 + off) prior, up to its constant."""
    yes = on * jax.nn.log_sigmoid(params.logits).sum() if on else 0.0  # because 0 times infinity is NaN
    no = off * jax.nn.log_sigmoid(-params.logits).sum() if off else 0.0
    return -jnp.asarray(yes + no, jnp.float32)


def draw_bits(key: jax.Array, params: Bernoulli, z: jax.Array) -> jax.Array:
    """Draws the bits [D] of one frame in state z []."""
    return jax.random.bernoulli(key, jax.nn.sigmoid(params.logits[z])).astype(jnp.float32)


def blank_bits(states: int, x: jax.Array) -> Bernoulli:
    """Returns bits that are 1 as often as 0 in each state."""
    return Bernoulli(jnp.zeros((states, x.shape[-1])))
