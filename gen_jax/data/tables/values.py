"""The cells of a table as numbers, and numbers as cells."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.data.spec import FULL
from gen_jax.data.tables.dates import to_number, to_text
from gen_jax.data.tables.schema import LEVELLED, Columns
from gen_jax.data.tables.text_columns import Cells, is_number
from gen_jax.errors import UserError, choose


def numbers(where: str, schema: Columns, part: Mapping[str, Cells]) -> np.ndarray:
    """Returns the cells of columns as numbers [N, D]: values, or the places of levels; NaN if a cell or its column is missing.

    Args:
      where: what the cells are of, for errors.
      schema: the facts of the D columns.
      part: cells by column.

    Raises:
      UserError: for the row and the column of a text that is no number, or no level.
    """
    rows = max(len(cells.codes) for cells in part.values())
    x = np.full((rows, len(schema)), np.nan)
    for place, column in enumerate(schema):
        cells = part.get(column["name"], Cells([], np.full(rows, -1)))
        values = [_number(where, column, text, cells) for text in cells.texts]
        x[:, place] = np.array([*values, np.nan])[cells.codes]
    return x


def _number(where: str, column: Mapping[str, Any], text: str, cells: Cells) -> float:
    """Returns the number of one of the texts of `cells`."""
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
    """Returns the values x [N] of a column as texts of cells; NaN becomes an empty text."""
    if "levels" in column:
        levels = [*column["levels"], ""]
        return [levels[int(code)] for code in np.where(np.isnan(x), len(levels) - 1, x)]
    if column["kind"] == "date":
        return ["" if np.isnan(value) else to_text(value, column["format"]) for value in x.tolist()]
    digits = {"integer": 0}.get(column["kind"], column.get("decimals", FULL))
    # A number that the user gives may have more decimals than the column, and keeps them.
    short = np.round(x, digits) == x if digits < FULL else np.zeros(len(x), bool)
    return [
        "" if np.isnan(value) else f"{value + 0.0:.{digits}f}" if fits else repr(value)
        for value, fits in zip(x.tolist(), short)
    ]
