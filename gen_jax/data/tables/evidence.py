"""What is known of rows that a table's model is to complete: cells by the names of their columns, or a file's."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen_jax.data.kinds.files import arrays
from gen_jax.data.spec import Spec, columns, rows_to_model
from gen_jax.data.tables import conditions
from gen_jax.data.tables.cells import SUFFIXES, Cells, cells_of, read_cells, suffix_of
from gen_jax.data.tables.ids import new_ids
from gen_jax.data.tables.schema import csv_of, facts_of_text, numbers, texts_of
from gen_jax.errors import UserError, choose

Given = dict[str, np.ndarray | dict[str, np.ndarray]]


class Said(NamedTuple):
    """What `--given` says of the rows of a table."""

    seen: dict[str, Cells]  # cells that are observed, by column
    done: dict[str, Cells]  # cells that are set from outside, by column
    within: list[conditions.Fits]  # the ranges and lists that other cells are in


def is_file(text: str | None) -> bool:
    """Whether `--given` names a file of rows."""
    return text is not None and suffix_of(Path(text)) in SUFFIXES and ("=" not in text or Path(text).is_file())


def said(spec: Spec, text: str, num: int) -> Given | None:
    """What `smoke=yes,age=40` says of `num` rows: `x` and `mask` [num, D] in model space, and the like under `do`.

    Returns None if it says ranges and lists alone; see `said_within`.

    Raises:
      UserError: as `parsed`.
    """
    seen, done, _ = parsed(spec, text)
    given = as_given(spec, _rows(spec, seen, num)) if seen else {}
    return {**given, **({"do": as_given(spec, _rows(spec, done, num))} if done else {})} or None


def said_cells(spec: Spec, text: str, num: int) -> np.ndarray:
    """The same in the table's own domain, what is seen and what is done together [num, D]; NaN where nothing is said."""
    seen, done, _ = parsed(spec, text)
    return _rows(spec, {**seen, **done}, num)


def said_within(spec: Spec, text: str | None) -> conditions.Fits | None:
    """Returns which rows [N, D] of the table's own domain are in the ranges and lists that are said; None if none is."""
    within = parsed(spec, text).within if text is not None and spec.tabular else []
    return (lambda x: np.logical_and.reduce([fits(x) for fits in within])) if within else None


def parsed(spec: Spec, text: str) -> Said:
    """What a condition says.

    Raises:
      UserError: for an unknown column or level, naming the nearest, a number that is none, or anything else.
    """
    said = Said({}, {}, [])
    for part in conditions.read(spec, text):
        if part.relation != "=":
            said.within.append(conditions.fits(spec, text, part))
        elif part.name in {**said.seen, **said.done}:
            raise UserError(f"--given {text}: column {part.name!r} is given twice")
        else:
            (said.done if part.do else said.seen)[part.name] = cells_of(part.values)
    return said


class Table(NamedTuple):
    """The rows of a user's file that are to be completed."""

    x: np.ndarray  # [N, D] in the table's own domain, NaN where a cell is empty or its column is not in the file
    texts: dict[
        str, list[str]
    ]  # of all its columns in its order, those that are not modelled too; "" where a cell is empty


def read_file(spec: Spec, path: str) -> Table:
    """Reads the rows of a file as the columns of a run's table.

    Raises:
      UserError: for a file that cannot be read, an unknown column or level, or a number that is none.
    """
    part = read_cells(Path(path), None, {}, *facts_of_text({"columns": columns(spec)}))
    for name in part:
        choose(f"column of {spec.name} in --given {path}:", name, [*known(spec), *spec.dropped])
    texts = {name: [*np.array([*cells.texts, ""], object)[cells.codes]] for name, cells in part.items()}
    return Table(numbers(path, columns(spec), part), texts)


def completed(spec: Spec, table: Table, x: np.ndarray, suffix: str) -> bytes:
    """Returns a completed file: its own columns in its order, then those that it lacked.

    Args:
      table: the file, whose cells stay as they are written.
      x: its rows [N, D] with the empty cells drawn.
      suffix: .csv, or .npz for `x` alone, without columns that are not modelled.
    """
    places = {name: at for at, name in enumerate(known(spec))}
    order = [*table.texts, *(name for name in places if name not in table.texts)]
    if suffix == ".npz":
        return arrays({"x": x[:, [places[name] for name in order if name in places]]}, spec)
    drawn = {name: texts_of(columns(spec)[at], x[:, at]) for name, at in places.items()}
    drawn |= {facts["name"]: new_ids(facts, x) for facts in spec.ids if facts["name"] in order}
    empty = [""] * len(x)
    cells = {name: zip(table.texts.get(name, empty), drawn.get(name, empty)) for name in order}
    return csv_of({name: [given or new for given, new in pairs] for name, pairs in cells.items()})


def as_given(spec: Spec, x: np.ndarray) -> Given:
    """Returns rows [N, D] of a table's own domain as the condition that observed cells set.

    Raises:
      UserError: for a number so far from those of its column that float32 cannot hold it.
    """
    model_x = rows_to_model(spec, {"x": x})["x"]
    if not np.isfinite(model_x).all():
        row, at = np.argwhere(~np.isfinite(model_x))[0]
        column = columns(spec)[at]
        raise UserError(
            f"given: column {column['name']!r} is {x[row, at]:g} in row {row + 1}; expected a number nearer to those of "
            f"{spec.name}, {column['low']:g} to {column['high']:g}"
        )
    return {"x": model_x, "mask": ~np.isnan(x)}


def known(spec: Spec) -> list[str]:
    """The names of the columns of a table."""
    return [column["name"] for column in columns(spec)]


def _rows(spec: Spec, cells: dict[str, Cells], num: int) -> np.ndarray:
    nothing = np.full((1, len(columns(spec))), np.nan)
    return np.repeat(numbers("--given", columns(spec), cells) if cells else nothing, num, 0)
