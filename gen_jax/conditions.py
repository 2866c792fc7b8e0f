"""Conditions in `given` and sampler options in `how`: they are read here, and refused."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.model import NOTHING, Batch


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


def sampler_options(how: Mapping[str, Any] | None, options: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Returns the options of a sampler: those of `how`, and defaults for the rest.

    Args:
      how: options that the caller asks for, or None.
      options: all options of the model, with their defaults; none by default.

    Raises:
      UserError: for an option that the model does not have.
    """
    for name in how or {}:
        if name not in options:
            raise UserError(f"this model has no sampler option {name!r}; it takes {', '.join(options) or 'none'}")
    return {**options, **(how or {})}


def option_numbers(name: str, value: Any, num: int, low: float, high: float, whole: bool = False) -> np.ndarray:
    """Returns a sampler option for each of `num` samples, [num].

    Args:
      name: of the option.
      value: a number for all samples, or one for each [num].
      num: number of samples.
      low: least value.
      high: greatest value.
      whole: only whole numbers are taken.

    Raises:
      UserError: for something else, or a number that is out of range or not finite.
    """
    numbers = np.asarray(value)
    fits = numbers.shape in ((), (num,)) and numbers.dtype.kind in ("iu" if whole else "iuf")
    wrong = numbers[~((numbers >= low) & (numbers <= high) & np.isfinite(numbers))] if fits else numbers
    if not fits or wrong.size:
        kind = "a whole number" if whole else "a number"
        raise UserError(
            f"{name} {wrong.ravel()[:1]}: expected {kind} from {low} to {high}, for all samples or for each"
        )
    return np.broadcast_to(numbers, num)


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


def label_count(family: str, spec: Spec, conditional: bool) -> int:
    """Returns the number of labels that a model reads; 0 if it is not conditional.

    Raises:
      UserError: for a conditional model of data without labels, naming the data and the setting.
    """
    if not conditional:
        return 0
    if not spec.classes:
        raise UserError(f"a conditional {family} learns labels, and {spec.name} has none: set model.conditional=False")
    return len(spec.classes)


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
    if given is None or not {"x", "mask"} & given.keys():
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


def given_cells(given: dict | None, num: int, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Returns `given_observed`, or rows [num, *shape] of which nothing is observed."""
    return given_observed(given, num, shape) or (jnp.zeros((num, *shape)), jnp.zeros((num, *shape), bool))


def refuse_impossible(evidence: Any, what: str = "row") -> None:
    """Refuses conditions that cannot be, by their log-densities `evidence` [num]; counts rows from 1.

    Raises:
      UserError: naming the first whose log-density is -inf.
    """
    impossible = np.flatnonzero(np.isneginf(evidence))
    if len(impossible):
        raise UserError(f"given: {what} {impossible[0] + 1} is impossible under this model")


def counted_labels(counts: jax.Array, weight: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the rows of each label so far, [K]: `counts` and those of labels y [N] by their weight [N]."""
    return counts + weight @ jax.nn.one_hot(y, len(counts))


def drawn_labels(key: jax.Array, counts: jax.Array, num: int) -> jax.Array:
    """Draws labels [num] int32, each as often as its rows in `counts` [K]; all alike if no row was seen yet."""
    shares = jnp.log(jnp.maximum(counts, counts.sum() == 0))
    return jax.random.categorical(key, shares, shape=(num,)).astype(jnp.int32)
