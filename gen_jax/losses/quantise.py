"""Vector quantisation: the nearest code, its gradient, and a codebook that follows what the encoder puts out. No networks.

Equations of van den Oord et al. 2017 (arXiv 1711.00937). `z` [M, D] are the encoder's vectors, one for each place of each
grid, with `weight` [M] (0 = of a padding row); `e` [K, D] are the codes' vectors, `codes` [M] int32 rows of it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

EPSILON = 1e-5  # of Laplace smoothing, in vectors


class Codebook(NamedTuple):
    """Running statistics of what each code was the nearest to, from which its vector is made."""

    counts: jax.Array  # N [K] float32, vectors in a batch
    sums: jax.Array  # m [K, D] float32, their sum


def nearest(z: jax.Array, e: jax.Array) -> jax.Array:
    """k = argmin_j ||z - e_j||_2, [..., D] to [...] int32 (eq. 1); of codes equally near the first."""
    flat = z.reshape(-1, z.shape[-1])
    distance = jnp.square(e).sum(1)[None] - 2 * jnp.matmul(flat, e.T, precision="highest")  # [M, K], less ||z||^2
    return jnp.argmin(distance, 1).astype(jnp.int32).reshape(z.shape[:-1])


def straight_through(z: jax.Array, quantised: jax.Array) -> jax.Array:
    """z_q = z + sg(e_k - z): the value of e_k, whose gradient goes to z as it is (section 3.2)."""
    return z + jax.lax.stop_gradient(quantised - z)


def smoothed(counts: jax.Array) -> jax.Array:
    """N~_k = (N_k + eps) / (n + K eps) n with n = sum_k N_k: Laplace's smoothing, which keeps the sum."""
    total = counts.sum()
    return (counts + EPSILON) / (total + len(counts) * EPSILON) * total


def vectors(codebook: Codebook) -> jax.Array:
    """e_k = m_k / N~_k [K, D] (eq. 8, with smoothed counts, which never become the running ones)."""
    return codebook.sums / jnp.maximum(smoothed(codebook.counts), EPSILON)[:, None]


def moved(codebook: Codebook, decay: float, z: jax.Array, codes: jax.Array, weight: jax.Array) -> Codebook:
    """N_k <- g N_k + (1 - g) n_k and m_k <- g m_k + (1 - g) sum of the z of code k (appendix A.1, eq. 6 and 7)."""
    chosen = weight[:, None] * jax.nn.one_hot(codes, len(codebook.counts))  # [M, K]
    new = Codebook(chosen.sum(0), jnp.matmul(chosen.T, z, precision="highest"))
    return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, codebook, new)


def drawn(key: jax.Array, z: jax.Array, weight: jax.Array, num: int) -> jax.Array:
    """`num` vectors [num, D] of z, one of each `num`-th part of the weight: different ones while there are enough.

    Padding rows behind the others are never drawn, nor do they change what is.
    """
    reached = jnp.cumsum(weight)
    place = (jnp.arange(num) + jax.random.uniform(key, (num,))) / num * reached[-1]
    return z[jnp.minimum(jnp.searchsorted(reached, place, side="right"), len(z) - 1)]


def begun(new: jax.Array, weight: jax.Array) -> Codebook:
    """A codebook of the vectors `new` [K, D], as if all were used alike by a batch."""
    counts = jnp.full(len(new), weight.sum() / len(new))
    return Codebook(counts, counts[:, None] * new)


def dead(counts: jax.Array, least: float) -> jax.Array:
    """Which codes [K] were used less than the share `least` of what each would be if all were used alike."""
    return counts < least * counts.mean()


def restarted(codebook: Codebook, least: float, new: jax.Array) -> Codebook:
    """Dead codes begin anew at the vectors `new` [K, D], as if used like the average code (Dhariwal et al. 2020, 2005.00341)."""
    again, even = dead(codebook.counts, least), codebook.counts.mean()
    return Codebook(jnp.where(again, even, codebook.counts), jnp.where(again[:, None], even * new, codebook.sums))


def perplexity(codes: jax.Array, weight: jax.Array, num: int) -> jax.Array:
    """exp H(n / sum n) of the uses n_k of `num` codes: how many are in use, from 1 to `num`."""
    uses = weight @ jax.nn.one_hot(codes, num)
    share = uses / jnp.maximum(uses.sum(), 1e-12)
    return jnp.exp(-jax.scipy.special.xlogy(share, share).sum())
