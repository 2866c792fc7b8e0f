"""Inpainting for models that only decode: a search of the latent whose picture agrees with the observed numbers."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.conditions import Conditions, given_conditions, given_observed, refuse_given, sampler_options
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.model import Array, Batch, Model, State

DRAWS = 1024  # number of draws of the prior from which its standard deviation is estimated
LEAST = 1e-6  # number added to standard deviations, because they are divisors


class Target(NamedTuple):
    """Holds the target of a search of the latents of N rows."""

    x: jax.Array  # [N, *shape] observed numbers with noise
    mask: Array  # [N, *shape] bool, whether x is observed
    centre: jax.Array  # [N, ...] draws of the prior
    deviation: jax.Array  # [1, ...] standard deviation of the prior
    scale: jax.Array  # [] standard deviation of the noise


class Best(NamedTuple):
    """Holds the latents with the smallest objective so far."""

    z: jax.Array  # [N, ...]
    nats: jax.Array  # [N]


class Search(NamedTuple):
    """Holds a model, and the compiled parts of a search of its latent."""

    model: Model
    prior: Callable  # `prior` of the model
    decode: Callable  # `decode` of the model
    shape: tuple[int, ...]  # shape of a row
    conditions: Conditions  # conditions that the model takes
    starts: int  # number of draws of the prior; the draw with the smallest objective is the start
    steps: int  # number of steps of the optimizer
    begin: Callable  # z -> state of the optimizer
    spread: Callable  # `spread` of this model
    improve: Callable  # `improve` of this model
    move: Callable  # `move` of this model


def with_latent_search(
    model: Model, spec: Spec, starts: int = 16, steps: int = 200, learning_rate: float = 0.05, noise: float = 0.3
) -> Model:
    """Returns the model with a `sample` that honours `x` and `mask` by optimising its latent through `decode`.

    See Yeh et al. 2017 (arXiv 1607.07539), section 3.2: z minimises the distance to the observed numbers plus a term
    that keeps z likely. Here that term uses the prior instead of the critic, because a `Model` has no critic; see
    `objective`.

    Args:
      model: a model with `prior` and `decode`.
      spec: facts of the data, for the shape of a row and the names of the labels.
      starts: number of draws of the prior; by default 16. The draw with the smallest objective is the start.
      steps: number of steps of Adam on z; by default 200.
      learning_rate: learning rate of Adam, which falls to 0 by a cosine; by default 0.05.
      noise: standard deviation of the noise, as a share of the standard deviation of the model's draws; by default 0.3.

    Raises:
      UserError: for a model without `prior` and `decode`. `sample` raises it for a latent of whole numbers.
    """
    if model.prior is None or model.decode is None:
        raise UserError(
            "this model has no prior and decode; expected both, because data are completed by a search of the latent"
        )
    tx = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    search = Search(
        model=model,
        prior=model.prior,
        decode=model.decode,
        shape=spec.shape,
        conditions=Conditions(
            len(spec.classes) if "y" in model.given else 0, spec.condition if "c" in model.given else None
        ),
        starts=starts,
        steps=steps,
        begin=tx.init,
        spread=jax.jit(partial(spread, model.prior, model.decode, noise)),
        improve=jax.jit(partial(improve, model.prior, model.decode)),
        move=jax.jit(partial(move, model.decode, tx)),
    )
    return model._replace(sample=partial(sample, search), given=(*model.given, "x", "mask"))


def objective(decode: Callable, z: jax.Array, key: jax.Array, state: State, labels: dict, target: Target) -> jax.Array:
    """Returns the nats that the search minimises for each row, [N].

      sum over observed numbers of (x + s e - decode(z))^2 / (2 s^2) + sum of ((z - a) / deviation)^2 / 2

    Because each row has its own draws, e of the noise and a of the prior, completions of one picture differ. If
    `decode` is linear and the prior is normal, z is a draw from the posterior (randomised maximum likelihood).
    Otherwise z is nearly such a draw.

    Args:
      decode: `decode` of the model.
      z: latents [N, ...]; differentiable.
      key: random key of `decode`.
      state: the state of the model.
      labels: other arrays of the latent: conditions, or nothing.
      target: the target, with x + s e, a and the scales.
    """
    x = decode(key, state, {**labels, "z": z})["x"]
    error = jnp.where(target.mask, x - target.x, 0)
    far = jnp.square(error).reshape(len(z), -1).sum(1) / (2 * target.scale**2)
    return far + jnp.square((z - target.centre) / target.deviation).reshape(len(z), -1).sum(1) / 2


def spread(
    prior: Callable, decode: Callable, noise: float, key: jax.Array, state: State, conditions: Batch
) -> tuple[jax.Array, jax.Array]:
    """Returns the standard deviation of the prior [1, ...], and `noise` times the standard deviation of the draws [].

    Args:
      prior: `prior` of the model.
      decode: `decode` of the model.
      noise: share of the standard deviation.
      key: random key of the draws.
      state: the state of the model.
      conditions: conditions of `DRAWS` rows that have no prior, such as images; may be empty.
    """
    prior_key, decode_key = jax.random.split(key)
    latent = {**prior(prior_key, state, DRAWS), **conditions}
    x = decode(decode_key, state, latent)["x"]
    return latent["z"].std(0, keepdims=True) + LEAST, noise * jnp.sqrt(jnp.mean(jnp.var(x, 0))) + LEAST


def improve(
    prior: Callable, decode: Callable, key: jax.Array, state: State, best: Best, labels: dict, target: Target
) -> Best:
    """Returns for each row the better latent of `best` and a new draw of the prior.

    Args:
      prior: `prior` of the model.
      decode: `decode` of the model.
      key: random key of the draw.
      state: the state of the model.
      best: the best latents so far.
      labels: other arrays of the latent: conditions, or nothing.
      target: target of the search.
    """
    prior_key, decode_key = jax.random.split(key)
    z = prior(prior_key, state, len(target.x))["z"]
    nats = objective(decode, z, decode_key, state, labels, target)
    wins = (nats < best.nats).reshape(-1, *(1,) * (z.ndim - 1))
    return Best(jnp.where(wins, z, best.z), jnp.minimum(nats, best.nats))


def move(
    decode: Callable,
    tx: optax.GradientTransformation,
    key: jax.Array,
    state: State,
    z: jax.Array,
    adam: optax.OptState,
    labels: dict,
    target: Target,
) -> tuple[jax.Array, optax.OptState]:
    """Returns the latents after one update by the gradient of the objective, and the state of the optimizer.

    Args:
      decode: `decode` of the model.
      tx: Adam.
      key: random key of `decode`.
      state: the state of the model.
      z: latents [N, ...].
      adam: state of the optimizer.
      labels: other arrays of the latent: conditions, or nothing.
      target: target of the search.
    """
    gradient = jax.grad(lambda z: objective(decode, z, key, state, labels, target).sum())(z)
    updates, adam = tx.update(gradient, adam)
    return z + updates, adam


def sample(
    search: Search, key: jax.Array, state: State, num: int, given: dict | None = None, how: dict | None = None
) -> Batch:
    """Draws rows. Observed numbers are kept, and a search of the latent completes the row.

    Args:
      search: the model and its search.
      key: random key of the draws.
      state: the state of the model.
      num: number of rows.
      given: observed numbers `x` [num, *shape] with `mask` [num, *shape], and the conditions that the
        model takes.
      how: options of the model; not allowed if numbers are observed.

    Raises:
      UserError: for a condition that the model does not take or that does not fit, or a latent of whole numbers.
    """
    cells = given_observed(given, num, search.shape)
    if given is None or cells is None:
        return search.model.sample(key, state, num, given, how)
    sampler_options(how)
    x, mask = cells
    refuse_given(given, (*search.conditions.names, "x", "mask"))
    requested = given_conditions(given, num, search.conditions)
    prior_key, spread_key, start_key, noise_key, decode_key, move_key = jax.random.split(key, 6)
    latent = {**search.prior(prior_key, state, num), **requested}
    z = latent.pop("z")
    if not np.issubdtype(z.dtype, np.floating):
        raise UserError(f"latent of this model is {z.dtype}; expected real numbers, which can be searched")
    rows = np.arange(DRAWS) % num
    deviation, scale = search.spread(
        spread_key, state, {name: leaf[rows] for name, leaf in requested.items() if name != "y"}
    )
    noisy = x + scale * jax.random.normal(noise_key, x.shape)
    target = Target(noisy, mask, z, deviation, scale)
    best = Best(z, jnp.full(num, jnp.inf))
    for start in jax.random.split(start_key, search.starts):
        best = search.improve(start, state, best, latent, target)
    z, adam = best.z, search.begin(best.z)
    # Because XLA's CPU convolutions are slow inside a loop, each step is one dispatch.
    for step_key in jax.random.split(move_key, search.steps):
        z, adam = search.move(step_key, state, z, adam, latent, target)
    batch = search.decode(decode_key, state, {**latent, "z": z})
    return {**batch, "x": jnp.where(mask, x, batch["x"])}
