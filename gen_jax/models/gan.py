"""Generative adversarial networks: one function, whose arguments are the loss, the penalty and the two nets."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.data.spec import Spec
from gen_jax.errors import UserError, build, choose
from gen_jax.losses.adversarial import LOSSES
from gen_jax.losses.penalties import PENALTIES
from gen_jax.model import Batch, Model, refuse_given, weighted_mean
from gen_jax.nets import DISCRIMINATORS, GENERATORS
from gen_jax.optimizers import moving_average, optimizer, schedule

PRIORS = {
    "normal": jax.random.normal,
    "uniform": partial(jax.random.uniform, minval=-1.0, maxval=1.0),
}
ADAM = {"name": "adam", "learning_rate": 2e-4, "b1": 0.0, "b2": 0.99}


class GanState(NamedTuple):
    """What a GAN carries from step to step; params and optimizer states are float32 pytrees."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, real ones that the discriminator has seen
    generator: Any
    discriminator: Any
    generator_ema: Any
    generator_optimizer: Any
    discriminator_optimizer: Any


def gan(
    spec: Spec,
    generator: Mapping = {"name": "mlp"},
    discriminator: Mapping = {"name": "mlp"},
    loss: str = "relativistic",
    penalty: str = "r1_r2",
    gamma: float | Mapping = 1.0,
    latent_size: int = 64,
    prior: str = "normal",
    n_critic: int = 1,
    generator_optimizer: Mapping = ADAM,
    discriminator_optimizer: Mapping = ADAM,
    ema_half_life: float | Mapping = 0.0,
) -> Model:
    """A GAN over images or vectors (Goodfellow et al. 2014; by default R3GAN, Huang et al. 2024).

    Args:
      generator, discriminator: a `name` in `GENERATORS` / `DISCRIMINATORS` and that net's options.
      loss: a name in `LOSSES`.
      penalty: a name in `PENALTIES`; `gamma` weighs it, a number or a schedule over examples.
      latent_size, prior: z is drawn from `normal` N(0, 1) or `uniform` U(-1, 1) in that many dimensions.
      n_critic: discriminator updates per generator update. A batch is split into disjoint parts, one for each of
        them and, where the generator's loss reads real examples, one more for the generator.
      generator_optimizer, discriminator_optimizer: see `gen_jax.optimizers.optimizer`.
      ema_half_life: of the averaged generator that samples, in examples, a number or a schedule; 0 averages nothing.

    One step is `n_critic` updates of the discriminator and one of the generator; the examples that schedules count
    are the real ones the discriminator has seen.

    Raises:
      UserError: for data that is neither image nor vector, an unknown name or option, a batch that cannot be split.
    """
    if spec.kind not in ("image", "vector"):
        raise UserError(f"a gan models images and vectors, not data of kind {spec.kind!r} ({spec.name})")
    if n_critic < 1 or latent_size < 1:
        raise UserError(f"n_critic {n_critic} and latent_size {latent_size}: expected at least 1")
    g_net = build("generator", GENERATORS, generator, tuple(spec.shape))
    d_net = build("discriminator", DISCRIMINATORS, discriminator)
    game = LOSSES[choose("adversarial loss", loss, LOSSES)]
    penalise = PENALTIES[choose("penalty", penalty, PENALTIES)]
    draw = PRIORS[choose("prior", prior, PRIORS)]
    gamma, half_life = schedule(gamma), schedule(ema_half_life)
    g_tx, d_tx = optimizer(generator_optimizer), optimizer(discriminator_optimizer)
    parts = n_critic + game.pairs

    def init(key: jax.Array, batch: Batch) -> GanState:
        g_key, d_key = jax.random.split(key)
        g = g_net.init(g_key, jnp.zeros((1, latent_size)))
        d = d_net.init(d_key, jnp.zeros((1, *batch["x"].shape[1:])))
        zero = jnp.zeros((), jnp.int32)
        average = jax.tree.map(jnp.copy, g)
        return GanState(zero, zero, g, d, average, g_tx(zero).init(g), d_tx(zero).init(d))

    def criticise(d: Any, key: jax.Array, x: jax.Array) -> jax.Array:
        return d_net.apply(d, x, rngs={"dropout": key})  # [N]

    def d_loss(d: Any, key: jax.Array, g: Any, x: jax.Array, weight: jax.Array, seen: jax.Array):
        z_key, drop_key = jax.random.split(key)
        fake = g_net.apply(g, draw(z_key, (x.shape[0], latent_size)))
        real_logits, fake_logits, penalties = penalise(partial(criticise, d, drop_key), x, fake)
        value = weighted_mean(game.discriminator(real_logits, fake_logits), weight)
        penalties = {name: weighted_mean(each, weight) for name, each in penalties.items()}
        sign = weighted_mean(jnp.sign(real_logits - fake_logits), weight)
        metrics = {"d_loss": value, "d_sign": sign, **penalties}
        return value + gamma(seen) * sum(penalties.values()), metrics

    def g_loss(g: Any, key: jax.Array, d: Any, x: jax.Array, weight: jax.Array):
        z_key, drop_key = jax.random.split(key)
        fake = criticise(d, drop_key, g_net.apply(g, draw(z_key, (x.shape[0], latent_size))))
        real = criticise(d, drop_key, x) if game.pairs else None
        return weighted_mean(game.generator(fake, real), weight)

    def step(key: jax.Array, state: GanState, batch: Batch) -> tuple[GanState, dict]:
        rows = batch["x"].shape[0]
        if rows % parts:
            raise UserError(f"a batch of {rows} rows cannot be split into the {parts} parts that this gan learns from")
        x = batch["x"].reshape(-1, parts, *batch["x"].shape[1:])  # strided parts: no row leaves its device
        weight = batch.get("weight", jnp.ones(rows)).reshape(-1, parts)
        seen, new = state.examples.astype(jnp.float32), weight[:, :n_critic].sum()
        keys = jax.random.split(key, n_critic + 1)
        d, d_state = state.discriminator, state.discriminator_optimizer
        for part in range(n_critic):  # unrolled: XLA's CPU convolutions are slow inside a loop
            gradient, metrics = jax.grad(d_loss, has_aux=True)(
                d, keys[part], state.generator, x[:, part], weight[:, part], seen
            )
            updates, d_state = d_tx(seen).update(gradient, d_state, d)
            d = optax.apply_updates(d, updates)
        value, gradient = jax.value_and_grad(g_loss)(state.generator, keys[-1], d, x[:, -1], weight[:, -1])
        updates, g_state = g_tx(seen).update(gradient, state.generator_optimizer, state.generator)
        g = optax.apply_updates(state.generator, updates)
        average = moving_average(state.generator_ema, g, new, half_life(seen))
        examples = state.examples + new.astype(jnp.int32)
        return GanState(state.step + 1, examples, g, d, average, g_state, d_state), {"g_loss": value, **metrics}

    def prior_latent(key: jax.Array, state: GanState, num: int) -> dict:
        return {"z": draw(key, (num, latent_size))}

    @jax.jit
    def decode(key: jax.Array, state: GanState, latent: dict) -> Batch:
        return {"x": g_net.apply(state.generator_ema, latent["z"])}

    def sample(key: jax.Array, state: GanState, num: int, given: dict | None = None) -> Batch:
        refuse_given(given)
        return decode(key, state, prior_latent(key, state, num))

    return Model(init, step, sample, prior=prior_latent, decode=decode)
