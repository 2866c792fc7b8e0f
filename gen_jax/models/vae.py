"""Autoencoders: one function, whose arguments are the nets, the likelihood, the weight of the KL and the objective."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax import optimizers
from gen_jax.data.spec import Spec
from gen_jax.distributions import pixels
from gen_jax.distributions.columns import check_kind
from gen_jax.distributions.gaussians import gaussian_kl, gaussian_log_prob
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.losses.variational import doubly_reparameterised, free_bits, importance_bound, running_moments
from gen_jax.model import Batch, Model, observed, saturated, weighted_mean
from gen_jax.models.latent_variable import Latent, latent_model
from gen_jax.nets import DECODERS, ENCODERS
from gen_jax.registry import build

ADAM = {"name": "adam", "learning_rate": 1e-3}
OBJECTIVES = ("elbo", "iwae", "dreg")


class VaeState(NamedTuple):
    """What an autoencoder carries from step to step."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows learnt from
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None where none is modelled
    moments: Any  # mean [Z] and covariance [Z, Z] of the codes of an autoencoder; None where the prior is N(0, I)
    params: Any  # of the encoder, the decoder and the likelihood
    average: Any  # of params
    optimizer: Any


def vae(
    spec: Spec,
    encoder: Mapping = {"name": "mlp"},
    decoder: Mapping = {"name": "mlp"},
    likelihood: Mapping | None = None,
    latent_size: int = 16,
    conditional: bool = False,
    kl: float | Mapping = 1.0,
    free_nats: float = 0.0,
    objective: str = "elbo",
    num_samples: int = 1,
    means: bool = False,
    sweeps: int = 100,
    optimizer: Mapping = ADAM,
    ema_half_life: float = 0.0,
) -> Model:
    """An autoencoder of images, vectors or columns (Kingma & Welling 2014, arXiv 1312.6114).

    Args:
      encoder, decoder: a `name` in `ENCODERS` / `DECODERS` and that net's options.
      likelihood: a `name` in `distributions.pixels.LIKELIHOODS` and its options; where None the first that fits the data.
      conditional: both nets read the label; `given={"y": labels}` asks for one, and a sample's `y` tells it. Bounds are
        then those of log p(x | y).
      kl: weight of the KL (Higgins et al. 2017: beta), a number or a schedule over examples. 0 makes a deterministic
        autoencoder, which has no bound; its prior is a Gaussian fitted to the codes (Ghosh et al. 2020, arXiv 1903.12436).
      free_nats: KL of each latent that costs no more than this, on average over a batch.
      objective: `elbo`; `iwae`, the importance weighted bound (Burda et al. 2016, arXiv 1509.00519); `dreg`, the
        same with doubly reparameterised gradients (Tucker et al. 2019, arXiv 1810.04152).
      num_samples: latents drawn for each row while learning.
      means: a sample is the mean of x given its latent, not a draw.
      sweeps: of the Markov chain that repairs an image.
      optimizer: see `gen_jax.optimizers.optimizer`.
      ema_half_life: of the averaged weights that sample and score, in rows; 0 averages nothing.

    `log_prob_bound` takes `num_samples`: with 1 it is the ELBO with its KL in closed form, with more the importance weighted
    bound. `encode` gives the posterior's mean as `z` and its `scale`; `decode` the mean of x. `given` takes `y`,
    and `x` with `mask` [num, *shape], observed numbers that a sample keeps and completes by its posterior.

    Raises:
      UserError: for data that are no images or vectors, labels that they lack, an unknown name or option.
    """
    check_arguments(spec, conditional, latent_size, num_samples, sweeps, kl, objective, free_nats)
    classes, deterministic = len(spec.classes) if conditional else 0, kl == 0
    likelihood = pixels.fitting(spec, likelihood)
    e_net = build("encoder", ENCODERS, encoder, (2, latent_size), classes)
    d_net = build("decoder", DECODERS, decoder, likelihood.shape, classes)
    beta, tx = optimizers.schedule(kl), optimizers.optimizer(optimizer)

    def init(key: jax.Array, batch: Batch) -> VaeState:
        e_key, d_key = jax.random.split(key)
        y, zero = jnp.zeros(1, jnp.int32), jnp.zeros((), jnp.int32)
        x = likelihood.read(jnp.zeros((1, *spec.shape)))
        nets = e_net.init(e_key, x, y), d_net.init(d_key, jnp.zeros((1, latent_size)), y)
        own = {name: jnp.zeros(shape) for name, shape in likelihood.weights.items()}
        params = dict(zip(("encoder", "decoder", "likelihood"), (*nets, own)))
        if any(set(net) != {"params"} for net in nets):
            raise UserError("the nets of a vae may not normalise by statistics of a batch: choose norm='none'")
        moments = (jnp.zeros(latent_size), jnp.eye(latent_size)) if deterministic else None
        counts, average = jnp.zeros(classes) if conditional else None, jax.tree.map(jnp.copy, params)
        return VaeState(zero, zero, counts, moments, params, average, tx(zero).init(params))

    def posterior(params: Any, x: jax.Array, y: jax.Array | None, key: jax.Array | None = None) -> tuple:
        """Mean and log scale [N, Z] of q(z | x)."""
        out = e_net.apply(params["encoder"], likelihood.read(x), y, rngs={} if key is None else {"dropout": key})
        return out[:, 0], out[:, 1]

    def log_likelihood(params: Any, z: jax.Array, x: jax.Array, y: jax.Array | None, key: jax.Array | None = None):
        """log p(x | z) of each number [N, *shape]."""
        out = d_net.apply(params["decoder"], z, y, rngs={} if key is None else {"dropout": key})
        return likelihood.log_prob(params["likelihood"], out, x)

    def rows_sum(values: jax.Array) -> jax.Array:
        return values.reshape(len(values), -1).sum(1)

    def log_weight(params: Any, z: jax.Array, q: tuple, x: jax.Array, y: jax.Array | None, key=None) -> tuple:
        """log p(x | z) and log p(z) / q(z | x), [N] each, of the latents z [N, Z]."""
        log_x = rows_sum(log_likelihood(params, z, x, y, key))
        return log_x, (gaussian_log_prob(z) - gaussian_log_prob(z, *q)).sum(1)

    def loss(params: Any, key: jax.Array, state: VaeState, x: jax.Array, y: jax.Array | None, weight: jax.Array):
        """What is minimised, with the metrics and the posterior means."""
        z_key, x_key, e_key, d_key = jax.random.split(key, 4)
        x, now = likelihood.smooth(x_key, x), beta(state.examples.astype(jnp.float32))
        mean, log_scale = posterior(params, x, y, e_key)
        if deterministic:
            log_x = rows_sum(log_likelihood(params, mean, x, y, d_key))
            value = weighted_mean(log_x, weight)
            return -value, ({"log_likelihood": value}, mean)
        noise = jax.random.normal(z_key, (len(x), num_samples, latent_size)).swapaxes(0, 1)
        z = mean[None] + jnp.exp(log_scale)[None] * noise  # [K, N, Z]
        each = gaussian_kl(mean, log_scale)  # [N, Z]
        if objective == "dreg":
            fixed = jax.lax.stop_gradient((mean, log_scale))

            def log_w(params: Any, z: jax.Array) -> tuple[jax.Array, jax.Array]:
                return jax.vmap(lambda z: log_weight(params, z, fixed, x, y, d_key))(z)

            share = weight / jnp.maximum(weight.sum(), 1e-12)
            bound, surrogate = doubly_reparameterised(log_w, params, z, share, now)
            metrics = {"bound": weighted_mean(bound, weight), "kl": weighted_mean(each.sum(1), weight)}
            return -surrogate, (metrics, mean)
        q = mean, log_scale
        log_x, ratio = jax.vmap(lambda z: log_weight(params, z, q, x, y, d_key))(z)  # [K, N]
        metrics = {"elbo": weighted_mean(log_x.mean(0) - each.sum(1), weight), "kl": weighted_mean(each.sum(1), weight)}
        if objective == "iwae":
            metrics["bound"] = weighted_mean(importance_bound(log_x + ratio), weight)
            return -weighted_mean(importance_bound(log_x + now * ratio), weight), (metrics, mean)
        return weighted_mean(now * free_bits(each, weight, free_nats) - log_x.mean(0), weight), (metrics, mean)

    def step(key: jax.Array, state: VaeState, batch: Batch) -> tuple[VaeState, dict]:
        x, y = observed(batch), batch["y"] if conditional else None
        weight, seen = batch.get("weight", jnp.ones(len(x))), state.examples.astype(jnp.float32)
        gradient, (metrics, codes) = jax.grad(loss, has_aux=True)(state.params, key, state, x, y, weight)
        updates, tx_state = tx(seen).update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        average = optimizers.moving_average(state.average, params, weight.sum(), jnp.float32(ema_half_life))
        counts, moments = state.classes, state.moments
        if conditional:
            counts = counts + jnp.einsum("b,bk->k", weight, jax.nn.one_hot(y, classes))
        if deterministic:
            moments = running_moments(moments, codes, weight, 1 / (state.step + 1))
        examples = saturated(state.examples, (weight > 0).sum())
        state = VaeState(state.step + 1, examples, counts, moments, params, average, tx_state)
        return state, {**metrics, "gradient_norm": optax.tree.norm(gradient)}

    def weigh(params: Any, q: tuple, z: jax.Array, x: jax.Array, y: jax.Array | None, fixed: bool) -> tuple:
        z = z if fixed else q[0] + jnp.exp(q[1]) * z
        return z, sum(log_weight(params, z, q, x, y))

    def elbo(params: Any, q: tuple, noise: jax.Array, x: jax.Array, y: jax.Array | None) -> jax.Array:
        return log_weight(params, q[0] + jnp.exp(q[1]) * noise, q, x, y)[0] - gaussian_kl(*q).sum(1)

    def codes(params: Any, q: tuple, y: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        return q[0], jnp.zeros_like(q[1]) if deterministic else jnp.exp(q[1])

    def out(params: Any, z: jax.Array, y: jax.Array | None) -> jax.Array:
        return d_net.apply(params["decoder"], z, y)

    def fitted(state: VaeState, noise: jax.Array) -> jax.Array:
        mean, covariance = state.moments
        return mean[None] + noise @ jnp.linalg.cholesky(covariance + 1e-6 * jnp.eye(latent_size)).T

    latent = Latent(latent_size, classes, likelihood, out, posterior, codes)
    if deterministic:
        return latent_model(spec, init, step, latent, means, sweeps, fitted)
    return latent_model(spec, init, step, latent._replace(weigh=weigh, elbo=elbo), means, sweeps)


def check_arguments(
    spec: Spec,
    conditional: bool,
    latent_size: int,
    num_samples: int,
    sweeps: int,
    kl: float | Mapping,
    objective: str,
    free_nats: float,
) -> None:
    """Refuses arguments that no autoencoder can have.

    Raises:
      UserError: naming the argument, its value and what was expected.
    """
    check_kind("vae", spec, ("image", "vector"))
    for name, value in {"latent_size": latent_size, "num_samples": num_samples, "sweeps": sweeps}.items():
        check_whole(name, value)
    if conditional and not spec.classes:
        raise UserError(f"a conditional vae learns labels, and {spec.name} has none: set model.conditional=False")
    choose("objective", objective, OBJECTIVES)
    if not isinstance(kl, Mapping) and kl < 0:
        raise UserError(f"kl {kl}: expected 0 or more")
    if free_nats < 0:
        raise UserError(f"free_nats {free_nats}: expected 0 or more")
    if kl == 0 and (objective, num_samples, free_nats) != ("elbo", 1, 0):
        raise UserError("kl 0 makes a deterministic autoencoder: objective, num_samples and free_nats are of others")
    if objective != "elbo" and free_nats:
        raise UserError(f"free_nats {free_nats}: objective {objective!r} has no KL to keep free, expected 0")
