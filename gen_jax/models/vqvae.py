"""Vector-quantised autoencoders: images as grids of codes, with a recurrent prior of the codes.

The prior is trained together with the autoencoder.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax import optimizers
from gen_jax.conditions import (
    NONE,
    Conditions,
    Given,
    batch_conditions,
    conditions_in,
    conditions_of,
    counted_labels,
    drawn_labels,
    example_conditions,
    given_conditions,
    refuse_given,
    sampler_options,
)
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.distributions import pixels
from gen_jax.distributions.pixels import Likelihood, initial_weights
from gen_jax.errors import UserError, check_whole
from gen_jax.losses import quantise
from gen_jax.losses.quantise import Codebook
from gen_jax.model import Batch, Model, family, observed, saturated, weighted_mean
from gen_jax.models.latent_variable import log_likelihood
from gen_jax.nets import GRID_DECODERS, GRID_ENCODERS, GridDecoderChoice, GridEncoderChoice
from gen_jax.nets.layers import stage_sides
from gen_jax.nets.net import CheckedNet, build_net
from gen_jax.nets.raster import Raster, draw_codes
from gen_jax.nets.recurrent import Cell, build_recurrent

ADAM = {"name": "adam", "learning_rate": 1e-3}
UNUSED = 0.01  # share of the mean use of a code below which a code does not count as used


class VqvaeState(NamedTuple):
    """Holds the state of a vector-quantised autoencoder."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows trained on
    classes: jax.Array | None  # [C] float32, rows of each label in the batches so far; None if no labels are read
    codebook: Codebook
    params: dict  # `images`: weights of the autoencoder and its likelihood; `prior`: weights of the prior of the codes
    optimizer: dict  # states of the optimizers of `images` and `prior`


class Vqvae(NamedTuple):
    """Describes a vector-quantised autoencoder without its weights. A grid has the sides h, w of the prior.

    Attributes:
      encoder: net x -> [N, h, w, D].
      decoder: net [N, h, w, D] -> input of the likelihood [N, *likelihood.shape].
      prior: net (codes [N, h, w], c or None) -> logits [N, h, w, K].
      likelihood: density of x, see `gen_jax.distributions.pixels.Likelihood`.
      shape: shape of an image.
      codebook_size: K, number of codes.
      code_size: D, number of dimensions of the vector of a code.
      conditions: conditions that the prior reads; by default none.
      commitment: weight of ||z - sg(e)||^2; by default 0.25.
      decay: decay of the running counts and sums of the codebook in a step; by default 0.99.
      restart: share of the mean use of a code below which a code is replaced; by default 0.02.
    """

    encoder: CheckedNet
    decoder: CheckedNet
    prior: Raster
    likelihood: Likelihood
    shape: tuple[int, ...]
    codebook_size: int
    code_size: int
    conditions: Conditions = NONE
    commitment: float = 0.25
    decay: float = 0.99
    restart: float = 0.02


@family("vqvae")
def vqvae(
    spec: Spec,
    encoder: GridEncoderChoice = {"name": "conv"},
    decoder: GridDecoderChoice = {"name": "conv"},
    likelihood: pixels.LikelihoodChoice = None,
    grid: int = 0,
    codebook_size: int = 64,
    code_size: int = 16,
    commitment: float = 0.25,
    decay: float = 0.99,
    restart: float = 0.02,
    prior: Cell = {"name": "gru", "units": 128},
    conditional: bool = False,
    means: bool = False,
    optimizer: optimizers.Optimizer = ADAM,
    prior_optimizer: optimizers.Optimizer = ADAM,
) -> Model:
    """Returns an autoencoder of images whose latent is a grid of codes (van den Oord et al. 2017, arXiv 1711.00937).

    A step has three parts: a gradient update of the autoencoder, a gradient update of the prior on the codes of this
    batch, and a move of the codebook. No gradient reaches the codebook. The prior is trained on codes that still move.
    Its nats have a meaning only after the autoencoder has slowed down, so let the learning rate of `optimizer` fall.

    Because the encoder is deterministic, log p(x) >= log p(codes) + log p(x | codes). This is `log_prob_bound`, for any
    `num_samples`. `encode` returns codes `z` [N, h, w] int32, and `decode` returns the mean of x.

    Args:
      spec: facts of the data, which are images.
      encoder: a `name` in `GRID_ENCODERS` and the options of that net, or a net from x to [N, h, w, code_size]; by
        default `conv`.
      decoder: a `name` in `GRID_DECODERS` and the options of that net, or a net from [N, h, w, code_size] to the input of
        the likelihood; by default `conv`.
      likelihood: a `name` in `distributions.pixels.LIKELIHOODS` and its options. None, the default, takes the first
        likelihood that fits the data.
      grid: side of the grid of codes, in codes. 0, the default, halves the images until a side has 4 to 7 pixels.
      codebook_size: number of codes; by default 64.
      code_size: number of dimensions of the vector of a code; by default 16.
      commitment: weight of ||z - sg(e)||^2; by default 0.25. It is summed over the grid, as the nats of log p(x | z)
        are summed over the image.
      decay: decay of the running counts and sums of the codebook in a step; by default 0.99.
      restart: share of the mean use of a code below which a code is replaced by a vector of the encoder; by default
        0.02. 0 replaces no code.
      prior: a `name` in `CELLS` and the options of `nets.recurrent.Recurrent`, for the net that predicts each code of a
        grid; by default a GRU with 128 units.
      conditional: whether the prior reads the conditions of the data, labels and `c`; by default False. `given={"y":
        labels}` then chooses labels, a sample has its label as `y`, and bounds are bounds of log p(x | y).
      means: whether a sample is the mean of x given its codes instead of a draw; by default False.
      optimizer: optimizer of the autoencoder, see `gen_jax.optimizers.optimizer`; by default Adam.
      prior_optimizer: optimizer of the prior; by default Adam.

    Raises:
      UserError: for data that are not images, missing conditions, or an unknown name or option.
    """
    check_arguments(spec, grid, codebook_size, code_size, decay, restart, commitment)
    conditions = conditions_of("vqvae", spec, conditional)
    base = grid or None
    height, width = stage_sides(spec.shape, base, "a vqvae")[0]
    density = pixels.fitting(spec, likelihood)
    nets = Vqvae(
        encoder=build_net(
            "encoder", GRID_ENCODERS, encoder, code_size, base, inputs="x", shape=(height, width, code_size)
        ),
        decoder=build_net("decoder", GRID_DECODERS, decoder, density.shape, base, inputs="codes", shape=density.shape),
        prior=Raster(build_recurrent("prior", prior), codebook_size, height, width, conditions),
        likelihood=density,
        shape=spec.shape,
        codebook_size=codebook_size,
        code_size=code_size,
        conditions=conditions,
        commitment=commitment,
        decay=decay,
        restart=restart,
    )
    txs = {"images": optimizers.optimizer(optimizer), "prior": optimizers.optimizer(prior_optimizer)}
    decode_compiled = jax.jit(partial(decode_mean, nets))
    show = decode_compiled if means else jax.jit(partial(decode_draw, nets))
    draw = jax.jit(partial(draw_codes, nets.prior), static_argnames="num")
    return Model(
        partial(init, nets, txs),
        partial(step, nets, txs),
        sample=partial(sample, nets, draw, show),
        log_prob_bound=partial(log_prob_bound, nets, jax.jit(partial(bound, nets))),
        prior=partial(draw_latent, nets, draw),
        encode=partial(encode, nets, jax.jit(partial(nearest_codes, nets))),
        decode=partial(decode, nets, decode_compiled),
        given=conditions.names,
    )


def init(nets: Vqvae, txs: Mapping[str, Callable], key: jax.Array, batch: Batch) -> VqvaeState:
    """Returns the state before the first step. The first step replaces its codebook.

    Args:
      nets: the autoencoder.
      txs: functions from the number of examples to an Optax transformation, for `images` and `prior`.
      key: random key of the weights.
      batch: not used, because `nets` gives the shapes.
    """
    e_key, d_key, p_key, c_key = jax.random.split(key, 4)
    zero = jnp.zeros((), jnp.int32)
    grid = (1, nets.prior.height, nets.prior.width)
    size = (nets.codebook_size, nets.code_size)
    images = {
        "encoder": nets.encoder.init(e_key, jnp.zeros((1, *nets.shape))),
        "decoder": nets.decoder.init(d_key, jnp.zeros((*grid, nets.code_size))),
        "likelihood": initial_weights(nets.likelihood),
    }
    prior = nets.prior.init(p_key, jnp.zeros(grid, jnp.int32), example_conditions(nets.conditions, 1))
    params = {"images": images, "prior": prior}
    return VqvaeState(
        step=zero,
        examples=zero,
        classes=jnp.zeros(nets.conditions.classes) if nets.conditions.classes else None,
        codebook=Codebook(jnp.ones(nets.codebook_size), jax.random.normal(c_key, size)),
        params=params,
        optimizer={name: tx(zero).init(params[name]) for name, tx in txs.items()},
    )


def step(
    nets: Vqvae, txs: Mapping[str, Callable], key: jax.Array, state: VqvaeState, batch: Batch
) -> tuple[VqvaeState, dict]:
    """Returns the state after one update of the autoencoder, the prior and the codebook.

    Args:
      nets: the autoencoder.
      txs: functions from the number of examples to an Optax transformation, for `images` and `prior`.
      key: random key of the noise.
      state: the state before the update.
      batch: see `loss`.

    Returns:
      The new state, and the metrics.
    """
    weight = batch.get("weight", jnp.ones(len(batch["x"])))
    examples = state.examples.astype(jnp.float32)
    first = state.step == 0
    gradient, terms = jax.grad(partial(loss, nets), has_aux=True)(state.params, key, batch, state.codebook, first)
    params, optimizer = {}, {}
    for name, tx in txs.items():
        updates, optimizer[name] = tx(examples).update(gradient[name], state.optimizer[name], state.params[name])
        params[name] = optax.apply_updates(state.params[name], updates)
    codebook = quantise.moved(terms.codebook, nets.decay, terms.z, terms.codes, terms.weight)
    metrics = {
        "bound": terms.log_likelihood + terms.log_codes,
        "log_likelihood": terms.log_likelihood,
        "nats_of_codes": -terms.log_codes,
        "commitment": terms.commitment,
        "perplexity": quantise.perplexity(terms.codes, terms.weight, nets.codebook_size),
        "used": 1 - quantise.dead(codebook.counts, max(nets.restart, UNUSED)).mean(),
        "gradient_norm": optax.tree.norm(gradient),
    }
    state = VqvaeState(
        step=state.step + 1,
        examples=saturated(state.examples, (weight > 0).sum()),
        classes=None if state.classes is None else counted_labels(state.classes, weight, batch["y"]),
        codebook=quantise.restarted(codebook, nets.restart, terms.fresh),
        params=params,
        optimizer=optimizer,
    )
    return state, metrics


class Terms(NamedTuple):
    """Holds the terms of the loss. Nats are means over the rows, and M = N h w is the number of places in all grids."""

    log_likelihood: jax.Array  # [] log p(x | codes)
    log_codes: jax.Array  # [] log p(codes)
    commitment: jax.Array  # [] ||z - e||^2
    codebook: Codebook  # codebook from which the codes were taken
    z: jax.Array  # [M, D] vectors of the encoder, without a gradient
    codes: jax.Array  # [M] int32, nearest code of each z
    weight: jax.Array  # [M] weight of the row of each place
    fresh: jax.Array  # [K, D] random vectors among z, which replace dead codes


def loss(
    nets: Vqvae,
    params: dict,
    key: jax.Array,
    batch: Batch,
    codebook: Codebook,
    first: jax.Array | bool = False,
) -> tuple[jax.Array, Terms]:
    """Returns the mean of -log p(x | z_q) - log p(codes) + commitment ||z - sg(e)||^2 over a batch, in nats.

    This is equation 3 of van den Oord et al. 2017 (arXiv 1711.00937) plus the nats of the prior, whose gradient reaches
    the prior alone. The term of the paper that moves e is left out, because running means move the codebook (appendix
    A.1). The gradient of the encoder is the straight-through gradient, not the gradient of this number.

    Args:
      nets: the autoencoder.
      params: weights `images` and `prior`; differentiable.
      key: random key of the noise.
      batch: `x` [N, *shape] in model space, the conditions that the prior reads, and `weight` [N] (0 for padding rows).
      codebook: the codebook.
      first: whether the codes are vectors of this batch instead of `codebook`; by default False.

    Returns:
      The loss [], and its terms.
    """
    x_key, fresh_key, p_key = jax.random.split(key, 3)
    x = nets.likelihood.smooth(x_key, observed(batch))
    c = conditions_in(batch, nets.conditions)
    weight = batch.get("weight", jnp.ones(len(x)))
    place_weight = jnp.repeat(weight, nets.prior.height * nets.prior.width)  # [M]
    z = nets.encoder.apply(params["images"]["encoder"], x)  # [N, h, w, D]
    flat = jax.lax.stop_gradient(z.reshape(-1, nets.code_size))  # [M, D]
    fresh = quantise.draw_vectors(fresh_key, flat, place_weight, nets.codebook_size)  # [K, D]
    codebook = jax.tree.map(partial(jnp.where, first), quantise.begun(fresh, place_weight), codebook)
    e = quantise.vectors(codebook)  # [K, D]
    codes = quantise.nearest(jax.lax.stop_gradient(z), e)  # [N, h, w]
    out = nets.decoder.apply(params["images"]["decoder"], quantise.straight_through(z, e[codes]))
    log_x = weighted_mean(log_likelihood(nets.likelihood, params["images"], out, x), weight)
    distance = weighted_mean(jnp.square(z - e[codes]).sum((1, 2, 3)), weight)
    log_codes = weighted_mean(log_prob_codes(nets, params["prior"], codes, c, {"dropout": p_key}), weight)
    terms = Terms(log_x, log_codes, distance, codebook, flat, codes.ravel(), place_weight, fresh)
    return nets.commitment * distance - log_x - log_codes, terms


def log_prob_codes(
    nets: Vqvae, params: Any, codes: jax.Array, c: Given | None, rngs: dict[str, jax.Array] = {}
) -> jax.Array:
    """Returns log p(codes) [N] of each grid, in nats.

    Args:
      nets: the autoencoder.
      params: weights of the prior.
      codes: grids of codes [N, h, w] int32.
      c: conditions of the rows, or None.
      rngs: `dropout`: random key of dropout; by default no dropout.
    """
    logits = nets.prior.apply(params, codes, c, rngs=rngs)  # [N, h, w, K]
    return -optax.softmax_cross_entropy_with_integer_labels(logits, codes).sum((1, 2))


def nearest_codes(nets: Vqvae, state: VqvaeState, x: jax.Array) -> jax.Array:
    """Returns the codes [N, h, w] int32 of images.

    Args:
      nets: the autoencoder.
      state: the state.
      x: images [N, *shape] in model space.
    """
    z = nets.encoder.apply(state.params["images"]["encoder"], x)
    return quantise.nearest(z, quantise.vectors(state.codebook))


def decoded(nets: Vqvae, state: VqvaeState, codes: jax.Array) -> jax.Array:
    """Returns the input of the likelihood [N, *shape, W] for codes.

    Args:
      nets: the autoencoder.
      state: the state.
      codes: grids of codes [N, h, w].
    """
    return nets.decoder.apply(state.params["images"]["decoder"], quantise.vectors(state.codebook)[codes])


def decode_mean(nets: Vqvae, key: jax.Array, state: VqvaeState, latent: dict) -> Batch:
    """Returns the mean of x given codes, with the conditions of the codes.

    Args:
      nets: the autoencoder.
      key: not used.
      state: the state.
      latent: codes `z` [N, h, w], and the conditions that the prior reads.
    """
    out = decoded(nets, state, latent["z"])
    x = nets.likelihood.mean(state.params["images"]["likelihood"], out)
    return {"x": x, **(conditions_in(latent, nets.conditions) or {})}


def decode_draw(nets: Vqvae, key: jax.Array, state: VqvaeState, latent: dict) -> Batch:
    """Returns a draw of x given codes, with the conditions of the codes.

    Args:
      nets: the autoencoder.
      key: random key of the draw.
      state: the state.
      latent: codes `z` [N, h, w], and the conditions that the prior reads.
    """
    out = decoded(nets, state, latent["z"])
    x = nets.likelihood.draw(key, state.params["images"]["likelihood"], out)
    return {"x": x, **(conditions_in(latent, nets.conditions) or {})}


def bound(nets: Vqvae, key: jax.Array, state: VqvaeState, x: jax.Array, c: Given | None) -> jax.Array:
    """Returns log p(codes) + log p(x | codes) [N] of each row in nats, for the codes that the encoder chooses.

    Args:
      nets: the autoencoder.
      key: random key of the noise that spreads whole numbers, if the likelihood spreads them.
      state: the state.
      x: images [N, *shape] in model space.
      c: conditions of the rows, or None.
    """
    x = nets.likelihood.smooth(key, x)
    codes = nearest_codes(nets, state, x)
    log_x = log_likelihood(nets.likelihood, state.params["images"], decoded(nets, state, codes), x)
    return log_x + log_prob_codes(nets, state.params["prior"], codes, c)


def log_prob_bound(
    nets: Vqvae, score: Callable, key: jax.Array, state: VqvaeState, batch: Batch, num_samples: int = 1
) -> jax.Array:
    """Returns a lower bound of log p(x) [N] of each row, in nats.

    Args:
      nets: the autoencoder.
      score: `bound` of these nets, compiled.
      key: random key of the noise that spreads whole numbers, if the likelihood spreads them.
      state: the state.
      batch: `x` [N, *shape] in model space, and the conditions that the prior reads.
      num_samples: has no effect, because a row has a single grid of codes; by default 1.

    Raises:
      UserError: if `num_samples` is below 1, or for a batch without the conditions that the prior reads.
    """
    check_whole("num_samples", num_samples)
    return score(key, state, jnp.asarray(batch["x"]), batch_conditions(batch, nets.conditions))


def encode(nets: Vqvae, nearest: Callable, key: jax.Array, state: VqvaeState, batch: Batch) -> dict:
    """Returns the codes `z` [N, h, w] int32 of a batch, with its conditions.

    Args:
      nets: the autoencoder.
      nearest: `nearest_codes` of these nets, compiled.
      key: not used.
      state: the state.
      batch: `x` [N, *shape] in model space, and the conditions that the prior reads.

    Raises:
      UserError: for a batch without the conditions that the prior reads.
    """
    return {**(batch_conditions(batch, nets.conditions) or {}), "z": nearest(state, jnp.asarray(batch["x"]))}


def decode(nets: Vqvae, show: Callable, key: jax.Array, state: VqvaeState, latent: dict) -> Batch:
    """Returns the mean of x given codes, with the conditions of the codes.

    Args:
      nets: the autoencoder.
      show: `decode_mean` of these nets, compiled.
      key: not used.
      state: the state.
      latent: codes `z` [N, h, w], and the conditions that the prior reads.

    Raises:
      UserError: if `z` does not hold codes.
    """
    z = np.asarray(latent["z"])
    height, width, size = nets.prior.height, nets.prior.width, nets.codebook_size
    if z.dtype.kind not in "iu" or z.shape[1:] != (height, width) or not ((0 <= z) & (z < size)).all():
        raise UserError(
            f"latent z is {z.dtype} of shape {z.shape}; expected codes [N, {height}, {width}], whole numbers from 0 "
            f"to {size - 1}"
        )
    return show(key, state, {**latent, "z": jnp.asarray(z)})


def draw_latent(
    nets: Vqvae, draw: Callable, key: jax.Array, state: VqvaeState, num: int, given: dict | None = None
) -> dict:
    """Draws grids of codes `z` [num, h, w] int32 from the prior, with their labels.

    Args:
      nets: the autoencoder.
      draw: `draw_codes` of the prior, compiled: (key, params, c, num) -> codes.
      key: random key of the draws.
      state: the state.
      num: number of grids.
      given: labels `y` [num]. Without labels, they are drawn with their frequencies in the batches so far.

    Raises:
      UserError: for another condition, or labels that do not fit.
    """
    z_key, y_key = jax.random.split(key)
    refuse_given(given, nets.conditions.names)
    c = given_conditions(given, num, nets.conditions)
    if state.classes is not None and "y" not in c:
        c["y"] = drawn_labels(y_key, state.classes, num)
    return {"z": draw(z_key, state.params["prior"], c or None, num), **c}


def sample(
    nets: Vqvae,
    draw: Callable,
    show: Callable,
    key: jax.Array,
    state: VqvaeState,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws rows.

    Args:
      nets: the autoencoder.
      draw: see `draw_latent`.
      show: `decode_mean` or `decode_draw` of these nets, compiled.
      key: random key of the draws.
      state: the state.
      num: number of rows.
      given: labels `y` [num]; by default None.
      how: no options; by default None.

    Returns:
      `x` [num, *shape], and `y` [num] if the prior reads labels.

    Raises:
      UserError: for another condition, labels that do not fit, or an option.
    """
    sampler_options(how)
    z_key, x_key = jax.random.split(key)
    return show(x_key, state, draw_latent(nets, draw, z_key, state, num, given))


def check_arguments(
    spec: Spec,
    grid: int,
    codebook_size: int,
    code_size: int,
    decay: float,
    restart: float,
    commitment: float,
) -> None:
    """Refuses arguments that no vector-quantised autoencoder can have.

    Args:
      spec: facts of the data.
      grid: see `vqvae`.
      codebook_size: see `vqvae`.
      code_size: see `vqvae`.
      decay: see `vqvae`.
      restart: see `vqvae`.
      commitment: see `vqvae`.

    Raises:
      UserError: with the argument, its value and the expected value.
    """
    if not kind_of(spec).pixels:
        raise UserError(f"{spec.name} holds {spec.kind} data; expected images for a vqvae")
    check_whole("grid", grid, 0)
    check_whole("codebook_size", codebook_size)
    check_whole("code_size", code_size)
    for name, value, above in (("decay", decay, 1), ("restart", restart, 1), ("commitment", commitment, np.inf)):
        if not 0 <= value < above:
            raise UserError(f"{name} is {value}; expected from 0 to below {above}")
