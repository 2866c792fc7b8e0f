"""Reads the condition of `--given`: labels, a prefix, or cells of a table."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gen_jax import config
from gen_jax.data.domain import class_number
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.data.tables import evidence
from gen_jax.data.tables.relations import RowTest
from gen_jax.errors import UserError, choose


class Request(NamedTuple):
    """Holds the conditions of a number of samples, as `--given` and `--length` state them."""

    given: Mapping[str, Any] | None  # conditions for the model, in model space; None without a condition
    num: int  # number of samples
    cells: np.ndarray | None = None  # fixed cells [num, D] in the domain of the table; NaN in a free cell
    fits: RowTest | None = None  # test of the ranges and lists for rows of a table
    truth: np.ndarray | None = None  # true rows `x` [num, *shape] of the conditions, in the domain of the data
    truth_length: np.ndarray | None = None  # number of frames of each true row [num], if these differ


def parse_given(text: str | None, num: int, spec: Spec, length: int | None = None) -> Request:
    """Reads `--given` and `--length`.

    Args:
      text: `y=CLASS` by number or name, or `y=all` for class i mod classes of sample i; for text also `prefix=TEXT`;
        for a table a condition, see `evidence.condition_of`. None is no condition.
      num: number of samples.
      spec: facts of the data.
      length: length of the sequences, in tokens or frames; by default the length of the data.

    Raises:
      UserError: for any other text, data without labels, an unknown class or character, or a length of data other than
        sequences.
    """
    kind = kind_of(spec)
    refuse_no_text(text)
    if length is not None and not kind.time:
        raise UserError(f"--length is {length} and {spec.name} holds {spec.kind} data; expected sequences")
    if length is not None and not 1 <= length < config.LARGEST:
        raise UserError(f"--length is {length}; expected 1 to {config.LARGEST - 1}")
    given: evidence.Given = {} if length is None else {"length": np.full(num, length, np.int32)}
    if text is not None and spec.tabular:
        condition = evidence.condition_of(spec, text)
        return Request(
            evidence.model_condition(spec, condition, num),
            num,
            evidence.condition_cells(spec, condition, num),
            evidence.row_filter(condition),
        )
    if text is not None:
        name, _, value = text.partition("=")
        readers: dict[str, Callable[..., dict[str, np.ndarray]]] = {"y": _labels}
        expected = "y=CLASS or y=all"
        if kind.tokens:
            readers["prefix"] = partial(_prefix, kind.tokens)
            expected += ", or prefix=TEXT"
        if name not in readers or not value:
            raise UserError(f"--given is {text}; expected {expected}")
        given |= readers[name](text, value, num, spec, length)
    return Request(given or None, num)


def refuse_no_text(text: Any) -> None:
    """Refuses a condition of a program that is neither a text nor None.

    Args:
      text: the condition.

    Raises:
      UserError: for such a condition.
    """
    if text is not None and not isinstance(text, str):
        raise UserError(f"given is {text!r}; expected a text, such as 'y={text}', or arrays by name: {{'y': labels}}")


def _prefix(
    tokens: Callable[[Spec, str], np.ndarray], text: str, value: str, num: int, spec: Spec, length: int | None
) -> dict[str, np.ndarray]:
    x = tokens(spec, value)
    rest = max(0, (length or spec.shape[0]) - len(x))
    mask = np.arange(len(x) + rest) < len(x)
    return {"x": np.tile(np.pad(x, (0, rest)), (num, 1)), "mask": np.tile(mask, (num, 1))}


def _labels(text: str, value: str, num: int, spec: Spec, length: int | None) -> dict[str, np.ndarray]:
    if not spec.classes:
        raise UserError(f"{spec.name} has no labels; expected labels for --given {text}")
    if value == "all":
        return {"y": np.arange(num, dtype=np.int32) % len(spec.classes)}
    number = class_number(spec.classes, spec.label_type, value)
    if number is None:
        choose(f"class of {spec.name}", value, spec.classes)
    return {"y": np.full(num, number, np.int32)}
