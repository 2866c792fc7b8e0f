"""The cells of CSV and Parquet files as text, column by column. What they mean is said in `tables`."""

import bz2
import csv
import gzip
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen_jax.errors import UserError

EMPTY = frozenset(("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null"))  # cells that are missing
SUFFIXES = (".csv", ".csv.gz", ".csv.bz2", ".parquet")
NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
OPEN = {".gz": gzip.open, ".bz2": bz2.open}


class Cells(NamedTuple):
    """A column of text: each distinct text once, and which of them each of its N cells holds."""

    texts: list[str]
    codes: np.ndarray  # [N] int64, -1 where the cell is empty


def suffix_of(path: Path) -> str:
    """The suffix of a file, with the one before where it is compressed: `.csv.gz`."""
    return "".join(path.suffixes[-2:]) if path.suffix in OPEN else path.suffix


def is_number(text: str) -> bool:
    """Whether a text is a decimal number, finite and without white space."""
    return NUMBER.fullmatch(text) is not None and bool(np.isfinite(float(text)))


def cells_of(texts: Iterable[str]) -> Cells:
    """A column of so many texts."""
    distinct, codes = np.unique(np.array([*texts], object).astype(str), return_inverse=True)
    return trimmed(distinct.tolist(), codes)


def trimmed(texts: Sequence[str], codes: np.ndarray) -> Cells:
    """A column whose texts lose the white space around them; those that then say that they are missing are empty."""
    texts = [text.strip() for text in texts]
    kept = sorted({*texts} - EMPTY)
    place = {text: at for at, text in enumerate(kept)}
    moved = np.array([*(place.get(text, -1) for text in texts), -1], np.int64)
    return Cells(kept, moved[np.asarray(codes, np.int64)])


def read_cells(path: Path, names: Sequence[str] | None = None) -> dict[str, Cells]:
    """The columns of a file by name. White space around a cell is dropped; the texts in `EMPTY` are empty cells.

    Args:
      path: a file with one of `SUFFIXES`. The first row of a CSV holds the names, unless all its cells are numbers: then
        there are none, and the columns are x0, x1, ...
      names: of a CSV without names.

    Raises:
      UserError: for a file that cannot be read, has no rows, rows of unequal length, or two columns of one name.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    table = _parquet(path) if path.suffix == ".parquet" else _csv(path, names)
    double = {name for name in table.column_names if table.column_names.count(name) > 1}
    if double:
        raise UserError(f"{path}: two columns are named {min(double)!r}; expected one of each name")
    if not table.num_rows or not table.num_columns:
        raise UserError(f"{path}: it has {table.num_columns} columns and no rows; expected at least one row")
    return {name: _column(path, name, table[name]) for name in table.column_names}


def _column(path: Path, name: str, column: Any) -> Cells:
    import pyarrow

    try:
        coded = column.cast(pyarrow.string()).combine_chunks().dictionary_encode()
    except pyarrow.ArrowException:
        raise UserError(f"{path}: column {name!r} holds {column.type}; expected numbers or text") from None
    coded = coded.combine_chunks() if isinstance(coded, pyarrow.ChunkedArray) else coded
    return trimmed(coded.dictionary.to_pylist(), coded.indices.fill_null(-1).to_numpy(zero_copy_only=False))


def _parquet(path: Path) -> Any:
    import pyarrow.parquet  # slow to import, as is its reader of CSV

    try:
        return pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({_line(error)})") from None


def _csv(path: Path, names: Sequence[str] | None) -> Any:
    import pyarrow.csv

    first = _first_row(path)
    nameless = names is not None or all(is_number(cell.strip()) for cell in first)
    names = names or ([f"x{at}" for at in range(len(first))] if nameless else [cell.strip() for cell in first])
    if "" in names:
        raise UserError(f"{path}: column {names.index('') + 1} has no name; the first row is to name every column")
    wrong: list[Any] = []

    def ragged(row: Any) -> str:
        wrong.append(row)
        return "error"

    numbered = [f"{at}" for at in range(len(names))]
    try:
        table = pyarrow.csv.read_csv(
            path,
            pyarrow.csv.ReadOptions(use_threads=False, column_names=numbered, skip_rows=0 if nameless else 1),
            pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=ragged),
            pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(numbered, pyarrow.string())),
        )
    except (pyarrow.ArrowException, OSError) as error:
        if wrong:
            cells = f"{wrong[0].actual_columns} cells; expected {len(names)}, as in the first row"
            raise UserError(f"{path}: row {wrong[0].number} has {cells}: {_line(wrong[0].text)}") from None
        raise UserError(f"{path}: not a readable CSV file ({_line(error)})") from None
    return table.rename_columns(list(names))


def _first_row(path: Path) -> list[str]:
    try:
        with OPEN.get(path.suffix, open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            first = next(csv.reader(file), [])
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a readable CSV file ({_line(error)})") from None
    if not first:
        raise UserError(f"{path}: it is empty; expected a first row with the names of the columns, then rows")
    return first


def _line(text: Any) -> str:
    return " ".join(str(text).split())[:120]
