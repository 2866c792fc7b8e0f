"""The one record that every generative model is, and the weighted mean they share. No family lives here."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import UserError

Batch = dict[str, jax.Array]
State = Any


class Model(NamedTuple):
    """A generative model as pure functions; a field that a family cannot honour is None.

    `key` is a `jax.random.key`, `batch` a dict with the reserved keys `x`, `y` (labels), `mask` (observed cells),
    `length` [B], `weight` [B] (0 = a padding row) and `reset` [B]. The loop compiles `init` and `step`; the other
    functions take concrete states and compile inside.
    """

    init: Callable[..., State]  # (key, batch) -> state; shapes from `batch` and arguments only
    step: Callable[..., tuple[State, dict]]  # (key, state, batch) -> (state, metrics): one unit of learning
    sample: Callable[..., Batch]  # (key, state, num, given=None) -> batch, as a training batch
    log_prob: Callable | None = None  # (key, state, batch) -> [B] nats, exact
    log_prob_bound: Callable | None = None  # (key, state, batch, num_samples=1) -> [B] nats, a lower bound
    prior: Callable | None = None  # (key, state, num) -> latent, a dict whose `z` leads with `num`
    encode: Callable | None = None  # (key, state, batch) -> latent
    decode: Callable | None = None  # (key, state, latent) -> batch; differentiable, unless `z` holds codes
    given: tuple[str, ...] = ()  # the conditions that `sample` honours, of those that belong to a batch
    free_parameters: Callable | None = None  # (state) -> how many numbers were learnt, where BIC may compare by it
    network: Callable | None = None  # (state) -> the Bayesian network it is, and how sure each edge is [D, D]


def weighted_mean(values: jax.Array, weight: jax.Array) -> jax.Array:
    """Mean of `values` [B] over the rows that are not padding: sum(w v) / sum(w), 0 where there are none."""
    return jnp.vdot(values, weight) / jnp.maximum(weight.sum(), 1e-12)


def saturated(count: jax.Array, more: jax.Array) -> jax.Array:
    """Returns a count [] int32 with so many more; it stays at the greatest int32, where a sum would begin anew below 0."""
    total = count + more
    return jnp.where(total < count, jnp.iinfo(jnp.int32).max, total)


def observed(batch: Batch) -> jax.Array:
    """Returns `x` of a batch: NaN in cells that are not observed by its `mask`, 0 in padding rows.

    Because 0 times infinity is NaN, a weight of 0 alone does not keep a padding row out of a gradient.
    """
    x = jnp.where(batch["mask"], batch["x"], jnp.nan) if "mask" in batch else jnp.asarray(batch["x"])
    if "weight" not in batch:
        return x
    return jnp.where(batch["weight"].reshape(-1, *(1,) * (x.ndim - 1)) > 0, x, 0)


def refuse_given(given: dict | None, honoured: tuple[str, ...] = ()) -> None:
    """Raises where `given` asks for a condition the family cannot honour: nothing is ignored silently.

    Raises:
      UserError: naming the condition and those that can be given.
    """
    for name in given or {}:
        if name not in honoured:
            raise UserError(
                f"this model cannot be conditioned on {name!r}; it takes {', '.join(honoured) or 'no condition'}"
            )


def given_labels(given: dict | None, num: int, num_classes: int) -> dict:
    """The labels that `given` asks for, `{"y": [num] int32}`, or nothing where it asks for none.

    Raises:
      UserError: for another condition, a model without classes, or labels that are not `num` of its classes.
    """
    refuse_given(given, ("y",) if num_classes else ())
    if not given:
        return {}
    y = np.asarray(given["y"])
    if y.shape != (num,) or y.dtype.kind not in "iu":
        raise UserError(f"given y: expected {num} whole numbers, one a sample, not {y.dtype} of shape {y.shape}")
    wrong = y[(y < 0) | (y >= num_classes)]
    if wrong.size:
        raise UserError(f"given y={wrong[0]}: expected a class from 0 to {num_classes - 1}")
    return {"y": jnp.asarray(y, jnp.int32)}


def batch_labels(batch: Batch, num_classes: int) -> dict:
    """The labels of a batch that a conditional model reads beside x, `{"y": [B] int32}`; nothing without classes.

    Raises:
      UserError: where the batch has none, or others.
    """
    if not num_classes:
        return {}
    if "y" not in batch:
        raise UserError("a conditional model reads the label beside x: the batch lacks y")
    return given_labels({"y": batch["y"]}, len(batch["x"]), num_classes)


def given_observed(given: dict | None, num: int, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array] | None:
    """The numbers that `given` holds fixed, `x` [num, *shape] where `mask` is set; None where it holds none.

    Raises:
      UserError: where one of the two is missing, has another shape, or an observed number is not finite.
    """
    if not {"x", "mask"} & set(given or {}):
        return None
    for name in ("x", "mask"):
        if name not in given:
            raise UserError(f"given x and mask belong together: {name} is missing")
        if np.shape(given[name]) != (num, *shape):
            raise UserError(f"given {name} of shape {np.shape(given[name])}: expected {(num, *shape)}")
    x, mask = np.asarray(given["x"], np.float32), np.asarray(given["mask"]) > 0
    if not np.isfinite(x[mask]).all():
        raise UserError("given x: an observed number is not finite")
    return jnp.asarray(x), jnp.asarray(mask)


def refuse_impossible(evidence: Any, what: str = "row") -> None:
    """Refuses conditions that cannot be, by their log-densities `evidence` [num]; counts rows from 1.

    Raises:
      UserError: naming the first whose log-density is -inf.
    """
    impossible = np.flatnonzero(np.isneginf(evidence))
    if len(impossible):
        raise UserError(f"given: {what} {impossible[0] + 1} is impossible under this model")


def drawn_labels(key: jax.Array, counts: jax.Array, num: int) -> jax.Array:
    """`num` labels [num] int32, each as often as its rows in `counts` [K]; all alike where none was seen yet."""
    shares = jnp.log(jnp.maximum(counts, counts.sum() == 0))
    return jax.random.categorical(key, shares, shape=(num,)).astype(jnp.int32)
