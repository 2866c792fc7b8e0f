"""Hierarchical autoencoders. Their latents form layers, and each layer is drawn given the layers above it.

Prior and posterior take the same path from the top layer down.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax import optimizers
from gen_jax.conditions import NONE, Conditions, Given, conditions_in, conditions_of, example_conditions
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.distributions import pixels
from gen_jax.distributions.pixels import Likelihood, initial_weights
from gen_jax.errors import UserError, check_whole
from gen_jax.losses.variational import free_bits
from gen_jax.model import Batch, Model, family, observed, weighted_mean
from gen_jax.models.latent_variable import Latent, Proposal, latent_model, layer_kl, log_likelihood
from gen_jax.models.updates import started, updated
from gen_jax.nets import LADDERS, LadderChoice
from gen_jax.nets.ladder import Nets
from gen_jax.nets.net import Net, refuse_inputs, refuse_no_net, refuse_output
from gen_jax.registry import build

ADAM = {"name": "adam", "learning_rate": 1e-3, "clip_norm": 200.0}


class LadderState(NamedTuple):
    """Holds the state of a ladder."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows trained on
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None if no labels are read
    params: Any  # weights of the nets `up` and `down` and of the likelihood
    average: Any  # moving average of params
    optimizer: Any


class Ladder(NamedTuple):
    """Describes a ladder without its weights. `c` is the conditions of N rows by name or None, and Z is the sum of `sizes`.

    Attributes:
      up: net (x, c) -> features of each layer, top first.
      down: net (z, features or None, c, fixed) -> input of the likelihood, then z, mean and log scale [N, Z] of q.
      likelihood: density of x, see `gen_jax.distributions.pixels.Likelihood`.
      shape: shape of a row.
      sizes: latent size of each layer, top first.
      conditions: conditions that both nets read; by default none.
      free_nats: KL in nats of each layer below which the KL is not reduced further; by default 0.0.
    """

    up: Net
    down: Net
    likelihood: Likelihood
    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    conditions: Conditions = NONE
    free_nats: float = 0.0


@family("ladder")
def ladder(
    spec: Spec,
    net: LadderChoice = {"name": "mlp"},
    likelihood: pixels.LikelihoodChoice = None,
    conditional: bool = False,
    kl: optimizers.Schedule = 1.0,
    free_nats: float = 0.0,
    means: bool = False,
    sweeps: int = 100,
    optimizer: optimizers.Optimizer = ADAM,
    ema_half_life: optimizers.Schedule = 0.0,
) -> Model:
    """Returns a hierarchical VAE, p(z_1) p(z_2 | z_1) ... p(x | z), whose posterior takes the same path down.

    The model follows Soenderby et al. 2016 (arXiv 1602.02282). Its posterior q is relative to the prior p (Vahdat &
    Kautz 2020, arXiv 2007.03898, section 3.2), here in units of p's scale. With layer 1 on top, z_l = mean_l(z_<l) +
    scale_l(z_<l) eps_l, where p(eps) = N(0, I) and q(eps_l | eps_<l, x) = N(m_l, s_l^2).

    So the KL of each number is (m^2 + s^2 - 1) / 2 - log s. It is 0 while the heads are 0, and a narrow p does not make
    it large. If p and q were Gaussians with separate heads, the KL would contain (m_q - m_p)^2 / s_p^2.

    The latent `z` [N, Z] is eps, with the layers side by side and the top layer first. `decode` returns the mean of x.
    `encode` returns m of each layer, given m of the layers above it, with `scale` s.

    `log_prob_bound` takes `num_samples`. One sample gives the ELBO with its KLs in closed form; more samples give the
    importance weighted bound. `given` takes `y`, and `x` with `mask` [num, *shape] to complete a row. The metrics
    `elbo` and `kl` are without weight and without free bits. `kl_1` belongs to the top layer, and so on.

    Args:
      spec: facts of the data, which are images or vectors.
      net: a `name` in `LADDERS` and its options, which define the layers, or a `gen_jax.nets.ladder.Nets`; by default
        `mlp`.
      likelihood: a `name` in `distributions.pixels.LIKELIHOODS` and its options. None, the default, takes the first
        likelihood that fits the data.
      conditional: whether both nets read the conditions of the data, labels and `c`; by default False. `given={"y":
        labels}` then chooses labels, and bounds are bounds of log p(x | y).
      kl: weight of the KL in training, a number or a schedule over examples (warm-up); by default 1.
      free_nats: free bits of each layer, in nats; by default 0. A KL below this value, on average over a batch, costs
        this constant.
      means: whether a sample is the mean of x given its latent instead of a draw; by default False.
      sweeps: number of moves of the Markov chain that completes x; by default 100.
      optimizer: see `gen_jax.optimizers.optimizer`; by default Adam.
      ema_half_life: half-life, in rows, of the averaged weights that sample and score, or a schedule; by default 0, no average.

    Raises:
      UserError: for data that are neither images nor vectors, missing conditions, or an unknown name or option.
    """
    check_arguments(spec, kl, free_nats, sweeps)
    conditions = conditions_of("ladder", spec, conditional)
    density = pixels.fitting(spec, likelihood)
    up, down, sizes = build_ladder(net, density.shape, conditions)
    nets = Ladder(up, down, density, spec.shape, sizes, conditions, free_nats)
    tx = optimizers.optimizer(optimizer)
    return latent_model(
        latent_of(nets)._replace(means=means, sweeps=sweeps),
        partial(init, nets, tx),
        partial(step, nets, optimizers.schedule(kl), tx, optimizers.half_life(ema_half_life)),
    )


def build_ladder(net: Any, shape: tuple[int, ...], conditions: Conditions) -> Nets:
    """Returns the nets of a ladder.

    Args:
      net: see `ladder`.
      shape: shape of the input of the likelihood for a row.
      conditions: conditions that both nets read.

    Raises:
      UserError: for an unknown name or option, or an object that is no `gen_jax.nets.ladder.Nets` of two nets.
    """
    nets = build("ladder", LADDERS, net, shape, conditions)
    if not isinstance(nets, Nets):
        raise UserError(
            f"ladder is an object of type {type(nets).__name__}; expected a gen_jax.nets.ladder.Nets(up, down, sizes), see "
            f"help(gen_jax.nets.ladder.Nets)"
        )
    refuse_no_net("ladder up", nets.up)
    refuse_no_net("ladder down", nets.down)
    return nets


def init(nets: Ladder, tx: Callable, key: jax.Array, batch: Batch) -> LadderState:
    """Returns the state before the first step.

    Args:
      nets: the ladder.
      tx: function from the number of examples to an Optax transformation.
      key: random key of the weights.
      batch: not used, because `nets` gives the shapes.

    Raises:
      UserError: for nets with other inputs or outputs than those of `gen_jax.nets.ladder.Nets`.
    """
    up_key, down_key = jax.random.split(key)
    c = example_conditions(nets.conditions, 1)
    x, z = jnp.zeros((1, *nets.shape)), jnp.zeros((1, sum(nets.sizes)))
    refuse_inputs("ladder up", nets.up, "x, c", (x, c))
    features, up = nets.up.init_with_output(up_key, x, c)
    if not isinstance(features, list | tuple) or len(features) != len(nets.sizes):
        raise UserError(
            f"ladder up {type(nets.up).__name__} gives an output of type {type(features).__name__}; expected a list of "
            f"{len(nets.sizes)} features, one for each layer"
        )
    refuse_inputs("ladder down", nets.down, "z, features, c, fixed", (z, features, c, False))
    outputs, down = nets.down.init_with_output(down_key, z, features, c)
    refuse_outputs(nets, outputs)
    params = {"up": up, "down": down, "likelihood": initial_weights(nets.likelihood)}
    return LadderState(**started(tx, nets.conditions.classes, params))


def refuse_outputs(nets: Ladder, outputs: Any) -> None:
    """Refuses outputs of the net `down` of a ladder that are not four arrays of the right shapes.

    Args:
      nets: the ladder.
      outputs: outputs of `nets.down`.

    Raises:
      UserError: for such outputs.
    """
    if not isinstance(outputs, tuple) or len(outputs) != 4:
        raise UserError(
            f"ladder down {type(nets.down).__name__} gives an output of type {type(outputs).__name__}; expected four "
            f"arrays: the input of the likelihood, and z, its mean and its log scale"
        )
    total = sum(nets.sizes)
    for output, shape in zip(outputs, (nets.likelihood.shape, (total,), (total,), (total,))):
        refuse_output("ladder down", nets.down, output, shape)


def step(
    nets: Ladder,
    beta: Callable,
    tx: Callable,
    half_life: Callable,
    key: jax.Array,
    state: LadderState,
    batch: Batch,
) -> tuple[LadderState, dict]:
    """Returns the state after one update by the gradient of `elbo_loss`.

    Args:
      nets: the ladder.
      beta: function from the number of examples to the weight of the KL.
      tx: function from the number of examples to an Optax transformation.
      half_life: function from the number of examples to the half-life of the averaged weights, in rows.
      key: random key of the noise.
      state: the state before the update.
      batch: see `elbo_loss`.

    Returns:
      The new state, and the metrics.
    """
    seen = state.examples.astype(jnp.float32)
    gradient, metrics = jax.grad(partial(elbo_loss, nets), has_aux=True)(state.params, key, batch, beta(seen))
    state = updated(tx, half_life, gradient, state, batch)
    return state, {**metrics, "gradient_norm": optax.tree.norm(gradient)}


def elbo_loss(
    nets: Ladder, params: Any, key: jax.Array, batch: Batch, beta: jax.Array | float = 1.0
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the mean of beta sum_l KL_l - log p(x | z) over a batch, in nats.

    The loss follows Soenderby et al. 2016 (arXiv 1602.02282).

    Args:
      nets: the ladder.
      params: weights of both nets and of the likelihood; differentiable.
      key: random key of the noise.
      batch: `x` [N, *shape] in model space, the conditions that the nets read, and `weight` [N] (0 for padding rows).
      beta: weight of the KL; by default 1.

    Returns:
      The loss [], and the metrics.
    """
    z_key, x_key = jax.random.split(key)
    x = nets.likelihood.smooth(x_key, observed(batch))
    c = conditions_in(batch, nets.conditions)
    weight = batch.get("weight", jnp.ones(len(x)))
    noise = jax.random.normal(z_key, (len(x), sum(nets.sizes)))
    proposal = propose(nets, params, encode(nets, params, x, c), noise, c)
    log_x = log_likelihood(nets.likelihood, params, proposal.out, x)  # [N]
    kl = layer_kl(nets.sizes, proposal)  # [N, L]
    values = {"elbo": log_x - kl.sum(1), "log_likelihood": log_x, "kl": kl.sum(1)}
    values |= {f"kl_{layer}": nats for layer, nats in enumerate(kl.T, 1)}
    loss = weighted_mean(beta * free_bits(kl, weight, nets.free_nats) - log_x, weight)
    return loss, {name: weighted_mean(nats, weight) for name, nats in values.items()}


def encode(nets: Ladder, params: Any, x: jax.Array, c: Given | None) -> list[jax.Array]:
    """Returns the features of each layer, top first, which the posterior of the layer reads.

    Args:
      nets: the ladder.
      params: weights of both nets and of the likelihood.
      x: rows [N, *shape] in model space.
      c: conditions of the rows, or None.
    """
    return nets.up.apply(params["up"], x, c)


def decode(nets: Ladder, params: Any, z: jax.Array, c: Given | None) -> jax.Array:
    """Returns the input of the likelihood [N, *shape, W] for latents.

    Args:
      nets: the ladder.
      params: weights of both nets and of the likelihood.
      z: latents [N, Z].
      c: conditions of the rows, or None.
    """
    out, *_ = nets.down.apply(params["down"], z, None, c)
    return out


def propose(nets: Ladder, params: Any, features: list[jax.Array], noise: jax.Array, c: Given | None) -> Proposal:
    """Returns the latents that the posterior makes of noise on the way down: eps_l = m_l(eps_<l) + s_l(eps_<l) noise_l.

    Args:
      nets: the ladder.
      params: weights of both nets and of the likelihood.
      features: features of each layer, top first, see `encode`.
      noise: standard normal noise [N, Z].
      c: conditions of the rows, or None.
    """
    out, z, mean, log_scale = nets.down.apply(params["down"], noise, features, c, False)
    return Proposal(z, mean, log_scale, out)


def retrace(nets: Ladder, params: Any, features: list[jax.Array], z: jax.Array, c: Given | None) -> Proposal:
    """Returns given latents with the posterior of each layer, given the latents of the layers above it.

    Args:
      nets: the ladder.
      params: weights of both nets and of the likelihood.
      features: features of each layer, top first, see `encode`.
      z: latents [N, Z].
      c: conditions of the rows, or None.
    """
    out, z, mean, log_scale = nets.down.apply(params["down"], z, features, c, True)
    return Proposal(z, mean, log_scale, out)


def latent_of(nets: Ladder) -> Latent:
    """Returns the description of the latent, by which the shared code of latent-variable models samples and scores.

    Args:
      nets: the ladder.
    """
    return Latent(
        sizes=nets.sizes,
        conditions=nets.conditions,
        shape=nets.shape,
        likelihood=nets.likelihood,
        decode=partial(decode, nets),
        encode=partial(encode, nets),
        propose=partial(propose, nets),
        retrace=partial(retrace, nets),
    )


def check_arguments(spec: Spec, kl: float | Mapping | Callable, free_nats: float, sweeps: int) -> None:
    """Refuses arguments that no ladder can have.

    Args:
      spec: facts of the data.
      kl: see `ladder`.
      free_nats: see `ladder`.
      sweeps: see `ladder`.

    Raises:
      UserError: with the argument, its value and the expected value.
    """
    if kind_of(spec).time or spec.tabular:
        raise UserError(f"{spec.name} holds {spec.kind} data; expected images or vectors for a ladder")
    if isinstance(kl, int | float) and kl <= 0:
        raise UserError(f"kl is {kl}; expected more than 0")
    if free_nats < 0:
        raise UserError(f"free_nats is {free_nats}; expected 0 or more")
    check_whole("sweeps", sweeps)
