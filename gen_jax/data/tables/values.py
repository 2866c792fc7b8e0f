"""Converts the cells of a table to numbers, and numbers to cells."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.data.domain import FULL
from gen_jax.data.tables.dates import to_number, to_text
from gen_jax.data.tables.schema import LEVELLED, Columns
from gen_jax.data.tables.text_columns import Cells, is_number
from gen_jax.errors import UserError, choose


def numbers(where: str, schema: Columns, part: Mapping[str, Cells]) -> np.ndarray:
    """Returns the cells of columns as numbers [N, D]: values, or places of levels.

    A missing cell, or the cell of a missing column, is NaN.

    Args:
      where: origin of the cells, for the errors.
      schema: facts of the D columns.
      part: cells by column.

    Raises:
      UserError: with the row and the column of a text that is not a number or not a level.
    """
    rows = max(len(cells.codes) for cells in part.values())
    x = np.full((rows, len(schema)), np.nan)
    for place, column in enumerate(schema):
        cells = part.get(column["name"], Cells([], np.full(rows, -1)))
        values = [_number(where, column, text, cells) for text in cells.texts]
        x[:, place] = np.array([*values, np.nan])[cells.codes]
    return x


def _number(where: str, column: Mapping[str, Any], text: str, cells: Cells) -> float:
    """Returns the number of a text of `cells`."""
    if column["kind"] in LEVELLED:
        return _place_of_level(where, column, text, cells)
    if column["kind"] == "date":
        try:
            return to_number(text, column["format"])
        except ValueError:
            expected = f"a date of the format {column['format']}"
            raise UserError(f"{_place(where, column, text, cells)} holds {text!r}; expected {expected}") from None
    whole = column["kind"] == "integer"
    if not is_number(text) or (whole and float(text) != round(float(text))):
        expected = "a whole number" if whole else "a number"
        raise UserError(f"{_place(where, column, text, cells)} holds {text!r}; expected {expected}")
    return float(text)


def _place_of_level(where: str, column: Mapping[str, Any], text: str, cells: Cells) -> float:
    levels = column["levels"]
    if text not in levels:
        text = column.get("other", text)
    if text not in levels:
        choose(f"level in {_place(where, column, text, cells)}:", text, levels)
    return float(levels.index(text))


def _place(where: str, column: Mapping[str, Any], text: str, cells: Cells) -> str:
    row = cells.row(np.flatnonzero(cells.codes == cells.texts.index(text))[0])
    return f"{where}, row {row}, column {column['name']!r}"


def texts_of(column: Mapping[str, Any], x: np.ndarray) -> list[str]:
    """Returns the values of a column as texts of cells. NaN becomes an empty text.

    Args:
      column: facts of the column.
      x: values [N].
    """
    if "levels" in column:
        levels = [*column["levels"], ""]
        return [levels[int(code)] for code in np.where(np.isnan(x), len(levels) - 1, x)]
    if column["kind"] == "date":
        return ["" if np.isnan(value) else to_text(value, column["format"]) for value in x.tolist()]
    digits = {"integer": 0}.get(column["kind"], column.get("decimals", FULL))
    # Because a number that the user gives may have more decimals than the column, it keeps all its decimals.
    short = np.round(x, digits) == x if digits < FULL else np.zeros(len(x), bool)
    return [
        "" if np.isnan(value) else f"{value + 0.0:.{digits}f}" if fits else repr(value)
        for value, fits in zip(x.tolist(), short)
    ]
