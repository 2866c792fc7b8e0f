"""Completing observed numbers by a latent variable model: a Markov chain over the latent and what is hidden."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gen_jax.distributions.gaussians import gaussian_log_prob

STARTS = 64  # draws of the prior, of which the one that explains what is observed begins the chain


def repaired(
    key: jax.Array,
    x: jax.Array,
    mask: jax.Array,
    sweeps: int,
    latent_size: int,
    weigh: Callable[[jax.Array, jax.Array, bool], tuple[jax.Array, jax.Array]],
    log_likelihood: Callable[[jax.Array, jax.Array], jax.Array],
    draw: Callable[[jax.Array, jax.Array], jax.Array],
    mean: Callable[[jax.Array], jax.Array] | None = None,
) -> jax.Array:
    """x [N, *shape] where `mask` is set, and a draw of p(x_hidden | x_observed) elsewhere; each row a chain of its own.

    It starts at one of some draws of the prior by p(x_observed | z), goes on for half the sweeps by z ~ q(z | x),
    x_hidden ~ p(x | z) (Rezende et al. 2014, arXiv 1401.4082, section F), and then takes each z by Metropolis-Hastings with
    that proposal, so that what it draws is right whatever q is (Mattei & Frellsen 2018, arXiv 1802.04826, algorithm 1).
    The first half leaves out a z whose p(x_observed, z) is far below that of the start: under a poor q it would diverge.

    Args:
      weigh: (z, x, fixed) -> a latent and its log p(x, z) / q(z | x) [N]; z is that latent where `fixed`, else the noise
        of N(0, I) of which a draw of q is made.
      log_likelihood: (z, x) -> nats of each number [N, *shape].
      draw: (key, z) -> x.
      mean: z -> x, what hidden numbers are in the end in the place of a draw.
    """
    mask = mask > 0
    x = jnp.where(mask, x, 0)
    start_key, x_key, end_key, key = jax.random.split(key, 4)

    def total(values: jax.Array) -> jax.Array:
        return values.reshape(len(x), -1).sum(1)

    def offer(best: tuple, key: jax.Array) -> tuple[tuple, None]:  # the largest of log w + Gumbel noise: one drawn by w
        z_key, noise_key = jax.random.split(key)
        z = jax.random.normal(z_key, (len(x), latent_size))
        value = total(jnp.where(mask, log_likelihood(z, x), 0)) + jax.random.gumbel(noise_key, (len(x),))
        better = value > best[1]
        return (jnp.where(better[:, None], z, best[0]), jnp.where(better, value, best[1])), None

    def explained(z: jax.Array, log_x: jax.Array) -> jax.Array:  # log p(x_observed, z)
        return total(jnp.where(mask, log_x, 0)) + gaussian_log_prob(z).sum(1)

    none = jnp.zeros((len(x), latent_size)), jnp.full(len(x), -jnp.inf)
    z = jax.lax.scan(offer, none, jax.random.split(start_key, STARTS))[0][0]
    least = explained(z, log_likelihood(z, x))

    def sweep(chain: tuple, now: tuple) -> tuple[tuple, None]:
        (x, z), (number, key) = chain, now
        z_key, take_key, x_key = jax.random.split(key, 3)
        (new, after), (_, before) = weigh(jax.random.normal(z_key, z.shape), x, False), weigh(z, x, True)
        gain = jnp.where(number < sweeps // 2, explained(new, log_likelihood(new, x)) - least, after - before)
        take = -jax.random.exponential(take_key, (len(x),)) < gain
        z = jnp.where(take[:, None], new, z)
        return (jnp.where(mask, x, draw(x_key, z)), z), None

    chain = jnp.where(mask, x, draw(x_key, z)), z
    moves = jnp.arange(sweeps), jax.random.split(key, sweeps)
    z = jax.lax.scan(sweep, chain, moves)[0][1]
    return jnp.where(mask, x, mean(z) if mean else draw(end_key, z))
