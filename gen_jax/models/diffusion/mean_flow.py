"""Mean velocities of a path, by which a diffusion model draws in few steps (Geng et al. 2025, arXiv 2505.13447).

The mean velocity between two times is u(z, t, r) = 1 / (r - t) times the integral of the velocity from t to r, so that one
step z + (r - t) u(z, t, r) crosses the whole distance. Its derivative along the path gives u = v + (r - t) du/dt, with v the
velocity at t. A net is trained by this equation at single pairs of times, without a teacher.
"""

from typing import Any

import jax
import jax.numpy as jnp

from gen_jax.conditions import Given
from gen_jax.model import like_rows
from gen_jax.models.diffusion.denoising import Diffusion, predict
from gen_jax.models.diffusion.schedules import SMALLEST


def time_pairs(model: Diffusion, key: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the first and the last time of each row [N]; both are t in rows that train the velocity itself.

    Args:
      model: the model.
      key: random key.
      t: a time of each row [N].
    """
    share_key, time_key = jax.random.split(key)
    other = model.density(model.schedule, jax.random.uniform(time_key, t.shape, minval=SMALLEST, maxval=1 - SMALLEST))
    apart = jax.random.uniform(share_key, t.shape) < model.mean_flow
    return jnp.where(apart, jnp.minimum(t, other), t), jnp.where(apart, jnp.maximum(t, other), t)


def mean_flow_error(
    model: Diffusion,
    params: Any,
    key: jax.Array,
    x: jax.Array,
    e: jax.Array,
    times: tuple[jax.Array, jax.Array],
    c: Given | None,
    evidence: jax.Array | None,
) -> jax.Array:
    """Returns the error of mean velocities [N, *shape]. The target has no gradient (equations 9 to 11 of the paper).

    Args:
      model: the model.
      params: weights of the net; differentiable.
      key: random key of dropout.
      x: the rows [N, *shape].
      e: the noise [N, *shape].
      times: first and last times [N].
      c: conditions of the rows, or None.
      evidence: observed numbers and where they are [N, *shape, 2]; None if the net reads none.
    """
    t, until = times
    a, s = (like_rows(curve(t), x) for curve in (model.schedule.data, model.schedule.noise))
    da, ds = (like_rows(slope, x) for slope in model.schedule.velocity(t))
    velocity = da * x + ds * e

    def mean(z: jax.Array, t: jax.Array, until: jax.Array) -> jax.Array:
        return predict(model, params, z, t, c, evidence, {"dropout": key}, until)[0]

    slopes = (velocity, jnp.ones_like(t), jnp.zeros_like(t))
    out, change = jax.jvp(mean, (a * x + s * e, t, until), slopes)
    return out - jax.lax.stop_gradient(velocity + like_rows(until - t, x) * change)
