"""The path of a diffusion model without fresh noise, an ordinary differential equation: densities and latents."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import Given, conditions_in, drawn_labels
from gen_jax.distributions.multivariate_normal import gaussian_log_prob
from gen_jax.model import Batch
from gen_jax.models.diffusion.denoising import Diffusion, estimate
from gen_jax.models.diffusion.schedules import shares_of

MOST = 16  # number of dimensions up to which the trace of a Jacobian is computed exactly
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


def noise_scale(model: Diffusion) -> jax.Array:
    """Returns the standard deviation of the rows at the noisy end of the path, [].

    Args:
      model: the model.
    """
    return shares_of(model.schedule, model.deviation, jnp.float32(0)).scale


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

    def row_slope(row: jax.Array, c: Given | None, t: jax.Array) -> jax.Array:
        c = None if c is None else {name: value[None] for name, value in c.items()}
        return velocity(model, params, c, row[None], t)[0]

    def slope(value: tuple[jax.Array, jax.Array], t: jax.Array) -> tuple[jax.Array, jax.Array]:
        z, _ = value
        jacobian = jax.vmap(lambda row, c: jax.jacfwd(partial(row_slope, c=c, t=t))(row))(z, c)
        return velocity(model, params, c, z, t), jnp.trace(jacobian, axis1=1, axis2=2)

    z, volume = followed(slope, (x, jnp.zeros(len(x))), last_time(model), 0.0, steps)
    return gaussian_log_prob(z, 0.0, jnp.log(noise_scale(model))).sum(1) + volume


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


def noise_of(model: Diffusion, steps: int, params: Any, x: jax.Array, c: Given | None) -> jax.Array:
    """Returns the noise [N, D] from which the path without fresh noise leads to rows.

    Args:
      model: the model.
      steps: number of steps of Heun's method.
      params: weights of the net.
      x: rows [N, *shape].
      c: conditions of the rows, or None.
    """
    z = followed(partial(velocity, model, params, c), x, last_time(model), 0.0, steps)
    return (z / noise_scale(model)).reshape(len(x), -1)


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
    z = noise_scale(model) * latent["z"].reshape(-1, *model.form.shape)
    slope = partial(velocity, model, state.average, c)
    return {"x": followed(slope, z, 0.0, last_time(model), steps), **(c or {})}
