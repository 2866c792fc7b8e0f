"""Inpainting for models that only decode: a search of the latent whose picture agrees with what is observed."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.conditions import given_labels, given_observed, sampler_options
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.model import Batch, Model, State

DRAWS = 1024  # of the prior, from which its standard deviation is estimated
LEAST = 1e-6  # added to standard deviations, because they divide


class Target(NamedTuple):
    """The target of a search of the latents of N rows."""

    x: jax.Array  # [N, *shape] what is observed, with noise
    mask: jax.Array  # [N, *shape] bool, True where x is observed
    centre: jax.Array  # [N, ...] draws of the prior
    deviation: jax.Array  # [1, ...] standard deviation of the prior
    scale: jax.Array  # [] standard deviation of the noise


class Best(NamedTuple):
    """The latents with the least objective so far."""

    z: jax.Array  # [N, ...]
    nats: jax.Array  # [N]


class Search(NamedTuple):
    """A model, and the compiled parts of a search of its latent."""

    model: Model
    prior: Callable  # of the model
    decode: Callable  # of the model
    shape: tuple[int, ...]  # of a row
    classes: int  # number of labels that the model takes; 0: it takes none
    starts: int  # draws of the prior, of which the one with the least objective begins
    steps: int  # of the optimizer
    begin: Callable  # z -> the state of the optimizer
    spread: Callable  # `spread` of this model
    improve: Callable  # `improve` of this model
    move: Callable  # `move` of this model


def with_latent_search(
    model: Model, spec: Spec, starts: int = 16, steps: int = 200, learning_rate: float = 0.05, noise: float = 0.3
) -> Model:
    """Returns the model with a `sample` that honours `x` and `mask` by optimising its latent through `decode`.

    Yeh et al. 2017 (arXiv 1607.07539), section 3.2: z minimises the distance to what is observed and a term that keeps z
    likely. Here that term is of the prior instead of the critic, which no `Model` has; see `objective`.

    Args:
      model: has `prior` and `decode`.
      spec: the data, with the shape of a row and the names of the labels.
      starts: draws of the prior, of which the one with the least objective begins.
      steps: of Adam on z.
      learning_rate: of Adam; it falls to 0 by a cosine.
      noise: standard deviation of the noise, as a share of that of what the model draws.

    Raises:
      UserError: for a model without `prior` and `decode`. `sample` raises for a latent of whole numbers.
    """
    if model.prior is None or model.decode is None:
        raise UserError("this model has no prior and decode to search a latent by, so it cannot complete data")
    tx = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
    search = Search(
        model=model,
        prior=model.prior,
        decode=model.decode,
        shape=spec.shape,
        classes=len(spec.classes or ()) if "y" in model.given else 0,
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

      sum over observed of (x + s e - decode(z))^2 / (2 s^2) + sum of ((z - a) / deviation)^2 / 2

    Because each row has draws of its own, e of noise and a of the prior, completions of one picture differ. That makes z a
    draw of the posterior if `decode` is linear and the prior normal (randomised maximum likelihood), and nearly one
    otherwise.

    Args:
      decode: of the model.
      z: latents [N, ...]; differentiable.
      key: of `decode`.
      state: of the model.
      labels: what else the latent holds, {"y": [N]} or nothing.
      target: x + s e, a, and the scales.
    """
    x = decode(key, state, {**labels, "z": z})["x"]
    error = jnp.where(target.mask, x - target.x, 0)
    far = jnp.square(error).reshape(len(z), -1).sum(1) / (2 * target.scale**2)
    return far + jnp.square((z - target.centre) / target.deviation).reshape(len(z), -1).sum(1) / 2


def spread(
    prior: Callable, decode: Callable, noise: float, key: jax.Array, state: State
) -> tuple[jax.Array, jax.Array]:
    """Returns the standard deviation of the prior [1, ...], and `noise` times that of what the model draws, []."""
    prior_key, decode_key = jax.random.split(key)
    latent = prior(prior_key, state, DRAWS)
    x = decode(decode_key, state, latent)["x"]
    return latent["z"].std(0, keepdims=True) + LEAST, noise * jnp.sqrt(jnp.mean(jnp.var(x, 0))) + LEAST


def improve(
    prior: Callable, decode: Callable, key: jax.Array, state: State, best: Best, labels: dict, target: Target
) -> Best:
    """Returns the better of `best` and a draw of the prior, for each row."""
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
    """Returns the latents after one update by the gradient of the objective, and the state of the optimizer."""
    gradient = jax.grad(lambda z: objective(decode, z, key, state, labels, target).sum())(z)
    updates, adam = tx.update(gradient, adam)
    return z + updates, adam


def sample(
    search: Search, key: jax.Array, state: State, num: int, given: dict | None = None, how: dict | None = None
) -> Batch:
    """Returns `num` rows.

    Args:
      search: the model and its search.
      key: of the draws.
      state: of the model.
      num: number of rows.
      given: numbers `x` [num, *shape] that are kept where `mask` [num, *shape] is set; labels `y` [num], if the model takes
        them.
      how: options of the model; none if cells are kept.

    Raises:
      UserError: for a condition that the model does not take or that does not fit, or a latent of whole numbers.
    """
    cells = given_observed(given, num, search.shape)
    if given is None or cells is None:
        return search.model.sample(key, state, num, given, how)
    sampler_options(how)
    x, mask = cells
    asked = given_labels({name: given[name] for name in given if name not in ("x", "mask")}, num, search.classes)
    prior_key, spread_key, start_key, noise_key, decode_key, move_key = jax.random.split(key, 6)
    latent = {**search.prior(prior_key, state, num), **asked}
    z = latent.pop("z")
    if not np.issubdtype(z.dtype, np.floating):
        raise UserError(f"the latent of this model is {z.dtype}: only a continuous one can be searched")
    deviation, scale = search.spread(spread_key, state)
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
