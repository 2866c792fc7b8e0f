"""The facts of the data that a run needs, and the affine transform with its inverse.

The facts are plain data, which go to `spec.json`.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gen_jax.data.domain import FULL, in_domain, in_model_space, small
from gen_jax.data.tables.dates import to_text
from gen_jax.errors import UserError


class Spec(NamedTuple):
    """Holds the facts of a data set as plain data.

    Models are trained in model space, x = (raw - shift) / scale. Samples are saved in the domain of the data, by
    `to_data`.

    Attributes:
      name: name of the data set, for messages.
      kind: a name in `data.kinds.KINDS`, whose record describes rows of this kind.
      shape: shape of one row, without the batch axis.
      dtype: type of the values in the data.
      shift: a of x = (raw - a) / b, a number or one for each column.
      scale: b of x = (raw - a) / b, a number or one for each column.
      low: smallest value of the domain of the data.
      high: largest value of the domain of the data.
      classes: names of the labels `y`; empty if the rows have no labels.
      sizes: number of rows of each split, by name.
      content: hash that changes if the data change.
      info: facts that few data sets have; several modules read them by the properties below.
      split: split that is trained on; by default 'train'.
      condition: facts of `c`, the condition that stands beside x; by default None, if the rows have none.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    dtype: str
    shift: float | list[float]
    scale: float | list[float]
    low: float | list[float]
    high: float | list[float]
    classes: tuple[str, ...]
    sizes: dict[str, int]
    content: str
    info: dict[str, Any]
    split: str = "train"
    condition: "Spec | None" = None

    @property
    def fields(self) -> dict[str, "Spec"]:
        """Returns the facts of the arrays `x` and, if rows have a condition, `c`, by their key in a batch."""
        return {"x": self} if self.condition is None else {"x": self, "c": self.condition}

    @property
    def vocabulary(self) -> Sequence[str] | Sequence[int]:
        """Returns the symbols of tokens, characters or bytes, in the order of their numbers; empty without tokens."""
        return self.info.get("vocabulary", ())

    @property
    def end(self) -> int | None:
        """Returns the token that ends a text; None if texts have no such token."""
        return self.info.get("end")

    @property
    def subwords(self) -> str | None:
        """Returns the subwords of a text, see `data.kinds.subwords`; None if its tokens are others."""
        return self.info.get("subwords")

    @property
    def ragged(self) -> bool:
        """Returns whether each row has its own `length`."""
        return self.info.get("ragged", False)

    @property
    def pieces(self) -> bool:
        """Returns whether rows are consecutive pieces of longer sequences.

        `reset` then marks the beginning of a sequence.
        """
        return self.info.get("pieces", False)

    @property
    def tabular(self) -> bool:
        """Returns whether rows are cells of named columns that hold numbers and levels; see `columns`."""
        return "columns" in self.info

    @property
    def marginals(self) -> list[list[float]]:
        """Returns the marginal of each column of a table in the split that is trained on.

        A marginal is the shares of the levels of a column, or of the parts of its range.
        """
        return self.info["marginals"]

    @property
    def dropped(self) -> list[str]:
        """Returns the names of the columns of a table that are not modelled."""
        return self.info["dropped"]

    @property
    def ids(self) -> list[dict[str, Any]]:
        """Returns the facts of the columns of a table that hold a new id in each row.

        The facts are `name`, the place `at`, and the form of the ids.
        """
        return self.info.get("ids", [])

    @property
    def label_type(self) -> str | None:
        """Returns the NumPy kind of the labels in the data: b, i, u, U or S; None if the labels are 0 to K - 1."""
        return self.info.get("labels")

    @property
    def stacked(self) -> int:
        """Returns the number of grey images that are stacked as channels; 0 if images are not stacked."""
        return self.info.get("stacked", 0)

    @property
    def unseen(self) -> dict[str, int]:
        """Returns the number of characters of each split that the vocabulary lacks.

        Splits without such characters are left out.
        """
        return self.info.get("unseen", {})


def levels(spec: Spec) -> int:
    """Returns the number of values of a token; 0 if rows are not tokens.

    Tokens are int32 in model space, from 0 up.

    Args:
      spec: facts of the data.
    """
    return len(spec.vocabulary)


def columns(spec: Spec) -> list[dict[str, Any]]:
    """Returns the facts of each column of a row.

    The facts are `name`, `kind` (continuous, integer, categorical or ordered), and `missing` (whether cells may be
    missing). Categorical and ordered columns have `levels`, and continuous columns have `decimals`. `low` and `high`
    are the range in the rows that are trained on. The entries of vectors are numbers, and their names are their places.

    Args:
      spec: facts of the data.

    Raises:
      UserError: for data of a kind without columns.
    """
    if spec.tabular:
        return spec.info["columns"]
    if len(spec.shape) != 1 or levels(spec) or spec.ragged:
        raise UserError(f"{spec.name} holds {spec.kind} data; expected a table, or vectors")
    low, high = (np.broadcast_to(each, spec.shape).tolist() for each in (spec.low, spec.high))
    facts = {
        "missing": False,
        **({"kind": "integer"} if small(spec.dtype) else {"kind": "continuous", "decimals": FULL}),
    }
    return [{"name": f"x[{each}]", "low": low[each], "high": high[each], **facts} for each in range(spec.shape[0])]


def schema_of(spec: Spec) -> dict[str, dict[str, Any]]:
    """Returns the schema of a table in the form of `data.schema`. You can edit it and pass it back.

    Args:
      spec: facts of the data.
    """
    facts = ("kind", "levels", "other", "decimals", "format", "missing", "bounded", "empty", "symbols")
    schema = {
        column["name"]: {
            fact: column[fact] for fact in facts if fact in column and (fact, column[fact]) != ("decimals", FULL)
        }
        for column in columns(spec)
    }
    ids = [facts["name"] for facts in spec.ids]
    return {**schema, **{name: {"kind": "id" if name in ids else "drop"} for name in spec.dropped}}


def schema_lines(spec: Spec) -> list[str]:
    """Returns a line for each column of a table: its kind, its range or first levels, and whether cells may be missing.

    Args:
      spec: facts of the data.
    """
    lines = []
    for column in columns(spec):
        values = f"{column['low']:g} to {column['high']:g}"
        if "format" in column:
            values = " to ".join(to_text(column[end], column["format"]) for end in ("low", "high"))
        if "levels" in column:
            shown = ", ".join(column["levels"][:5]) + (", ..." if len(column["levels"]) > 5 else "")
            values = f"{len(column['levels'])} levels: {shown}"
        gaps = ", cells may be empty" if column["missing"] else ""
        lines.append(f"{column['name']!r}: {column['kind']}, {values}{gaps}")
    ids = [facts["name"] for facts in spec.ids]
    told = {name: "id, not modelled; drawn rows get new ones" if name in ids else "left out" for name in spec.dropped}
    return [*lines, *(f"{name!r}: {what}" for name, what in told.items())]


def schema_setting(facts: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the setting of a command line that states facts of columns, quoted for a shell.

    Args:
      facts: facts by column.
    """
    return f"--config.data.schema={shlex.quote(json.dumps(facts, ensure_ascii=False))}"


def level_names(schema: list[dict[str, Any]]) -> tuple[str, ...]:
    """Returns the levels of all columns that have levels, column by column.

    Args:
      schema: facts of the columns.
    """
    return tuple(f"{column['name']}={level}" for column in schema for level in column.get("levels", ()))


def may_miss(spec: Spec) -> bool:
    """Returns whether rows have a `mask` of observed cells: the rows of a table whose cells may be missing.

    Args:
      spec: facts of the data.
    """
    return spec.tabular and any(column["missing"] for column in columns(spec))


def sequences(rows: dict[str, Any], name: str = "x") -> list[np.ndarray]:
    """Returns sequences [N, T, ...] as a list. Each sequence is cut to its length.

    Args:
      rows: rows with `x`, and `length` [N] if their lengths differ.
      name: name of the sequences; by default x. The lengths of others, such as c, have the name `c_length`.
    """
    lengths = rows.get("length" if name == "x" else f"{name}_length", np.full(len(rows[name]), rows[name].shape[1]))
    return [row[:length] for row, length in zip(rows[name], lengths)]


def domain(spec: Spec) -> dict[str, Any]:
    """Returns the facts by which `data.domain` converts values, as plain data.

    Args:
      spec: facts of the data.
    """
    names = ("shift", "scale", "low", "high", "dtype", "end")
    return {
        **{name: getattr(spec, name) for name in names},
        "tokens": levels(spec),
        "columns": columns(spec) if spec.tabular else None,
        "condition": None if spec.condition is None else domain(spec.condition),
    }


def to_model(spec: Spec, raw: Any) -> Any:
    """Returns values of the domain of the data in model space, see `data.domain.in_model_space`.

    Args:
      spec: facts of the data.
      raw: values [..., *shape] in the domain of the data.
    """
    return in_model_space(domain(spec), raw)


def rows_to_model(spec: Spec, rows: dict[str, Any]) -> dict[str, Any]:
    """Returns raw rows as a batch in model space, with a `mask` if cells are missing.

    The `mask` is 1 for observed cells. Missing cells, which are NaN in raw rows, become 0.

    Args:
      spec: facts of the data.
      rows: raw rows.
    """
    if not spec.tabular:
        return {**rows, **{name: to_model(field, rows[name]) for name, field in spec.fields.items()}}
    mask = ~np.isnan(rows["x"])
    mask_too = {"mask": mask} if may_miss(spec) or not mask.all() else {}
    return {**rows, **mask_too, "x": np.where(mask, to_model(spec, rows["x"]), np.float32(0))}


def large_to_model(spec: Spec, rows: dict[str, Any]) -> dict[str, Any]:
    """Returns raw rows with the arrays in model space that the host transforms: those that are not `small`.

    Args:
      spec: facts of the data.
      rows: raw rows.
    """
    if spec.tabular:
        return rows_to_model(spec, rows)
    large = {name: field for name, field in spec.fields.items() if not small(field.dtype)}
    return {**rows, **{name: to_model(field, rows[name]) for name, field in large.items()}}


def small_to_model(spec: Spec, rows: dict[str, Any]) -> dict[str, Any]:
    """Returns rows that `large_to_model` made with all arrays in model space. It runs on the device.

    Args:
      spec: facts of the data.
      rows: rows.
    """
    fields = {name: field for name, field in spec.fields.items() if small(field.dtype)}
    return {**rows, **{name: to_model(field, rows[name]) for name, field in fields.items()}}


def to_data(spec: Spec, x: ArrayLike) -> np.ndarray:
    """Returns values of model space in the domain of the data, see `data.domain.in_domain`.

    Args:
      spec: facts of the data.
      x: values [..., *shape] in model space.
    """
    return in_domain(domain(spec), x)


def to_json(spec: Spec) -> dict[str, Any]:
    """Returns the spec as plain data.

    Args:
      spec: facts of the data.
    """
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in spec._asdict().items()}
    fields["classes"] = fields["classes"] or None
    del fields["condition"]
    return fields if spec.condition is None else {**fields, "condition": to_json(spec.condition)}


def from_json(fields: Mapping[str, Any]) -> Spec:
    """Returns the spec that `to_json` wrote.

    Args:
      fields: the plain data of `to_json`.
    """
    condition = from_json(fields["condition"]) if fields.get("condition") else None
    tuples = {"shape": tuple(fields["shape"]), "classes": tuple(fields["classes"] or ())}
    return Spec(**{**fields, **tuples, "condition": condition})
