"""Gaussians of D numbers with missing values: densities, expectations, draws, moments. No models live here."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from gen_jax.distributions.linalg import FEW, einsum, matmul, quotient

HALF_LOG_TAU = 0.5 * float(np.log(2 * np.pi))
TOGETHER = 2**22  # most numbers in the covariances of one chunk of rows: a few arrays of 16 MiB
LOG_2PI = float(np.log(2 * np.pi))


class Moments(NamedTuple):
    """Weighted moments of rows, of one group of rows or of several."""

    count: jax.Array  # type: ignore[assignment]  # [...] float32, the sum of the weights; shadows tuple.count
    mean: jax.Array  # [..., D] float32
    covariance: jax.Array  # [..., D, D] float32 about the mean, divided by the count


def log_density(mean: jax.Array, covariance: jax.Array, x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns the log-densities of the observed numbers, with the missing numbers integrated out.

    Args:
      mean: mean [D].
      covariance: covariance [D, D].
      x: rows [B, D].
      mask: observed numbers [B, D] bool; None if all are observed.

    Returns:
      Log-densities [B] in nats.
    """
    if mask is not None:

        def row(x: jax.Array, mask: jax.Array) -> jax.Array:
            root, white = _whitened(mean, covariance, x, mask)
            return _log_density(root, white, mask)

        values = jax.lax.map(lambda rows: jax.vmap(row)(*rows), _parts(x, mask))
        return values.reshape(-1)[: len(x)]
    root = jnp.linalg.cholesky(covariance)
    inverse = solve_triangular(root, jnp.eye(len(mean)), lower=True)
    if len(mean) <= FEW:
        off = [column - own for column, own in zip(_columns(x), mean)]
        squares = sum(jnp.square(sum(row[at] * each for at, each in enumerate(off))) for row in inverse)
    else:
        white = matmul(x - mean[None], inverse.T)  # [B, D]; `solve_triangular` takes six times as long
        squares = jnp.square(white).sum(1)
    return -0.5 * (len(mean) * LOG_2PI + squares) - jnp.log(jnp.diagonal(root)).sum()


def expected(
    weight: jax.Array, mean: jax.Array, covariance: jax.Array, x: jax.Array, mask: jax.Array
) -> tuple[Moments, jax.Array]:
    """Returns the expected moments of complete rows, given their observed numbers (Little & Rubin 2002, section 11.2).

    The covariances of many rows are never in memory together; see `TOGETHER`.

    Args:
      weight: weights of the rows [B].
      mean: mean [D].
      covariance: covariance [D, D].
      x: rows [B, D].
      mask: observed numbers [B, D] bool.

    Returns:
      The expected moments, and the log-densities of the observed numbers [B] in nats.
    """

    def row(x: jax.Array, mask: jax.Array) -> tuple[jax.Array, ...]:
        cross = jnp.where(mask[None], covariance, 0)  # [D, D]: covariances of all numbers with the observed numbers
        root, white, half = _whitened_both(mean, covariance, x, mask, cross.T)
        solved = solve_triangular(root, white, lower=True, trans="T")
        spread = jnp.where(mask[:, None] | mask[None], 0, covariance - matmul(half.T, half))
        return jnp.where(mask, x, mean + matmul(cross, solved)), spread, _log_density(root, white, mask)

    def part(spread: jax.Array, rows: tuple) -> tuple[jax.Array, tuple]:
        filled, each, log_density = jax.vmap(row)(*rows[1:])
        return spread + einsum("b,bij->ij", rows[0], each), (filled, log_density)

    spread, found = jax.lax.scan(part, jnp.zeros_like(covariance), _parts(weight, x, mask))
    filled, log_density = (each.reshape(-1, *each.shape[2:])[: len(x)] for each in found)
    return moments(weight, filled, spread), log_density


def completed(key: jax.Array, mean: jax.Array, covariance: jax.Array, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Draws the missing numbers of a row given its observed numbers.

    The draw is exact and needs no conditional covariance (Matheron's rule; Hoffman & Ribak 1991). A free draw is moved
    by the regression on its distance from the observed numbers.

    Args:
      key: random key.
      mean: mean [D].
      covariance: covariance [D, D].
      x: one row [D].
      mask: observed numbers [D] bool.

    Returns:
      A complete row [D].
    """
    whole, root = jnp.linalg.cholesky(jnp.stack([covariance, _of_observed(covariance, mask)]))
    free = mean + matmul(whole, jax.random.normal(key, mean.shape))
    white = solve_triangular(root, jnp.where(mask, x - free, 0), lower=True)
    solved = solve_triangular(root, white, lower=True, trans="T")
    return jnp.where(mask, x, free + matmul(jnp.where(mask[None], covariance, 0), solved))


def moments(weight: jax.Array, x: jax.Array, spread: jax.Array | None = None) -> Moments:
    """Returns the weighted moments of rows.

    Args:
      weight: weights of the rows [B].
      x: rows [B, D].
      spread: weighted sum of the conditional covariances of the rows [D, D] if the rows are expectations; by default
        None.
    """
    count, root = weight.sum(), jnp.sqrt(weight)
    if x.shape[1] <= FEW:
        mean = quotient(jnp.stack([matmul(weight, column) for column in _columns(x)]), count)
        off = [root * (column - own) for column, own in zip(_columns(x), mean)]
        scatter = jnp.stack([jnp.stack([matmul(one, other) for other in off]) for one in off])
    else:
        mean = quotient(matmul(weight, x), count)
        weighted = root[:, None] * (x - mean[None])  # because its square is three times as fast
        scatter = matmul(weighted.T, weighted)
    scatter = scatter if spread is None else scatter + spread
    return Moments(count, mean, quotient(scatter, count))


def merged(first: Moments, second: Moments) -> Moments:
    """Returns the moments of two groups of rows together (Chan, Golub & LeVeque 1983, eq. 2.1).

    Args:
      first: moments of the first group.
      second: moments of the second group.
    """
    count = first.count + second.count
    share = quotient(second.count, count)[..., None]
    gap = second.mean - first.mean
    between = (share * (1 - share) * gap)[..., :, None] * gap[..., None, :]
    within = first.covariance + share[..., None] * (second.covariance - first.covariance)
    return Moments(count, first.mean + share * gap, within + between)


def oracle_share(covariance: jax.Array, count: jax.Array) -> jax.Array:
    """Returns the shrinkage of a sample covariance that is optimal for Gaussian rows.

    Oracle approximating shrinkage: Chen, Wiesel, Eldar & Hero 2010 (arXiv 0907.4698), eq. 23.

    Args:
      covariance: sample covariance [D, D].
      count: number of rows [].

    Returns:
      The share [] of the target in `shrunk`, from 0 to 1.
    """
    size = len(covariance)
    square, mean = jnp.square(covariance).mean(), jnp.trace(covariance) / size
    denominator = (count + 1) * (square - mean**2 / size)
    return jnp.where(denominator > 0, jnp.minimum(quotient(square + mean**2, denominator), 1), 1)


def shrunk(covariance: jax.Array, share: jax.Array | float) -> jax.Array:
    """Returns a covariance shrunk towards a multiple of the identity, (1 - share) S + share tr(S) / D I.

    Ledoit & Wolf 2004, eq. 14.

    Args:
      covariance: sample covariance S [D, D].
      share: share of the target, from 0 to 1.
    """
    size = len(covariance)
    return (1 - share) * covariance + share * jnp.trace(covariance) / size * jnp.eye(size)


def _columns(x: jax.Array) -> list[jax.Array]:
    """Returns the columns of rows x [B, D] as a list of arrays [B]."""
    return [x[:, at] for at in range(x.shape[1])]


def _of_observed(covariance: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns a covariance [D, D] in which missing numbers are independent of all numbers and have variance 1."""
    return jnp.where(mask[:, None] & mask[None], covariance, jnp.eye(len(mask)))


def _whitened(mean: jax.Array, covariance: jax.Array, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the Cholesky factor L of S_oo of one row, and L^-1 (x_o - mean_o) [D]."""
    root = jnp.linalg.cholesky(_of_observed(covariance, mask))
    return root, solve_triangular(root, jnp.where(mask, x - mean, 0), lower=True)


def _whitened_both(
    mean: jax.Array, covariance: jax.Array, x: jax.Array, mask: jax.Array, beside: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the results of `_whitened`, and L^-1 `beside` [D, N].

    One call solves for both, to avoid a deadlock. Two independent LAPACK calls for many rows may block all threads of
    XLA:CPU: each call waits for the threads that the other call holds.
    """
    root = jnp.linalg.cholesky(_of_observed(covariance, mask))
    off = jnp.where(mask, x - mean, 0)
    solved = solve_triangular(root, jnp.concatenate([off[:, None], beside], 1), lower=True)
    return root, solved[:, 0], solved[:, 1:]


def _log_density(root: jax.Array, white: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the log-density [] of the observed numbers of one row."""
    return -0.5 * (mask.sum() * LOG_2PI + jnp.square(white).sum()) - jnp.log(jnp.diagonal(root)).sum()


def _parts(*rows: jax.Array) -> tuple[jax.Array, ...]:
    """Returns rows [B, ...] as P chunks [P, S, ...] of the size that `TOGETHER` allows, the last chunk padded with 0.

    The last array of `rows` must be [B, D], because D decides the number of chunks.
    """
    num, width = rows[-1].shape
    parts = max(1, -(-num * width**2 // TOGETHER))
    size = -(-num // parts)
    padded = (jnp.pad(each, ((0, parts * size - num), *((0, 0),) * (each.ndim - 1))) for each in rows)
    return tuple(each.reshape(parts, size, *each.shape[1:]) for each in padded)


def gaussian_kl(
    mean: jax.Array, log_scale: jax.Array, prior_mean: jax.Array | float = 0.0, prior_log_scale: jax.Array | float = 0.0
) -> jax.Array:
    """Returns the KL divergence of two Gaussians, KL(N(mean, scale^2) || N(prior_mean, prior_scale^2)).

    The equation for one latent is log s_2 / s_1 + (s_1^2 + (m_1 - m_2)^2) / (2 s_2^2) - 1/2. Kingma & Welling 2014
    (arXiv 1312.6114), appendix B, have its sum over the latents for the prior N(0, 1).

    Args:
      mean: mean m_1 of each latent [...].
      log_scale: log of the standard deviation s_1 [...].
      prior_mean: mean m_2 of the prior; by default 0.
      prior_log_scale: log of the standard deviation s_2 of the prior; by default 0.

    Returns:
      KL of each latent [...] in nats.
    """
    ratio = log_scale - prior_log_scale
    distance = (mean - prior_mean) * jnp.exp(-prior_log_scale)
    return 0.5 * (jnp.exp(2 * ratio) + jnp.square(distance) - 1) - ratio


def gaussian_log_prob(
    z: jax.Array, mean: jax.Array | np.ndarray | float = 0.0, log_scale: jax.Array | float = 0.0
) -> jax.Array:
    """Returns the log-density of each latent, log N(z; mean, scale^2).

    Args:
      z: latents [...].
      mean: mean; by default 0.
      log_scale: log of the standard deviation; by default 0.

    Returns:
      Log-densities [...] in nats.
    """
    return -0.5 * jnp.square((z - mean) * jnp.exp(-log_scale)) - log_scale - HALF_LOG_TAU
