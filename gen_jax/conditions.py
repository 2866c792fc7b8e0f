"""Reads the conditions in `given` and the sampler options in `how`, and refuses faulty values."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.model import NOTHING, Batch


def refuse_given(given: dict | None, honoured: tuple[str, ...] = ()) -> None:
    """Refuses a condition in `given` that the family does not honour, so that no condition is ignored silently.

    Args:
      given: the conditions, or None.
      honoured: names of the conditions that the family honours; by default none.

    Raises:
      UserError: with the condition and the possible conditions.
    """
    for name in given or {}:
        if name not in honoured:
            raise UserError(
                f"this model cannot be conditioned on {name!r}; expected {', '.join(honoured) or 'no condition'}"
            )


def sampler_options(how: Mapping[str, Any] | None, options: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """Returns the options of a sampler: the options in `how`, and defaults for all other options.

    Args:
      how: options of the caller, or None.
      options: all options of the model with their defaults; by default none.

    Raises:
      UserError: for an option that the model does not have.
    """
    for name in how or {}:
        if name not in options:
            raise UserError(f"this model has no sampler option {name!r}; expected {', '.join(options) or 'none'}")
    return {**options, **(how or {})}


def option_numbers(name: str, value: Any, num: int, low: float, high: float, whole: bool = False) -> np.ndarray:
    """Returns the numbers of a sampler option for all samples, [num].

    Args:
      name: name of the option.
      value: a number for all samples, or an array of numbers [num].
      num: number of samples.
      low: smallest value.
      high: largest value.
      whole: whether only whole numbers are allowed; by default False.

    Raises:
      UserError: for anything but such numbers, or a number that is out of range or not finite.
    """
    numbers = np.asarray(value)
    fits = numbers.shape in ((), (num,)) and numbers.dtype.kind in ("iu" if whole else "iuf")
    wrong = numbers[~((numbers >= low) & (numbers <= high) & np.isfinite(numbers))] if fits else numbers
    if not fits or wrong.size:
        kind = "a whole number" if whole else "a number"
        raise UserError(
            f"{name} is {wrong.ravel()[:1]}; expected {kind} from {low} to {high}, for all samples or for each sample"
        )
    return np.broadcast_to(numbers, num)


def given_labels(given: dict | None, num: int, num_classes: int) -> dict:
    """Returns the labels in `given` as `{"y": [num] int32}`; empty without labels.

    Args:
      given: the conditions, or None.
      num: number of rows.
      num_classes: number of classes of the model.

    Raises:
      UserError: for another condition, a model without classes, or labels that are not `num` of its classes.
    """
    refuse_given(given, ("y",) if num_classes else ())
    if not given:
        return {}
    y = np.asarray(given["y"])
    check_labels(y, num)
    wrong = y[(y < 0) | (y >= num_classes)]
    if wrong.size:
        raise UserError(f"given y is {wrong[0]}; expected a class from 0 to {num_classes - 1}")
    return {"y": jnp.asarray(y, jnp.int32)}


def check_labels(y: Any, num: int) -> None:
    """Refuses labels that are not one whole number for each row.

    Args:
      y: the labels, or what stands for them in a compiled function.
      num: number of rows.

    Raises:
      UserError: for labels of another shape or type.
    """
    if y.shape != (num,) or y.dtype.kind not in "iu":
        raise UserError(f"given y is {y.dtype} of shape {y.shape}; expected {num} whole numbers, one for each sample")


def label_count(family: str, spec: Spec, conditional: bool) -> int:
    """Returns the number of labels that a model reads; 0 if it is not conditional.

    Args:
      family: name of the family.
      spec: facts of the data.
      conditional: whether the model is conditional.

    Raises:
      UserError: for a conditional model of data without labels, with the data and the setting.
    """
    if not conditional:
        return 0
    if not spec.classes:
        raise UserError(
            f"labels of {spec.name} are missing; expected labels for a conditional {family}: `y` beside `x`, or a "
            "sub-folder of images for each class. Set model.conditional=False"
        )
    return len(spec.classes)


def batch_labels(batch: Batch, num_classes: int) -> dict:
    """Returns the labels of a batch that a conditional model reads, `{"y": [B] int32}`; empty without classes.

    In a compiled function the labels have no values yet, so that only their shape and their type are checked.

    Args:
      batch: the batch.
      num_classes: number of classes of the model.

    Raises:
      UserError: if the batch has no labels or wrong labels.
    """
    if not num_classes:
        return {}
    if "y" not in batch:
        raise UserError("y of the batch is missing; expected labels beside x, because the model is conditional")
    y = batch["y"]
    if isinstance(y, jax.core.Tracer):
        check_labels(y, len(batch["x"]))
        return {"y": y.astype(jnp.int32)}
    return given_labels({"y": batch["y"]}, len(batch["x"]), num_classes)


def given_observed(given: dict | None, num: int, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array] | None:
    """Returns the observed numbers of `given`: `x` and `mask` [num, *shape]; None if no number is observed.

    Args:
      given: the conditions, or None.
      num: number of rows.
      shape: shape of a row.

    Raises:
      UserError: if `x` or `mask` is missing or has another shape, or if an observed number is not finite.
    """
    if given is None or not {"x", "mask"} & given.keys():
        return None
    for name in ("x", "mask"):
        if name not in given:
            raise UserError(f"given {name} is missing; expected x and mask together")
        if np.shape(given[name]) != (num, *shape):
            raise UserError(f"shape of given {name} is {np.shape(given[name])}; expected {(num, *shape)}")
    x, mask = np.asarray(given["x"], np.float32), np.asarray(given["mask"]) > 0
    if not np.isfinite(x[mask]).all():
        raise UserError("given x is not finite; expected finite numbers where the mask is 1")
    return jnp.asarray(x), jnp.asarray(mask)


def given_cells(given: dict | None, num: int, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Returns `x` and `mask` [num, *shape] of `given`, as `given_observed`; without `given`, all numbers are missing.

    Args:
      given: the conditions, or None.
      num: number of rows.
      shape: shape of a row.
    """
    return given_observed(given, num, shape) or (jnp.zeros((num, *shape)), jnp.zeros((num, *shape), bool))


def refuse_impossible(evidence: Any, row_name: str = "row") -> None:
    """Refuses impossible conditions. Rows are counted from 1.

    Args:
      evidence: log-density of each condition [num].
      row_name: name of a row, for the error; by default `row`.

    Raises:
      UserError: for the first row whose log-density is -inf.
    """
    impossible = np.flatnonzero(np.isneginf(evidence))
    if len(impossible):
        raise UserError(
            f"given {row_name} {impossible[0] + 1} is impossible under this model; expected a probability above 0"
        )


def counted_labels(counts: jax.Array, weight: jax.Array, y: jax.Array) -> jax.Array:
    """Returns the number of rows of each label so far, [K].

    Args:
      counts: number of rows of each label before the batch, [K].
      weight: weights of the rows of the batch [N].
      y: labels of the batch [N].
    """
    return counts + weight @ jax.nn.one_hot(y, len(counts))


def drawn_labels(key: jax.Array, counts: jax.Array, num: int) -> jax.Array:
    """Draws labels [num] int32 with their frequencies so far; uniformly before the first row.

    Args:
      key: random key of the draws.
      counts: number of rows of each label, [K].
      num: number of labels.
    """
    shares = jnp.log(jnp.maximum(counts, counts.sum() == 0))
    return jax.random.categorical(key, shares, shape=(num,)).astype(jnp.int32)
