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
    """A distribution of tokens in each state."""

    log_prob: jax.Array  # [K, V] float32


class Bernoulli(NamedTuple):
    """Independent bits in each state."""

    logits: jax.Array  # [K, D] float32


class Counts(NamedTuple):
    """Expected counts of tokens or of bits."""

    yes: jax.Array  # [K, D] or [K, V] float32, number of frames in which a key is down or a token occurs
    no: jax.Array | None  # [K, D] float32, number of frames in which a key is up; None for tokens


def categorical(values: int, strength: float = 0.1) -> Emission:
    """Returns a categorical density of tokens in each state.

    Args:
      values: number of values of a token V.
      strength: pseudo-counts of each value in each state; 0 for no prior. The prior is Dirichlet(1 + strength).

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
    """Returns shares by a random table of tokens and states, so that states prefer different tokens.

    Args:
      values: number of values of a token V.
      key: random key.
      x: tokens [T, B].
      observed: observed tokens [T, B] bool, not read.
      states: number of states K.

    Returns:
      Shares [T, B, K].
    """
    table = jax.random.exponential(key, (values, states))  # because a normalised row of exponentials is Dirichlet(1)
    return normalised(table)[x]


def tokens_log_likelihood(params: Categorical, x: jax.Array, observed: jax.Array) -> jax.Array:
    """Returns log p(x_t | z_t = k) of the observed tokens, [T, B, K] nats.

    Args:
      params: the density.
      x: tokens [T, B].
      observed: observed tokens [T, B] bool.
    """
    return jnp.where(observed[..., None], params.log_prob.T[x], 0)


def tokens_statistics(values: int, x: jax.Array, observed: jax.Array, shares: jax.Array) -> Counts:
    """Returns the expected number of each token in each state.

    Args:
      values: number of values of a token V.
      x: tokens [T, B].
      observed: observed tokens [T, B] bool.
      shares: shares of the frames [T, B, K].
    """
    seen = jax.nn.one_hot(x, values) * observed[..., None]
    return Counts(gathered(shares, seen), None)


def maximise_tokens(strength: float, statistics: Counts, params: Categorical) -> Categorical:
    """Returns the mode of the posterior of the probabilities (Rabiner 1989, eq. 40c).

    Args:
      strength: pseudo-counts of each value.
      statistics: expected counts.
      params: the density before; states without counts keep it.
    """
    return Categorical(log_normalised(statistics.yes + strength, params.log_prob))


def tokens_penalty(strength: float, params: Categorical) -> jax.Array:
    """Returns minus the logarithm of the Dirichlet(1 + strength) prior, up to its constant.

    Args:
      strength: pseudo-counts of each value.
      params: the density.
    """
    return dirichlet_penalty(params.log_prob, strength)


def draw_token(key: jax.Array, params: Categorical, z: jax.Array) -> jax.Array:
    """Draws the token [] of one frame.

    Args:
      key: random key.
      params: the density.
      z: state [].
    """
    return jax.random.categorical(key, params.log_prob[z]).astype(jnp.int32)


def blank_tokens(values: int, states: int, x: jax.Array) -> Categorical:
    """Returns tokens that are equally probable in each state.

    Args:
      values: number of values of a token V.
      states: number of states K.
      x: tokens, not read.
    """
    return Categorical(jnp.full((states, values), -math.log(values)))


def bernoulli(on: float = 0.1, off: float = 0.1) -> Emission:
    """Returns a density of bits in each state, independent given the state.

    Args:
      on: pseudo-counts of 1 for each bit in each state; 0 for no prior. The prior is Beta(1 + on, 1 + off).
      off: pseudo-counts of 0 for each bit in each state.

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
    """Returns the observed ones of bits, concatenated with the observed zeros, [T, B, 2 D] float32.

    Args:
      x: bits [T, B, D].
      observed: observed bits [T, B, D] bool.
    """
    return jnp.concatenate([x * observed, (1 - x) * observed], -1)


def bits_log_likelihood(params: Bernoulli, x: jax.Array, observed: jax.Array) -> jax.Array:
    """Returns log p(x_t | z_t = k) of the observed bits, [T, B, K] nats.

    Args:
      params: the density.
      x: bits [T, B, D].
      observed: observed bits [T, B, D] bool.
    """
    logs = jnp.concatenate([jax.nn.log_sigmoid(params.logits), jax.nn.log_sigmoid(-params.logits)], -1)  # [K, 2 D]
    values = matmul(bits_and_opposites(x, observed), jnp.maximum(logs, NEVER).T)
    return jnp.where(values > NEVER / 2, values, -jnp.inf)


def bits_statistics(x: jax.Array, observed: jax.Array, shares: jax.Array) -> Counts:
    """Returns the expected number of ones and zeros of each bit in each state.

    Args:
      x: bits [T, B, D].
      observed: observed bits [T, B, D] bool.
      shares: shares of the frames [T, B, K].
    """
    sums = gathered(shares, bits_and_opposites(x, observed))
    return Counts(*jnp.split(sums, 2, -1))


def maximise_bits(on: float, off: float, statistics: Counts, params: Bernoulli) -> Bernoulli:
    """Returns the mode of the posterior of the logits.

    Args:
      on: pseudo-counts of 1.
      off: pseudo-counts of 0.
      statistics: expected counts.
      params: the density before; bits without counts keep it.
    """
    yes = statistics.yes + on
    no = statistics.no + off  # type: ignore[operator]  # counts of bits have both
    return Bernoulli(jnp.where(yes + no > 0, jnp.log(yes) - jnp.log(no), params.logits))


def bits_penalty(on: float, off: float, params: Bernoulli) -> jax.Array:
    """Returns minus the logarithm of the Beta(1 + on, 1 + off) prior, up to its constant.

    Args:
      on: pseudo-counts of 1.
      off: pseudo-counts of 0.
      params: the density.
    """
    yes = on * jax.nn.log_sigmoid(params.logits).sum() if on else 0.0  # because 0 times infinity is NaN
    no = off * jax.nn.log_sigmoid(-params.logits).sum() if off else 0.0
    return -jnp.asarray(yes + no, jnp.float32)


def draw_bits(key: jax.Array, params: Bernoulli, z: jax.Array) -> jax.Array:
    """Draws the bits [D] of one frame.

    Args:
      key: random key.
      params: the density.
      z: state [].
    """
    return jax.random.bernoulli(key, jax.nn.sigmoid(params.logits[z])).astype(jnp.float32)


def blank_bits(states: int, x: jax.Array) -> Bernoulli:
    """Returns bits that are 1 and 0 with equal probability in each state.

    Args:
      states: number of states K.
      x: bits [T, B, D], for their shape.
    """
    return Bernoulli(jnp.zeros((states, x.shape[-1])))
