"""Autoencoders. The nets, the likelihood, the weight of the KL and the objective are arguments of one function."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax import optimizers
from gen_jax.conditions import NONE, Conditions, Given, conditions_in, conditions_of, example_conditions
from gen_jax.data.spec import Spec
from gen_jax.distributions import pixels
from gen_jax.distributions.columns import check_kind
from gen_jax.distributions.multivariate_normal import gaussian_kl
from gen_jax.distributions.pixels import Likelihood, initial_weights
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.losses.variational import doubly_reparameterised, free_bits, importance_bound, running_moments
from gen_jax.model import Batch, Model, family, observed, weighted_mean
from gen_jax.models.latent_variable import Latent, Proposal, latent_model, log_likelihood, log_ratio
from gen_jax.models.updates import started, updated
from gen_jax.models.vae.compressor import integer_network
from gen_jax.nets import DECODERS, ENCODERS, Decoder, Encoder
from gen_jax.nets.embedding import ConditionedNet
from gen_jax.nets.net import build_net

ADAM = {"name": "adam", "learning_rate": 1e-3}
Gaussian = tuple[jax.Array, jax.Array]  # mean and log scale [N, Z]


class VaeState(NamedTuple):
    """Holds the state of an autoencoder."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows trained on
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None if no labels are read
    moments: Any  # mean [Z] and covariance [Z, Z] of the codes, if deterministic; None if the prior is N(0, I)
    params: Any  # weights of the encoder, the decoder and the likelihood
    average: Any  # moving average of params
    optimizer: Any


class Autoencoder(NamedTuple):
    """Describes an autoencoder without its weights. `c` is the conditions of N rows by name, or None.

    Attributes:
      encoder: net (x, c) -> [N, 2, Z], mean and log scale of q(z | x).
      decoder: net (z, c) -> input of the likelihood [N, *likelihood.shape].
      likelihood: density of x, see `gen_jax.distributions.pixels.Likelihood`.
      shape: shape of a row.
      latent_size: Z, number of dimensions of z.
      conditions: conditions that both nets read; by default none.
      deterministic: whether the code is the mean of q, with a prior that is fitted to the codes; by default False.
      num_samples: K, number of latents drawn for each row; by default 1.
      free_nats: KL in nats of each latent below which the KL is not reduced further; by default 0.0.
    """

    encoder: ConditionedNet
    decoder: ConditionedNet
    likelihood: Likelihood
    shape: tuple[int, ...]
    latent_size: int
    conditions: Conditions = NONE
    deterministic: bool = False
    num_samples: int = 1
    free_nats: float = 0.0


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
    ema_half_life: optimizers.Schedule = 0.0,
) -> Model:
    """Returns an autoencoder of images, vectors or columns (Kingma & Welling 2014, arXiv 1312.6114).

    `log_prob_bound` takes `num_samples`. One sample gives the ELBO with its KL in closed form; more samples give the
    importance weighted bound. `encode` returns the mean of the posterior as `z` and its `scale`. `decode` returns the
    mean of x. `given` takes `y`, and `x` with `mask` [num, *shape], observed cells that a sample keeps and completes by
    its posterior.

    A net of your own is a Flax module. An encoder maps x [N, *shape] and conditions or None (see
    `gen_jax.nets.embedding.Embedded`) to [N, 2, latent_size], the mean and the log scale of q(z | x). A decoder maps
    z [N, latent_size] and conditions to the input of the likelihood
    [N, *likelihood.shape]. A likelihood of your own is a `gen_jax.distributions.pixels.Likelihood`.

        class Encoder(nn.Module):
            @nn.compact
            def __call__(self, x, c=None):
                return nn.Dense(2 * 16)(x.reshape(len(x), -1)).reshape(len(x), 2, 16)

    Args:
      spec: facts of the data, which are images, vectors or columns.
      encoder: a `name` in `ENCODERS` and the options of that net, or a net; by default `mlp`.
      decoder: a `name` in `DECODERS` and the options of that net, or a net; by default `mlp`.
      likelihood: a `name` in `distributions.pixels.LIKELIHOODS` and its options. None, the default, takes the first
        likelihood that fits the data.
      latent_size: number of dimensions of the latent; by default 16.
      conditional: whether both nets read the conditions of the data, labels and `c`; by default False. `given={"y": labels}`
        then chooses labels, a sample has its label as `y`, and bounds are bounds of log p(x | y).
      kl: weight of the KL (beta in Higgins et al. 2017), a number or a schedule over examples; by default 1. With 0 the
        autoencoder is deterministic and has no bound. Its prior is a Gaussian that is fitted to the codes (Ghosh et al.
        2020, arXiv 1903.12436).
      free_nats: free bits of each latent, in nats; by default 0. A KL below this value, on average over a batch, costs
        this constant.
      objective: `elbo`, `iwae` or `dreg`; by default `elbo`. `iwae` is the importance weighted bound (Burda et al.
        2016, arXiv 1509.00519). `dreg` is the same bound with doubly reparameterised gradients (Tucker et al. 2019,
        arXiv 1810.04152).
      num_samples: number of latents drawn for each row in training; by default 1.
      means: whether a sample is the mean of x given its latent instead of a draw; by default False.
      sweeps: number of moves of the Markov chain that completes x; by default 100.
      optimizer: see `gen_jax.optimizers.optimizer`; by default Adam.
      ema_half_life: half-life, in rows, of the averaged weights that sample and score, or a schedule; by default 0, no average.

    Raises:
      UserError: for data that are not images, vectors or columns, missing conditions, or an unknown name or option.
    """
    check_arguments(spec, latent_size, num_samples, sweeps, kl, objective, free_nats)
    conditions = conditions_of("vae", spec, conditional)
    density = pixels.fitting(spec, likelihood)
    nets = Autoencoder(
        encoder=ConditionedNet(
            build_net("encoder", ENCODERS, encoder, (2, latent_size), inputs="x, c", shape=(2, latent_size)), conditions
        ),
        decoder=ConditionedNet(
            build_net("decoder", DECODERS, decoder, density.shape, inputs="z, c", shape=density.shape), conditions
        ),
        likelihood=density,
        shape=spec.shape,
        latent_size=latent_size,
        conditions=conditions,
        deterministic=kl == 0,
        num_samples=num_samples,
        free_nats=free_nats,
    )
    loss = partial(reconstruction_loss if nets.deterministic else OBJECTIVES[objective], nets)
    tx = optimizers.optimizer(optimizer)
    model = latent_model(
        latent_of(nets)._replace(means=means, sweeps=sweeps),
        partial(init, nets, tx),
        partial(step, nets, loss, optimizers.schedule(kl), tx, optimizers.half_life(ema_half_life)),
    )
    extras = {"integer_network": partial(integer_network, spec, nets)}
    return model._replace(extras=extras)


def init(nets: Autoencoder, tx: Callable, key: jax.Array, batch: Batch) -> VaeState:
    """Returns the state before the first step.

    Args:
      nets: the autoencoder.
      tx: function from the number of examples to an Optax transformation.
      key: random key of the weights.
      batch: not used, because `nets` gives the shapes.

    Raises:
      UserError: for nets that keep statistics of batches.
    """
    e_key, d_key = jax.random.split(key)
    c = example_conditions(nets.conditions, 1)
    x = nets.likelihood.read(jnp.zeros((1, *nets.shape)))
    params = {
        "encoder": nets.encoder.init(e_key, x, c),
        "decoder": nets.decoder.init(d_key, jnp.zeros((1, nets.latent_size)), c),
        "likelihood": initial_weights(nets.likelihood),
    }
    if any(set(params[name]) != {"params"} for name in ("encoder", "decoder")):
        raise UserError("the nets of the vae normalise by statistics of a batch; expected norm='none'")
    moments = (jnp.zeros(nets.latent_size), jnp.eye(nets.latent_size)) if nets.deterministic else None
    return VaeState(moments=moments, **started(tx, nets.conditions.classes, params))


def step(
    nets: Autoencoder,
    loss: Callable,
    beta: Callable,
    tx: Callable,
    half_life: Callable,
    key: jax.Array,
    state: VaeState,
    batch: Batch,
) -> tuple[VaeState, dict]:
    """Returns the state after one update by the gradient of a loss.

    Args:
      nets: the autoencoder.
      loss: function (params, key, batch, beta) -> `Loss`, such as `elbo_loss` of these nets.
      beta: function from the number of examples to the weight of the KL.
      tx: function from the number of examples to an Optax transformation.
      half_life: function from the number of examples to the half-life of the averaged weights, in rows.
      key: random key of the noise.
      state: the state before the update.
      batch: see `elbo_loss`.

    Returns:
      The new state, and the metrics.
    """
    weight = batch.get("weight", jnp.ones(len(batch["x"])))
    seen = state.examples.astype(jnp.float32)
    gradient, report = jax.grad(loss, has_aux=True)(state.params, key, batch, beta(seen))
    moments = state.moments
    if nets.deterministic:
        moments = running_moments(moments, report.means, weight, 1 / (state.step + 1))
    state = updated(tx, half_life, gradient, state, batch)._replace(moments=moments)
    return state, {**report.metrics, "gradient_norm": optax.tree.norm(gradient)}


def encode(
    nets: Autoencoder, params: Any, x: jax.Array, c: Given | None, rngs: Mapping[str, jax.Array] = {}
) -> Gaussian:
    """Returns the mean and the log scale [N, Z] of q(z | x).

    Args:
      nets: the autoencoder.
      params: weights of the encoder, the decoder and the likelihood.
      x: rows [N, *shape] in model space.
      c: conditions of the rows, or None.
      rngs: `dropout`: random key of dropout; by default no dropout.
    """
    out = nets.encoder.apply(params["encoder"], nets.likelihood.read(x), c, rngs=rngs)  # [N, 2, Z]
    return out[:, 0], out[:, 1]


def decode(
    nets: Autoencoder, params: Any, z: jax.Array, c: Given | None, rngs: Mapping[str, jax.Array] = {}
) -> jax.Array:
    """Returns the input of the likelihood [N, *shape, W] for latents.

    Args:
      nets: the autoencoder.
      params: weights of the encoder, the decoder and the likelihood.
      z: latents [N, Z].
      c: conditions of the rows, or None.
      rngs: `dropout`: random key of dropout; by default no dropout.
    """
    return nets.decoder.apply(params["decoder"], z, c, rngs=rngs)


def propose(nets: Autoencoder, params: Any, q: Gaussian, noise: jax.Array, c: Given | None) -> Proposal:
    """Returns the latents z = mean + scale noise, by the reparameterisation of Kingma & Welling 2014, eq. 10.

    Args:
      nets: the autoencoder.
      params: weights of the encoder, the decoder and the likelihood.
      q: mean and log scale [N, Z] of the posterior.
      noise: standard normal noise [N, Z].
      c: conditions of the rows, or None.
    """
    mean, log_scale = q
    return retrace(nets, params, q, mean + jnp.exp(log_scale) * noise, c)


def retrace(
    nets: Autoencoder,
    params: Any,
    q: Gaussian,
    z: jax.Array,
    c: Given | None,
    rngs: Mapping[str, jax.Array] = {},
) -> Proposal:
    """Returns latents with their posterior and the output of the decoder.

    Args:
      nets: the autoencoder.
      params: weights of the encoder, the decoder and the likelihood.
      q: mean and log scale [N, Z] of the posterior.
      z: latents [N, Z].
      c: conditions of the rows, or None.
      rngs: `dropout`: random key of dropout; by default no dropout.
    """
    mean, log_scale = q
    return Proposal(z, mean, log_scale, decode(nets, params, z, c, rngs))


def latent_of(nets: Autoencoder) -> Latent:
    """Returns the description of the latent, by which the shared code of latent-variable models samples and scores.

    Args:
      nets: the autoencoder.
    """
    return Latent(
        sizes=(nets.latent_size,),
        conditions=nets.conditions,
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
    """Returns latents [N, Z] of the Gaussian that is fitted to the codes.

    Args:
      state: the state, which holds the moments of the codes.
      noise: standard normal noise [N, Z].
    """
    mean, covariance = state.moments
    return mean[None] + noise @ jnp.linalg.cholesky(covariance + 1e-6 * jnp.eye(len(mean))).T


class Rows(NamedTuple):
    """Holds the rows of a batch and latents of their posterior, with which every loss begins."""

    x: jax.Array  # [N, *shape], rows in the form that the likelihood takes
    c: Given | None
    weight: jax.Array  # [N]
    q: Gaussian
    z: jax.Array  # [K, N, Z], drawn from q
    rngs: dict[str, jax.Array]  # random keys of the decoder


class Report(NamedTuple):
    """Holds the metrics of a loss, and the means of the posterior."""

    metrics: dict[str, jax.Array]
    means: jax.Array  # [N, Z], means of the posterior


Loss = tuple[jax.Array, Report]


def draw_latents(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch) -> Rows:
    """Returns the rows of a batch with `num_samples` latents of each row. Reparameterisation makes them differentiable.

    Args:
      nets: the autoencoder.
      params: weights of the encoder, the decoder and the likelihood.
      key: random key of the noise.
      batch: see `elbo_loss`.
    """
    z_key, x_key, e_key, d_key = jax.random.split(key, 4)
    x = nets.likelihood.smooth(x_key, observed(batch))
    c = conditions_in(batch, nets.conditions)
    mean, log_scale = encode(nets, params, x, c, {"dropout": e_key})
    noise = jax.random.normal(z_key, (len(x), nets.num_samples, nets.latent_size)).swapaxes(0, 1)  # [K, N, Z]
    z = mean[None] + jnp.exp(log_scale)[None] * noise
    weight = batch.get("weight", jnp.ones(len(x)))
    return Rows(x, c, weight, (mean, log_scale), z, {"dropout": d_key})


def log_weights(nets: Autoencoder, params: Any, rows: Rows) -> tuple[jax.Array, jax.Array]:
    """Returns log p(x | z) and log p(z) / q(z | x) [K, N] of K latents of each row, in nats.

    Args:
      nets: the autoencoder.
      params: weights of the encoder, the decoder and the likelihood.
      rows: rows and latents of their posterior.
    """

    def log_weight(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        proposal = retrace(nets, params, rows.q, z, rows.c, rows.rngs)
        return log_likelihood(nets.likelihood, params, proposal.out, rows.x), log_ratio(proposal)

    return jax.vmap(log_weight)(rows.z)


def reconstruction_loss(
    nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 0.0
) -> Loss:
    """Returns the mean of -log p(x | z) over a batch in nats, where z is the mean of q.

    Args:
      nets: the autoencoder.
      params: weights of the encoder, the decoder and the likelihood; differentiable.
      key: random key of the noise.
      batch: see `elbo_loss`.
      beta: not used.

    Returns:
      The loss [], and its report.
    """
    rows = draw_latents(nets, params, key, batch)
    mean, _ = rows.q
    out = decode(nets, params, mean, rows.c, rows.rngs)
    value = weighted_mean(log_likelihood(nets.likelihood, params, out, rows.x), rows.weight)
    return -value, Report({"log_likelihood": value}, mean)


def elbo_loss(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 1.0) -> Loss:
    """Returns the mean of beta KL(q || p) - log p(x | z) over a batch, in nats.

    See Kingma & Welling 2014 (arXiv 1312.6114), equation 7.

    Args:
      nets: the autoencoder.
      params: weights of the encoder, the decoder and the likelihood; differentiable.
      key: random key of the noise.
      batch: `x` [N, *shape] in model space, the conditions that the nets read, and `weight` [N] (0 for padding rows).
      beta: weight of the KL; by default 1.

    Returns:
      The loss [], and its report.
    """
    rows = draw_latents(nets, params, key, batch)
    log_x, _ = log_weights(nets, params, rows)
    kl = gaussian_kl(*rows.q)  # [N, Z]
    loss = weighted_mean(beta * free_bits(kl, rows.weight, nets.free_nats) - log_x.mean(0), rows.weight)
    return loss, Report(elbo_metrics(log_x, kl, rows.weight), rows.q[0])


def iwae_loss(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 1.0) -> Loss:
    """Returns the negative importance weighted bound, the mean over a batch in nats.

    The bound is equation 8 of Burda et al. 2016 (arXiv 1509.00519). With `beta` the loss is -log 1/K sum_k p(x | z_k)
    (p(z_k) / q(z_k | x))^beta.

    Args:
      nets: the autoencoder.
      params: weights of the encoder, the decoder and the likelihood; differentiable.
      key: random key of the noise.
      batch: see `elbo_loss`.
      beta: exponent of p(z) / q(z | x); by default 1.

    Returns:
      The loss [], and its report.
    """
    rows = draw_latents(nets, params, key, batch)
    log_x, ratio = log_weights(nets, params, rows)
    metrics = elbo_metrics(log_x, gaussian_kl(*rows.q), rows.weight)
    metrics["bound"] = weighted_mean(importance_bound(log_x + ratio), rows.weight)
    loss = -weighted_mean(importance_bound(log_x + beta * ratio), rows.weight)
    return loss, Report(metrics, rows.q[0])


def dreg_loss(nets: Autoencoder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 1.0) -> Loss:
    """Returns a number whose gradient is the doubly reparameterised gradient of `iwae_loss`.

    See Tucker et al. 2019 (arXiv 1810.04152).

    Args:
      nets: the autoencoder.
      params: weights of the encoder, the decoder and the likelihood; differentiable.
      key: random key of the noise.
      batch: see `elbo_loss`.
      beta: exponent of p(z) / q(z | x); by default 1.

    Returns:
      The number [], and the report of the bound.
    """
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
    """Returns the metrics `elbo` and `kl` in nats, as means over the rows.

    Args:
      log_x: log p(x | z) of K latents of each row, [K, N].
      kl: KL of each latent, [N, Z].
      weight: weights of the rows [N].
    """
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

    Args:
      spec: facts of the data.
      latent_size: see `vae`.
      num_samples: see `vae`.
      sweeps: see `vae`.
      kl: see `vae`.
      objective: see `vae`.
      free_nats: see `vae`.

    Raises:
      UserError: with the argument, its value and the expected value.
    """
    check_kind("vae", spec, lambda kind: not kind.time)
    for name, value in {"latent_size": latent_size, "num_samples": num_samples, "sweeps": sweeps}.items():
        check_whole(name, value)
    choose("objective", objective, OBJECTIVES)
    if isinstance(kl, int | float) and kl < 0:
        raise UserError(f"kl is {kl}; expected 0 or more")
    if free_nats < 0:
        raise UserError(f"free_nats is {free_nats}; expected 0 or more")
    if kl == 0 and (objective, num_samples, free_nats) != ("elbo", 1, 0):
        raise UserError(
            "objective, num_samples or free_nats is set with kl 0; expected none of them in a deterministic autoencoder"
        )
    if objective != "elbo" and free_nats:
        raise UserError(
            f"free_nats is {free_nats} with objective {objective!r}; expected 0, because it has no KL to keep free"
        )
