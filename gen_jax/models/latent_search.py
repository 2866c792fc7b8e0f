"""Inpainting for models that only decode: a search of the latent whose picture agrees with what is observed."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.conditions import given_observed, refuse_given, sampler_options
from gen_jax.errors import UserError
from gen_jax.model import Batch, Model, State

DRAWS = 1024  # of the prior, that tell its spread


def with_latent_search(
    model: Model, starts: int = 16, steps: int = 200, learning_rate: float = 0.05, noise: float = 0.3
) -> Model:
    """The model with a `sample` that honours `x` and `mask` by optimising its latent through `decode`.

    Yeh et al. 2017 (arXiv 1607.07539), section 3.2: z = argmin of the distance to what is observed and of a term that
    keeps z likely, here the prior in the place of the critic, which no `Model` has:

      sum over observed of (x + s e - decode(z))^2 / (2 s^2) + sum of ((z - a) / deviation)^2 / 2

    As they stand these have one least value, which every completion of a picture might find. So each has its own draws: e of
    noise and a of the prior, which makes z a draw of the posterior where `decode` is linear and the prior normal (randomised
    maximum likelihood), and near one elsewhere; and it starts at the best of draws of its own.

    Args:
      starts: draws of the prior, of which the one with the least objective begins.
      steps, learning_rate: of Adam on z; the rate falls to 0 by a cosine.
      noise: s as a share of the deviation of what the model draws, around its mean.

    Raises:
      UserError: for a model without `prior` and `decode`, or whose latent is no real number.
    """
    if model.prior is None or model.decode is None:
        raise UserError("this model has no prior and decode to search a latent by, so it cannot complete data")
    tx = optax.adam(optax.cosine_decay_schedule(learning_rate, steps))

    def objective(
        z: jax.Array, key: jax.Array, state: State, latent: dict, x: jax.Array, mask: jax.Array, prior: tuple
    ) -> tuple:
        """Nats of each row [N], and their sum to differentiate."""
        centre, deviation, s = prior
        error = jnp.where(mask, model.decode(key, state, {**latent, "z": z})["x"] - x, 0)
        far = jnp.square(error).reshape(len(z), -1).sum(1) / (2 * s**2)
        each = far + jnp.square((z - centre) / deviation).reshape(len(z), -1).sum(1) / 2
        return each.sum(), each

    @jax.jit
    def better(key: jax.Array, state: State, best: tuple, latent: dict, *observed) -> tuple:
        prior_key, decode_key = jax.random.split(key)
        z = model.prior(prior_key, state, len(latent["z"]))["z"]
        value = objective(z, decode_key, state, latent, *observed)[1]
        wins = value < best[1]
        return jnp.where(wins.reshape(-1, *(1,) * (z.ndim - 1)), z, best[0]), jnp.minimum(value, best[1])

    @jax.jit
    def move(key: jax.Array, state: State, z: jax.Array, adam: optax.OptState, latent: dict, *observed) -> tuple:
        gradient = jax.grad(objective, has_aux=True)(z, key, state, latent, *observed)[0]
        updates, adam = tx.update(gradient, adam)
        return z + updates, adam

    @jax.jit
    def moments(key: jax.Array, state: State) -> tuple:
        prior_key, decode_key = jax.random.split(key)
        latent = model.prior(prior_key, state, DRAWS)
        z, x = latent["z"], model.decode(decode_key, state, latent)["x"]
        s = noise * jnp.sqrt(jnp.mean(jnp.var(x, 0))) + 1e-6
        return z.std(0, keepdims=True) + 1e-6, s

    def sample(key: jax.Array, state: State, num: int, given: dict | None = None, how: dict | None = None) -> Batch:
        asked = {name: value for name, value in (given or {}).items() if name not in ("x", "mask")}
        if not {"x", "mask"} & set(given or {}):
            return model.sample(key, state, num, asked or None, how)
        refuse_given(asked, model.given)
        sampler_options(how)
        prior_key, moments_key, start_key, noise_key, decode_key, label_key, move_key = jax.random.split(key, 7)
        latent = model.prior(prior_key, state, num)
        if not np.issubdtype(latent["z"].dtype, np.floating):
            raise UserError(f"the latent of this model is {latent['z'].dtype}: only a continuous one can be searched")
        if "y" in asked:  # which the model itself checks
            latent = {**latent, "y": model.sample(label_key, state, num, {"y": asked["y"]})["y"]}
        decode = partial(model.decode, decode_key)
        shape = jax.eval_shape(decode, state, latent)["x"].shape
        x, mask = given_observed(given, num, shape[1:])
        deviation, s = moments(moments_key, state)
        noisy = x + s * jax.random.normal(noise_key, x.shape)
        observed = noisy, mask, (latent["z"], deviation, s)
        best = latent["z"], jnp.full(num, jnp.inf)
        for start in jax.random.split(start_key, starts):
            best = better(start, state, best, latent, *observed)
        z, adam = best[0], tx.init(best[0])
        # Because XLA's CPU convolutions are slow inside a loop, each step is one dispatch.
        for step_key in jax.random.split(move_key, steps):
            z, adam = move(step_key, state, z, adam, latent, *observed)
        batch = decode(state, {**latent, "z": z})
        return {**batch, "x": jnp.where(mask, x, batch["x"])}

    return model._replace(sample=sample, given=(*model.given, "x", "mask"))
