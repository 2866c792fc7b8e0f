"""Functions of the record that check a batch on the host and call a compiled function of the averaged weights."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gen_jax.conditions import Conditions, batch_conditions
from gen_jax.errors import UserError, check_whole
from gen_jax.model import Batch


def log_prob(conditions: Conditions, compiled: Callable, key: jax.Array, state: Any, batch: Batch) -> jax.Array:
    """Returns log p(x) [N] of complete rows in nats, or log p(x | conditions) for a model that reads conditions.

    Args:
      conditions: conditions that the model reads.
      compiled: compiled function (weights, x, conditions) -> [N] nats.
      key: not used.
      state: the state, whose averaged weights are used.
      batch: `x` [N, *shape] and the conditions.

    Raises:
      UserError: for missing cells, or wrong conditions.
    """
    if "mask" in batch and not np.asarray(batch["mask"]).all():
        raise UserError("the batch has missing cells; expected complete rows for an exact likelihood of this model")
    return compiled(state.average, batch["x"], batch_conditions(batch, conditions))


def log_prob_bound(
    conditions: Conditions, compiled: Callable, key: jax.Array, state: Any, batch: Batch, num_samples: int = 1
) -> jax.Array:
    """Returns a lower bound of log p(x) [N] of rows in nats, or of log p(x | conditions).

    Args:
      conditions: conditions that the model reads.
      compiled: compiled function (key, weights, batch, num=num_samples) -> [N] nats.
      key: random key.
      state: the state, whose averaged weights are used.
      batch: `x` [N, *shape], `mask` if cells are missing, `length` if rows have lengths of their own, and the conditions.
      num_samples: number of draws of a row; by default 1.

    Raises:
      UserError: for wrong conditions, or a number of draws below 1.
    """
    check_whole("num_samples", num_samples)
    rows: dict[str, jax.Array] = {name: batch[name] for name in ("x", "mask", "length") if name in batch}
    rows |= batch_conditions(batch, conditions) or {}
    return compiled(key, state.average, rows, num=num_samples)


def encode(conditions: Conditions, compiled: Callable, key: jax.Array, state: Any, batch: Batch) -> dict:
    """Returns the latents `z` [N, D] of rows, and their conditions.

    Args:
      conditions: conditions that the model reads.
      compiled: compiled function (weights, x, conditions) -> [N, D].
      key: not used.
      state: the state, whose averaged weights are used.
      batch: `x` [N, *shape] and the conditions.

    Raises:
      UserError: for wrong conditions.
    """
    c = batch_conditions(batch, conditions)
    return {"z": compiled(state.average, batch["x"], c), **(c or {})}
