"""Completion of rows with missing numbers by a latent variable model: MCMC over the latent and the missing numbers."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.distributions.multivariate_normal import gaussian_log_prob
from gen_jax.model import row_sum

STARTS = 64  # number of draws of the prior, one of which begins the chain


class Joint(NamedTuple):
    """p(x, z) of N rows with z ~ N(0, I), and a proposal q(z | x), as functions of x [N, *shape] and z [N, Z].

    `q` is the output of `encode`; its draws are made from noise ~ N(0, I) [N, Z].
    """

    latent_size: int  # Z
    encode: Callable[[jax.Array], Any]  # x -> q
    propose: Callable[[Any, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]  # (q, noise, x) -> z, its log_weight
    log_weight: Callable[[Any, jax.Array, jax.Array], jax.Array]  # (q, z, x) -> log p(x, z) / q(z | x) [N]
    log_likelihood: Callable[[jax.Array, jax.Array], jax.Array]  # (z, x) -> nats of each number [N, *shape]
    draw: Callable[[jax.Array, jax.Array], jax.Array]  # (key, z) -> x ~ p(x | z)


def repaired(
    key: jax.Array,
    x: jax.Array,
    mask: jax.Array,
    sweeps: int,
    joint: Joint,
    mean: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """Returns rows whose missing numbers are drawn from p(x_missing | x_observed). Each row has a chain of its own.

    The chain starts at one of `STARTS` draws of the prior, chosen by p(x_observed | z). For half of the sweeps it draws
    z ~ q(z | x) and x_missing ~ p(x | z) (Rezende et al. 2014, arXiv 1401.4082, section F). Then it draws z by
    Metropolis-Hastings with q as proposal, so that its draws are exact for any q (Mattei & Frellsen 2018, arXiv
    1802.04826, algorithm 1).

    The first half refuses a z whose p(x_observed, z) is far below its value at the start. Otherwise the chain would
    diverge under a poor q.

    Args:
      key: random key.
      x: rows [N, *shape]; missing numbers are not read.
      mask: observed numbers [N, *shape], above 0 where x is observed.
      sweeps: number of moves of the chain.
      joint: the model of these rows.
      mean: function z -> x, which fills missing numbers at the end; by default None, and they are drawn.

    Returns:
      Rows [N, *shape], equal to x where it is observed.
    """
    mask = mask > 0
    x = jnp.where(mask, x, 0)
    start_key, x_key, end_key, key = jax.random.split(key, 4)
    z = first_latent(start_key, x, mask, joint)
    least = log_observed(joint, z, x, mask)

    def sweep(chain: tuple, move: tuple) -> tuple[tuple, None]:
        x, z = chain
        number, key = move
        z_key, take_key, x_key = jax.random.split(key, 3)
        q = joint.encode(x)
        new, new_weight = joint.propose(q, jax.random.normal(z_key, z.shape), x)
        old_weight = joint.log_weight(q, z, x)
        early = number < sweeps // 2
        gain = jnp.where(early, log_observed(joint, new, x, mask) - least, new_weight - old_weight)
        take = -jax.random.exponential(take_key, (len(x),)) < gain
        z = jnp.where(take[:, None], new, z)
        return (jnp.where(mask, x, joint.draw(x_key, z)), z), None

    chain = jnp.where(mask, x, joint.draw(x_key, z)), z
    moves = jnp.arange(sweeps), jax.random.split(key, sweeps)
    (_, z), _ = jax.lax.scan(sweep, chain, moves)
    return jnp.where(mask, x, mean(z) if mean else joint.draw(end_key, z))


def first_latent(key: jax.Array, x: jax.Array, mask: jax.Array, joint: Joint) -> jax.Array:
    """Draws a latent for each row, one of `STARTS` draws of the prior with probabilities ~ p(x_observed | z).

    Args:
      key: random key.
      x: rows [N, *shape].
      mask: observed numbers [N, *shape] bool.
      joint: the model of these rows.

    Returns:
      Latents [N, Z].
    """

    def offer(best: tuple, key: jax.Array) -> tuple[tuple, None]:
        z_key, noise_key = jax.random.split(key)
        z = jax.random.normal(z_key, (len(x), joint.latent_size))
        # Because the largest log w + Gumbel noise is drawn with a probability in proportion to w.
        noise = jax.random.gumbel(noise_key, (len(x),))
        value = row_sum(jnp.where(mask, joint.log_likelihood(z, x), 0)) + noise
        better = value > best[1]
        return (jnp.where(better[:, None], z, best[0]), jnp.where(better, value, best[1])), None

    none = jnp.zeros((len(x), joint.latent_size)), jnp.full(len(x), -jnp.inf)
    (z, _), _ = jax.lax.scan(offer, none, jax.random.split(key, STARTS))
    return z


def log_observed(joint: Joint, z: jax.Array, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns log p(x_observed, z) of each row, [N] nats.

    Args:
      joint: the model of these rows.
      z: latents [N, Z].
      x: rows [N, *shape].
      mask: observed numbers [N, *shape] bool.
    """
    return row_sum(jnp.where(mask, joint.log_likelihood(z, x), 0)) + gaussian_log_prob(z).sum(1)
