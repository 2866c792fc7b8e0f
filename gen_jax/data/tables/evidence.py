"""Conditions on the rows of a table: cells that a user writes by the names of columns, or the cells of a file."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen_jax.data.kinds.sample_files import arrays
from gen_jax.data.spec import Spec, columns, rows_to_model
from gen_jax.data.tables import relations
from gen_jax.data.tables.csv_files import csv_of
from gen_jax.data.tables.ids import new_ids
from gen_jax.data.tables.relations import RowTest
from gen_jax.data.tables.schema import facts_of_text
from gen_jax.data.tables.text_columns import SUFFIXES, Cells, cells_of, read_cells, suffix_of
from gen_jax.data.tables.values import numbers, texts_of
from gen_jax.errors import UserError, choose

Given = dict[str, np.ndarray | dict[str, np.ndarray]]


class Condition(NamedTuple):
    """Holds the condition of `--given` on the rows of a table."""

    text: str  # text of the user
    observed: dict[str, Cells]  # cells that are observed, by column
    done: dict[str, Cells]  # cells that an intervention sets, by column
    tests: list[RowTest]  # tests of the ranges and the lists for other cells


def is_file(text: str | None) -> bool:
    """Returns whether `--given` names a file of rows.

    Args:
      text: value of `--given`, or None.
    """
    return text is not None and suffix_of(Path(text)) in SUFFIXES and ("=" not in text or Path(text).is_file())


def condition_of(spec: Spec, text: str) -> Condition:
    """Returns the condition that a text states.

    Args:
      spec: the facts of the table.
      text: the condition, see `relations.read`.

    Raises:
      UserError: for an unknown column or level, a text that is not a number, a column that is given twice, or a text
        that is not a condition.
    """
    condition = Condition(text, {}, {}, [])
    for relation in relations.read(spec, text):
        if relation.operator != "=":
            condition.tests.append(relations.row_test(spec, text, relation))
        elif relation.name in {**condition.observed, **condition.done}:
            raise UserError(f"--given {text}: column {relation.name!r} is given twice; expected it once")
        elif relation.do:
            condition.done[relation.name] = cells_of(relation.values)
        else:
            condition.observed[relation.name] = cells_of(relation.values)
    return condition


def model_condition(spec: Spec, condition: Condition, num: int) -> Given | None:
    """Returns a condition in model space, as `num` equal rows: `x` and `mask` [num, D].

    Cells that an intervention sets are in the same form under `do`. Returns None if the condition holds only ranges and
    lists; see `row_filter`.

    Args:
      spec: facts of the table.
      condition: the condition.
      num: number of rows.
    """
    given: Given = {}
    if condition.observed:
        given |= as_given(spec, _equal_rows(spec, condition.observed, num))
    if condition.done:
        given["do"] = as_given(spec, _equal_rows(spec, condition.done, num))
    return given or None


def condition_cells(spec: Spec, condition: Condition, num: int) -> np.ndarray:
    """Returns `num` equal rows [num, D] in the domain of the table, with the cells that are observed or set, else NaN.

    Args:
      spec: facts of the table.
      condition: the condition.
      num: number of rows.
    """
    return _equal_rows(spec, {**condition.observed, **condition.done}, num)


def row_filter(condition: Condition | None) -> RowTest | None:
    """Returns the test whether rows satisfy all ranges and lists of a condition; None if there are no ranges or lists.

    Args:
      condition: the condition, or None.
    """
    if condition is None or not condition.tests:
        return None
    return lambda x: np.logical_and.reduce([test(x) for test in condition.tests])


def _equal_rows(spec: Spec, cells: dict[str, Cells], num: int) -> np.ndarray:
    if not cells:
        return np.full((num, len(columns(spec))), np.nan)
    return np.repeat(numbers("--given", columns(spec), cells), num, 0)


class Table(NamedTuple):
    """Holds the rows of a user's file, whose missing cells are to be drawn."""

    x: np.ndarray  # [N, D] in the domain of the table, NaN if a cell is missing or its column is not in the file
    # Columns of the file in their order, including columns that are not modelled; "" if a cell is missing.
    texts: dict[str, list[str]]


def read_file(spec: Spec, path: str) -> Table:
    """Reads the rows of a file in the columns of a run's table.

    Args:
      spec: the facts of the table.
      path: a CSV or Parquet file.

    Raises:
      UserError: for a file that cannot be read, an unknown column or level, or a text that is not a number.
    """
    part = read_cells(Path(path), None, {}, *facts_of_text({"columns": columns(spec)}))
    for name in part:
        choose(f"column of {spec.name} in --given {path}:", name, [*column_names(spec), *spec.dropped])
    texts = {name: [*np.array([*cells.texts, ""], object)[cells.codes]] for name, cells in part.items()}
    return Table(numbers(path, columns(spec), part), texts)


def completed(spec: Spec, table: Table, x: np.ndarray, suffix: str) -> bytes:
    """Returns a completed file: the columns of the file in their order, then the columns that the file lacked.

    Args:
      spec: facts of the run's table.
      table: the file, whose observed cells keep their texts.
      x: rows [N, D] of the file with the missing cells drawn.
      suffix: .csv, or .npz for `x` alone, without columns that are not modelled.
    """
    places = {name: place for place, name in enumerate(column_names(spec))}
    order = [*table.texts, *(name for name in places if name not in table.texts)]
    if suffix == ".npz":
        return arrays({"x": x[:, [places[name] for name in order if name in places]]}, spec)
    drawn = {name: texts_of(columns(spec)[place], x[:, place]) for name, place in places.items()}
    drawn |= {facts["name"]: new_ids(facts, x) for facts in spec.ids if facts["name"] in order}
    empty = [""] * len(x)
    cells = {name: zip(table.texts.get(name, empty), drawn.get(name, empty)) for name in order}
    return csv_of({name: [written or new for written, new in pairs] for name, pairs in cells.items()})


def as_given(spec: Spec, x: np.ndarray) -> dict[str, np.ndarray]:
    """Returns rows as the condition that their cells are observed, except NaN: `x` and `mask` [N, D] in model space.

    Args:
      spec: facts of the table.
      x: rows [N, D] in the domain of the table.

    Raises:
      UserError: for a number that is so far from the numbers of its column that float32 cannot hold it.
    """
    model_x = rows_to_model(spec, {"x": x})["x"]
    if not np.isfinite(model_x).all():
        row, place = np.argwhere(~np.isfinite(model_x))[0]
        column = columns(spec)[place]
        raise UserError(
            f"given: column {column['name']!r} is {x[row, place]:g} in row {row + 1}; expected a number nearer to those of "
            f"{spec.name}, {column['low']:g} to {column['high']:g}"
        )
    return {"x": model_x, "mask": ~np.isnan(x)}


def column_names(spec: Spec) -> list[str]:
    """Returns the names of the columns of a table.

    Args:
      spec: facts of the table.
    """
    return [column["name"] for column in columns(spec)]
