"""The step of a GAN: updates of the discriminator and of the generator on disjoint parts of a batch."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.conditions import conditions_in, counted_labels, example_conditions
from gen_jax.errors import UserError
from gen_jax.losses.penalties import PENALTIES
from gen_jax.model import Batch, observed, saturated
from gen_jax.models.gan.losses import (
    Adversaries,
    GanState,
    discriminator_loss,
    draw,
    drawn_generator_loss,
    generator_loss,
    pack_labels,
    weights,
)
from gen_jax.nets.layers import packed
from gen_jax.optimizers import moving_average
from gen_jax.optimizers.evolution import evolution_gradient


def backpropagation() -> Callable:
    """Returns the estimator that differentiates `generator_loss`."""
    return jax.value_and_grad(generator_loss, argnums=1, has_aux=True)


def evolution(pairs: int = 32, deviation: float = 0.02, shaped: bool = True) -> Callable:
    """Returns the estimator that calls `evolution_gradient`. All its evaluations share the draws of the loss.

    Args:
      pairs: half the number of evaluations of the loss; by default 32.
      deviation: standard deviation of the perturbations; by default 0.02.
      shaped: whether the ranks of the losses replace the losses; by default True.
    """

    def estimate(
        nets: Adversaries, params: Any, key: jax.Array, state: GanState, batch: Batch, adversarial: Any = 1.0
    ) -> tuple:
        draws = draw(nets, key, len(batch["x"]))

        def loss(params: Any) -> jax.Array:
            return drawn_generator_loss(nets, params, draws, state, batch, adversarial)[0]

        value, gradient = evolution_gradient(draws.noise, loss, params, pairs, deviation, shaped)
        _, after = drawn_generator_loss(nets, params, draws, state, batch, adversarial)
        return (value, after), gradient

    return estimate


# (nets, params, key, state, batch, adversarial) -> (results of `generator_loss`, an estimate of its gradient)
ESTIMATORS = {"backpropagation": backpropagation, "evolution": evolution}


class Recipe(NamedTuple):
    """Holds the rules of the updates. `examples` is the number of real rows that the discriminator has read."""

    estimate: Callable  # a value of `ESTIMATORS`, built
    generator: Callable  # (examples) -> Optax transformation of the generator
    discriminator: Callable  # (examples) -> Optax transformation of the discriminator
    gamma: Callable  # (examples) -> weight of the penalties
    half_life: Callable  # (examples) -> half-life of the averaged generator, in examples
    adversarial: Callable  # (examples) -> weight of the adversarial loss of the generator
    plain: bool = False  # whether there is no adversarial loss, and the discriminator is not trained
    n_critic: int = 1  # number of updates of the discriminator in a step
    weight_clip: float | None = None  # largest magnitude of the discriminator's weights


def init(nets: Adversaries, recipe: Recipe, key: jax.Array, batch: Batch) -> GanState:
    """Returns the state before the first step.

    Args:
      nets: both nets.
      recipe: rules of the updates.
      key: random key of the weights.
      batch: not used, because `nets` gives the shapes.

    Raises:
      UserError: for a penalty on a discriminator that reads statistics of its batch.
    """
    g_key, d_key = jax.random.split(key)
    c, zero = example_conditions(nets.conditions, nets.pack), jnp.zeros((), jnp.int32)
    rows = jnp.zeros((nets.pack, *nets.form.shape))
    generator = dict(
        nets.generator.init(g_key, jnp.zeros((1, nets.latent_size)), jax.tree.map(lambda leaf: leaf[:1], c))
    )
    discriminator = dict(nets.discriminator.init(d_key, packed(rows, nets.pack), pack_labels(nets, c)))
    batch_stats = discriminator.pop("batch_stats", None)  # dropped, because each pass normalises by its own batch
    if batch_stats and nets.penalty is not PENALTIES["none"]:
        raise UserError(
            f"batch norm mixes the rows of the discriminator, and penalty {getattr(nets.penalty, '__name__', nets.penalty)!r} needs the "
            "gradient of each row; expected norm='spectral' or norm='none'"
        )
    return GanState(
        step=zero,
        examples=zero,
        classes=jnp.zeros(nets.conditions.classes) if nets.conditions.classes else None,
        generator=generator,
        discriminator=discriminator,
        generator_ema=jax.tree.map(jnp.copy, generator),
        generator_optimizer=recipe.generator(zero).init(generator["params"]),
        discriminator_optimizer=recipe.discriminator(zero).init(discriminator["params"]),
    )


def step(nets: Adversaries, recipe: Recipe, key: jax.Array, state: GanState, batch: Batch) -> tuple[GanState, dict]:
    """Returns the state after `n_critic` updates of the discriminator and one update of the generator.

    Args:
      nets: both nets.
      recipe: the rules of the updates.
      key: random key of the updates.
      state: the state before the step.
      batch: `x` [B, *shape] in model space; the conditions that the nets read; `mask` [B, *shape] if cells are missing;
        `weight` [B], by default 1 (0 for padding rows).

    Returns:
      The new state, and the metrics.

    Raises:
      UserError: for a number of rows that `deal` cannot split.
    """
    *keys, read_key = jax.random.split(key, recipe.n_critic + 2)
    parts = deal(nets, recipe, read_key, batch)
    metrics: dict[str, jax.Array] = {}
    for number in range(0 if recipe.plain else recipe.n_critic):  # unrolled: XLA's CPU convolutions are slow in a loop
        state, metrics = update_discriminator(nets, recipe, keys[number], state, part_of(parts, number))
    state, after = update_generator(nets, recipe, keys[-1], state, part_of(parts, -1))
    examples = parts["weight"][:, : recipe.n_critic].sum()
    half_life = recipe.half_life(state.examples.astype(jnp.float32))
    classes = state.classes
    if classes is not None:
        classes = counted_labels(classes, parts["weight"].ravel(), parts["y"].ravel())
    state = state._replace(
        step=state.step + 1,
        examples=saturated(state.examples, examples.astype(jnp.int32)),
        classes=classes,
        generator_ema=moving_average(state.generator_ema, state.generator, examples, half_life),
    )
    return state, {**after, **metrics}


def deal(nets: Adversaries, recipe: Recipe, key: jax.Array, batch: Batch) -> Batch:
    """Returns the rows of a batch in P parts for the losses. Its arrays have the leading axes [B / P, P].

    Every update of the discriminator has a part. The generator has a part if its loss reads real rows.

    Args:
      nets: both nets.
      recipe: rules of the updates.
      key: random key of the levels of a table.
      batch: see `step`.

    Raises:
      UserError: for a number of rows that is not a multiple of P times `nets.pack`.
    """
    rows, parts = len(batch["x"]), recipe.n_critic + nets.loss.pairs
    if rows % (parts * nets.pack):
        raise UserError(
            f"a batch of {rows} rows cannot be split into the {parts} parts, in packs of {nets.pack}, that this gan "
            f"learns from; expected a multiple of {parts * nets.pack}"
        )
    inputs = {"x": nets.form.read(key, observed(batch)), "weight": weights(batch)}
    inputs |= conditions_in(batch, nets.conditions) or {}
    # Parts are strided, so that no row leaves its device.
    return jax.tree.map(lambda leaf: leaf.reshape(-1, parts, *leaf.shape[1:]), inputs)


def part_of(parts: Batch, number: int) -> Batch:
    """Returns a part of a batch, with arrays [B / P, ...].

    Args:
      parts: the rows that `deal` returns.
      number: number of the part.
    """
    return jax.tree.map(lambda leaf: leaf[:, number], parts)


def update_discriminator(
    nets: Adversaries, recipe: Recipe, key: jax.Array, state: GanState, batch: Batch
) -> tuple[GanState, dict]:
    """Returns the state after one update of the discriminator by `discriminator_loss`, and the metrics of that loss.

    Args:
      nets: both nets.
      recipe: rules of the updates.
      key: random key.
      state: the state before the update.
      batch: see `discriminator_loss`.
    """
    examples, before = state.examples.astype(jnp.float32), state.discriminator
    gradient, metrics = jax.grad(discriminator_loss, argnums=1, has_aux=True)(
        nets, before["params"], key, state, batch, recipe.gamma(examples)
    )
    tx = recipe.discriminator(examples)
    updates, optimizer = tx.update(gradient, state.discriminator_optimizer, before["params"])
    params = optax.apply_updates(before["params"], updates)
    if recipe.weight_clip is not None:
        params = jax.tree.map(partial(jnp.clip, min=-recipe.weight_clip, max=recipe.weight_clip), params)
    after = power_iteration(nets, {**before, "params": params}, batch)
    return state._replace(discriminator=after, discriminator_optimizer=optimizer), metrics


def power_iteration(nets: Adversaries, discriminator: Any, batch: Batch) -> Any:
    """Returns the discriminator after a power iteration of its spectral vectors; unchanged without such vectors.

    Args:
      nets: both nets.
      discriminator: `params` and statistics of the discriminator.
      batch: any rows, see `discriminator_loss`.
    """
    if "spectral" not in discriminator:
        return discriminator
    first = jax.tree.map(lambda leaf: leaf[: nets.pack], batch)  # the result does not depend on the rows
    x, c = packed(first["x"], nets.pack), pack_labels(nets, conditions_in(first, nets.conditions))
    _, statistics = nets.discriminator.apply(discriminator, x, c, mutable=["batch_stats", "spectral"])
    return {**discriminator, "spectral": statistics["spectral"]}


def update_generator(
    nets: Adversaries, recipe: Recipe, key: jax.Array, state: GanState, batch: Batch
) -> tuple[GanState, dict[str, jax.Array]]:
    """Returns the state after one update of the generator by the estimator of the recipe, and the metrics of its loss.

    Args:
      nets: both nets.
      recipe: rules of the updates.
      key: random key.
      state: the state before the update.
      batch: see `generator_loss`.
    """
    before = state.generator
    examples = state.examples.astype(jnp.float32)
    adversarial = 0.0 if recipe.plain else recipe.adversarial(examples)
    (value, passed), gradient = recipe.estimate(nets, before["params"], key, state, batch, adversarial)
    tx = recipe.generator(examples)
    updates, optimizer = tx.update(gradient, state.generator_optimizer, before["params"])
    after = {**before, **passed.statistics, "params": optax.apply_updates(before["params"], updates)}
    metrics = {"g_loss": value, **passed.metrics}
    return state._replace(generator=after, generator_optimizer=optimizer), metrics
