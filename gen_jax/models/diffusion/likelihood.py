"""Likelihoods and latents of a diffusion model: the ordinary differential equation of its path, and a bound for levels."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import Given, batch_conditions, conditions_in, drawn_labels
from gen_jax.distributions.multivariate_normal import gaussian_log_prob
from gen_jax.distributions.pixels import Whole
from gen_jax.errors import check_whole
from gen_jax.model import Batch
from gen_jax.models.diffusion.denoising import Diffusion, estimate
from gen_jax.models.diffusion.schedules import beside, shares_of, strata

MOST = 16  # number of dimensions up to which the trace of a Jacobian is computed exactly
LOWEST = -10.0  # ln(a^2 / s^2) at the noisy end of the bound
SHARE = 1 / 8  # of the distance of two levels: s / a at its other end, where the nearest level is nearly always right
LAST = 1e-5  # time before data at which the path of a schedule without noise ends, where a slope may not exist


def velocity(model: Diffusion, params: Any, c: Given | None, z: jax.Array, t: jax.Array) -> jax.Array:
    """Returns dz/dt = a' x + s' e of rows at one time, [N, *shape].

    Args:
      model: the model.
      params: weights of the net.
      c: conditions of the rows, or None.
      z: noisy rows [N, *shape].
      t: time of all rows [].
    """
    at = shares_of(model.schedule, model.deviation, t)
    x, e = estimate(model, params, z, jnp.full(len(z), t), c)
    return at.da * x + at.ds * e


def followed(slope: Callable, value: Any, start: float, stop: float, steps: int) -> Any:
    """Returns a value after its path from one time to another, by Heun's method.

    Args:
      slope: function (value, t) -> its derivative in t.
      value: the value at the beginning, a pytree.
      start: first time.
      stop: last time.
      steps: number of steps.
    """
    times = np.linspace(start, stop, steps + 1)
    width = np.float32((stop - start) / steps)

    def move(value: Any, ends: tuple) -> tuple[Any, None]:
        first = slope(value, ends[0])
        last = slope(jax.tree.map(lambda each, by: each + width * by, value, first), ends[1])
        return jax.tree.map(lambda each, a, b: each + width * (a + b) / 2, value, first, last), None

    pairs = jnp.asarray(times[:-1], jnp.float32), jnp.asarray(times[1:], jnp.float32)
    return jax.lax.scan(move, value, pairs)[0]


def last_time(model: Diffusion) -> float:
    """Returns the time at which a path ends.

    Args:
      model: the model.
    """
    return 1 - LAST if model.schedule.ends else 1.0


def ode_log_prob(model: Diffusion, steps: int, params: Any, x: jax.Array, c: Given | None) -> jax.Array:
    """Returns log p(x) [N] in nats, p the density of the ordinary differential equation (Chen et al. 2018, arXiv 1806.07366).

    d log p(z_t) / dt is minus the trace of the Jacobian of the velocity. The trace is exact, and the path has the error of
    the solver.

    Args:
      model: the model.
      steps: number of steps of Heun's method.
      params: weights of the net.
      x: rows [N, D].
      c: conditions of the rows, or None.
    """

    def one(row: jax.Array, c: Given | None, t: jax.Array) -> jax.Array:
        c = None if c is None else {name: value[None] for name, value in c.items()}
        return velocity(model, params, c, row[None], t)[0]

    def slope(value: tuple[jax.Array, jax.Array], t: jax.Array) -> tuple[jax.Array, jax.Array]:
        z, _ = value
        jacobian = jax.vmap(lambda row, c: jax.jacfwd(partial(one, c=c, t=t))(row))(z, c)
        return velocity(model, params, c, z, t), jnp.trace(jacobian, axis1=1, axis2=2)

    z, volume = followed(slope, (x, jnp.zeros(len(x))), last_time(model), 0.0, steps)
    scale = shares_of(model.schedule, model.deviation, jnp.float32(0)).scale
    return gaussian_log_prob(z, 0.0, jnp.log(scale)).sum(1) + volume


def bound(model: Diffusion, whole: Whole, key: jax.Array, params: Any, batch: Batch, num: int) -> jax.Array:
    """Returns an unbiased estimate of a lower bound of log p(x) [N] in nats (Kingma et al. 2021, arXiv 2107.00630, eq. 11).

    The bound is that of infinitely many steps: -KL(q(z_0 | x) || N(0, 1)) + E log p(x | z_1) - E |e - e'|^2 times half the
    range of ln(a^2 / s^2), with this number uniform over its range. With more samples the estimate has less noise.

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
    ratio = SHARE * (values[1] - values[0])  # s / a at the last time
    low, high = LOWEST, -2 * jnp.log(ratio)

    def noisy(key: jax.Array, snr: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns z, e and the times for ln(a^2 / s^2) of each row."""
        t = model.schedule.time(jnp.exp(-snr / 2))
        at = shares_of(model.schedule, model.deviation, t)
        e = jax.random.normal(key, x.shape)
        return beside(at.a, x) * x + beside(at.s, x) * e, e, t

    def diffusion(key: jax.Array) -> jax.Array:
        u_key, e_key = jax.random.split(key)
        z, e, t = noisy(e_key, low + (high - low) * strata(u_key, rows))
        return -(high - low) / 2 * row_sum(jnp.square(e - estimate(model, params, z, t, c).e))

    close = x + ratio * jax.random.normal(last_key, x.shape)
    logits = -jnp.square((close[..., None] - values.reshape(*(1,) * x.ndim, -1)) / ratio) / 2
    at_end = jax.nn.log_softmax(logits)
    reached = jnp.take_along_axis(at_end, whole.of(x).astype(jnp.int32)[..., None], -1)[..., 0]
    share = np.exp(low) / (1 + np.exp(low))  # a^2 at the first time of a path that keeps the variance
    kl = 0.5 * (share * jnp.square(x) - share - np.log1p(-share))
    steps = jax.lax.map(diffusion, jax.random.split(key, num)).mean(0)
    return steps + row_sum(reached - kl)


def row_sum(values: jax.Array) -> jax.Array:
    """Returns the sum of the numbers of each row [N].

    Args:
      values: numbers [N, *shape].
    """
    return values.reshape(len(values), -1).sum(1)


def log_prob(model: Diffusion, compiled: Callable, key: jax.Array, state: Any, batch: Batch) -> jax.Array:
    """Returns log p(x) [N] of rows of few real numbers, in nats.

    Args:
      model: the model.
      compiled: `ode_log_prob` of the model, compiled.
      key: not used.
      state: the state, whose averaged weights are used.
      batch: `x` [N, D] and the conditions that the net reads.

    Raises:
      UserError: for wrong conditions.
    """
    return compiled(state.average, batch["x"], batch_conditions(batch, model.conditions))


def log_prob_bound(
    model: Diffusion, compiled: Callable, key: jax.Array, state: Any, batch: Batch, num_samples: int = 1
) -> jax.Array:
    """Returns an estimate of a lower bound of log p(x) [N] of rows of whole numbers, in nats; see `bound`.

    Args:
      model: the model.
      compiled: `bound` of the model, compiled.
      key: random key.
      state: the state, whose averaged weights are used.
      batch: `x` [N, *shape] and the conditions that the net reads.
      num_samples: number of noise levels of a row; by default 1.

    Raises:
      UserError: for wrong conditions, or a number of samples below 1.
    """
    check_whole("num_samples", num_samples)
    rows = {"x": batch["x"], **(batch_conditions(batch, model.conditions) or {})}
    return compiled(key, state.average, rows, num=num_samples)


def prior(model: Diffusion, key: jax.Array, state: Any, num: int) -> dict:
    """Returns latents of the prior: `z` [num, D] ~ N(0, I), and `y` [num] for a model that reads labels.

    Args:
      model: the model.
      key: random key.
      state: the state, which counts labels.
      num: number of latents.
    """
    z_key, y_key = jax.random.split(key)
    z = jax.random.normal(z_key, (num, int(np.prod(model.form.shape))))
    return {"z": z} if state.classes is None else {"z": z, "y": drawn_labels(y_key, state.classes, num)}


def encode(model: Diffusion, compiled: Callable, key: jax.Array, state: Any, batch: Batch) -> dict:
    """Returns the noise at the beginning of the path to each row: `z` [N, D], and the conditions.

    Args:
      model: the model.
      compiled: `noise_of` of the model, compiled.
      key: not used.
      state: the state, whose averaged weights are used.
      batch: `x` [N, *shape] and the conditions that the net reads.

    Raises:
      UserError: for wrong conditions.
    """
    c = batch_conditions(batch, model.conditions)
    return {"z": compiled(state.average, batch["x"], c), **(c or {})}


def noise_of(model: Diffusion, steps: int, params: Any, x: jax.Array, c: Given | None) -> jax.Array:
    """Returns the noise [N, D] from which the path without fresh noise leads to rows.

    Args:
      model: the model.
      steps: number of steps of Heun's method.
      params: weights of the net.
      x: rows [N, *shape].
      c: conditions of the rows, or None.
    """
    scale = shares_of(model.schedule, model.deviation, jnp.float32(0)).scale
    z = followed(partial(velocity, model, params, c), x, last_time(model), 0.0, steps)
    return (z / scale).reshape(len(x), -1)


def decode(model: Diffusion, steps: int, key: jax.Array, state: Any, latent: dict) -> Batch:
    """Returns the rows to which paths lead from noise: `x` [N, *shape], and the conditions. Differentiable.

    Args:
      model: the model.
      steps: number of steps of Heun's method.
      key: not used.
      state: the state, whose averaged weights are used.
      latent: `z` [N, D], and the conditions that the net reads.

    Raises:
      UserError: for a missing condition.
    """
    c = conditions_in(latent, model.conditions)
    scale = shares_of(model.schedule, model.deviation, jnp.float32(0)).scale
    z = scale * latent["z"].reshape(-1, *model.form.shape)
    slope = partial(velocity, model, state.average, c)
    return {"x": followed(slope, z, 0.0, last_time(model), steps), **(c or {})}
