"""The variational bound of the likelihood of whole numbers under a diffusion model (arXiv 2107.00630)."""

from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.conditions import conditions_in
from gen_jax.distributions.pixels import Whole
from gen_jax.model import Batch, like_rows, row_sum
from gen_jax.models.diffusion.denoising import Diffusion, estimate
from gen_jax.models.diffusion.schedules import shares_of, strata

LOWEST = -10.0  # ln(a^2 / s^2) at the noisy end of the bound
SHARE = 1 / 8  # of the distance of two levels: s / a at its other end, where the nearest level is nearly always right


def bound(model: Diffusion, whole: Whole, key: jax.Array, params: Any, batch: Batch, num: int) -> jax.Array:
    """Returns an unbiased estimate of a lower bound of log p(x) [N] in nats (Kingma et al. 2021, arXiv 2107.00630, eq. 11).

    It is the bound of infinitely many steps, -KL(q(z_0 | x) || N(0, 1)) + E log p(x | z_1) - r / 2 E |e - e'|^2. Here
    ln(a^2 / s^2) is uniform over a range of width r, which ends where the schedule ends. With more samples the estimate has
    less noise.

    Args:
      model: the model.
      whole: conversion of the whole numbers of the data.
      key: random key.
      params: weights of the net.
      batch: `x` [N, *shape] in model space, and the conditions that the net reads.
      num: number of noise levels of a row.
    """
    x, c = batch["x"], conditions_in(batch, model.conditions)
    rows = jnp.ones(len(x))
    last_key, key = jax.random.split(key)
    values = whole.back(jnp.arange(whole.top + 1, dtype=jnp.float32))
    most, least = (model.schedule.noise(t) / model.schedule.data(t) for t in (jnp.float32(1e-6), jnp.float32(1)))
    ratio = jnp.maximum(SHARE * (values[1] - values[0]), least)  # s / a at the last time
    low, high = jnp.maximum(LOWEST, -2 * jnp.log(most)), -2 * jnp.log(ratio)

    def noisy(key: jax.Array, snr: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns z, e and the times for ln(a^2 / s^2) of each row."""
        t = model.schedule.time(jnp.exp(-snr / 2))
        at = shares_of(model.schedule, model.deviation, t)
        e = jax.random.normal(key, x.shape)
        return like_rows(at.a, x) * x + like_rows(at.s, x) * e, e, t

    def diffusion(key: jax.Array) -> jax.Array:
        u_key, e_key = jax.random.split(key)
        z, e, t = noisy(e_key, low + (high - low) * strata(u_key, rows))
        return -(high - low) / 2 * row_sum(jnp.square(e - estimate(model, params, z, t, c).e))

    close = x + ratio * jax.random.normal(last_key, x.shape)
    logits = -jnp.square((close[..., None] - values.reshape(*(1,) * x.ndim, -1)) / ratio) / 2
    at_end = jax.nn.log_softmax(logits)
    reached = jnp.take_along_axis(at_end, whole.of(x).astype(jnp.int32)[..., None], -1)[..., 0]
    share = jax.nn.sigmoid(low)  # a^2 at the first time of a path that keeps the variance
    kl = 0.5 * (share * jnp.square(x) - share - jnp.log1p(-share))
    steps = jax.lax.map(diffusion, jax.random.split(key, num)).mean(0)
    return steps + row_sum(reached - kl)
