"""Reads the conditions in `given` and the sampler options in `how`, and refuses faulty values."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.errors import UserError
from gen_jax.model import NOTHING, Batch

Given = Mapping[str, jax.Array]  # conditions as in a batch: `y` [N], `c` [N, ...] and `c_length` [N]
HELP = "docs/concepts/conditions.md"


class Conditions(NamedTuple):
    """Holds the facts of the conditions that a model reads.

    Attributes:
      classes: number of classes of the label `y`; 0 if the model reads no label.
      field: facts of the condition `c`; None if the model reads no such condition.
      text_size: number of dimensions of the vector of a token, if `c` is a text.
      any_sides: whether an image `c` may have other sides than in training, because the nets may take them; by default
        False.
    """

    classes: int = 0
    field: Spec | None = None
    text_size: int = 64
    any_sides: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the keys of a batch that hold the conditions."""
        label = ("y",) if self.classes else ()
        if self.field is None:
            return label
        return (*label, "c", "c_length") if self.field.ragged else (*label, "c")

    @property
    def text(self) -> bool:
        """Returns whether `c` is a sequence of tokens, whose vectors are trained with the net."""
        return self.field is not None and kind_of(self.field).time and levels(self.field) > 0

    @property
    def sides(self) -> tuple[int, ...] | None:
        """Returns the height and the width of `c` in training; None if `c` is no image."""
        return tuple(self.field.shape[:2]) if self.field is not None and kind_of(self.field).pixels else None


NONE = Conditions()


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


def conditions_of(family: str, spec: Spec, conditional: bool) -> Conditions:
    """Returns the facts of the conditions that a model reads: all conditions of the data, if it is conditional.

    Args:
      family: name of the family.
      spec: facts of the data.
      conditional: whether the model is conditional.

    Raises:
      UserError: for a conditional model of data without conditions, with the data and the setting.
    """
    if not conditional:
        return Conditions()
    if not spec.classes and spec.condition is None:
        raise UserError(
            f"labels of {spec.name} are missing; expected labels or a condition for a conditional {family}: `y` or `c` "
            "beside `x`, or a sub-folder of images for each class. Set model.conditional=False"
        )
    return Conditions(len(spec.classes), spec.condition)


def given_conditions(given: Mapping[str, Any] | None, num: int, conditions: Conditions) -> dict[str, jax.Array]:
    """Returns the conditions in `given` that a sampler reads, after a check; labels may be missing.

    Args:
      given: conditions by name, or None. Names of other conditions are not read.
      num: number of rows.
      conditions: facts of the conditions.

    Returns:
      `y` [num] int32 if it is given, `c` [num, *shape], and `c_length` [num] if the lengths of `c` differ.

    Raises:
      UserError: for labels that are not `num` classes of the model, and for a missing or wrong `c`.
    """
    given = given or {}
    values: dict[str, jax.Array] = {}
    if conditions.classes and "y" in given:
        values["y"] = checked_labels(given["y"], num, conditions.classes)
    if conditions.field is not None:
        values |= checked_condition(given, num, conditions.field, conditions.any_sides)
    return values


def checked_labels(y: Any, num: int, num_classes: int) -> jax.Array:
    """Returns labels [num] int32.

    Args:
      y: the labels.
      num: number of rows.
      num_classes: number of classes.

    Raises:
      UserError: for anything but `num` classes. The values of arrays that are traced are not checked.
    """
    dtype, shape = (y.dtype, y.shape) if isinstance(y, jax.Array) else (np.asarray(y).dtype, np.shape(y))
    if shape != (num,) or dtype.kind not in "iu":
        raise UserError(f"given y is {dtype} of shape {shape}; expected {num} whole numbers, one for each sample")
    if not isinstance(y, jax.core.Tracer):
        labels = np.asarray(y)
        wrong = labels[(labels < 0) | (labels >= num_classes)]
        if wrong.size:
            raise UserError(f"given y is {wrong[0]}; expected a class from 0 to {num_classes - 1}")
    return jnp.asarray(y, jnp.int32)


def checked_condition(given: Mapping[str, Any], num: int, field: Spec, any_sides: bool = False) -> dict[str, jax.Array]:
    """Returns the condition `c` [num, *shape], with `c_length` [num] if its lengths differ.

    Args:
      given: conditions by name.
      num: number of rows.
      field: facts of the condition.
      any_sides: whether an image may have any sides; by default False.

    Raises:
      UserError: for a missing condition, or another shape.
    """
    names = ("c", "c_length") if field.ragged else ("c",)
    for name in names:
        if name not in given:
            raise UserError(
                f"given {name} is missing; expected a condition of kind {field.kind!r}, for which this model draws a "
                f"sample. Pass --given split=test, or a condition of your own: {HELP}"
            )
    shape = (num, *field.shape)
    shape_given = np.shape(given["c"])
    fits = shape_given == shape
    if kind_of(field).time:  # texts of any length
        fits = len(shape_given) == len(shape) and shape_given[0] == num and shape_given[2:] == shape[2:]
    if any_sides and kind_of(field).pixels:
        fits = len(shape_given) == 4 and (shape_given[0], shape_given[3]) == (num, shape[3])
    if not fits:
        raise UserError(f"given c has the shape {[*shape_given]}; expected {[*shape]}")
    return {name: jnp.asarray(given[name]) for name in names}


def batch_conditions(batch: Batch, conditions: Conditions) -> dict[str, jax.Array] | None:
    """Returns the conditions of a batch that a model reads, after a check; None if it reads none.

    In a compiled function the labels have no values yet, so that only their shape and their type are checked.

    Args:
      batch: the batch.
      conditions: facts of the conditions.

    Raises:
      UserError: if the batch lacks a condition, or has a wrong one.
    """
    for name in conditions.names:
        if name not in batch:
            raise UserError(f"{name} of the batch is missing; expected it beside x, because the model is conditional")
    return given_conditions(batch, len(batch["x"]), conditions) or None


def conditions_in(batch: Batch, conditions: Conditions) -> dict[str, jax.Array] | None:
    """Returns the conditions that a model reads, from a batch or from a latent; None if the model reads no conditions.

    Args:
      batch: arrays by name, a batch or a latent.
      conditions: facts of the conditions that the model reads.

    Raises:
      UserError: if `batch` lacks the array of a condition.
    """
    missing = [name for name in conditions.names if name not in batch]
    if missing:
        raise UserError(f"{missing[0]} is missing; expected it beside {', '.join(batch)}, because the model reads it")
    return {name: batch[name] for name in conditions.names} or None


def example_conditions(conditions: Conditions, num: int) -> dict[str, jax.Array] | None:
    """Returns conditions of `num` rows of zeros, by which nets are initialised; None if a model reads none.

    Args:
      conditions: facts of the conditions.
      num: number of rows.
    """
    rows: dict[str, jax.Array] = {"y": jnp.zeros(num, jnp.int32)} if conditions.classes else {}
    field = conditions.field
    if field is not None:
        rows["c"] = jnp.zeros((num, *field.shape), jnp.int32 if levels(field) else jnp.float32)
        if field.ragged:
            rows["c_length"] = jnp.ones(num, jnp.int32)
    return rows or None


def given_observed(given: dict | None, num: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the observed numbers of `given` on the host: `x` and `mask` [num, *shape]; None if no number is observed.

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
    return x, mask


def given_cells(given: dict | None, num: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns `x` and `mask` [num, *shape] of `given`, as `given_observed`; without `given`, all numbers are missing.

    Args:
      given: the conditions, or None.
      num: number of rows.
      shape: shape of a row.
    """
    return given_observed(given, num, shape) or (np.zeros((num, *shape), np.float32), np.zeros((num, *shape), bool))


def refuse_impossible(evidence: Any, row_name: str = "row") -> None:
    """Refuses impossible conditions. Rows are counted from 1.

    Args:
      evidence: log-density of each condition [num].
      row_name: name of a row, for the error; by default `row`.

    Raises:
      UserError: for the first row whose log-density is -inf. The values of an array that is traced are not checked.
    """
    if isinstance(evidence, jax.core.Tracer):
        return
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


def sample_conditions(
    key: jax.Array, given: Mapping[str, Any] | None, num: int, conditions: Conditions, counts: jax.Array | None
) -> dict[str, jax.Array]:
    """Returns the conditions by which a sampler draws rows: those in `given`, after a check, and drawn labels.

    Args:
      key: random key of labels, which are drawn if the model reads labels and none is given.
      given: conditions by name, or None.
      num: number of rows.
      conditions: facts of the conditions.
      counts: number of training rows of each label, [K]; None for a model that reads no labels.

    Raises:
      UserError: as `given_conditions`.
    """
    beside = given_conditions(given, num, conditions)
    if counts is not None and "y" not in beside:
        beside["y"] = drawn_labels(key, counts, num)
    return beside
