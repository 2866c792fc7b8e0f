"""Vector quantisation: nearest codes, their gradient, and a codebook that follows the encoder's output. No networks.

The equations are from van den Oord et al. 2017 (arXiv 1711.00937). `z` [M, D] holds the vectors of the encoder, one for
each place of each grid. `weight` [M] holds their weights, 0 for padding rows. `e` [K, D] holds the vectors of the
codes, and `codes` [M] int32 are indices of its rows.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

EPSILON = 1e-5  # pseudo-count of Laplace smoothing, in vectors


class Codebook(NamedTuple):
    """Running statistics of the encoder's vectors that were assigned to each code; their mean is the code's vector."""

    counts: jax.Array  # N [K] float32, number of vectors assigned in a batch
    sums: jax.Array  # m [K, D] float32, sum of these vectors


def nearest(z: jax.Array, e: jax.Array) -> jax.Array:
    """Returns the index of the nearest code, k = argmin_j ||z - e_j||_2 (eq. 1).

    Args:
      z: vectors of the encoder [..., D].
      e: vectors of the codes [K, D].

    Returns:
      Indices of codes [...] int32. Of codes at the same distance it is the first.
    """
    flat = z.reshape(-1, z.shape[-1])
    distance = jnp.square(e).sum(1)[None] - 2 * jnp.matmul(flat, e.T, precision="highest")  # [M, K], without ||z||^2
    return jnp.argmin(distance, 1).astype(jnp.int32).reshape(z.shape[:-1])


def straight_through(z: jax.Array, quantised: jax.Array) -> jax.Array:
    """Returns z_q = z + sg(e_k - z): the value of e_k, with a gradient that goes to z unchanged (section 3.2).

    Args:
      z: vectors of the encoder [..., D].
      quantised: vectors of their codes e_k [..., D].
    """
    return z + jax.lax.stop_gradient(quantised - z)


def smoothed(counts: jax.Array) -> jax.Array:
    """Returns the counts after Laplace smoothing, N~_k = n (N_k + eps) / (n + K eps) with n = sum_k N_k.

    Smoothing keeps the sum of the counts.

    Args:
      counts: counts of the codes N [K].
    """
    total = counts.sum()
    return (counts + EPSILON) / (total + len(counts) * EPSILON) * total


def vectors(codebook: Codebook) -> jax.Array:
    """Returns the vectors of the codes, e_k = m_k / N~_k [K, D] (eq. 8).

    The smoothed counts N~ are used here only; the running counts are never smoothed.

    Args:
      codebook: the running statistics.
    """
    return codebook.sums / jnp.maximum(smoothed(codebook.counts), EPSILON)[:, None]


def moved(codebook: Codebook, decay: float, z: jax.Array, codes: jax.Array, weight: jax.Array) -> Codebook:
    """Updates the running statistics with one batch (appendix A.1, eq. 6 and 7).

    N_k <- g N_k + (1 - g) n_k, and m_k <- g m_k + (1 - g) (sum of the z with code k).

    Args:
      codebook: the running statistics.
      decay: the decay g, from 0 to 1.
      z: vectors of the encoder [M, D].
      codes: their codes [M] int32.
      weight: their weights [M].

    Returns:
      The new running statistics.
    """
    chosen = weight[:, None] * jax.nn.one_hot(codes, len(codebook.counts))  # [M, K]
    new = Codebook(chosen.sum(0), jnp.matmul(chosen.T, z, precision="highest"))
    return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, codebook, new)


def draw_vectors(key: jax.Array, z: jax.Array, weight: jax.Array, num: int) -> jax.Array:
    """Draws `num` vectors of z by stratified sampling: one vector from each 1/`num` of the total weight.

    The vectors are different if there are enough of them. Padding rows behind the other rows are never drawn, and do
    not change the draw.

    Args:
      key: random key.
      z: vectors of the encoder [M, D].
      weight: their weights [M].
      num: number of vectors to draw.

    Returns:
      Vectors [num, D].
    """
    reached = jnp.cumsum(weight)
    place = (jnp.arange(num) + jax.random.uniform(key, (num,))) / num * reached[-1]
    return z[jnp.minimum(jnp.searchsorted(reached, place, side="right"), len(z) - 1)]


def begun(new: jax.Array, weight: jax.Array) -> Codebook:
    """Returns the first codebook, whose codes count as if a batch had used them all equally.

    Args:
      new: vectors of the codes [K, D].
      weight: weights of the encoder's vectors in the batch [M].
    """
    counts = jnp.full(len(new), weight.sum() / len(new))
    return Codebook(counts, counts[:, None] * new)


def dead(counts: jax.Array, least: float) -> jax.Array:
    """Returns which codes were used less than the share `least` of the mean use.

    Args:
      counts: running counts of the codes [K].
      least: threshold as a share of the mean count.

    Returns:
      [K] bool.
    """
    return counts < least * counts.mean()


def restarted(codebook: Codebook, least: float, new: jax.Array) -> Codebook:
    """Restarts dead codes at new vectors, with the count of the average code (Dhariwal et al. 2020, arXiv 2005.00341).

    Args:
      codebook: the running statistics.
      least: threshold of `dead`, as a share of the mean count.
      new: vectors at which dead codes restart [K, D].

    Returns:
      The new running statistics.
    """
    again, even = dead(codebook.counts, least), codebook.counts.mean()
    return Codebook(jnp.where(again, even, codebook.counts), jnp.where(again[:, None], even * new, codebook.sums))


def perplexity(codes: jax.Array, weight: jax.Array, num: int) -> jax.Array:
    """Returns the perplexity of the codes in use, exp H(n / sum n), a number from 1 to `num`.

    Args:
      codes: codes of the vectors [M] int32.
      weight: weights of the vectors [M].
      num: number of codes.

    Returns:
      [], the effective number of codes in use.
    """
    uses = weight @ jax.nn.one_hot(codes, num)
    share = uses / jnp.maximum(uses.sum(), 1e-12)
    return jnp.exp(-jax.scipy.special.xlogy(share, share).sum())
