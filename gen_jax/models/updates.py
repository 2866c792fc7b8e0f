"""The fields that the states of gradient-trained models share, and their update by a gradient."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax.conditions import counted_labels
from gen_jax.model import Batch, State, saturated
from gen_jax.optimizers import moving_average


class GradientState(NamedTuple):
    """Holds the state of a model that is trained by the gradient of one loss."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows trained on
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None without labels
    params: Any  # weights of the model
    average: Any  # moving average of params
    optimizer: Any


def started(tx: Callable, classes: int, params: Any) -> dict[str, Any]:
    """Returns the fields of a state that `updated` changes, before the first step.

    Args:
      tx: function from the number of examples to an Optax transformation.
      classes: number of classes of the label; 0 if the model reads no label.
      params: weights of the model.
    """
    zero = jnp.zeros((), jnp.int32)
    return {
        "step": zero,
        "examples": zero,
        "classes": jnp.zeros(classes) if classes else None,
        "params": params,
        "average": jax.tree.map(jnp.copy, params),
        "optimizer": tx(zero).init(params),
    }


def updated(tx: Callable, half_life: Callable, gradient: Any, state: State, batch: Batch) -> State:
    """Returns the state after one update of its weights by a gradient.

    Args:
      tx: function from the number of examples to an Optax transformation.
      half_life: function from the number of examples to the half-life of the averaged weights, in rows; 0 averages nothing.
      gradient: gradient of a loss of this batch, a tree like `state.params`.
      state: a NamedTuple with `step`, `examples`, `classes`, `params`, `average` and `optimizer`.
      batch: `x` [N, ...]; `weight` [N] if the batch has it; and, if the model reads labels, `y` [N].
    """
    weight = batch.get("weight", jnp.ones(len(batch["x"])))
    examples = state.examples.astype(jnp.float32)
    updates, optimizer = tx(examples).update(gradient, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    return state._replace(
        step=state.step + 1,
        examples=saturated(state.examples, (weight > 0).sum()),
        classes=None if state.classes is None else counted_labels(state.classes, weight, batch["y"]),
        params=params,
        average=moving_average(state.average, params, weight.sum(), jnp.float32(half_life(examples))),
        optimizer=optimizer,
    )


def gradient_step(
    loss: Callable,
    metric: str,
    tx: Callable,
    half_life: Callable,
    key: jax.Array,
    state: GradientState,
    batch: Batch,
) -> tuple[GradientState, dict]:
    """Returns the state after one update by the gradient of a loss.

    Args:
      loss: function (params, key, batch) -> [].
      metric: name of the loss among the metrics.
      tx: function from the number of examples to an Optax transformation.
      half_life: function from the number of examples to the half-life of the averaged weights, in rows.
      key: random key of the loss.
      state: the state before the update.
      batch: the batch of the loss.

    Returns:
      The new state, and the metrics.
    """
    value, gradient = jax.value_and_grad(loss)(state.params, key, batch)
    state = updated(tx, half_life, gradient, state, batch)
    return state, {metric: value, "gradient_norm": optax.tree.norm(gradient)}
