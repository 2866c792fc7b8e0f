"""What a run must know of its data: plain facts that go to `spec.json`, and the affine transform with its inverse."""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from gen_jax.data.tables.dates import to_text
from gen_jax.errors import UserError

FULL = 17  # decimals of numbers that are written with all their digits


class Spec(NamedTuple):
    """Facts of a data set, plain data throughout.

    Models learn in model space, x = (raw - shift) / scale; samples are saved in the data's own domain by `to_data`.
    """

    name: str
    kind: str  # a name in `data.kinds.KINDS`, whose record says what rows of this kind are
    shape: tuple[int, ...]  # of one row, without the batch
    dtype: str  # of the data's own values
    shift: float | list[float]
    scale: float | list[float]
    low: float | list[float]  # smallest and largest value of the data's own domain
    high: float | list[float]
    classes: tuple[str, ...]  # names of the labels `y`; none if the rows have no labels
    sizes: dict[str, int]  # rows of each split
    content: str  # hash that changes when the data does
    info: dict[str, Any]  # facts that few data sets have; the properties below name those that several modules read
    split: str = "train"  # that is learnt from

    @property
    def vocabulary(self) -> Sequence[str] | Sequence[int]:
        """Returns the symbols of tokens in the order of their numbers: characters or bytes; empty if rows are no tokens."""
        return self.info.get("vocabulary", ())

    @property
    def ragged(self) -> bool:
        """Returns whether each row has its own `length`."""
        return self.info.get("ragged", False)

    @property
    def pieces(self) -> bool:
        """Returns whether rows are consecutive pieces of longer sequences, with `reset` where a sequence begins."""
        return self.info.get("pieces", False)

    @property
    def tabular(self) -> bool:
        """Returns whether rows are cells of named columns, numbers and levels, which `columns` describes."""
        return "columns" in self.info

    @property
    def marginals(self) -> list[list[float]]:
        """Returns for each column of a table the shares of its levels, or of the parts of its range, in the rows learnt from."""
        return self.info["marginals"]

    @property
    def dropped(self) -> list[str]:
        """Returns the names of a table's columns that are not modelled."""
        return self.info["dropped"]

    @property
    def ids(self) -> list[dict[str, Any]]:
        """Returns what is known of those columns of a table that hold a new id in each row: `name`, `at` and the form."""
        return self.info.get("ids", [])

    @property
    def label_type(self) -> str | None:
        """Returns the NumPy kind of labels in the data's own file: b, i, u, U or S; None if they are 0 to K - 1."""
        return self.info.get("labels")

    @property
    def stacked(self) -> int:
        """Returns how many grey images are stacked as the channels of an image; 0 if none are."""
        return self.info.get("stacked", 0)

    @property
    def unseen(self) -> dict[str, int]:
        """Returns for each split the number of its characters that the vocabulary lacks, if it has such characters."""
        return self.info.get("unseen", {})


def levels(spec: Spec) -> int:
    """Returns the number of values of a token, if rows are tokens (int32 in model space, from 0 up); 0 if they are not."""
    return len(spec.vocabulary)


def columns(spec: Spec) -> list[dict[str, Any]]:
    """Returns the facts of each column of a row.

    The facts are `name`, `kind` (continuous, integer, categorical, ordered), `levels` of the last two or `decimals` of the first,
    `low` and `high` of the rows learnt from, and `missing`: whether cells may be empty. The entries of vectors are numbers whose
    names are their places.

    Raises:
      UserError: for data of another kind, which have no columns.
    """
    if spec.tabular:
        return spec.info["columns"]
    if len(spec.shape) != 1 or levels(spec) or spec.ragged:
        raise UserError(f"{spec.name} holds {spec.kind} data: expected a table, or vectors")
    low, high = (np.broadcast_to(each, spec.shape).tolist() for each in (spec.low, spec.high))
    facts = {
        "missing": False,
        **({"kind": "integer"} if small(spec.dtype) else {"kind": "continuous", "decimals": FULL}),
    }
    return [{"name": f"x[{each}]", "low": low[each], "high": high[each], **facts} for each in range(spec.shape[0])]


def schema_of(spec: Spec) -> dict[str, dict[str, Any]]:
    """Returns the schema of a table as `data.schema` takes it: edit it, and pass it back."""
    facts = ("kind", "levels", "other", "decimals", "format", "missing", "bounded", "empty", "symbols")
    found = {
        column["name"]: {
            fact: column[fact] for fact in facts if fact in column and (fact, column[fact]) != ("decimals", FULL)
        }
        for column in columns(spec)
    }
    ids = [facts["name"] for facts in spec.ids]
    return {**found, **{name: {"kind": "id" if name in ids else "drop"} for name in spec.dropped}}


def schema_lines(spec: Spec) -> list[str]:
    """Returns a line for each column of a table: its kind, its range or its first levels, and whether cells may be empty."""
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
    """Returns the setting that says these facts of columns, as a shell takes it."""
    return f"--config.data.schema={shlex.quote(json.dumps(facts, ensure_ascii=False))}"


def level_names(schema: list[dict[str, Any]]) -> tuple[str, ...]:
    """Returns the levels of all columns that have levels, one after the other."""
    return tuple(f"{column['name']}={level}" for column in schema for level in column.get("levels", ()))


def may_miss(spec: Spec) -> bool:
    """Returns whether rows have a `mask` of observed cells: rows of a table whose cells may be empty."""
    return spec.tabular and any(column["missing"] for column in columns(spec))


def sequences(rows: dict[str, Any]) -> list[np.ndarray]:
    """Returns sequences `x` [N, T, ...], each without what lies beyond its `length`."""
    lengths = rows.get("length", np.full(len(rows["x"]), rows["x"].shape[1]))
    return [x[:length] for x, length in zip(rows["x"], lengths)]


def small(dtype: DTypeLike) -> bool:
    """Returns whether raw values of this type travel to the device as they are: integers of at most 16 bits."""
    return np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize <= 2


def to_model(spec: Spec, raw: Any) -> Any:
    """Returns values [..., *shape] of the data's own domain in model space: float32, or int32 tokens, which stay as they are.

    Small integers are exact in float32, so that this runs on the device; other types are scaled on the host in
    float64, where a large offset costs no digits.
    """
    if levels(spec):
        return raw.astype(np.int32)
    wide = np.float32 if small(raw.dtype) else np.float64
    shift, scale = _like_rows(np.asarray(spec.shift, wide), raw), _like_rows(np.asarray(spec.scale, wide), raw)
    return ((raw.astype(wide) - shift) / scale).astype(np.float32)


def rows_to_model(spec: Spec, rows: dict[str, Any]) -> dict[str, Any]:
    """Returns raw rows as a batch: `x` in model space, and for a table whose cells may be empty `mask`, 1 for observed cells.

    Empty cells, NaN in raw rows, are 0.
    """
    if not spec.tabular:
        return {**rows, "x": to_model(spec, rows["x"])}
    mask = ~np.isnan(rows["x"])
    mask_too = {"mask": mask} if may_miss(spec) or not mask.all() else {}
    return {**rows, **mask_too, "x": np.where(mask, to_model(spec, rows["x"]), np.float32(0))}


def to_data(spec: Spec, x: ArrayLike) -> np.ndarray:
    """Returns values of model space in the data's own domain: integers are rounded and clipped, floats stay as they are.

    The numbers of a table have the decimals of their column and stay within its range, unless its schema has `bounded` false.
    """
    x = np.asarray(x, np.float64)
    raw = x * _like_rows(np.asarray(spec.scale), x) + _like_rows(np.asarray(spec.shift), x)
    if spec.tabular:
        return np.stack([_in_column(column, raw[..., at]) for at, column in enumerate(columns(spec))], -1)
    if np.issubdtype(np.dtype(spec.dtype), np.floating):
        return raw.astype(spec.dtype)
    low, high = _like_rows(np.asarray(spec.low), x), _like_rows(np.asarray(spec.high), x)
    whole = np.clip(np.rint(raw), low, high)
    if np.dtype(spec.dtype).itemsize == 8:  # because float64 rounds the largest number of the type up
        whole = np.minimum(whole, np.nextafter(float(np.iinfo(spec.dtype).max), 0))
    return whole.astype(spec.dtype)


def _in_column(column: dict[str, Any], x: np.ndarray) -> np.ndarray:
    if column["kind"] != "continuous":
        x = np.rint(x)
        return np.clip(x, column["low"], column["high"]) if column.get("bounded", True) else x
    x = np.round(x, column["decimals"]) if column["decimals"] < FULL else x
    return np.clip(x, column["low"], column["high"]) if column.get("bounded", True) else x


def _like_rows(value: np.ndarray, x: Any) -> np.ndarray:
    """Returns a scalar or per-column value with as many dimensions as `x`, so that nothing broadcasts by accident."""
    return value.reshape((1,) * (x.ndim - value.ndim) + value.shape)


def to_json(spec: Spec) -> dict[str, Any]:
    """Returns the spec as plain data."""
    fields = {name: list(value) if isinstance(value, tuple) else value for name, value in spec._asdict().items()}
    return {**fields, "classes": fields["classes"] or None}


def from_json(fields: Mapping[str, Any]) -> Spec:
    """Returns the spec that `to_json` wrote."""
    return Spec(**{**fields, "shape": tuple(fields["shape"]), "classes": tuple(fields["classes"] or ())})
