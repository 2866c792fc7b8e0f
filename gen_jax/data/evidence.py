"""What is known of rows that a table's model is to complete: cells by the names of their columns, or a file's."""

import csv
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen_jax.data.cells import SUFFIXES, Cells, cells_of, read_cells, suffix_of
from gen_jax.data.spec import Spec, columns, rows_to_model
from gen_jax.data.tables import facts_of_text, numbers
from gen_jax.errors import UserError, choose

EXPECTED = (
    "expected NAME=VALUE,NAME=VALUE with names of columns, do(NAME)=VALUE for what is set from outside, "
    'a pair with a comma in it in quotes, as in "NAME=a, b", or a file'
)
Given = dict[str, np.ndarray | dict[str, np.ndarray]]


def is_file(text: str | None) -> bool:
    """Whether `--given` names a file of rows."""
    return text is not None and suffix_of(Path(text)) in SUFFIXES and ("=" not in text or Path(text).is_file())


def said(spec: Spec, text: str, num: int) -> Given:
    """What `smoke=yes,age=40` says of `num` rows: `x` and `mask` [num, D] in model space, and the like under `do`.

    Raises:
      UserError: as `parsed`.
    """
    seen, done = parsed(spec, text)
    given = {} if done and not seen else as_given(spec, _rows(spec, seen, num))
    return {**given, "do": as_given(spec, _rows(spec, done, num))} if done else given


def said_cells(spec: Spec, text: str, num: int) -> np.ndarray:
    """The same in the table's own domain, what is seen and what is done together [num, D]; NaN where nothing is said."""
    seen, done = parsed(spec, text)
    return _rows(spec, {**seen, **done}, num)


def parsed(spec: Spec, text: str) -> tuple[dict[str, Cells], dict[str, Cells]]:
    """What is seen, and what is done, by column.

    Raises:
      UserError: for an unknown column or level, naming the nearest, a number that is none, or anything else.
    """
    seen: dict[str, Cells] = {}
    done: dict[str, Cells] = {}
    for pair in next(csv.reader([text], skipinitialspace=True), []):
        name, _, value = (part.strip() for part in pair.partition("="))
        from_outside = re.fullmatch(r"do\((.*)\)", name)
        name, into = (from_outside[1], done) if from_outside else (name, seen)
        if not name or not value:
            raise UserError(f"--given {text}: {EXPECTED}")
        choose(f"column of {spec.name} in --given", name, known(spec))
        if name in seen or name in done:
            raise UserError(f"--given {text}: column {name!r} is given twice")
        into[name] = cells_of([value])
    return seen, done


class Table(NamedTuple):
    """The rows of a user's file that are to be completed."""

    x: np.ndarray  # [N, D] in the table's own domain, NaN where a cell is empty or its column is not in the file
    names: list[str]  # of the file's columns, in its order
    kept: dict[str, list[str]]  # the texts of columns that the run's schema leaves out of the model


def read_file(spec: Spec, path: str) -> Table:
    """Reads the rows of a file as the columns of a run's table.

    Raises:
      UserError: for a file that cannot be read, an unknown column or level, or a number that is none.
    """
    part, dropped = read_cells(Path(path), None, {}, *facts_of_text({"columns": columns(spec)})), spec.info["dropped"]
    for name in part:
        choose(f"column of {spec.name} in --given {path}:", name, [*known(spec), *dropped])
    kept = {
        name: [*np.array([*cells.texts, ""], object)[cells.codes]] for name, cells in part.items() if name in dropped
    }
    return Table(numbers(path, columns(spec), part), [*part], kept)


def completed(spec: Spec, table: Table, x: np.ndarray) -> tuple[Spec, np.ndarray]:
    """Returns the spec and the rows [N, D'] of a completed file: its own columns in its order, then those that it lacked.

    Columns that are left out of the model stand there as they were: as levels, one for each of their texts.
    """
    schema, lines = {column["name"]: column for column in columns(spec)}, {}
    for at, name in enumerate(schema):
        lines[name] = x[:, at]
    for name, texts in table.kept.items():
        levels, codes = np.unique(np.array(texts, str), return_inverse=True)
        schema[name], lines[name] = {"name": name, "kind": "categorical", "levels": levels.tolist()}, codes
    order = [*table.names, *(name for name in schema if name not in table.names)]
    spec = spec._replace(info={**spec.info, "columns": [schema[name] for name in order]})
    return spec, np.stack([lines[name] for name in order], 1)


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
