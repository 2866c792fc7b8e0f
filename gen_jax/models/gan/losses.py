"""The nets of a GAN and their two losses. Rows are generated, and judged in packs."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.conditions import NONE, Conditions, conditions_in
from gen_jax.distributions.columns import Representation
from gen_jax.errors import UserError
from gen_jax.losses.adversarial import AdversarialLoss
from gen_jax.losses.penalties import Critic, squared_gradient
from gen_jax.losses.reconstruction import Reconstruction
from gen_jax.model import Batch, like_rows, weighted_mean
from gen_jax.nets.embedding import ConditionedNet
from gen_jax.nets.layers import packed

MISMATCHED = 5  # number of the pass over real rows beside other conditions, see `criticise`


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
      conditions: conditions that both nets read; by default none.
      reconstruction: further term of the generator's loss; by default none.
      pack: number of rows that the discriminator judges together; by default 1.
      monitor: whether both squared gradients are measured, for any penalty; by default False.
      matching: whether real rows beside conditions of other rows count as generated; by default False.
    """

    generator: ConditionedNet
    discriminator: ConditionedNet
    loss: AdversarialLoss
    penalty: Callable
    prior: Callable
    form: Representation
    shape: tuple[int, ...]
    latent_size: int
    conditions: Conditions = NONE
    reconstruction: Reconstruction = Reconstruction(None, 0.0, "none")
    pack: int = 1
    monitor: bool = False
    matching: bool = False


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
      batch: N real rows, whose conditions and weights the generated rows share. Rows of weight 0 do not count in batch
        statistics.
    """
    c, weight, rngs = conditions_in(batch, nets.conditions), weights(batch), {"dropout": draws.dropout}
    out, statistics = nets.generator.apply(generator, draws.z, c, weight, rngs=rngs, mutable=["batch_stats"])
    x = nets.form.relaxed(draws.levels, out)
    if nets.form.hidden is not None:
        x = nets.form.hidden(x, batch["x"])
    return Generated(x, out, statistics)


class Pass(NamedTuple):
    """Holds what a pass of the generator leaves beside its loss."""

    statistics: dict  # `batch_stats`; empty if the net has none
    metrics: dict[str, jax.Array]  # the distance of the reconstruction without its weight, by its name


class Packs(NamedTuple):
    """Holds rows in packs, and the discriminator that judges them."""

    real: jax.Array  # [P, ..., pack C]
    fake: jax.Array  # [P, ..., pack C]
    weight: jax.Array  # [P], smallest weight of the rows of a pack
    critic: Critic  # discriminator with the conditions of the packs filled in


def pack_rows(nets: Adversaries, discriminator: Any, key: jax.Array, batch: Batch, fake: jax.Array) -> Packs:
    """Returns real and generated rows in packs.

    Args:
      nets: both nets.
      discriminator: `params` and statistics of the discriminator.
      key: random key of the dropout of the discriminator.
      batch: N real rows.
      fake: generated rows [N, *form.shape], which share the conditions and the weights of the batch.
    """
    c = pack_labels(nets, conditions_in(batch, nets.conditions))
    weight = weights(batch).reshape(-1, nets.pack).min(1)
    critic = partial(criticise, nets, discriminator, key, weight=weight, c=c)
    return Packs(packed(batch["x"], nets.pack), packed(fake, nets.pack), weight, critic)


def pack_labels(nets: Adversaries, c: Batch | None) -> Batch | None:
    """Returns conditions with labels in packs [N / pack, pack], or unchanged if a pack is one row.

    Args:
      nets: both nets.
      c: conditions of N rows, or None.
    """
    return c if c is None or nets.pack == 1 else {**c, "y": c["y"].reshape(-1, nets.pack)}


def criticise(
    nets: Adversaries,
    discriminator: Any,
    key: jax.Array,
    packs: jax.Array,
    number: int,
    *,
    weight: jax.Array,
    c: Batch | None,
) -> jax.Array:
    """Returns the logits [M P] of packs, or [M P, patches]. The statistics of the pass are dropped.

    Args:
      nets: both nets.
      discriminator: `params` and statistics of the discriminator.
      key: random key of the dropout of the discriminator.
      packs: packs [M P, ...]. M neighbours share their conditions and a weight.
      number: number of the pass, so that every pass has its own dropout.
      weight: weights [P].
      c: conditions of P packs, or None.
    """
    times = len(packs) // len(weight)
    c, weight = jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=0), (c, weight))
    rngs = {"dropout": jax.random.fold_in(key, number)}
    return nets.discriminator.apply(discriminator, packs, c, weight, rngs=rngs, mutable=["batch_stats", "spectral"])[0]


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
      batch: `x` [N, *form.shape], real rows from `form.read`, which changes tables only; the conditions that the
        nets read; `weight` [N], by default 1 (0 for padding rows). N is a multiple of `nets.pack`.
      gamma: weight of the penalties; by default 1.

    Returns:
      The loss [], and the metrics: `d_loss` without penalties, the penalties without gamma, and `d_sign`, the mean sign
      of the real logits minus the generated logits. With `nets.matching` also `d_match`, the mean sign of the real
      logits minus the logits of real rows beside other conditions.
    """
    draws = draw(nets, key, len(batch["x"]))
    fake = generate(nets, state.generator, draws, batch)
    packs = pack_rows(nets, {**state.discriminator, "params": params}, draws.judging, batch, fake.x)
    real_logits, fake_logits, penalties = penalised(
        nets.penalty(draws.noise, packs.critic, packs.real, packs.fake), len(packs.weight)
    )
    losses = nets.loss.discriminator(real_logits, fake_logits)
    refuse_other_rows("loss.discriminator", losses, jnp.shape(real_logits))
    signs = {}
    if nets.matching:
        logits, differ = mismatched_logits(nets, packs.critic, packs.real, batch)
        mismatched = nets.loss.discriminator(real_logits, logits)
        losses = jnp.where(like_rows(differ, losses), (losses + mismatched) / 2, losses)
        signs["d_match"] = weighted_mean(over_patches(jnp.sign(real_logits - logits)), packs.weight * differ)
    value = weighted_mean(over_patches(losses), packs.weight)
    penalties = {name: weighted_mean(values, packs.weight) for name, values in penalties.items()}
    sign = weighted_mean(over_patches(jnp.sign(real_logits - fake_logits)), packs.weight)
    metrics = {"d_loss": value, "d_sign": sign, **signs, **penalties}
    if nets.monitor:
        metrics = {**squared_gradients(packs), **metrics}
    return value + gamma * sum(penalties.values()), metrics


def mismatched_logits(
    nets: Adversaries, critic: Callable[..., jax.Array], real: jax.Array, batch: Batch
) -> tuple[jax.Array, jax.Array]:
    """Returns the logits of real rows beside the conditions of other rows, and whether these conditions differ [N].

    Each row gets the conditions of the row before it that is not padding, in a circle.

    Args:
      nets: both nets.
      critic: the discriminator, whose keyword `c` replaces the conditions of the rows.
      real: real rows [N, ...].
      batch: the real rows, whose conditions and weights are read.
    """
    c = conditions_in(batch, nets.conditions)
    counted = weights(batch) > 0
    places = jnp.argsort(~counted, stable=True)  # of the rows that are not padding, before the others
    before = (jnp.cumsum(counted) - 2) % jnp.maximum(counted.sum(), 1)
    others = jax.tree.map(lambda leaf: leaf[places[before]], c)
    differences = jax.tree.map(lambda one, other: (one != other).reshape(len(one), -1).any(1), c, others)
    differ = jnp.stack(jax.tree.leaves(differences)).any(0)
    return critic(real, MISMATCHED, c=others), differ


def over_patches(values: jax.Array) -> jax.Array:
    """Returns the mean [P] over the patches of a pack; values [P] stay as they are.

    Args:
      values: a value of each logit, [P] or [P, patches].
    """
    return values if values.ndim == 1 else values.reshape(len(values), -1).mean(1)


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
    patches = jnp.shape(real_logits)[1:] if jnp.ndim(real_logits) == 2 else ()
    for name, values in {"real logits": real_logits, "fake logits": fake_logits}.items():
        refuse_other_rows(f"penalty {name}", values, (num, *patches))
    for name, values in penalties.items():
        refuse_other_rows(f"penalty {name}", values, (num,))
    return real_logits, fake_logits, penalties


def refuse_other_rows(name: str, values: Any, expected: tuple[int, ...]) -> None:
    """Refuses values of a user's function that are not one number for each pack, or for each patch of a pack.

    Args:
      name: name of the values, for the error.
      values: the values. They may have a last axis of 1, as logits may.
      expected: number of packs, and number of patches if logits have patches.

    Raises:
      UserError: for such values.
    """
    shape = jnp.shape(values)
    if shape not in (expected, (*expected, 1)):
        raise UserError(
            f"{name} gives values of shape {[*shape]}; expected {[*expected]}, a number for each example. Leave out a mean "
            f"or a sum over the examples"
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
    nets: Adversaries,
    params: Any,
    key: jax.Array,
    state: GanState,
    batch: Batch,
    adversarial: jax.Array | float = 1.0,
) -> tuple[jax.Array, Pass]:
    """Returns the loss of the generator, as a mean over packs.

    It is `adversarial` times `nets.loss.generator`, plus the term `nets.reconstruction`. If labels are levels of a table, the cross-entropy of the label is added
    (CTGAN, Xu et al. 2019, arXiv 1907.00503, section 4.3).

    Args:
      nets: both nets.
      params: parameters of the generator; differentiable.
      key: random key of latents, dropout and levels.
      state: the state, which holds the discriminator and the statistics of the generator.
      batch: see `discriminator_loss`. Only a loss with `pairs` and a reconstruction read the values of `x`.
      adversarial: weight of the adversarial loss; by default 1. With the number 0.0 the discriminator is not called.

    Returns:
      The loss [], and the statistics and metrics of the pass.
    """
    return drawn_generator_loss(nets, params, draw(nets, key, len(batch["x"])), state, batch, adversarial)


def drawn_generator_loss(
    nets: Adversaries,
    params: Any,
    draws: Draws,
    state: GanState,
    batch: Batch,
    adversarial: jax.Array | float = 1.0,
) -> tuple[jax.Array, Pass]:
    """Returns `generator_loss` for draws instead of a key.

    Args:
      nets: both nets.
      params: parameters of the generator; differentiable.
      draws: latents and keys.
      state: the state, which holds the discriminator and the statistics of the generator.
      batch: see `generator_loss`.
      adversarial: see `generator_loss`.
    """
    fake = generate(nets, {**state.generator, "params": params}, draws, batch)
    value, metrics = jnp.zeros(()), {}
    if not (isinstance(adversarial, float) and adversarial == 0):
        value = adversarial * adversarial_term(nets, draws, state, batch, fake)
    if nets.form.mismatch is not None:
        value = value + weighted_mean(nets.form.mismatch(fake.out, batch["y"]), weights(batch))
    term = nets.reconstruction
    if term.distance is not None:
        metrics[term.name] = weighted_mean(term.distance(fake.out, fake.x, batch["x"]), weights(batch))
        value = value + term.weight * metrics[term.name]
    return value, Pass(fake.statistics, metrics)


def adversarial_term(nets: Adversaries, draws: Draws, state: GanState, batch: Batch, fake: Generated) -> jax.Array:
    """Returns the adversarial loss of the generator, `nets.loss.generator`, as a mean over packs.

    Args:
      nets: both nets.
      draws: latents and keys.
      state: the state, which holds the discriminator.
      batch: see `generator_loss`.
      fake: the generated rows.
    """
    packs = pack_rows(nets, state.discriminator, draws.judging, batch, fake.x)
    fake_logits = packs.critic(packs.fake, 1)
    real_logits = packs.critic(packs.real, 0) if nets.loss.pairs else None
    losses = nets.loss.generator(fake_logits, real_logits)
    refuse_other_rows("loss.generator", losses, jnp.shape(fake_logits))
    return weighted_mean(over_patches(losses), packs.weight)


def weights(batch: Batch) -> jax.Array:
    """Returns the weights [N] of the rows; 1 if the batch has no weights.

    Args:
      batch: the real rows.
    """
    return batch.get("weight", jnp.ones(len(batch["x"])))
