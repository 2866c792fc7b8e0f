"""Autoencoders: one function, whose arguments are the nets, the likelihood, the weight of the KL and the objective."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from gen_jax import optimizers
from gen_jax.data.spec import Spec
from gen_jax.distributions import pixels
from gen_jax.distributions.columns import check_kind
from gen_jax.distributions.gaussians import gaussian_kl, gaussian_log_prob
from gen_jax.distributions.pixels import Likelihood
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.losses.variational import doubly_reparameterised, free_bits, importance_bound, running_moments
from gen_jax.model import Batch, Model, observed, saturated, weighted_mean
from gen_jax.models.latent_variable import Latent, latent_model
from gen_jax.nets import DECODERS, ENCODERS
from gen_jax.registry import build

ADAM = {"name": "adam", "learning_rate": 1e-3}


class VaeState(NamedTuple):
    """What an autoencoder carries from step to step."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows learnt from
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None where none is modelled
    moments: Any  # mean [Z] and covariance [Z, Z] of the codes of an autoencoder; None where the prior is N(0, I)
    params: Any  # of the encoder, the decoder and the likelihood
    average: Any  # of params
    optimizer: Any


class Autoencoder(NamedTuple):
    """What an autoencoder is without its weights. `y` is labels [N], or None."""

    encoder: nn.Module  # (x, y) -> [N, 2, Z], mean and log scale of q(z | x)
    decoder: nn.Module  # (z, y) -> what the likelihood reads
    likelihood: Likelihood
    shape: tuple[int, ...]  # of a row
    latent_size: int  # Z
    classes: int = 0  # of the labels that both nets read; 0: they read none
    deterministic: bool = False  # the code is the mean of q, and the prior is fitted to the codes
    num_samples: int = 1  # K, latents drawn for each row
    free_nats: float = 0.0  # KL of each latent that costs nothing


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
    nets = Autoencoder(
        e_net, d_net, likelihood, spec.shape, latent_size, classes, deterministic, num_samples, free_nats
    )
    loss = partial(reconstruction_loss if deterministic else OBJECTIVES[objective], nets)
    beta, tx = optimizers.schedule(kl), optimizers.optimizer(optimizer)
    latent = Latent(
        latent_size, classes, likelihood, partial(decoded, nets), partial(posterior, nets), partial(codes, nets)
    )
    if not deterministic:
        latent = latent._replace(weigh=partial(weigh, nets), elbo=partial(elbo, nets))
    return latent_model(
        spec,
        partial(init, nets, tx),
        partial(step, nets, loss, beta, tx, ema_half_life),
        latent,
        means,
        sweeps,
        draw_prior if deterministic else None,
    )


def init(nets: Autoencoder, tx: Callable, key: jax.Array, batch: Batch) -> VaeState:
    """Returns the state before the first step.

    Args:
      tx: (examples) -> an Optax transformation.

    Raises:
      UserError: for nets that keep statistics of batches.
    """
    e_key, d_key = jax.random.split(key)
    y, zero = jnp.zeros(1, jnp.int32), jnp.zeros((), jnp.int32)
    x = nets.likelihood.read(jnp.zeros((1, *nets.shape)))
    drawn = nets.encoder.init(e_key, x, y), nets.decoder.init(d_key, jnp.zeros((1, nets.latent_size)), y)
    own = {name: jnp.zeros(shape) for name, shape in nets.likelihood.weights.items()}
    params = dict(zip(("encoder", "decoder", "likelihood"), (*drawn, own)))
    if any(set(net) != {"params"} for net in drawn):
        raise UserError("the nets of a vae may not normalise by statistics of a batch: choose norm='none'")
    moments = (jnp.zeros(nets.latent_size), jnp.eye(nets.latent_size)) if nets.deterministic else None
    counts, average = jnp.zeros(nets.classes) if nets.classes else None, jax.tree.map(jnp.copy, params)
    return VaeState(zero, zero, counts, moments, params, average, tx(zero).init(params))


def step(
    nets: Autoencoder,
    loss: Callable,
    beta: Callable,
    tx: Callable,
    ema_half_life: float,
    key: jax.Array,
    state: VaeState,
    batch: Batch,
) -> tuple[VaeState, dict]:
    """Returns the state after one update by the gradient of a loss, and its metrics.

    Args:
      loss: (params, key, batch, beta) -> `Loss`, such as `elbo_loss` of these nets.
      beta: (examples) -> the weight of the KL.
      tx: (examples) -> an Optax transformation.
      ema_half_life: of the averaged weights, in rows.
    """
    weight, seen = batch.get("weight", jnp.ones(len(batch["x"]))), state.examples.astype(jnp.float32)
    gradient, (metrics, means) = jax.grad(loss, has_aux=True)(state.params, key, batch, beta(seen))
    updates, tx_state = tx(seen).update(gradient, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    average = optimizers.moving_average(state.average, params, weight.sum(), jnp.float32(ema_half_life))
    counts, moments = state.classes, state.moments
    if nets.classes:
        counts = counts + jnp.einsum("b,bk->k", weight, jax.nn.one_hot(batch["y"], nets.classes))
    if nets.deterministic:
        moments = running_moments(moments, means, weight, 1 / (state.step + 1))
    examples = saturated(state.examples, (weight > 0).sum())
    state = VaeState(state.step + 1, examples, counts, moments, params, average, tx_state)
    return state, {**metrics, "gradient_norm": optax.tree.norm(gradient)}


def posterior(
    nets: Autoencoder, params: Any, x: jax.Array, y: jax.Array | None, key: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Returns mean and log scale [N, Z] of q(z | x). With a key the encoder drops out."""
    rngs = {} if key is None else {"dropout": key}
    out = nets.encoder.apply(params["encoder"], nets.likelihood.read(x), y, rngs=rngs)
    return out[:, 0], out[:, 1]


def decoded(
    nets: Autoencoder, params: Any, z: jax.Array, y: jax.Array | None, key: jax.Array | None = None
) -> jax.Array:
    """Returns what the likelihood reads for latents z [N, Z]. With a key the decoder drops out."""
    return nets.decoder.apply(params["decoder"], z, y, rngs={} if key is None else {"dropout": key})


def log_likelihood(
    nets: Autoencoder, params: Any, z: jax.Array, x: jax.Array, y: jax.Array | None, key: jax.Array | None = None
) -> jax.Array:
    """Returns log p(x | z) of each row, [N] nats."""
    values = nets.likelihood.log_prob(params["likelihood"], decoded(nets, params, z, y, key), x)
    return values.reshape(len(values), -1).sum(1)


def log_weight(
    nets: Autoencoder,
    params: Any,
    z: jax.Array,
    q: tuple[jax.Array, jax.Array],
    x: jax.Array,
    y: jax.Array | None,
    key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Returns log p(x | z) and log p(z) / q(z | x), [N] each, of latents z [N, Z]; q is mean and log scale."""
    log_x = log_likelihood(nets, params, z, x, y, key)
    return log_x, (gaussian_log_prob(z) - gaussian_log_prob(z, *q)).sum(1)


class Drawn(NamedTuple):
    """Rows and latents of their posterior, with which every loss begins."""

    x: jax.Array  # [N, *shape], as the likelihood takes it
    y: jax.Array | None
    weight: jax.Array  # [N]
    q: tuple[jax.Array, jax.Array]  # mean and log scale [N, Z]
    z: jax.Array  # [K, N, Z], of q
    key: jax.Array  # of the decoder


def draw_latents(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch) -> Drawn:
    """Draws `num_samples` latents of each row by the reparameterisation of its posterior."""
    z_key, x_key, e_key, d_key = jax.random.split(key, 4)
    x, y = nets.likelihood.smooth(x_key, observed(batch)), batch["y"] if nets.classes else None
    mean, log_scale = posterior(nets, params, x, y, e_key)
    noise = jax.random.normal(z_key, (len(x), nets.num_samples, nets.latent_size)).swapaxes(0, 1)
    z = mean[None] + jnp.exp(log_scale)[None] * noise
    return Drawn(x, y, batch.get("weight", jnp.ones(len(x))), (mean, log_scale), z, d_key)


Loss = tuple[jax.Array, tuple[dict, jax.Array]]  # what is minimised; and the metrics with the posterior means [N, Z]


def reconstruction_loss(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: Any = 0.0) -> Loss:
    """Returns -log p(x | z) at the mean z of q; the rest is as in `elbo_loss`, but that no `beta` is read."""
    drawn = draw_latents(nets, params, key, batch)
    log_x = log_likelihood(nets, params, drawn.q[0], drawn.x, drawn.y, drawn.key)
    value = weighted_mean(log_x, drawn.weight)
    return -value, ({"log_likelihood": value}, drawn.q[0])


def elbo_loss(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 1.0) -> Loss:
    """Returns beta KL(q || p) - log p(x | z), the mean over a batch in nats (Kingma & Welling 2014, arXiv 1312.6114, eq. 7).

    Args:
      nets: the autoencoder.
      params: of the encoder, the decoder and the likelihood; differentiable.
      key: of the noise.
      batch: `x` [N, *shape] in model space, `y` [N] where the nets read labels, `weight` [N], 0 for rows that do not count.
      beta: weight of the KL.

    Returns:
      The loss; and the metrics with the posterior means [N, Z].
    """
    drawn = draw_latents(nets, params, key, batch)
    log_x, _ = _weights(nets, params, drawn)
    kl = gaussian_kl(*drawn.q)  # [N, Z]
    loss = weighted_mean(beta * free_bits(kl, drawn.weight, nets.free_nats) - log_x.mean(0), drawn.weight)
    return loss, (_elbo_metrics(log_x, kl, drawn.weight), drawn.q[0])


def iwae_loss(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 1.0) -> Loss:
    """Returns the negative importance weighted bound (Burda et al. 2016, arXiv 1509.00519, eq. 8); the rest is as in `elbo_loss`."""
    drawn = draw_latents(nets, params, key, batch)
    log_x, ratio = _weights(nets, params, drawn)
    metrics = _elbo_metrics(log_x, gaussian_kl(*drawn.q), drawn.weight)
    metrics["bound"] = weighted_mean(importance_bound(log_x + ratio), drawn.weight)
    return -weighted_mean(importance_bound(log_x + beta * ratio), drawn.weight), (metrics, drawn.q[0])


def dreg_loss(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 1.0) -> Loss:
    """Returns a number whose gradient is that of `iwae_loss`, doubly reparameterised (Tucker et al. 2019, arXiv 1810.04152)."""
    drawn = draw_latents(nets, params, key, batch)
    kl, fixed = gaussian_kl(*drawn.q), jax.lax.stop_gradient(drawn.q)

    def log_w(params: Any, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _weights(nets, params, drawn._replace(q=fixed, z=z))

    share = drawn.weight / jnp.maximum(drawn.weight.sum(), 1e-12)
    bound, surrogate = doubly_reparameterised(log_w, params, drawn.z, share, beta)
    metrics = {"bound": weighted_mean(bound, drawn.weight), "kl": weighted_mean(kl.sum(1), drawn.weight)}
    return -surrogate, (metrics, drawn.q[0])


def _weights(nets: Autoencoder, params: Any, drawn: Drawn) -> tuple[jax.Array, jax.Array]:
    """Returns `log_weight` of each of K latents, [K, N]."""
    return jax.vmap(lambda z: log_weight(nets, params, z, drawn.q, drawn.x, drawn.y, drawn.key))(drawn.z)


def _elbo_metrics(log_x: jax.Array, kl: jax.Array, weight: jax.Array) -> dict:
    return {"elbo": weighted_mean(log_x.mean(0) - kl.sum(1), weight), "kl": weighted_mean(kl.sum(1), weight)}


OBJECTIVES = {"elbo": elbo_loss, "iwae": iwae_loss, "dreg": dreg_loss}


def weigh(
    nets: Autoencoder, params: Any, q: tuple, z: jax.Array, x: jax.Array, y: jax.Array | None, fixed: bool
) -> tuple[jax.Array, jax.Array]:
    """Returns a latent, which q makes of the noise z unless it is `fixed`, and its log p(x, z) / q(z | x) [N]."""
    z = z if fixed else q[0] + jnp.exp(q[1]) * z
    return z, sum(log_weight(nets, params, z, q, x, y))


def elbo(nets: Autoencoder, params: Any, q: tuple, noise: jax.Array, x: jax.Array, y: jax.Array | None) -> jax.Array:
    """Returns the ELBO [N] in nats, whose KL is in closed form, by one latent a row."""
    return log_weight(nets, params, q[0] + jnp.exp(q[1]) * noise, q, x, y)[0] - gaussian_kl(*q).sum(1)


def codes(nets: Autoencoder, params: Any, q: tuple, y: jax.Array | None) -> tuple[jax.Array, jax.Array]:
    """Returns mean and scale [N, Z] of the posterior, which is a point where the autoencoder is deterministic."""
    return q[0], jnp.zeros_like(q[1]) if nets.deterministic else jnp.exp(q[1])


def draw_prior(state: VaeState, noise: jax.Array) -> jax.Array:
    """Returns latents [N, Z] of the Gaussian that is fitted to the codes, made of noise [N, Z]."""
    mean, covariance = state.moments
    return mean[None] + noise @ jnp.linalg.cholesky(covariance + 1e-6 * jnp.eye(len(mean))).T


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
    check_kind("vae", spec, lambda kind: not kind.time)
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
