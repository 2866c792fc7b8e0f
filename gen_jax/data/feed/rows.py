"""Reads raw rows for commands that use a run: a split of the run's data, or a file of the user with similar rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.feed.load import read_split
from gen_jax.data.feed.order import Rows
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.text import KNOWN, UNSEEN
from gen_jax.data.source import Source
from gen_jax.data.sources.binary import BINARY, binarised, drawn_from
from gen_jax.data.sources.clips import clips
from gen_jax.data.sources.opening import open_source
from gen_jax.data.sources.user_files import open_files
from gen_jax.data.sources.windows import windowed
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError, choose

FLAGS = {
    "split": (None, "split of the data set of the run, or of --data; by default the test split"),
    "data": (None, "your file or folder, as data.path; replaces the data set of the run"),
}


def opened(spec: Spec, options: Mapping[str, Any]) -> Source:
    """Opens the data set of a run.

    Args:
      spec: facts of the run's data.
      options: the `data` section of the run's config.

    Raises:
      UserError: for a data set that cannot be opened, or whose content has changed.
    """
    source = open_source(options)
    if source.content != spec.content:
        raise UserError(f"data of {source.name} have changed; expected the data that this run was trained on")
    return source


def read_rows(
    spec: Spec, options: Mapping[str, Any], split: str | None = None, path: str | None = None, num: int | None = None
) -> tuple[str, Rows]:
    """Returns the origin of raw rows in words, and the rows.

    Args:
      spec: facts of the run's data.
      options: the `data` section of the run's config.
      split: name of the split. None, the default, is the test split, or the only split of a user's file.
      path: file or folder of the user. None, the default, is the run's data. Grey images become black and white if the
        run's data are.
      num: number of rows from the start of the split; by default all rows.

    Raises:
      UserError: for an unknown split, too few rows, or a file whose rows do not fit the run.
    """
    source = opened(spec, options) if path is None else _users(spec, options, path)
    sizes = {name: size for name, size in source.sizes.items() if size}
    if not split:
        split = next(iter(sizes)) if len(sizes) == 1 and path else options["test_split"]
    choose(f"split of {source.name}", split, sizes)
    if num is not None and sizes[split] < num:
        raise UserError(f"split {split!r} of {source.name} has {sizes[split]} rows; expected at least {num}")
    origin = f"the {split} split of {source.name}" if path is None or len(sizes) > 1 else path
    if path is None:
        return origin, read_split(source, options, split, num)
    rows = source.rows(split, np.arange(num or sizes[split]))
    if not spec.tabular:  # because the cells of a table are checked when they are read
        _check_values(spec, rows["x"], path)
    return origin, {name: np.asarray(value) for name, value in rows.items() if name != "grey"}


def given_rows(spec: Spec, x: Any, y: Any = None) -> Rows:
    """Returns raw rows that a program passes, as `gen_jax.data.arrays` takes them.

    Args:
      spec: the facts of the run's data.
      x: rows [N, *shape]; grey images may be [N, H, W].
      y: labels [N], or None.

    Raises:
      UserError: for rows of another shape than the rows of the run.
    """
    x = np.asarray(x)
    if kind_of(spec).pixels and x.ndim == 3 and spec.shape[-1] == 1:
        x = x[..., None]
    free = int(kind_of(spec).time)  # the length of sequences
    if x.shape[1 + free :] != tuple(spec.shape[free:]) or x.ndim != 1 + len(spec.shape):
        raise UserError(f"shape of x is {x.shape}; expected rows {list(spec.shape)} of {spec.name}")
    return {"x": x} if y is None else {"x": x, "y": np.asarray(y, np.int32)}


def _users(spec: Spec, options: Mapping[str, Any], path: str) -> Source:
    """Opens a file of the user in the form of the run's rows.

    Raises:
      UserError: for rows of another kind, shape or vocabulary.
    """
    table = {"columns": spec.info.get("columns"), "schema": None, "test_path": None}
    texts = [field.subwords for field in spec.fields.values() if field.subwords is not None]
    table |= {KNOWN: texts[0]} if texts else {}
    try:
        source = open_files(Path(path), {**options, **table})
        if options.get("window") is not None and kind_of(source).time:
            source = windowed(source, options["window"])
        if kind_of(source).film:
            source = clips(source, options)
    except UserError as error:
        raise UserError(str(error).replace("data.path", "--data")) from None
    free = int(kind_of(source).time and spec.kind == source.kind)  # the length of sequences
    if (source.kind, tuple(source.shape[free:])) != (spec.kind, spec.shape[free:]):
        raise UserError(
            f"rows of --data {path} are of kind {source.kind} and shape {tuple(source.shape)}; expected kind "
            f"{spec.kind} and shape {spec.shape}, as in this run"
        )
    if list(source.info.get("vocabulary", ())) != list(spec.vocabulary):
        raise UserError(
            f"vocabulary of --data {path} is another one; expected the vocabulary of {spec.name}, as in this run"
        )
    if spec.condition is not None:
        source = _with_conditions_of_run(spec.condition, source, path)
    if options.get("transform") in BINARY and not _bits(source):
        source = binarised(source, options["transform"])
    if source.classes and spec.classes and source.classes != spec.classes:
        return _relabelled(spec, source, path)
    return source


def _relabelled(spec: Spec, source: Source, path: str) -> Source:
    """Returns a source whose labels are numbered as the classes of the run.

    Raises:
      UserError: for a label that is not a class of the run.
    """
    for name in source.classes:
        choose(f"label in --data {path}:", name, spec.classes)
    codes = np.array([spec.classes.index(name) for name in source.classes], np.int32)

    def rows(split: str, indices: np.ndarray) -> Rows:
        batch = source.rows(split, indices)
        return {**batch, "y": codes[batch["y"]]} if "y" in batch else batch

    return source._replace(rows=rows, classes=spec.classes)


def _with_conditions_of_run(spec: Spec, source: Source, path: str) -> Source:
    """Returns a source whose texts `c` have the vocabulary and the length of the run's conditions.

    Args:
      spec: facts of the run's conditions.
      source: rows of the user.
      path: their file, for errors.

    Raises:
      UserError: for rows without a condition, or conditions of another kind, shape, or list of classes.
    """
    condition = source.condition
    if condition is None:
        raise UserError(
            f"rows of --data {path} have no condition; expected conditions of kind {spec.kind}, as in this run"
        )
    text = kind_of(spec).time and spec.kind == condition.kind
    if (condition.kind, condition.shape[int(text) :]) != (spec.kind, spec.shape[int(text) :]):
        raise UserError(
            f"conditions of --data {path} are of kind {condition.kind} and shape {tuple(condition.shape)}; expected kind "
            f"{spec.kind} and shape {spec.shape}, as in this run"
        )
    symbols = list(condition.info.get("vocabulary", ()))
    if symbols == list(spec.vocabulary) and tuple(condition.shape) == spec.shape:
        return source
    numbers = {symbol: number for number, symbol in enumerate(spec.vocabulary)}
    if not text or (symbols != list(spec.vocabulary) and UNSEEN not in numbers):
        raise UserError(
            f"conditions of --data {path} have another vocabulary; expected the vocabulary of {spec.name}, as in this run"
        )
    table = np.array([numbers.get(symbol, numbers.get(UNSEEN, 0)) for symbol in symbols], spec.dtype)

    def rows(split: str, indices: np.ndarray) -> Rows:
        batch = source.rows(split, indices)
        longest = int(batch["c_length"].max())
        if longest > spec.shape[0]:
            raise UserError(
                f"a text of --data {path} has {longest} tokens; expected at most {spec.shape[0]}, as in this run"
            )
        c = np.zeros((len(indices), *spec.shape), spec.dtype)
        c[:, :longest] = table[batch["c"][:, :longest]]
        return {**batch, "c": c}

    return source._replace(rows=rows)


def _bits(source: Source) -> bool:
    """Returns whether images hold only 0 and 1."""
    split = next(split for split, size in source.sizes.items() if size)
    x = drawn_from(source.rows(split, np.arange(source.sizes[split])))["x"]
    return source.limits == (0, 1) or bool(np.isin(x, (0, 1)).all())


def _check_values(spec: Spec, x: np.ndarray, path: str) -> None:
    """Refuses values of another type than the run's, or outside its domain.

    Raises:
      UserError: for the first such value.
    """
    whole = np.dtype(spec.dtype).kind in "iu"
    if whole and x.dtype.kind not in "iu":
        raise UserError(f"values of --data {path} are {x.dtype}; expected {spec.dtype}, as in this run")
    low, high = (np.broadcast_to(limit, x.shape) for limit in (spec.low, spec.high))
    wrong = (x < low) | (x > high) if whole else ~np.isfinite(x)
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0].tolist())
        expected = f"{low[place]:g} to {high[place]:g}" if whole else "a finite number"
        raise UserError(f"row {place[0]} of --data {path} holds {x[place]}; expected {expected}, as in {spec.name}")
