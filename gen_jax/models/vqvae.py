"""Vector-quantised autoencoders: images as grids of codes, and a recurrent prior over these that learns beside them."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax import optimizers
from gen_jax.conditions import batch_labels, drawn_labels, given_labels, sampler_options
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.distributions import pixels
from gen_jax.errors import UserError, check_whole
from gen_jax.losses import quantise
from gen_jax.model import Batch, Model, observed, saturated, weighted_mean
from gen_jax.nets import GRID_DECODERS, GRID_ENCODERS
from gen_jax.nets.layers import stage_sides
from gen_jax.nets.raster import Raster, draw_codes
from gen_jax.nets.recurrent import RECURRENT
from gen_jax.registry import build

ADAM = {"name": "adam", "learning_rate": 1e-3}
UNUSED = 0.01  # share of an even use below which a code does not count as used


class VqvaeState(NamedTuple):
    """What a vector-quantised autoencoder carries from step to step."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows learnt from
    classes: jax.Array | None  # [C] float32, rows of each label in the batches so far; None where none is modelled
    codebook: quantise.Codebook
    params: dict  # of the nets and the likelihood: `images`, and the `prior` of the codes
    optimizer: dict  # of each of the two


def vqvae(
    spec: Spec,
    encoder: Mapping = {"name": "conv"},
    decoder: Mapping = {"name": "conv"},
    likelihood: Mapping | None = None,
    grid: int = 0,
    codebook_size: int = 64,
    code_size: int = 16,
    commitment: float = 0.25,
    decay: float = 0.99,
    restart: float = 0.02,
    prior: Mapping = {"name": "gru", "units": 128},
    conditional: bool = False,
    means: bool = False,
    optimizer: Mapping = ADAM,
    prior_optimizer: Mapping = ADAM,
) -> Model:
    """An autoencoder of images whose latent is a grid of codes (van den Oord et al. 2017, arXiv 1711.00937).

    Args:
      encoder, decoder: a `name` in `GRID_ENCODERS` / `GRID_DECODERS` and that net's options.
      likelihood: a `name` in `distributions.pixels.LIKELIHOODS` and its options; where None the first that fits the data.
      grid: side of the grid of codes; 0 halves the images down to 4..7 pixels a side.
      codebook_size, code_size: how many codes there are, and the numbers of each.
      commitment: weight of ||z - sg(e)||^2, summed over the grid as the nats of log p(x | z) are summed over the image.
      decay: of the codebook's running counts and sums, in a step.
      restart: a code used less than this share of an even use begins anew at what the encoder puts out; 0: never.
      prior: a `name` in `CELLS` and the options of `nets.recurrent.Recurrent`: what predicts each code of a grid.
      conditional: the prior reads the label; `given={"y": labels}` asks for one, and a sample's `y` tells it. Bounds are
        then those of log p(x | y).
      means: a sample is the mean of x given its codes, not a draw.
      optimizer, prior_optimizer: see `gen_jax.optimizers.optimizer`; the second is that of the prior.

    A step is a gradient of the autoencoder, one of the prior on the codes of this batch, and a move of the codebook, which
    no gradient reaches. The prior learns codes that still move: its nats mean something once the autoencoder has slowed
    down, so let the learning rate of `optimizer` fall. The encoder being deterministic, log p(x) >= log p(codes) + log p(x |
    codes), the `log_prob_bound`, whatever its `num_samples`. `encode` gives codes `z` [N, h, w] int32, `decode` the mean of x.

    Raises:
      UserError: for data that are no images, labels that they lack, an unknown name or option.
    """
    if not kind_of(spec).pixels:
        raise UserError(f"a vqvae models images, not data of kind {spec.kind!r} ({spec.name})")
    if conditional and not spec.classes:
        raise UserError(f"a conditional vqvae learns labels, and {spec.name} has none: set model.conditional=False")
    for name, value, least in (("grid", grid, 0), ("codebook_size", codebook_size, 1), ("code_size", code_size, 1)):
        check_whole(name, value, least)
    for name, value, above in (("decay", decay, 1), ("restart", restart, 1), ("commitment", commitment, np.inf)):
        if not 0 <= value < above:
            raise UserError(f"{name} {value}: expected from 0 to below {above}")
    classes, size, base = len(spec.classes) if conditional else 0, codebook_size, grid or None
    height, width = stage_sides(spec.shape, base, "a vqvae")[0]
    likelihood = pixels.fitting(spec, likelihood)
    e_net = build("encoder", GRID_ENCODERS, encoder, code_size, base)
    d_net = build("decoder", GRID_DECODERS, decoder, likelihood.shape, base)
    p_net = Raster(build("prior", RECURRENT, prior), size, height, width, classes)
    txs = {"images": optimizers.optimizer(optimizer), "prior": optimizers.optimizer(prior_optimizer)}

    def init(key: jax.Array, batch: Batch) -> VqvaeState:
        *net_keys, c_key = jax.random.split(key, 4)
        zero, one, codes = jnp.zeros((), jnp.int32), jnp.zeros(1, jnp.int32), jnp.zeros((1, height, width), jnp.int32)
        inputs = (jnp.zeros((1, *spec.shape)),), (jnp.zeros((1, height, width, code_size)),), (codes, one)
        nets = [net.init(own, *each) for net, own, each in zip((e_net, d_net, p_net), net_keys, inputs)]
        own = {name: jnp.zeros(shape) for name, shape in likelihood.weights.items()}
        params = {"images": {"encoder": nets[0], "decoder": nets[1], "likelihood": own}, "prior": nets[2]}
        states = {name: tx(zero).init(params[name]) for name, tx in txs.items()}
        codebook = quantise.Codebook(jnp.ones(size), jax.random.normal(c_key, (size, code_size)))
        return VqvaeState(zero, zero, jnp.zeros(classes) if conditional else None, codebook, params, states)

    def log_prob_codes(params: Any, codes: jax.Array, y: jax.Array | None, key: jax.Array | None = None) -> jax.Array:
        """log p(codes) [N] of codes [N, h, w]."""
        logits = p_net.apply(params, codes, y, rngs={} if key is None else {"dropout": key})
        return -optax.softmax_cross_entropy_with_integer_labels(logits, codes).sum((1, 2))

    def log_likelihood(params: dict, z: jax.Array, x: jax.Array) -> jax.Array:
        """log p(x | z) [N] of grids z [N, h, w, D]."""
        out = d_net.apply(params["decoder"], z)
        return likelihood.log_prob(params["likelihood"], out, x).reshape(len(x), -1).sum(1)

    def step(key: jax.Array, state: VqvaeState, batch: Batch) -> tuple[VqvaeState, dict]:
        x_key, new_key, p_key = jax.random.split(key, 3)
        x, y = likelihood.smooth(x_key, observed(batch)), batch["y"] if conditional else None
        weight = batch.get("weight", jnp.ones(len(x)))
        of_places = jnp.repeat(weight, height * width)  # [M], M = N h w

        def loss(params: dict) -> tuple[jax.Array, tuple]:
            z = e_net.apply(params["images"]["encoder"], x)  # [N, h, w, D]
            flat = jax.lax.stop_gradient(z.reshape(-1, code_size))  # [M, D]
            new = quantise.drawn(new_key, flat, of_places, size)
            first = partial(jnp.where, state.step == 0)
            codebook = jax.tree.map(first, quantise.begun(new, of_places), state.codebook)
            e = quantise.vectors(codebook)
            codes = quantise.nearest(jax.lax.stop_gradient(z), e)  # [N, h, w]
            log_x = log_likelihood(params["images"], quantise.straight_through(z, e[codes]), x)
            far = jnp.square(z - e[codes]).sum((1, 2, 3))
            log_codes = log_prob_codes(params["prior"], codes, y, p_key)
            log_x, far, log_codes = (weighted_mean(each, weight) for each in (log_x, far, log_codes))
            metrics = {"bound": log_x + log_codes, "log_likelihood": log_x, "nats_of_codes": -log_codes}
            return commitment * far - log_x - log_codes, ({**metrics, "commitment": far}, codebook, flat, codes, new)

        gradient, (metrics, codebook, z, codes, new) = jax.grad(loss, has_aux=True)(state.params)
        params, states, seen = {}, {}, state.examples.astype(jnp.float32)
        for name, tx in txs.items():
            updates, states[name] = tx(seen).update(gradient[name], state.optimizer[name], state.params[name])
            params[name] = optax.apply_updates(state.params[name], updates)
        codebook = quantise.moved(codebook, decay, z, codes.ravel(), of_places)
        used = 1 - quantise.dead(codebook.counts, max(restart, UNUSED)).mean()
        metrics |= {"perplexity": quantise.perplexity(codes.ravel(), of_places, size), "used": used}
        counts = state.classes + weight @ jax.nn.one_hot(y, classes) if conditional else None
        codebook = quantise.restarted(codebook, restart, new)
        after = state.step + 1, saturated(state.examples, (weight > 0).sum()), counts, codebook, params, states
        return VqvaeState(*after), {**metrics, "gradient_norm": optax.tree.norm(gradient)}

    @jax.jit
    def nearest(state: VqvaeState, x: jax.Array) -> jax.Array:
        """Codes [N, h, w] of images."""
        return quantise.nearest(e_net.apply(state.params["images"]["encoder"], x), quantise.vectors(state.codebook))

    @jax.jit
    def score(key: jax.Array, state: VqvaeState, x: jax.Array, y: jax.Array | None) -> jax.Array:
        x = likelihood.smooth(key, x)
        codes = nearest(state, x)
        log_x = log_likelihood(state.params["images"], quantise.vectors(state.codebook)[codes], x)
        return log_x + log_prob_codes(state.params["prior"], codes, y)

    def log_prob_bound(key: jax.Array, state: VqvaeState, batch: Batch, num_samples: int = 1) -> jax.Array:
        check_whole("num_samples", num_samples)
        return score(key, state, jnp.asarray(batch["x"]), batch_labels(batch, classes).get("y"))

    def encode(key: jax.Array, state: VqvaeState, batch: Batch) -> dict:
        return {**batch_labels(batch, classes), "z": nearest(state, jnp.asarray(batch["x"]))}

    draw = jax.jit(partial(draw_codes, p_net), static_argnames="num")

    def latent(key: jax.Array, state: VqvaeState, num: int, given: dict | None = None) -> dict:
        z_key, y_key = jax.random.split(key)
        labels = {"y": drawn_labels(y_key, state.classes, num)} if conditional else {}
        labels |= given_labels(given, num, classes)
        return {"z": draw(z_key, state.params["prior"], labels.get("y"), num), **labels}

    @partial(jax.jit, static_argnames="show")
    def shown(state: VqvaeState, latent: dict, show: Any, *key: jax.Array) -> Batch:
        params, z = state.params["images"], quantise.vectors(state.codebook)[latent["z"]]
        labels = {"y": latent["y"]} if conditional else {}
        return {"x": show(*key, params["likelihood"], d_net.apply(params["decoder"], z)), **labels}

    def decode(key: jax.Array, state: VqvaeState, latent: dict) -> Batch:
        z = np.asarray(latent["z"])
        if z.dtype.kind not in "iu" or z.shape[1:] != (height, width) or not ((0 <= z) & (z < size)).all():
            raise UserError(f"latent z: expected codes [N, {height}, {width}], whole numbers from 0 to {size - 1}")
        return shown(state, {**latent, "z": jnp.asarray(z)}, likelihood.mean)

    def sample(
        key: jax.Array, state: VqvaeState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        z_key, x_key = jax.random.split(key)
        how = (likelihood.mean,) if means else (likelihood.draw, x_key)
        return shown(state, latent(z_key, state, num, given), *how)

    return Model(init, step, sample, None, log_prob_bound, latent, encode, decode, ("y",) * conditional)
