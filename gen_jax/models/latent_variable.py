"""Functions that models with a latent and a likelihood share: updates, bounds, samples, completions, codes."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import (
    Conditions,
    Given,
    batch_conditions,
    conditions_in,
    drawn_labels,
    given_conditions,
    given_observed,
    refuse_given,
    sampler_options,
)
from gen_jax.distributions.multivariate_normal import gaussian_kl, gaussian_log_prob
from gen_jax.distributions.pixels import Likelihood
from gen_jax.errors import UserError, check_whole
from gen_jax.losses.variational import importance_bound
from gen_jax.model import Batch, Model, State, observed, row_sum
from gen_jax.models.completion import Joint, repaired

TOGETHER = 4  # number of latents of a row that are scored at once


class Proposal(NamedTuple):
    """A latent z of each row, its posterior q(z | x) = N(mean, scale^2), and the output decoded from z.

    If z has layers, mean and scale of a layer are given the z of the layers above it.
    """

    z: jax.Array  # [N, Z] float32
    mean: jax.Array  # [N, Z] float32
    log_scale: jax.Array  # [N, Z] float32
    out: jax.Array  # [N, *shape, W] float32, input of the likelihood


class Decode(Protocol):
    """A function (params, z [N, Z], c) -> out."""

    def __call__(self, params: Any, z: jax.Array, c: Given | None, /) -> jax.Array:
        """Returns the input of the likelihood, [N, *shape, W]."""


class Encode(Protocol):
    """A function (params, x [N, *shape], c) -> q."""

    def __call__(self, params: Any, x: jax.Array, c: Given | None, /) -> Any:
        """Returns arrays that all latents of the rows x share; their first axis is N."""


class Propose(Protocol):
    """A function (params, q, noise [N, Z], c) -> proposal."""

    def __call__(self, params: Any, q: Any, noise: jax.Array, c: Given | None, /) -> Proposal:
        """Returns the latent z = mean + scale noise, a draw of q if noise ~ N(0, I)."""


class Retrace(Protocol):
    """A function (params, q, z [N, Z], c) -> proposal."""

    def __call__(self, params: Any, q: Any, z: jax.Array, c: Given | None, /) -> Proposal:
        """Returns the latent z itself, with its posterior."""


class Latent(NamedTuple):
    """A latent z [N, Z] with prior N(0, I), its p(x | z) and q(z | x), as functions of weights.

    `c` holds the conditions of N rows by name, or is None.
    """

    sizes: tuple[int, ...]  # sizes of the layers of z, which are concatenated; their sum is Z
    conditions: Conditions  # conditions that the nets read
    shape: tuple[int, ...]  # shape of a row
    likelihood: Likelihood  # its weights are params["likelihood"]
    decode: Decode
    encode: Encode
    propose: Propose
    retrace: Retrace
    means: bool = False  # whether a sample is the mean of x given its latent, not a draw
    sweeps: int = 100  # number of moves of the Markov chain that completes x
    point: bool = False  # whether q is a single point; then there is no bound and no completion
    fitted_prior: Callable[[State, jax.Array], jax.Array] | None = None  # (state, noise [N, Z]) -> z, if not N(0, I)


def latent_model(latent: Latent, init: Callable, step: Callable) -> Model:
    """Returns the model that `init` and `step` train.

    Args:
      latent: the model without its weights.
      init: function (key, batch) -> state. The state has `average`, the weights for samples and scores, and `classes`,
        the number of rows of each label.
      step: function (key, state, batch) -> (state, metrics).
    """
    decode_mean = jax.jit(partial(decode, latent))
    show = decode_mean if latent.means else jax.jit(partial(draw, latent))
    score = jax.jit(partial(bound, latent), static_argnames="num")
    return Model(
        init,
        step,
        sample=partial(sample, latent, show, jax.jit(partial(complete, latent))),
        log_prob_bound=None if latent.point else partial(log_prob_bound, latent, score),
        prior=partial(prior, latent),
        encode=partial(encode, latent, jax.jit(partial(posterior, latent))),
        decode=decode_mean,
        given=honoured(latent),
    )


def log_likelihood(likelihood: Likelihood, params: Any, out: jax.Array, x: jax.Array) -> jax.Array:
    """Returns log p(x | z) of each row, [N] nats.

    Args:
      likelihood: the likelihood; its weights are `params["likelihood"]`.
      params: weights of the model.
      out: output decoded from z [N, *shape, W].
      x: rows [N, *shape] in model space.

    Raises:
      UserError: for a likelihood that does not return nats of each row.
    """
    nats = likelihood.log_prob(params["likelihood"], out, x)
    if jnp.shape(nats)[:1] != (len(x),):
        raise UserError(
            f"likelihood.log_prob gives values of shape {[*jnp.shape(nats)]}; expected nats of each number of x "
            f"{[*x.shape]}. Leave out a mean or a sum over the rows"
        )
    return row_sum(nats)


def log_ratio(proposal: Proposal) -> jax.Array:
    """Returns log p(z) / q(z | x) of each row, [N] nats.

    Args:
      proposal: latents and their posterior.
    """
    z, mean, log_scale, _ = proposal
    return (gaussian_log_prob(z) - gaussian_log_prob(z, mean, log_scale)).sum(1)


def log_weight(latent: Latent, params: Any, proposal: Proposal, x: jax.Array) -> jax.Array:
    """Returns log p(x, z) / q(z | x) of each row, [N] nats.

    Args:
      latent: the model without its weights.
      params: weights of the model.
      proposal: latents and their posterior.
      x: rows [N, *shape].
    """
    return log_likelihood(latent.likelihood, params, proposal.out, x) + log_ratio(proposal)


def layer_kl(sizes: tuple[int, ...], proposal: Proposal) -> jax.Array:
    """Returns KL(q || p) of each layer, [N, L] nats, given the latents of the layers above it.

    Args:
      sizes: sizes of the L layers.
      proposal: latents, in which the layers are concatenated.
    """
    kl = gaussian_kl(proposal.mean, proposal.log_scale)  # [N, Z]
    ends = tuple(int(end) for end in np.cumsum(sizes[:-1]))
    return jnp.stack([layer.sum(1) for layer in jnp.split(kl, ends, axis=1)], 1)


def elbo(latent: Latent, params: Any, proposal: Proposal, x: jax.Array) -> jax.Array:
    """Returns log p(x | z) - KL(q || p) of each row, [N] nats (Kingma & Welling 2014, arXiv 1312.6114, eq. 7).

    Args:
      latent: the model without its weights.
      params: weights of the model.
      proposal: latents and their posterior.
      x: rows [N, *shape].
    """
    log_x = log_likelihood(latent.likelihood, params, proposal.out, x)
    return log_x - layer_kl(latent.sizes, proposal).sum(1)


def bound(latent: Latent, key: jax.Array, state: State, x: jax.Array, c: Given | None, num: int) -> jax.Array:
    """Returns a lower bound of log p(x) of each row, [N] nats.

    It is the ELBO if `num` is 1, and otherwise the bound of `importance_bound`.

    Args:
      latent: the model without its weights.
      key: random key.
      state: the state of the model.
      x: rows [N, *shape].
      c: conditions of the rows, or None.
      num: number of latents of each row.
    """
    x_key, z_key = jax.random.split(key)
    x, params = latent.likelihood.smooth(x_key, x), state.average
    q = latent.encode(params, x, c)

    def proposal(number: jax.Array) -> Proposal:
        noise = jax.random.normal(jax.random.fold_in(z_key, number), (len(x), sum(latent.sizes)))
        return latent.propose(params, q, noise, c)

    if num == 1:
        return elbo(latent, params, proposal(jnp.int32(0)), x)
    log_w = jax.lax.map(
        lambda number: log_weight(latent, params, proposal(number), x), jnp.arange(num), batch_size=min(num, TOGETHER)
    )
    return importance_bound(log_w)


def log_prob_bound(
    latent: Latent, score: Callable, key: jax.Array, state: State, batch: Batch, num_samples: int = 1
) -> jax.Array:
    """Returns a lower bound of log p(x) of each row, [N] nats; of log p(x | conditions) if the model reads conditions.

    One latent gives the ELBO, and more latents give the importance weighted bound.

    Args:
      latent: the model without its weights.
      score: the compiled function `bound` of this model.
      key: random key.
      state: the state of the model.
      batch: `x` [N, *shape], `mask` if numbers are missing, and the conditions that the model reads.
      num_samples: number of latents of each row; by default 1.

    Raises:
      UserError: if `num_samples` is below 1, or the batch lacks the conditions that the model reads.
    """
    check_whole("num_samples", num_samples)
    return score(key, state, observed(batch), batch_conditions(batch, latent.conditions), num_samples)


def prior(latent: Latent, key: jax.Array, state: State, num: int) -> dict:
    """Draws latents of the prior, with labels as frequent as in the batches seen.

    Args:
      latent: the model without its weights.
      key: random key.
      state: the state of the model.
      num: number of latents.

    Returns:
      `z` [num, Z], and `y` [num] if the model reads labels.
    """
    z_key, y_key = jax.random.split(key)
    z = jax.random.normal(z_key, (num, sum(latent.sizes)))
    if latent.fitted_prior:
        z = latent.fitted_prior(state, z)
    labels = {} if state.classes is None else {"y": drawn_labels(y_key, state.classes, num)}
    return {"z": z, **labels}


def posterior(latent: Latent, params: Any, x: jax.Array, c: Given | None) -> dict:
    """Returns the mean and the standard deviation of the posterior of rows.

    For a layer of the latent, they are given the means of the layers above it.

    Args:
      latent: the model without its weights.
      params: weights of the model.
      x: rows [N, *shape].
      c: conditions of the rows, or None.

    Returns:
      The mean `z` and the standard deviation `scale`, [N, Z] each, and the conditions.
    """
    q = latent.encode(params, x, c)
    centre = latent.propose(params, q, jnp.zeros((len(x), sum(latent.sizes))), c)
    scale = jnp.zeros_like(centre.mean) if latent.point else jnp.exp(centre.log_scale)
    return {"z": centre.mean, "scale": scale, **(c or {})}


def encode(latent: Latent, compiled_posterior: Callable, key: jax.Array, state: State, batch: Batch) -> dict:
    """Returns the latents of the rows of a batch.

    Args:
      latent: the model without its weights.
      compiled_posterior: `posterior` of this latent, compiled.
      key: not used.
      state: the state of the model.
      batch: `x` [N, *shape], and the conditions that the model reads.

    Raises:
      UserError: for a batch without the conditions that the model reads.
    """
    return compiled_posterior(state.average, observed(batch), batch_conditions(batch, latent.conditions))


def decode(form: Latent, key: jax.Array, state: State, latent: dict) -> Batch:
    """Returns the mean of x given latents.

    Args:
      form: the model without its weights.
      key: not used.
      state: the state of the model.
      latent: `z` [N, Z], and the conditions that the model reads.

    Returns:
      `x` [N, *shape], and the conditions.
    """
    c = conditions_in(latent, form.conditions)
    return {"x": mean(form, state.average, latent["z"], c), **(c or {})}


def draw(form: Latent, key: jax.Array, state: State, latent: dict) -> Batch:
    """Draws x given latents.

    Args:
      form: the model without its weights.
      key: random key.
      state: the state of the model.
      latent: `z` [N, Z], and the conditions that the model reads.

    Returns:
      `x` [N, *shape], and the conditions.
    """
    c = conditions_in(latent, form.conditions)
    out = form.decode(state.average, latent["z"], c)
    return {"x": form.likelihood.draw(key, state.average["likelihood"], out), **(c or {})}


def mean(latent: Latent, params: Any, z: jax.Array, c: Given | None) -> jax.Array:
    """Returns the mean of x [N, *shape] given latents.

    Args:
      latent: the model without its weights.
      params: weights of the model.
      z: latents [N, Z].
      c: conditions of the rows, or None.
    """
    return latent.likelihood.mean(params["likelihood"], latent.decode(params, z, c))


def complete(latent: Latent, key: jax.Array, state: State, x: jax.Array, mask: jax.Array, c: Given | None) -> Batch:
    """Draws the missing numbers of rows given their observed numbers.

    Args:
      latent: the model without its weights.
      key: random key.
      state: the state of the model.
      x: rows [N, *shape].
      mask: observed numbers [N, *shape].
      c: conditions of the rows, or None.

    Returns:
      `x` [N, *shape], and the conditions.
    """
    params, likelihood = state.average, latent.likelihood

    def propose(q: Any, noise: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        proposal = latent.propose(params, q, noise, c)
        return proposal.z, log_weight(latent, params, proposal, x)

    joint = Joint(
        latent_size=sum(latent.sizes),
        encode=lambda x: latent.encode(params, x, c),
        propose=propose,
        log_weight=lambda q, z, x: log_weight(latent, params, latent.retrace(params, q, z, c), x),
        log_likelihood=lambda z, x: likelihood.log_prob(params["likelihood"], latent.decode(params, z, c), x),
        draw=lambda key, z: likelihood.draw(key, params["likelihood"], latent.decode(params, z, c)),
    )
    end = partial(mean, latent, params, c=c) if latent.means else None
    return {"x": repaired(key, x, mask, latent.sweeps, joint, end), **(c or {})}


def sample(
    latent: Latent,
    show: Callable,
    fill: Callable,
    key: jax.Array,
    state: State,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws `num` rows.

    Args:
      latent: the model without its weights.
      show: `draw` or `decode` of this latent, compiled.
      fill: `complete` of this latent, compiled.
      key: random key.
      state: the state of the model.
      num: number of rows.
      given: conditions, or None: labels `y` [num]; a condition `c` [num, ...]; numbers `x` [num, *shape], which stay where `mask` [num, *shape] is
        above 0.
      how: must be empty, because the sampler has no options.

    Raises:
      UserError: for a condition that the model does not take, a condition that does not fit, or an option.
    """
    sampler_options(how)
    refuse_given(given, honoured(latent))
    prior_key, x_key = jax.random.split(key)
    cells = given_observed(given, num, latent.shape)
    point = {**prior(latent, prior_key, state, num), **given_conditions(given, num, latent.conditions)}
    if cells is None:
        return show(x_key, state, point)
    return fill(x_key, state, *cells, conditions_in(point, latent.conditions))


def honoured(latent: Latent) -> tuple[str, ...]:
    """Returns the names of the conditions that a sample can be given.

    Args:
      latent: the model without its weights.
    """
    names = latent.conditions.names
    return names if latent.point else (*names, "x", "mask")
