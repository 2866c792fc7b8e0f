"""Hierarchical autoencoders: latents in layers, each drawn given those above it, by one path of prior and posterior."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax import optimizers
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.distributions import pixels
from gen_jax.distributions.gaussians import gaussian_kl, gaussian_log_prob
from gen_jax.errors import UserError, check_whole
from gen_jax.losses.variational import free_bits
from gen_jax.model import Batch, Model, observed, saturated, weighted_mean
from gen_jax.models.latent_variable import Latent, latent_model
from gen_jax.nets import LADDERS
from gen_jax.registry import build

ADAM = {"name": "adam", "learning_rate": 1e-3, "clip_norm": 200.0}


class LadderState(NamedTuple):
    """What a ladder carries from step to step."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows learnt from
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None where none is modelled
    params: Any  # of the net that climbs, the one that descends and the likelihood
    average: Any  # of params
    optimizer: Any


def ladder(
    spec: Spec,
    net: Mapping = {"name": "mlp"},
    likelihood: Mapping | None = None,
    conditional: bool = False,
    kl: float | Mapping = 1.0,
    free_nats: float = 0.0,
    means: bool = False,
    sweeps: int = 100,
    optimizer: Mapping = ADAM,
    ema_half_life: float = 0.0,
) -> Model:
    """A hierarchical VAE of images or vectors, p(z_1) p(z_2 | z_1) ... p(x | z), whose posterior takes the same path down.

    Soenderby et al. 2016 (arXiv 1602.02282), with q relative to p (Vahdat & Kautz 2020, arXiv 2007.03898, section 3.2), here
    in units of p's scale: z_l = mean_l(z_<l) + scale_l(z_<l) eps_l, layer 1 on top, p(eps) = N(0, I) and q(eps_l | eps_<l, x)
    = N(m_l, s_l^2). So each KL is (m^2 + s^2 - 1) / 2 - log s, 0 while the heads are 0, and no narrow p makes it large; that
    of two Gaussians with heads of their own holds (m_q - m_p)^2 / s_p^2.

    Args:
      net: a `name` in `LADDERS` and its options: the layers.
      likelihood: a `name` in `distributions.pixels.LIKELIHOODS` and its options; where None the first that fits the data.
      conditional: both nets read the label, `given={"y": labels}` asks for one; bounds are those of log p(x | y).
      kl: weight of the KL while learning, a number or a schedule over examples (warm-up).
      free_nats: KL of each layer that costs no more than this, on average over a batch.
      means: a sample is the mean of x given its latent, not a draw.
      sweeps: of the Markov chain that repairs an image.
      optimizer: see `gen_jax.optimizers.optimizer`.
      ema_half_life: of the averaged weights that sample and score, in rows; 0 averages nothing.

    A latent's `z` [N, Z] is eps, the layers side by side, the top one first; `decode` gives the mean of x. `encode` gives
    each layer's m, where those above it are at theirs, with its `scale` s. `log_prob_bound` takes `num_samples`: 1 is the
    ELBO with its KLs in closed form, more the importance weighted bound. `given` takes `y`, and `x` with `mask` [num, *shape]
    to keep and complete. Metrics: `elbo` and `kl` without weight or free bits, `kl_1` (of the top layer) and so on.

    Raises:
      UserError: for data that are no images or vectors, labels that they lack, an unknown name or option.
    """
    if kind_of(spec).time or spec.tabular:
        raise UserError(f"a ladder models images and vectors, not data of kind {spec.kind!r} ({spec.name})")
    if conditional and not spec.classes:
        raise UserError(f"a conditional ladder learns labels, and {spec.name} has none: set model.conditional=False")
    if not isinstance(kl, Mapping) and kl <= 0:
        raise UserError(f"kl {kl}: expected more than 0")
    if free_nats < 0:
        raise UserError(f"free_nats {free_nats}: expected 0 or more")
    check_whole("sweeps", sweeps)
    classes = len(spec.classes) if conditional else 0
    likelihood = pixels.fitting(spec, likelihood)
    up, down, sizes = build("ladder", LADDERS, net, likelihood.shape, classes)
    size, ends = sum(sizes), tuple(int(each) for each in np.cumsum(sizes[:-1]))
    beta, tx = optimizers.schedule(kl), optimizers.optimizer(optimizer)

    def init(key: jax.Array, batch: Batch) -> LadderState:
        up_key, down_key = jax.random.split(key)
        x, y, zero = jnp.zeros((1, *spec.shape)), jnp.zeros(1, jnp.int32), jnp.zeros((), jnp.int32)
        features, climbing = up.init_with_output(up_key, x, y)
        params = {
            "up": climbing,
            "down": down.init(down_key, jnp.zeros((1, size)), features, y),
            "likelihood": {name: jnp.zeros(shape) for name, shape in likelihood.weights.items()},
        }
        counts, average = jnp.zeros(classes) if conditional else None, jax.tree.map(jnp.copy, params)
        return LadderState(zero, zero, counts, params, average, tx(zero).init(params))

    def read(params: Any, x: jax.Array, y: jax.Array | None) -> Any:
        return up.apply(params["up"], x, y)

    def path(params: Any, features: Any, z: jax.Array, x: jax.Array, y: jax.Array | None, fixed: bool = False) -> tuple:
        """A latent, by q(z | x) of the noise `z` or `z` itself if `fixed`; log p(x, z) / q(z | x); log p(x | z); KLs; q."""
        out, z, *q = down.apply(params["down"], z, features, y, fixed)
        log_x = likelihood.log_prob(params["likelihood"], out, x).reshape(len(x), -1).sum(1)
        layers = jnp.stack([part.sum(1) for part in jnp.split(gaussian_kl(*q), ends, axis=1)], 1)  # [N, L]
        return z, log_x + (gaussian_log_prob(z) - gaussian_log_prob(z, *q)).sum(1), log_x, layers, q

    def loss(params: Any, key: jax.Array, state: LadderState, x: jax.Array, y: jax.Array | None, weight: jax.Array):
        """What is minimised, with the metrics."""
        z_key, x_key = jax.random.split(key)
        x, now = likelihood.smooth(x_key, x), beta(state.examples.astype(jnp.float32))
        _, _, log_x, each, _ = path(params, read(params, x, y), jax.random.normal(z_key, (len(x), size)), x, y)
        found = {"elbo": log_x - each.sum(1), "log_likelihood": log_x, "kl": each.sum(1)}
        found |= {f"kl_{layer}": values for layer, values in enumerate(each.T, 1)}
        value = weighted_mean(now * free_bits(each, weight, free_nats) - log_x, weight)
        return value, {name: weighted_mean(values, weight) for name, values in found.items()}

    def step(key: jax.Array, state: LadderState, batch: Batch) -> tuple[LadderState, dict]:
        x, y = observed(batch), batch["y"] if conditional else None
        weight, seen = batch.get("weight", jnp.ones(len(x))), state.examples.astype(jnp.float32)
        gradient, metrics = jax.grad(loss, has_aux=True)(state.params, key, state, x, y, weight)
        updates, tx_state = tx(seen).update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        average = optimizers.moving_average(state.average, params, weight.sum(), jnp.float32(ema_half_life))
        counts = state.classes + weight @ jax.nn.one_hot(y, classes) if conditional else None
        state = LadderState(
            state.step + 1, saturated(state.examples, (weight > 0).sum()), counts, params, average, tx_state
        )
        return state, {**metrics, "gradient_norm": optax.tree.norm(gradient)}

    def weigh(params: Any, q: Any, z: jax.Array, x: jax.Array, y: jax.Array | None, fixed: bool) -> tuple:
        return path(params, q, z, x, y, fixed)[:2]

    def elbo(params: Any, q: Any, noise: jax.Array, x: jax.Array, y: jax.Array | None) -> jax.Array:
        _, _, log_x, layers, _ = path(params, q, noise, x, y)
        return log_x - layers.sum(1)

    def codes(params: Any, q: Any, y: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        rows = jax.tree.leaves(q)[0].shape[0]
        mean, log_scale = down.apply(params["down"], jnp.zeros((rows, size)), q, y, False)[2:]
        return mean, jnp.exp(log_scale)

    def out(params: Any, z: jax.Array, y: jax.Array | None) -> jax.Array:
        return down.apply(params["down"], z, None, y)[0]

    return latent_model(
        spec, init, step, Latent(size, classes, likelihood, out, read, codes, weigh, elbo), means, sweeps
    )
