"""Raw rows for the commands that use a run: a split of the data it learnt from, or a user's own file of the like."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax import data
from gen_jax.data.kinds import kind_of
from gen_jax.data.source import Source
from gen_jax.data.sources.binary import BINARY, binarised, drawn_from
from gen_jax.data.sources.files import open_files
from gen_jax.data.sources.opening import open_source
from gen_jax.data.sources.windows import windowed
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError, choose

Rows = dict[str, np.ndarray]
FLAGS = {
    "split": (None, "of the run's data set, or of --data; where unset the test split"),
    "data": (None, "a file or folder of your own in the place of the run's data set, as data.path takes"),
}


def opened(spec: Spec, options: Mapping[str, Any]) -> Source:
    """The data set of a run.

    Args:
      options: the `data` section of the run's config.

    Raises:
      UserError: where it cannot be opened, or its content has changed.
    """
    source = open_source(options)
    if source.content != spec.content:
        raise UserError(f"the data that this run was trained on have changed: {source.name}")
    return source


def read_rows(
    spec: Spec, options: Mapping[str, Any], split: str | None = None, path: str | None = None, num: int | None = None
) -> tuple[str, Rows]:
    """The first `num` raw rows (all where None) of a split, or of a user's file, and in words where they are from.

    Args:
      options: the `data` section of the run's config.
      split: where None that of the tests; of a user's file without one all it has.
      path: the user's file or folder. Images of a run in black and white are drawn from its greys, as those of the run,
        unless it holds nothing but 0 and 1.

    Raises:
      UserError: where there is no such split, too few rows, or the file holds something else than the run's data.
    """
    source = opened(spec, options) if path is None else _own(spec, options, path)
    sizes = {name: size for name, size in source.sizes.items() if size}
    asked = split or (next(iter(sizes)) if len(sizes) == 1 and path else options["test_split"])
    choose(f"--split of {source.name}", asked, sizes)
    if num is not None and sizes[asked] < num:
        raise UserError(f"{source.name} has {sizes[asked]} rows in its split {asked!r}: expected at least {num}")
    origin = f"the {asked} split of {source.name}" if path is None or len(sizes) > 1 else path
    if path is None:
        return origin, data.reader(source, options)(asked, num)
    rows = source.rows(asked, np.arange(num or sizes[asked]))
    if not spec.tabular:  # whose cells are checked where they are read
        _check_values(spec, rows["x"], path)
    return origin, {name: np.asarray(value) for name, value in rows.items() if name != "grey"}


def _own(spec: Spec, options: Mapping[str, Any], path: str) -> Source:
    known = {"columns": spec.info.get("columns"), "schema": None, "test_path": None}  # of a table
    try:
        source = open_files(Path(path), {**options, **known})
        if options.get("window") is not None and kind_of(source).time:
            source = windowed(source, options["window"])
    except UserError as error:
        raise UserError(str(error).replace("data.path", "--data")) from None
    free = int(kind_of(source).time and spec.kind == source.kind)  # the length of sequences
    if (source.kind, tuple(source.shape[free:])) != (spec.kind, spec.shape[free:]):
        raise UserError(
            f"--data {path}: rows are of kind {source.kind} and shape {tuple(source.shape)}; this run models "
            f"{spec.kind} of shape {spec.shape}"
        )
    if list(source.info.get("vocabulary", ())) != list(spec.info.get("vocabulary", ())):
        raise UserError(f"--data {path}: its vocabulary is not that of {spec.name}, which this run models")
    if options.get("transform") in BINARY and not _bits(source):
        source = binarised(source, options["transform"])
    if source.classes and spec.classes and source.classes != spec.classes:
        return _relabelled(spec, source, path)
    return source


def _relabelled(spec: Spec, source: Source, path: str) -> Source:
    """Returns a source whose labels are numbered as the classes of the run.

    Raises:
      UserError: for a label that the run does not know.
    """
    for name in source.classes:
        choose(f"label in --data {path}:", name, spec.classes)
    codes = np.array([spec.classes.index(name) for name in source.classes], np.int32)

    def rows(split: str, indices: np.ndarray) -> Rows:
        batch = source.rows(split, indices)
        return {**batch, "y": codes[batch["y"]]} if "y" in batch else batch

    return source._replace(rows=rows, classes=spec.classes)


def _bits(source: Source) -> bool:
    """Whether images hold nothing but 0 and 1."""
    split = next(split for split, size in source.sizes.items() if size)
    x = drawn_from(source.rows(split, np.arange(source.sizes[split])))["x"]
    return source.limits == (0, 1) or bool(np.isin(x, (0, 1)).all())


def _check_values(spec: Spec, x: np.ndarray, path: str) -> None:
    whole = np.dtype(spec.dtype).kind in "iu"
    if whole and x.dtype.kind not in "iu":
        raise UserError(f"--data {path}: values of type {x.dtype}; this run models {spec.dtype}, so expected that")
    low, high = (np.broadcast_to(each, x.shape) for each in (spec.low, spec.high))
    wrong = (x < low) | (x > high) if whole else ~np.isfinite(x)
    if wrong.any():
        place = tuple(int(each) for each in np.argwhere(wrong)[0])
        expected = f"{low[place]:g} to {high[place]:g}" if whole else "a finite number"
        raise UserError(f"--data {path}: row {place[0]} holds {x[place]}; expected {expected}, as in {spec.name}")
