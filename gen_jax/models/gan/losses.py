"""The nets of a GAN and their two losses. Rows are generated, and judged in packs."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.distributions.columns import Representation
from gen_jax.errors import UserError
from gen_jax.losses.adversarial import AdversarialLoss
from gen_jax.losses.penalties import Critic, squared_gradient
from gen_jax.model import Batch, weighted_mean
from gen_jax.nets.layers import packed
from gen_jax.nets.net import Net


class Adversaries(NamedTuple):
    """Describes a GAN without its weights: two nets and the facts that their losses read.

    Attributes:
      generator: net (z [N, Z], y [N] or None, weight [N]) -> output [N, *form.shape]. The weight of a padding row is
        0.
      discriminator: net (packs [P, ...], y [P] or [P, pack] or None, weight [P]) -> logits [P].
      loss: losses of logits, see `gen_jax.losses.adversarial.AdversarialLoss`.
      penalty: function (key, critic, real, fake) -> (real logits [P], fake logits [P], {name: penalties [P]}), see
        `gen_jax.losses.penalties`.
      prior: function (key, shape) -> z.
      form: representation of rows that the nets read and write.
      shape: shape of a row in model space.
      latent_size: Z, number of dimensions of z.
      classes: number of the labels that both nets read; 0 if they read no labels; by default 0.
      pack: number of rows that the discriminator judges together; by default 1.
      monitor: whether both squared gradients are measured, for any penalty; by default False.
    """

    generator: Net
    discriminator: Net
    loss: AdversarialLoss
    penalty: Callable
    prior: Callable
    form: Representation
    shape: tuple[int, ...]
    latent_size: int
    classes: int = 0
    pack: int = 1
    monitor: bool = False


class GanState(NamedTuple):
    """Holds the state of a GAN. Nets and states of optimizers are pytrees of float32.

    A net is a dictionary of its `params` and its statistics. The statistics are the `batch_stats` of a generator and
    the `spectral` vectors of a discriminator.
    """

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, number of real rows that the discriminator has read
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None if no labels are read
    generator: Any
    discriminator: Any
    generator_ema: Any  # averaged generator, which draws samples
    generator_optimizer: Any
    discriminator_optimizer: Any


class Draws(NamedTuple):
    """Holds latents and keys of one loss.

    They are drawn before the loss, so that all its evaluations can share them.
    """

    z: jax.Array  # [N, Z]
    judging: jax.Array  # key of the dropout of the discriminator; each pass folds its number into the key
    noise: jax.Array  # key of a penalty's interpolation, or of the perturbations of evolution
    dropout: jax.Array  # key of the dropout of the generator
    levels: jax.Array  # key of the levels of generated columns


def draw(nets: Adversaries, key: jax.Array, num: int) -> Draws:
    """Returns the draws of a loss.

    Args:
      nets: both nets.
      key: random key of the draws.
      num: number of rows.
    """
    z_key, *keys = jax.random.split(key, 5)
    return Draws(nets.prior(z_key, (num, nets.latent_size)), *keys)


class Generated(NamedTuple):
    """Holds rows of the generator, with the output of its net and the statistics after the pass."""

    x: jax.Array  # [N, *form.shape], rows in the form that the discriminator reads
    out: jax.Array  # [N, *form.shape], output of the net before `form.relaxed`
    statistics: dict  # `batch_stats`; empty if the net has none


def generate(nets: Adversaries, generator: Any, draws: Draws, batch: Batch) -> Generated:
    """Returns the rows that the generator makes of latents.

    Args:
      nets: both nets.
      generator: `params` and statistics of the generator.
      draws: latents of N rows, and keys.
      batch: N real rows, whose labels and weights the generated rows share. Rows of weight 0 do not count in batch
        statistics.
    """
    y, weight, rngs = labels(nets, batch), weights(batch), {"dropout": draws.dropout}
    out, statistics = nets.generator.apply(generator, draws.z, y, weight, rngs=rngs, mutable=["batch_stats"])
    return Generated(nets.form.relaxed(draws.levels, out), out, statistics)


class Packs(NamedTuple):
    """Holds rows in packs, and the discriminator that judges them."""

    real: jax.Array  # [P, ..., pack C]
    fake: jax.Array  # [P, ..., pack C]
    weight: jax.Array  # [P], smallest weight of the rows of a pack
    critic: Critic  # discriminator with the labels of the packs filled in


def pack_rows(nets: Adversaries, discriminator: Any, key: jax.Array, batch: Batch, fake: jax.Array) -> Packs:
    """Returns real and generated rows in packs.

    Args:
      nets: both nets.
      discriminator: `params` and statistics of the discriminator.
      key: random key of the dropout of the discriminator.
      batch: N real rows.
      fake: generated rows [N, *form.shape], which share the labels and the weights of the batch.
    """
    y = pack_labels(nets, labels(nets, batch))
    weight = weights(batch).reshape(-1, nets.pack).min(1)
    critic = partial(criticise, nets, discriminator, key, y, weight)
    return Packs(packed(batch["x"], nets.pack), packed(fake, nets.pack), weight, critic)


def pack_labels(nets: Adversaries, y: jax.Array | None) -> jax.Array | None:
    """Returns labels in packs [N / pack, pack], or unchanged if a pack is one row.

    Args:
      nets: both nets.
      y: labels [N], or None.
    """
    return y if y is None or nets.pack == 1 else y.reshape(-1, nets.pack)


def criticise(
    nets: Adversaries,
    discriminator: Any,
    key: jax.Array,
    y: jax.Array | None,
    weight: jax.Array,
    packs: jax.Array,
    number: int,
) -> jax.Array:
    """Returns the logits [M P] of packs. The statistics of the pass are dropped.

    Args:
      nets: both nets.
      discriminator: `params` and statistics of the discriminator.
      key: random key of the dropout of the discriminator.
      y: labels [P] or [P, pack], or None.
      weight: weights [P].
      packs: packs [M P, ...]. M neighbours share a label and a weight.
      number: number of the pass, so that every pass has its own dropout.
    """
    times = len(packs) // len(weight)
    y, weight = jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=0), (y, weight))
    rngs = {"dropout": jax.random.fold_in(key, number)}
    return nets.discriminator.apply(discriminator, packs, y, weight, rngs=rngs, mutable=["batch_stats", "spectral"])[0]


def discriminator_loss(
    nets: Adversaries,
    params: Any,
    key: jax.Array,
    state: GanState,
    batch: Batch,
    gamma: jax.Array | float = 1.0,
) -> tuple[jax.Array, dict]:
    """Returns the adversarial loss of the discriminator plus gamma times its penalties, as means over packs.

    The equations are in `nets.loss.discriminator` and `nets.penalty`.

    Args:
      nets: both nets.
      params: parameters of the discriminator; differentiable.
      key: random key of latents, dropout and the interpolation of a penalty.
      state: the state, which holds the generator and the statistics of the discriminator.
      batch: `x` [N, *form.shape], real rows from `form.read`, which changes tables only; `y` [N] if the nets read
        labels; `weight` [N], by default 1 (0 for padding rows). N is a multiple of `nets.pack`.
      gamma: weight of the penalties; by default 1.

    Returns:
      The loss [], and the metrics: `d_loss` without penalties, the penalties without gamma, and `d_sign`, the mean sign
      of the real logits minus the generated logits.
    """
    draws = draw(nets, key, len(batch["x"]))
    fake = generate(nets, state.generator, draws, batch)
    packs = pack_rows(nets, {**state.discriminator, "params": params}, draws.judging, batch, fake.x)
    real_logits, fake_logits, penalties = penalised(
        nets.penalty(draws.noise, packs.critic, packs.real, packs.fake), len(packs.weight)
    )
    losses = nets.loss.discriminator(real_logits, fake_logits)
    refuse_other_rows("loss.discriminator", losses, len(packs.weight))
    value = weighted_mean(losses, packs.weight)
    penalties = {name: weighted_mean(values, packs.weight) for name, values in penalties.items()}
    sign = weighted_mean(jnp.sign(real_logits - fake_logits), packs.weight)
    metrics = {"d_loss": value, "d_sign": sign, **penalties}
    if nets.monitor:
        metrics = {**squared_gradients(packs), **metrics}
    return value + gamma * sum(penalties.values()), metrics


def penalised(results: Any, num: int) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
    """Returns the results of a penalty: real logits, generated logits and penalties by name, [P] each.

    Args:
      results: what the function of the penalty returned.
      num: P, number of packs.

    Raises:
      UserError: for other results.
    """
    if not isinstance(results, tuple | list) or len(results) != 3 or not isinstance(results[2], dict):
        raise UserError(
            f"penalty returns an object of type {type(results).__name__}; expected (real logits [{num}], fake logits "
            f"[{num}], {{name: penalties [{num}]}}), as gen_jax.losses.penalties.r1 does"
        )
    real_logits, fake_logits, penalties = results
    named = {"real logits": real_logits, "fake logits": fake_logits, **penalties}
    for name, values in named.items():
        refuse_other_rows(f"penalty {name}", values, num)
    return real_logits, fake_logits, penalties


def refuse_other_rows(subject: str, values: Any, num: int) -> None:
    """Refuses values of a user's function that are not one number for each pack.

    Args:
      subject: name of the values, for the error.
      values: the values. They may have a last axis of 1, as logits may.
      num: number of packs.

    Raises:
      UserError: for such values.
    """
    shape = jnp.shape(values)
    if shape not in ((num,), (num, 1)):
        raise UserError(
            f"{subject} gives values of shape {[*shape]}; expected [{num}], a number for each example. Leave out a mean or a "
            f"sum over the examples"
        )


def squared_gradients(packs: Packs) -> dict:
    """Returns the penalties R1 and R2: half the mean squared gradient at real and at generated packs.

    Args:
      packs: the packs.
    """
    _, real = squared_gradient(packs.critic, packs.real, 3)
    _, fake = squared_gradient(packs.critic, packs.fake, 4)
    return {"r1": weighted_mean(real / 2, packs.weight), "r2": weighted_mean(fake / 2, packs.weight)}


def generator_loss(
    nets: Adversaries, params: Any, key: jax.Array, state: GanState, batch: Batch
) -> tuple[jax.Array, dict]:
    """Returns the adversarial loss of the generator, as a mean over packs.

    The equation is in `nets.loss.generator`. If labels are levels of a table, the cross-entropy of the label is added
    (CTGAN, Xu et al. 2019, arXiv 1907.00503, section 4.3).

    Args:
      nets: both nets.
      params: parameters of the generator; differentiable.
      key: random key of latents, dropout and levels.
      state: the state, which holds the discriminator and the statistics of the generator.
      batch: see `discriminator_loss`. Only a loss with `pairs` reads the values of `x`.

    Returns:
      The loss [], and the statistics of the generator after its pass: `batch_stats`, or an empty dictionary.
    """
    return drawn_generator_loss(nets, params, draw(nets, key, len(batch["x"])), state, batch)


def drawn_generator_loss(
    nets: Adversaries, params: Any, draws: Draws, state: GanState, batch: Batch
) -> tuple[jax.Array, dict]:
    """Returns `generator_loss` for draws instead of a key.

    Args:
      nets: both nets.
      params: parameters of the generator; differentiable.
      draws: latents and keys.
      state: the state, which holds the discriminator and the statistics of the generator.
      batch: see `generator_loss`.
    """
    fake = generate(nets, {**state.generator, "params": params}, draws, batch)
    packs = pack_rows(nets, state.discriminator, draws.judging, batch, fake.x)
    fake_logits = packs.critic(packs.fake, 1)
    real_logits = packs.critic(packs.real, 0) if nets.loss.pairs else None
    losses = nets.loss.generator(fake_logits, real_logits)
    refuse_other_rows("loss.generator", losses, len(packs.weight))
    value = weighted_mean(losses, packs.weight)
    if nets.form.mismatch is not None:
        value = value + weighted_mean(nets.form.mismatch(fake.out, labels(nets, batch)), weights(batch))
    return value, fake.statistics


def labels(nets: Adversaries, batch: Batch) -> jax.Array | None:
    """Returns the labels [N] that both nets read; None if they read no labels.

    Args:
      nets: both nets.
      batch: the real rows.
    """
    return batch["y"] if nets.classes else None


def weights(batch: Batch) -> jax.Array:
    """Returns the weights [N] of the rows; 1 if the batch has no weights.

    Args:
      batch: the real rows.
    """
    return batch.get("weight", jnp.ones(len(batch["x"])))
