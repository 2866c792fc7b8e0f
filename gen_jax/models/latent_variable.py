"""What models of a Gaussian latent and a likelihood share: drawing, completing, encoding and bounding. No family lives here."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.conditions import batch_labels, drawn_labels, given_labels, given_observed, refuse_given, sampler_options
from gen_jax.data.spec import Spec
from gen_jax.distributions.pixels import Likelihood
from gen_jax.errors import check_whole
from gen_jax.losses.variational import importance_bound
from gen_jax.model import Batch, Model, State, observed
from gen_jax.models.completion import repaired

TOGETHER = 4  # latents of a row that are weighed at once


class Latent(NamedTuple):
    """A latent z [N, Z], N(0, I) where no data are seen, and p(x | z), as functions of the weights that score and sample.

    `y` is labels [N], or None; `q` is what `read` makes of x once for all draws of its posterior.
    """

    size: int  # Z
    classes: int  # of labels that are read; 0: none
    likelihood: Likelihood
    out: Callable  # (weights, z, y) -> what the likelihood reads [N, *shape, W]
    read: Callable  # (weights, x, y) -> q
    codes: Callable  # (weights, q, y) -> the posterior's mean and scale [N, Z]
    # (weights, q, z, x, y, fixed) -> a latent, that which q makes of the noise z or, where fixed, z itself; and its
    # log p(x, z) / q(z | x) [N]. None where the posterior is a point.
    weigh: Callable | None = None
    elbo: Callable | None = None  # (weights, q, noise, x, y) -> [N] nats, with the KL in closed form


def latent_model(
    spec: Spec, init: Callable, step: Callable, parts: Latent, means: bool, sweeps: int, fitted: Callable | None = None
) -> Model:
    """The model that `init` and `step` learn, whose state holds the weights as `average`, and `classes`, rows of each label.

    Args:
      means: a sample is the mean of x given its latent, not a draw.
      sweeps: of the Markov chain that completes x.
      fitted: (state, noise) -> latents of a prior that is not N(0, I).
    """
    likelihood, classes, size = parts.likelihood, parts.classes, parts.size
    honoured = ("y",) * (classes > 0) + ("x", "mask") * (parts.weigh is not None)

    def labelled(y: jax.Array | None) -> dict:
        return {} if y is None else {"y": y}

    @partial(jax.jit, static_argnames="num")
    def score(key: jax.Array, state: State, x: jax.Array, y: jax.Array | None, num: int) -> jax.Array:
        x_key, z_key = jax.random.split(key)
        x, weights = likelihood.smooth(x_key, x), state.average
        q = parts.read(weights, x, y)

        def noise(each: jax.Array) -> jax.Array:
            return jax.random.normal(jax.random.fold_in(z_key, each), (len(x), size))

        if num == 1:
            return parts.elbo(weights, q, noise(jnp.int32(0)), x, y)
        log_w = jax.lax.map(
            lambda each: parts.weigh(weights, q, noise(each), x, y, False)[1],
            jnp.arange(num),
            batch_size=min(num, TOGETHER),
        )
        return importance_bound(log_w)

    def log_prob_bound(key: jax.Array, state: State, batch: Batch, num_samples: int = 1) -> jax.Array:
        check_whole("num_samples", num_samples)
        return score(key, state, observed(batch), batch_labels(batch, classes).get("y"), num_samples)

    def prior(key: jax.Array, state: State, num: int) -> dict:
        z_key, y_key = jax.random.split(key)
        z = jax.random.normal(z_key, (num, size))
        return {
            "z": fitted(state, z) if fitted else z,
            **labelled(drawn_labels(y_key, state.classes, num) if classes else None),
        }

    @jax.jit
    def encoded(weights: Any, x: jax.Array, y: jax.Array | None) -> dict:
        mean, scale = parts.codes(weights, parts.read(weights, x, y), y)
        return {"z": mean, "scale": scale, **labelled(y)}

    def encode(key: jax.Array, state: State, batch: Batch) -> dict:
        return encoded(state.average, observed(batch), batch_labels(batch, classes).get("y"))

    def mean_of(weights: Any, z: jax.Array, y: jax.Array | None) -> jax.Array:
        return likelihood.mean(weights["likelihood"], parts.out(weights, z, y))

    @jax.jit
    def decode(key: jax.Array, state: State, latent: dict) -> Batch:
        y = latent["y"] if classes else None
        return {"x": mean_of(state.average, latent["z"], y), **labelled(y)}

    @jax.jit
    def draw(key: jax.Array, weights: Any, z: jax.Array, y: jax.Array | None) -> jax.Array:
        return likelihood.draw(key, weights["likelihood"], parts.out(weights, z, y))

    @jax.jit
    def complete(key: jax.Array, weights: Any, y: jax.Array | None, x: jax.Array, mask: jax.Array) -> jax.Array:
        return repaired(
            key,
            x,
            mask,
            sweeps,
            size,
            lambda z, x, fixed: parts.weigh(weights, parts.read(weights, x, y), z, x, y, fixed),
            lambda z, x: likelihood.log_prob(weights["likelihood"], parts.out(weights, z, y), x),
            lambda key, z: draw(key, weights, z, y),
            (lambda z: mean_of(weights, z, y)) if means else None,
        )

    def sample(key: jax.Array, state: State, num: int, given: dict | None = None, how: dict | None = None) -> Batch:
        sampler_options(how)
        refuse_given(given, honoured)
        prior_key, x_key = jax.random.split(key)
        known = given_observed(given, num, spec.shape)
        asked = {name: value for name, value in (given or {}).items() if name == "y"}
        point = {**prior(prior_key, state, num), **given_labels(asked, num, classes)}
        if means and not known:
            return decode(x_key, state, point)
        y, weights = point.get("y"), state.average
        x = complete(x_key, weights, y, *known) if known else draw(x_key, weights, point["z"], y)
        return {"x": x, **labelled(y)}

    bound = log_prob_bound if parts.elbo else None
    return Model(init, step, sample, None, bound, prior, encode, decode, honoured)
