"""What a run must know of its data: plain facts that go to `spec.json`, and the affine transform with its inverse."""

import json
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.tables.dates import to_text
from gen_jax.errors import UserError

SEQUENCES = ("text", "audio", "roll", "series")  # the kinds of data whose rows lead with time
FULL = 17  # decimals of numbers that are written with all their digits


class Spec(NamedTuple):
    """Facts of a data set, plain data throughout.

    Models learn in model space, x = (raw - shift) / scale; samples are saved in the data's own domain by `to_data`.
    """

    name: str
    # "image" [H, W, C], "vector" [D], "table" [D], or a sequence: "text" [T], "audio" [T], "roll" [T, D], "series" [T, D]
    kind: str
    shape: tuple[int, ...]  # of one row, without the batch
    dtype: str  # of the data's own values
    shift: float | list[float]
    scale: float | list[float]
    low: float | list[float]  # smallest and largest value of the data's own domain
    high: float | list[float]
    classes: tuple[str, ...] | None  # names of the labels `y`, or None
    sizes: dict[str, int]  # rows of each split
    content: str  # hash that changes when the data does
    info: dict[str, Any]  # what only this set has (the modes of a mixture)
    split: str = "train"  # that is learnt from


def levels(spec: Spec) -> int:
    """How many values a token has, where rows are tokens (int32 in model space, from 0 up); 0 where they are not."""
    return len(spec.info.get("vocabulary", ()))


def columns(spec: Spec) -> list[dict[str, Any]]:
    """What is known of each column of a table: `name`, `kind` (continuous, integer, categorical, ordered), and `levels` of
    the last two or `decimals` of the first, `low` and `high` of the rows learnt from, `missing`: whether cells may be empty.
    The entries of vectors are numbers without a name.

    Raises:
      UserError: for data of another kind, which have no columns.
    """
    if spec.kind == "table":
        return spec.info["columns"]
    if spec.kind != "vector":
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
    ids = [facts["name"] for facts in spec.info.get("ids", ())]
    return {**found, **{name: {"kind": "id" if name in ids else "drop"} for name in spec.info["dropped"]}}


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
    ids = [facts["name"] for facts in spec.info.get("ids", ())]
    told = {
        name: "id, not modelled; drawn rows get new ones" if name in ids else "left out"
        for name in spec.info["dropped"]
    }
    return [*lines, *(f"{name!r}: {what}" for name, what in told.items())]


def schema_setting(facts: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the setting that says these facts of columns, as a shell takes it."""
    return f"--config.data.schema={shlex.quote(json.dumps(facts, ensure_ascii=False))}"


def level_names(schema: list[dict[str, Any]]) -> tuple[str, ...]:
    """The levels of all columns that have some, one after the other."""
    return tuple(f"{column['name']}={level}" for column in schema for level in column.get("levels", ()))


def may_miss(spec: Spec) -> bool:
    """Whether rows have a `mask` of the cells that are observed: those of a table with cells that may be empty."""
    return spec.kind == "table" and any(column["missing"] for column in columns(spec))


def sequences(rows: dict[str, Any]) -> list[np.ndarray]:
    """Sequences `x` [N, T, ...], each without what lies beyond its `length`."""
    lengths = rows.get("length", np.full(len(rows["x"]), rows["x"].shape[1]))
    return [x[:length] for x, length in zip(rows["x"], lengths)]


def small(dtype: Any) -> bool:
    """Whether raw values of this type travel to the device as they are: integers of at most 16 bits."""
    return np.dtype(dtype).kind in "iu" and np.dtype(dtype).itemsize <= 2


def to_model(spec: Spec, raw: Any) -> Any:
    """Values [..., *shape] of the data's own domain in model space: float32, or int32 tokens, which stay as they are.

    Small integers are exact in float32, so that this runs on the device; other types are scaled on the host in
    float64, where a large offset costs no digits.
    """
    if levels(spec):
        return raw.astype(np.int32)
    wide = np.float32 if small(raw.dtype) else np.float64
    shift, scale = _like_rows(np.asarray(spec.shift, wide), raw), _like_rows(np.asarray(spec.scale, wide), raw)
    return ((raw.astype(wide) - shift) / scale).astype(np.float32)


def rows_to_model(spec: Spec, rows: dict[str, Any]) -> dict[str, Any]:
    """Raw rows as a batch: `x` in model space, and of a table whose cells may be empty `mask`, 1 where they are observed.

    Empty cells, NaN in raw rows, are 0.
    """
    if spec.kind != "table":
        return {**rows, "x": to_model(spec, rows["x"])}
    mask = ~np.isnan(rows["x"])
    mask_too = {"mask": mask} if may_miss(spec) or not mask.all() else {}
    return {**rows, **mask_too, "x": np.where(mask, to_model(spec, rows["x"]), np.float32(0))}


def to_data(spec: Spec, x: Any) -> np.ndarray:
    """The inverse of `to_model`: integers are rounded and clipped to the domain, floats stay as they are.

    The numbers of a table have the decimals of their column and stay within its range, unless its schema has `bounded` false.
    """
    x = np.asarray(x, np.float64)
    raw = x * _like_rows(np.asarray(spec.scale), x) + _like_rows(np.asarray(spec.shift), x)
    if spec.kind == "table":
        return np.stack([_in_column(column, raw[..., at]) for at, column in enumerate(columns(spec))], -1)
    if np.issubdtype(np.dtype(spec.dtype), np.floating):
        return raw.astype(spec.dtype)
    low, high = _like_rows(np.asarray(spec.low), x), _like_rows(np.asarray(spec.high), x)
    return np.clip(np.rint(raw), low, high).astype(spec.dtype)


def _in_column(column: dict, x: np.ndarray) -> np.ndarray:
    if column["kind"] != "continuous":
        x = np.rint(x)
        return np.clip(x, column["low"], column["high"]) if column.get("bounded", True) else x
    x = np.round(x, column["decimals"]) if column["decimals"] < FULL else x
    return np.clip(x, column["low"], column["high"]) if column.get("bounded", True) else x


def _like_rows(value: np.ndarray, x: Any) -> np.ndarray:
    """A scalar or per-column value with as many dimensions as `x`: nothing broadcasts by accident."""
    return value.reshape((1,) * (x.ndim - value.ndim) + value.shape)


def to_json(spec: Spec) -> dict:
    """The spec as plain data."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in spec._asdict().items()}


def from_json(fields: dict) -> Spec:
    """The spec that `to_json` wrote."""
    classes = None if fields["classes"] is None else tuple(fields["classes"])
    return Spec(**{**fields, "shape": tuple(fields["shape"]), "classes": classes})
