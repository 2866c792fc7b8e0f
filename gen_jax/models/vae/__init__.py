"""Autoencoders: one function, whose arguments are the nets, the likelihood, the weight of the KL and the objective."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax import optimizers
from gen_jax.conditions import label_count
from gen_jax.data.spec import Spec
from gen_jax.distributions import pixels
from gen_jax.distributions.columns import check_kind
from gen_jax.distributions.multivariate_normal import gaussian_kl
from gen_jax.distributions.pixels import Likelihood, initial_weights
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.losses.variational import doubly_reparameterised, free_bits, importance_bound, running_moments
from gen_jax.model import Batch, Model, family, observed, weighted_mean
from gen_jax.models.latent_variable import Latent, Proposal, latent_model, log_likelihood, log_ratio, started, updated
from gen_jax.models.vae.compressor import integer_network
from gen_jax.nets import DECODERS, ENCODERS, Decoder, Encoder
from gen_jax.nets.net import Net
from gen_jax.registry import build

ADAM = {"name": "adam", "learning_rate": 1e-3}
Gaussian = tuple[jax.Array, jax.Array]  # mean and log scale [N, Z]


class VaeState(NamedTuple):
    """The state of an autoencoder."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows trained on
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None if it reads no labels
    moments: Any  # mean [Z] and covariance [Z, Z] of the codes, if deterministic; None if the prior is N(0, I)
    params: Any  # of the encoder, the decoder and the likelihood
    average: Any  # of params
    optimizer: Any


class Autoencoder(NamedTuple):
    """An autoencoder without its weights. `y` is labels [N], or None."""

    encoder: Net  # (x, y) -> [N, 2, Z], mean and log scale of q(z | x)
    decoder: Net  # (z, y) -> what the likelihood reads
    likelihood: Likelihood
    shape: tuple[int, ...]  # of a row
    latent_size: int  # Z
    classes: int = 0  # number of labels that both nets read; 0: they read none
    deterministic: bool = False  # the code is the mean of q, and the prior is fitted to the codes
    num_samples: int = 1  # K, latents drawn for each row
    free_nats: float = 0.0  # KL of each latent that costs nothing


@family("vae")
def vae(
    spec: Spec,
    encoder: Encoder = {"name": "mlp"},
    decoder: Decoder = {"name": "mlp"},
    likelihood: pixels.LikelihoodChoice = None,
    latent_size: int = 16,
    conditional: bool = False,
    kl: optimizers.Schedule = 1.0,
    free_nats: float = 0.0,
    objective: str = "elbo",
    num_samples: int = 1,
    means: bool = False,
    sweeps: int = 100,
    optimizer: optimizers.Optimizer = ADAM,
    ema_half_life: float = 0.0,
) -> Model:
    """Returns an autoencoder of images, vectors or columns (Kingma & Welling 2014, arXiv 1312.6114).

    `log_prob_bound` takes `num_samples`: with 1 it is the ELBO with its KL in closed form, with more the importance weighted
    bound. `encode` returns the posterior's mean as `z` and its `scale`; `decode` the mean of x. `given` takes `y`,
    and `x` with `mask` [num, *shape]: observed numbers, which a sample keeps and completes by its posterior.

    Args:
      spec: the data.
      encoder: a `name` in `ENCODERS` and that net's options.
      decoder: a `name` in `DECODERS` and that net's options.
      likelihood: a `name` in `distributions.pixels.LIKELIHOODS` and its options; if None, the first that fits the data.
      latent_size: numbers of the latent.
      conditional: both nets read the label; `given={"y": labels}` asks for one, and a sample has its `y`. Bounds are
        then those of log p(x | y).
      kl: weight of the KL (Higgins et al. 2017: beta), a number or a schedule over examples. 0 makes a deterministic
        autoencoder, which has no bound; its prior is a Gaussian fitted to the codes (Ghosh et al. 2020, arXiv 1903.12436).
      free_nats: KL in nats of each latent, on average over a batch, below which it costs this constant.
      objective: `elbo`; `iwae`, the importance weighted bound (Burda et al. 2016, arXiv 1509.00519); `dreg`, the
        same with doubly reparameterised gradients (Tucker et al. 2019, arXiv 1810.04152).
      num_samples: latents drawn for each row in training.
      means: a sample is the mean of x given its latent, not a draw.
      sweeps: number of moves of the Markov chain that completes x.
      optimizer: see `gen_jax.optimizers.optimizer`.
      ema_half_life: of the averaged weights that sample and score, in rows; 0 averages nothing.

    Raises:
      UserError: for data that are no images, vectors or columns, labels that they lack, an unknown name or option.
    """
    check_arguments(spec, latent_size, num_samples, sweeps, kl, objective, free_nats)
    classes = label_count("vae", spec, conditional)
    density = pixels.fitting(spec, likelihood)
    nets = Autoencoder(
        encoder=build("encoder", ENCODERS, encoder, (2, latent_size), classes),
        decoder=build("decoder", DECODERS, decoder, density.shape, classes),
        likelihood=density,
        shape=spec.shape,
        latent_size=latent_size,
        classes=classes,
        deterministic=kl == 0,
        num_samples=num_samples,
        free_nats=free_nats,
    )
    loss = partial(reconstruction_loss if nets.deterministic else OBJECTIVES[objective], nets)
    tx = optimizers.optimizer(optimizer)
    model = latent_model(
        latent_of(nets)._replace(means=means, sweeps=sweeps),
        partial(init, nets, tx),
        partial(step, nets, loss, optimizers.schedule(kl), tx, ema_half_life),
    )
    extras = {"integer_network": partial(integer_network, spec, nets.encoder, nets.decoder, nets.likelihood)}
    return model._replace(extras=extras)


def init(nets: Autoencoder, tx: Callable, key: jax.Array, batch: Batch) -> VaeState:
    """Returns the state before the first step.

    Args:
      nets: the autoencoder.
      tx: (examples) -> an Optax transformation.
      key: of the weights.
      batch: not read, for the shapes are those of `nets`.

    Raises:
      UserError: for nets that keep statistics of batches.
    """
    e_key, d_key = jax.random.split(key)
    y = jnp.zeros(1, jnp.int32)
    x = nets.likelihood.read(jnp.zeros((1, *nets.shape)))
    params = {
        "encoder": nets.encoder.init(e_key, x, y),
        "decoder": nets.decoder.init(d_key, jnp.zeros((1, nets.latent_size)), y),
        "likelihood": initial_weights(nets.likelihood),
    }
    if any(set(params[name]) != {"params"} for name in ("encoder", "decoder")):
        raise UserError("the nets of a vae may not normalise by statistics of a batch: choose norm='none'")
    moments = (jnp.zeros(nets.latent_size), jnp.eye(nets.latent_size)) if nets.deterministic else None
    return VaeState(moments=moments, **started(tx, nets.classes, params))


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
      nets: the autoencoder.
      loss: (params, key, batch, beta) -> `Loss`, such as `elbo_loss` of these nets.
      beta: (examples) -> the weight of the KL.
      tx: (examples) -> an Optax transformation.
      ema_half_life: of the averaged weights, in rows; 0 averages nothing.
      key: of the noise.
      state: before the update.
      batch: as in `elbo_loss`.
    """
    weight = batch.get("weight", jnp.ones(len(batch["x"])))
    seen = state.examples.astype(jnp.float32)
    gradient, report = jax.grad(loss, has_aux=True)(state.params, key, batch, beta(seen))
    moments = state.moments
    if nets.deterministic:
        moments = running_moments(moments, report.means, weight, 1 / (state.step + 1))
    state = updated(tx, ema_half_life, gradient, state, batch)._replace(moments=moments)
    return state, {**report.metrics, "gradient_norm": optax.tree.norm(gradient)}


def encode(
    nets: Autoencoder, params: Any, x: jax.Array, y: jax.Array | None, rngs: Mapping[str, jax.Array] = {}
) -> Gaussian:
    """Returns mean and log scale [N, Z] of q(z | x).

    Args:
      nets: the autoencoder.
      params: of the encoder, the decoder and the likelihood.
      x: [N, *shape] in model space.
      y: labels [N], or None.
      rngs: `dropout` holds the key of dropout; without one no net drops out.
    """
    out = nets.encoder.apply(params["encoder"], nets.likelihood.read(x), y, rngs=rngs)  # [N, 2, Z]
    return out[:, 0], out[:, 1]


def decode(
    nets: Autoencoder, params: Any, z: jax.Array, y: jax.Array | None, rngs: Mapping[str, jax.Array] = {}
) -> jax.Array:
    """Returns what the likelihood reads, [N, *shape, W], for latents z [N, Z]; the rest is as in `encode`."""
    return nets.decoder.apply(params["decoder"], z, y, rngs=rngs)


def propose(nets: Autoencoder, params: Any, q: Gaussian, noise: jax.Array, y: jax.Array | None) -> Proposal:
    """Returns the latents z = mean + scale noise of q, by the reparameterisation of Kingma & Welling 2014, eq. 10."""
    mean, log_scale = q
    return retrace(nets, params, q, mean + jnp.exp(log_scale) * noise, y)


def retrace(
    nets: Autoencoder,
    params: Any,
    q: Gaussian,
    z: jax.Array,
    y: jax.Array | None,
    rngs: Mapping[str, jax.Array] = {},
) -> Proposal:
    """Returns latents z [N, Z] with their posterior q and what they decode to."""
    mean, log_scale = q
    return Proposal(z, mean, log_scale, decode(nets, params, z, y, rngs))


def latent_of(nets: Autoencoder) -> Latent:
    """Returns the latent of an autoencoder, by which it samples and scores."""
    return Latent(
        sizes=(nets.latent_size,),
        classes=nets.classes,
        shape=nets.shape,
        likelihood=nets.likelihood,
        decode=partial(decode, nets),
        encode=partial(encode, nets),
        propose=partial(propose, nets),
        retrace=partial(retrace, nets),
        point=nets.deterministic,
        fitted_prior=fitted_prior if nets.deterministic else None,
    )


def fitted_prior(state: VaeState, noise: jax.Array) -> jax.Array:
    """Returns latents [N, Z] of the Gaussian that is fitted to the codes, made of noise [N, Z]."""
    mean, covariance = state.moments
    return mean[None] + noise @ jnp.linalg.cholesky(covariance + 1e-6 * jnp.eye(len(mean))).T


class Rows(NamedTuple):
    """Rows and latents of their posterior, with which every loss begins."""

    x: jax.Array  # [N, *shape], as the likelihood takes it
    y: jax.Array | None
    weight: jax.Array  # [N]
    q: Gaussian
    z: jax.Array  # [K, N, Z], drawn from q
    rngs: dict[str, jax.Array]  # of the decoder


class Report(NamedTuple):
    """The metrics of a loss, and the means of the posterior."""

    metrics: dict[str, jax.Array]
    means: jax.Array  # [N, Z] of the posterior


Loss = tuple[jax.Array, Report]


def draw_latents(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch) -> Rows:
    """Returns the rows of a batch with `num_samples` latents of each, which the reparameterisation makes differentiable."""
    z_key, x_key, e_key, d_key = jax.random.split(key, 4)
    x = nets.likelihood.smooth(x_key, observed(batch))
    y = batch["y"] if nets.classes else None
    mean, log_scale = encode(nets, params, x, y, {"dropout": e_key})
    noise = jax.random.normal(z_key, (len(x), nets.num_samples, nets.latent_size)).swapaxes(0, 1)  # [K, N, Z]
    z = mean[None] + jnp.exp(log_scale)[None] * noise
    weight = batch.get("weight", jnp.ones(len(x)))
    return Rows(x, y, weight, (mean, log_scale), z, {"dropout": d_key})


def log_weights(nets: Autoencoder, params: Any, rows: Rows) -> tuple[jax.Array, jax.Array]:
    """Returns log p(x | z) and log p(z) / q(z | x) of K latents of each row, [K, N] nats each."""

    def log_weight(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        proposal = retrace(nets, params, rows.q, z, rows.y, rows.rngs)
        return log_likelihood(nets.likelihood, params, proposal.out, rows.x), log_ratio(proposal)

    return jax.vmap(log_weight)(rows.z)


def reconstruction_loss(
    nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 0.0
) -> Loss:
    """Returns -log p(x | z) at the mean z of q; the rest is as in `elbo_loss`, but `beta` is not read."""
    rows = draw_latents(nets, params, key, batch)
    mean, _ = rows.q
    out = decode(nets, params, mean, rows.y, rows.rngs)
    value = weighted_mean(log_likelihood(nets.likelihood, params, out, rows.x), rows.weight)
    return -value, Report({"log_likelihood": value}, mean)


def elbo_loss(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 1.0) -> Loss:
    """Returns beta KL(q || p) - log p(x | z), the mean over a batch in nats (Kingma & Welling 2014, arXiv 1312.6114, eq. 7).

    Args:
      nets: the autoencoder.
      params: of the encoder, the decoder and the likelihood; differentiable.
      key: of the noise.
      batch: `x` [N, *shape] in model space, `y` [N] if the nets read labels, `weight` [N], 0 for rows that do not count.
      beta: weight of the KL.

    Returns:
      The loss, and its report.
    """
    rows = draw_latents(nets, params, key, batch)
    log_x, _ = log_weights(nets, params, rows)
    kl = gaussian_kl(*rows.q)  # [N, Z]
    loss = weighted_mean(beta * free_bits(kl, rows.weight, nets.free_nats) - log_x.mean(0), rows.weight)
    return loss, Report(elbo_metrics(log_x, kl, rows.weight), rows.q[0])


def iwae_loss(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 1.0) -> Loss:
    """Returns the negative importance weighted bound (Burda et al. 2016, arXiv 1509.00519, eq. 8).

    With `beta` it is -log 1/K sum_k p(x | z_k) (p(z_k) / q(z_k | x))^beta; the rest is as in `elbo_loss`.
    """
    rows = draw_latents(nets, params, key, batch)
    log_x, ratio = log_weights(nets, params, rows)
    metrics = elbo_metrics(log_x, gaussian_kl(*rows.q), rows.weight)
    metrics["bound"] = weighted_mean(importance_bound(log_x + ratio), rows.weight)
    loss = -weighted_mean(importance_bound(log_x + beta * ratio), rows.weight)
    return loss, Report(metrics, rows.q[0])


def dreg_loss(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 1.0) -> Loss:
    """Returns a number whose gradient is that of `iwae_loss`, doubly reparameterised (Tucker et al. 2019, arXiv 1810.04152)."""
    rows = draw_latents(nets, params, key, batch)
    kl = gaussian_kl(*rows.q)  # [N, Z]
    fixed = rows._replace(q=jax.lax.stop_gradient(rows.q))
    share = rows.weight / jnp.maximum(rows.weight.sum(), 1e-12)
    bound, surrogate = doubly_reparameterised(
        lambda params, z: log_weights(nets, params, fixed._replace(z=z)), params, rows.z, share, beta
    )
    metrics = {"bound": weighted_mean(bound, rows.weight), "kl": weighted_mean(kl.sum(1), rows.weight)}
    return -surrogate, Report(metrics, rows.q[0])


def elbo_metrics(log_x: jax.Array, kl: jax.Array, weight: jax.Array) -> dict[str, jax.Array]:
    """Returns `elbo` and `kl` in nats, means over the rows; log_x is [K, N] and kl [N, Z]."""
    return {"elbo": weighted_mean(log_x.mean(0) - kl.sum(1), weight), "kl": weighted_mean(kl.sum(1), weight)}


OBJECTIVES = {"elbo": elbo_loss, "iwae": iwae_loss, "dreg": dreg_loss}


def check_arguments(
    spec: Spec,
    latent_size: int,
    num_samples: int,
    sweeps: int,
    kl: float | Mapping | Callable,
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
    choose("objective", objective, OBJECTIVES)
    if isinstance(kl, int | float) and kl < 0:
        raise UserError(f"kl {kl}: expected 0 or more")
    if free_nats < 0:
        raise UserError(f"free_nats {free_nats}: expected 0 or more")
    if kl == 0 and (objective, num_samples, free_nats) != ("elbo", 1, 0):
        raise UserError("kl 0 makes a deterministic autoencoder: objective, num_samples and free_nats are of others")
    if objective != "elbo" and free_nats:
        raise UserError(f"free_nats {free_nats}: objective {objective!r} has no KL to keep free, expected 0")
