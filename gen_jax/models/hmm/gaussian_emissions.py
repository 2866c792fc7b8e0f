"""Gaussian emission densities with a diagonal or a full covariance in each state. Shapes: `emission_density.py`."""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.distributions.linalg import FEW, einsum, matmul, quotient
from gen_jax.errors import UserError, check_strengths, choose
from gen_jax.models.hmm.emission_density import Emission, gathered, mean_cells, near_seeds

LOG_2PI = math.log(2 * math.pi)
COVARIANCES = ("diagonal", "full")


class Gaussian(NamedTuple):
    """A normal distribution in each state."""

    mean: jax.Array  # [K, D] float32
    log_variance: jax.Array  # [K, D] float32; if full, the matrix logarithm [K, D, D], which is continuous in the data


class Moments(NamedTuple):
    """Expected moments of the frames in each state."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count; [K, D] float32, number of observed frames
    mean: jax.Array  # [K, D] float32
    scatter: jax.Array  # [K, D] or [K, D, D] float32, sum of squared distances from the mean


class Prior(NamedTuple):
    """A prior of variances: inverse gamma densities, or an inverse Wishart density if full."""

    strength: float  # number of pseudo-frames of the prior; 0 for no prior
    variance: float  # variance of the pseudo-frames in every direction
    floor: float  # the smallest variance along an axis


def gaussian(
    covariance: str = "diagonal", floor: float = 1e-4, strength: float = 0.0, variance: float = 1.0
) -> Emission:
    """Returns a Gaussian density of real vectors in each state.

    Args:
      covariance: `diagonal` or `full`. With `full` a frame must be observed completely or not at all.
      floor: the smallest variance along an axis, in squared units of model space.
      strength: number of pseudo-frames of the prior of the variances; 0 for no prior.
      variance: variance of the pseudo-frames in every direction, in squared units of model space.

    Raises:
      UserError: for an unknown covariance, a negative prior, or a floor that is not positive.
    """
    choose("covariance", covariance, COVARIANCES)
    check_strengths(strength=strength, variance=variance)
    if floor <= 0:
        raise UserError(f"floor is {floor}; expected more than 0, such as 1e-4, because a variance is positive")
    prior = Prior(strength, variance, floor)
    if covariance == "full":
        return Emission(
            near_seeds,
            full_log_likelihood,
            full_statistics,
            blend_moments,
            partial(maximise_full, prior),
            partial(full_penalty, prior),
            draw_full,
            blank_full,
            whole=True,
        )
    return Emission(
        near_seeds,
        diagonal_log_likelihood,
        diagonal_statistics,
        blend_moments,
        partial(maximise_diagonal, prior),
        partial(diagonal_penalty, prior),
        draw_diagonal,
        blank_diagonal,
    )


def diagonal_log_likelihood(params: Gaussian, x: jax.Array, observed: jax.Array) -> jax.Array:
    """Returns log p(x_t | z_t = k) of the observed cells, [T, B, K] nats.

    Args:
      params: the density.
      x: frames [T, B, D].
      observed: observed cells [T, B, D] bool.
    """
    middle = params.mean.mean(0)  # because distances from the middle keep their digits if all data are far from 0
    x, mean = _about(middle, x, observed), params.mean - middle[None]
    precision = jnp.exp(-params.log_variance)  # [K, D]
    cells = jnp.concatenate([jnp.square(x), x, observed], -1)  # [T, B, 3 D]
    constant = -0.5 * (jnp.square(mean) * precision + params.log_variance + LOG_2PI)
    weights = jnp.concatenate([-0.5 * precision, mean * precision, constant], -1)  # [K, 3 D]
    if len(middle) > FEW:
        return matmul(cells, weights.T)
    terms = (cells[..., at, None] * weights[None, None, :, at] for at in range(weights.shape[1]))
    return sum(terms, start=jnp.zeros(()))


def full_log_likelihood(params: Gaussian, x: jax.Array, observed: jax.Array) -> jax.Array:
    """Returns log p(x_t | z_t = k) of the completely observed frames, [T, B, K] nats.

    Args:
      params: the density.
      x: frames [T, B, D].
      observed: observed cells [T, B, D] bool.
    """
    middle = params.mean.mean(0)
    x, mean = _about(middle, x, observed), params.mean - middle[None]
    log_variance, axes = jnp.linalg.eigh(params.log_variance)
    whiten = axes * jnp.exp(-0.5 * log_variance)[:, None]  # [K, D, D]
    y = einsum("tbd,kde->tbke", x, whiten) - einsum("kd,kde->ke", mean, whiten)[None, None]
    values = -0.5 * jnp.square(y).sum(-1) - 0.5 * (log_variance + LOG_2PI).sum(-1)[None, None]
    return jnp.where(observed.all(-1, keepdims=True), values, 0)


def diagonal_statistics(x: jax.Array, observed: jax.Array, shares: jax.Array) -> Moments:
    """Returns the expected moments of the observed cells in each state.

    Args:
      x: frames [T, B, D].
      observed: observed cells [T, B, D] bool.
      shares: shares of the frames [T, B, K].
    """
    middle = mean_cells(x, observed)
    x = _about(middle, x, observed)
    sums = gathered(shares, jnp.concatenate([observed.astype(jnp.float32), x, jnp.square(x)], -1))
    count, total, squares = jnp.split(sums, 3, -1)
    mean = quotient(total, count)
    return Moments(count, mean + middle[None], jnp.maximum(squares - mean * total, 0))


def full_statistics(x: jax.Array, observed: jax.Array, shares: jax.Array) -> Moments:
    """Returns the expected moments of the completely observed frames in each state.

    Args:
      x: frames [T, B, D].
      observed: observed cells [T, B, D] bool.
      shares: shares of the frames [T, B, K].
    """
    middle = mean_cells(x, observed)
    complete_cells = observed.all(-1, keepdims=True) & observed
    x = _about(middle, x, complete_cells)
    sums = gathered(shares, jnp.concatenate([complete_cells.astype(jnp.float32), x], -1))
    count, total = jnp.split(sums, 2, -1)
    mean = quotient(total, count)
    scatter = jax.lax.map(lambda state: scatter_about(x, complete_cells, *state), (jnp.moveaxis(shares, -1, 0), mean))
    return Moments(count, mean + middle[None], scatter)


def _about(middle: jax.Array, x: jax.Array, observed: jax.Array) -> jax.Array:
    """Returns `x` [T, B, D] minus `middle` [D] in the observed cells, and 0 in the missing cells."""
    return jnp.where(observed, x - middle.reshape(1, 1, -1), 0)


def scatter_about(x: jax.Array, observed: jax.Array, share: jax.Array, mean: jax.Array) -> jax.Array:
    """Returns sum_t,b share_tb (x_tb - mean) (x_tb - mean)^T over the observed frames, without cancellation.

    Args:
      x: frames [T, B, D].
      observed: observed frames [T, B, D] bool.
      share: shares of the frames [T, B].
      mean: mean [D].

    Returns:
      [D, D].
    """
    gap = _about(mean, x, observed)
    return matmul((gap * share[..., None]).reshape(-1, len(mean)).T, gap.reshape(-1, len(mean)))


def blend_moments(old: Moments, new: Moments, keep: jax.Array, add: jax.Array) -> Moments:
    """Returns the moments of `keep` times the old frames and `add` times the new frames (Chan et al. 1983, eq. 2.1).

    Args:
      old: moments of the old frames.
      new: moments of the new frames.
      keep: factor [] of the old frames.
      add: factor [] of the new frames.
    """
    before, after = keep * old.count, add * new.count
    count, gap = before + after, new.mean - old.mean
    between = quotient(before * after, count)
    if old.scatter.ndim == 3:
        square = gap[:, :, None] * gap[:, None] * between[..., None]
    else:
        square = jnp.square(gap) * between
    mean = old.mean + gap * quotient(after, count)
    return Moments(count, mean, keep * old.scatter + add * new.scatter + square)


def maximise_diagonal(prior: Prior, statistics: Moments, params: Gaussian) -> Gaussian:
    """Returns the mean, and the mode of the posterior of the variance, in each state.

    Args:
      prior: the prior of the variances.
      statistics: expected moments.
      params: the density before; dimensions without observations keep it.
    """
    count, mean, scatter = statistics
    spread = quotient(scatter + prior.strength * prior.variance, count + prior.strength)
    log_variance = jnp.log(jnp.maximum(spread, prior.floor))
    occupied = count > 0
    return Gaussian(jnp.where(occupied, mean, params.mean), jnp.where(occupied, log_variance, params.log_variance))


def maximise_full(prior: Prior, statistics: Moments, params: Gaussian) -> Gaussian:
    """Returns the mean, and the mode of the posterior of the covariance, in each state.

    Args:
      prior: the prior of the covariances.
      statistics: expected moments.
      params: the density before; states without observations keep it.
    """
    count, mean, scatter = statistics
    occupied = count > 0
    total = scatter + prior.strength * prior.variance * jnp.eye(scatter.shape[-1])[None]
    spread = quotient(total, jnp.broadcast_to(count[..., None] + prior.strength, scatter.shape))
    values, axes = jnp.linalg.eigh(spread)
    log_variance = matmul(axes * jnp.log(jnp.maximum(values, prior.floor))[:, None], axes.mT)
    mean = jnp.where(occupied, mean, params.mean)
    return Gaussian(mean, jnp.where(occupied[..., None], log_variance, params.log_variance))


def diagonal_penalty(prior: Prior, params: Gaussian) -> jax.Array:
    """Returns minus the logarithm of the inverse gamma densities of the variances, up to their constant.

    Args:
      prior: the prior of the variances.
      params: the density.
    """
    return _variance_penalty(prior, params.log_variance)


def full_penalty(prior: Prior, params: Gaussian) -> jax.Array:
    """Returns minus the logarithm of the inverse Wishart density of the covariances, up to its constant.

    Args:
      prior: the prior of the covariances.
      params: the density.
    """
    return _variance_penalty(prior, jnp.linalg.eigvalsh(params.log_variance))


def _variance_penalty(prior: Prior, log_variance: jax.Array) -> jax.Array:
    return 0.5 * prior.strength * (log_variance + prior.variance * jnp.exp(-log_variance)).sum()


def draw_diagonal(key: jax.Array, params: Gaussian, z: jax.Array) -> jax.Array:
    """Draws one frame [D] from the diagonal Gaussian of a state.

    Args:
      key: random key.
      params: the Gaussians of all states.
      z: number of the state [].
    """
    noise = jax.random.normal(key, params.mean.shape[1:])
    return params.mean[z] + noise * jnp.exp(0.5 * params.log_variance[z])


def draw_full(key: jax.Array, params: Gaussian, z: jax.Array) -> jax.Array:
    """Draws one frame [D].

    Args:
      key: random key.
      params: the density.
      z: state [].
    """
    noise = jax.random.normal(key, params.mean.shape[1:])
    values, axes = jnp.linalg.eigh(params.log_variance)  # for all states, because vmapped draws then share it
    return params.mean[z] + matmul(axes[z] * jnp.exp(0.5 * values[z])[None], noise)


def blank_diagonal(states: int, x: jax.Array) -> Gaussian:
    """Returns standard normal densities.

    Args:
      states: number of states K.
      x: frames [T, B, D], for their shape.
    """
    zeros = jnp.zeros((states, x.shape[-1]))
    return Gaussian(zeros, zeros)


def blank_full(states: int, x: jax.Array) -> Gaussian:
    """Returns standard normal densities.

    Args:
      states: number of states K.
      x: frames [T, B, D], for their shape.
    """
    zeros = jnp.zeros((states, x.shape[-1]))
    return Gaussian(zeros, zeros[..., None] * zeros[:, None])
