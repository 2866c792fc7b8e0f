"""Reads CSV and Parquet files as columns of text. The module `values` gives the texts their meaning."""

import bz2
import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.limits import Bounded, ask
from gen_jax.data.source import say_once
from gen_jax.errors import UserError

EMPTY = frozenset(("", "?", "NA", "N/A", "NaN", "nan", "NULL", "null"))  # texts of missing cells
SUFFIXES = (".csv", ".csv.gz", ".csv.bz2", ".tsv", ".tsv.gz", ".tsv.bz2", ".parquet")
NUMBER = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
COMMA = re.compile(r"-?(\d+|\d{1,3}(\.\d{3})+)(,\d+)?")  # a number with a decimal comma, and points between thousands
RAGGED = re.compile(r"Row #(\d+): Expected \d+ columns, got (\d+): (.*)", re.DOTALL)  # message of pyarrow
OPEN: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}
SEPARATORS = (",", ";", "\t", "|")
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?')  # line of Excel
HEAD, LINES = 1 << 16, 20  # smallest numbers of bytes and of lines from which the format of a file is guessed


class Cells(NamedTuple):
    """Holds a column of text: its distinct texts, and the place of the text of each of its N cells."""

    texts: list[str]
    codes: np.ndarray  # [N] int64, -1 if the cell is missing
    rows: np.ndarray | None = None  # [N] row numbers of the cells in the file; None for all rows

    def row(self, place: int) -> int:
        """Returns the number of a row in its file, counted from 1.

        Args:
          place: place of the row in the column, from 0.
        """
        return 1 + int(place if self.rows is None else self.rows[place])


def suffix_of(path: Path) -> str:
    """Returns the suffix of a file in lower case. For a compressed file it has two parts, such as `.csv.gz`.

    Args:
      path: the file.
    """
    return ("".join(path.suffixes[-2:]) if path.suffix.lower() in OPEN else path.suffix).lower()


def is_number(text: str) -> bool:
    """Returns whether a text is a decimal number that is finite and has no white space.

    Args:
      text: the text.
    """
    return NUMBER.fullmatch(text) is not None and bool(np.isfinite(float(text)))


def cells_of(texts: Iterable[str]) -> Cells:
    """Returns a column with these texts in its cells.

    Args:
      texts: the texts.
    """
    distinct, codes = np.unique(np.array([*texts], object).astype(str), return_inverse=True)
    return trimmed(distinct.tolist(), codes)


def trimmed(texts: Sequence[str], codes: np.ndarray, empty: Collection[str] = EMPTY) -> Cells:
    """Returns a column without the white space around its texts. Texts in `empty` become missing cells.

    Args:
      texts: distinct texts.
      codes: place of the text of each cell [N]; -1 if the cell is missing.
      empty: texts of missing cells; by default `EMPTY`.
    """
    texts = [text.strip() for text in texts]
    kept = sorted({*texts}.difference(empty))
    places = {text: place for place, text in enumerate(kept)}
    moved = np.array([*(places.get(text, -1) for text in texts), -1], np.int64)
    return Cells(kept, moved[np.asarray(codes, np.int64)])


class Layout(NamedTuple):
    """Describes the format of a CSV file."""

    encoding: str
    separator: str
    lines: int  # number of lines before the first row of cells
    names: list[str]
    nameless: frozenset[str] = frozenset()  # substitutes for names that are blank in the first row


def read_cells(
    path: Path,
    names: Sequence[str] | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
    levels: Mapping[str, Collection[str]] = MappingProxyType({}),
    empty: Mapping[str, Collection[str]] = MappingProxyType({}),
    symbols: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> dict[str, Cells]:
    """Returns the columns of a file by name.

    White space around a cell is removed, and the texts in `EMPTY` are missing cells. A column without a name is named
    by its place, and is left out if all its cells are missing.

    Args:
      path: a file with a suffix in `SUFFIXES`. The first row of a CSV file that is not blank holds the names. If all
        its cells are numbers, there are no names, and the columns are x0, x1, ...
      names: names of the columns of a CSV file without names; by default None.
      options: the `data` section of a config, in which `separator` and `decimal` replace the guess; by default empty.
      levels: texts by column that are levels although they are in `EMPTY`; by default none.
      empty: further texts by column that are missing cells; by default none.
      symbols: symbols by column that are removed from numbers (currency signs, percent signs, thousands separators); by
        default none.

    Raises:
      UserError: for a file that cannot be read, a file without rows, rows of unequal length, or two columns of one
        name.
    """
    path = path.expanduser()
    if not path.is_file():
        raise UserError(f"{path} does not exist; expected a file")
    decimal: str | None = "."
    nameless: frozenset[str] = frozenset()
    if path.suffix.lower() == ".parquet":
        table = _parquet(path)
    else:
        table, layout = _csv(path, names, options.get("separator"))
        decimal, nameless = options.get("decimal") or ("." if layout.separator == "," else None), layout.nameless
    columns = _columns(path, table, levels, empty, symbols, decimal)
    return {name: cells for name, cells in columns.items() if cells.texts or name not in nameless}


def cells_of_values(
    origin: str,
    values: Mapping[str, Any],
    levels: Mapping[str, Collection[str]] = MappingProxyType({}),
    empty: Mapping[str, Collection[str]] = MappingProxyType({}),
    symbols: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> dict[str, Cells]:
    """Returns columns of values in memory by name. Their cells are read as those of a Parquet file.

    Args:
      origin: name of the table, for the errors.
      values: values by column: numbers, texts, truth values or dates; None and NaN are missing cells.
      levels: as in `read_cells`.
      empty: as in `read_cells`.
      symbols: as in `read_cells`.

    Raises:
      UserError: for columns of unequal length, a column of several types or axes, or a table without rows.
    """
    import pyarrow

    arrays = {}
    for name, column in values.items():
        try:
            arrays[name] = pyarrow.array(column, from_pandas=True)
        except (pyarrow.ArrowException, TypeError, ValueError) as error:
            raise UserError(
                f"column {name!r} of {origin} mixes types ({_line(error)}); expected a list of numbers, or of texts"
            ) from None
    lengths = {name: len(column) for name, column in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name!r} {length}" for name, length in lengths.items())
        raise UserError(f"columns of {origin} have several lengths, {listed:.80}; expected one length")
    return _columns(origin, pyarrow.table(arrays), levels, empty, symbols, ".")


def _columns(
    path: Path | str,
    table: Any,
    levels: Mapping[str, Collection[str]],
    empty: Mapping[str, Collection[str]],
    symbols: Mapping[str, Collection[str]],
    decimal: str | None,
) -> dict[str, Cells]:
    double = [name for name, times in Counter(table.column_names).items() if times > 1]
    if double:
        raise UserError(f"{path}: two columns are named {min(double)!r}; expected one of each name")
    if not table.num_rows or not table.num_columns:
        raise UserError(f"{path} has {table.num_columns} columns and no rows; expected at least one row")
    columns = {}
    for name in table.column_names:
        texts, codes = _column(path, name, table[name])
        texts = [without(text, symbols[name]) for text in texts] if name in symbols else texts
        texts = _with_points(path, name, texts, decimal)
        columns[name] = trimmed(texts, codes, EMPTY.union(empty.get(name, ())).difference(levels.get(name, ())))
    return columns


def without(text: str, symbols: Collection[str]) -> str:
    """Returns a text without given symbols, and without the white space around the rest.

    Args:
      text: the text.
      symbols: the symbols.
    """
    for symbol in symbols:
        text = text.replace(symbol, "")
    return text.strip()


def _column(path: Path | str, name: str, column: Any) -> tuple[list[str], np.ndarray]:
    import pyarrow

    try:
        coded = column.cast(pyarrow.string()).combine_chunks().dictionary_encode()
    except pyarrow.ArrowException:
        raise UserError(f"{path}: column {name!r} holds {column.type}; expected numbers or text") from None
    coded = coded.combine_chunks() if isinstance(coded, pyarrow.ChunkedArray) else coded
    return coded.dictionary.to_pylist(), coded.indices.fill_null(-1).to_numpy(zero_copy_only=False)


def _with_points(path: Path | str, name: str, texts: list[str], decimal: str | None) -> list[str]:
    """Returns the texts of a column with decimal points instead of decimal commas.

    If `decimal` is None, the decimal sign is guessed from all texts.
    """
    if decimal == ".":
        return texts
    cells = [text for text in (text.strip() for text in texts) if text not in EMPTY]
    commas = all(COMMA.fullmatch(text) for text in cells) and any("," in text for text in cells)
    if not commas:
        return texts
    if decimal is None:
        say_once(f"{path}: the numbers of column {name!r} have decimal commas")
    return [text.replace(".", "").replace(",", ".") for text in texts]


def _parquet(path: Path) -> Any:
    import pyarrow.parquet  # slow to import, like its reader of CSV

    try:
        facts = pyarrow.parquet.read_metadata(path)
        ask(sum(facts.row_group(group).total_byte_size for group in range(facts.num_row_groups)), path)
        return pyarrow.parquet.read_table(path)
    except UserError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} is not readable ({_line(error)}); expected a Parquet file") from None


def _csv(path: Path, names: Sequence[str] | None, separator: str | None) -> tuple[Any, Layout]:
    """Returns the table of a CSV file, with all cells as text, and the format of the file."""
    layout = _layout(path, names, separator)
    try:
        table = _rows(path, layout)
    except UnicodeError:
        say_once(f"{path}: it is not UTF-8 and is read as Windows-1252")
        layout = _layout(path, names, separator, "cp1252")
        table = _rows(path, layout)
    return table.rename_columns(layout.names), layout


def _rows(path: Path, layout: Layout) -> Any:
    import pyarrow.csv

    names, numbered = layout.names, [f"{place}" for place in range(len(layout.names))]
    try:
        with Bounded(OPEN.get(path.suffix.lower(), open)(path, "rb"), path) as file:
            return pyarrow.csv.read_csv(
                file,
                pyarrow.csv.ReadOptions(
                    use_threads=False, column_names=numbered, skip_rows=layout.lines, encoding=layout.encoding
                ),
                pyarrow.csv.ParseOptions(delimiter=layout.separator, newlines_in_values=True),
                pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(numbered, pyarrow.string())),
            )
    except UserError:
        raise
    except (pyarrow.ArrowException, OSError, EOFError, UnicodeError, zlib.error) as error:
        if wrong := RAGGED.search(str(error)):
            raise UserError(
                f"{path}: row {wrong[1]} has {wrong[2]} cells; expected {len(names)}, as in the first row: "
                f"{_line(wrong[3])}"
            ) from None
        if layout.encoding == "utf-8" and ("UTF8" in str(error) or isinstance(error, UnicodeError)):
            raise UnicodeError from None
        raise UserError(f"{path} is not readable ({_line(error)}); expected a CSV file") from None


def _layout(path: Path, names: Sequence[str] | None, separator: str | None, encoding: str | None = None) -> Layout:
    """Guesses the format of a CSV file from its beginning.

    Args:
      path: the file.
      names: names of the columns, if the file has no names.
      separator: replaces the guess, if it is set.
      encoding: replaces the guess, if it is set.
    """
    head, whole = _beginning(path)
    if encoding is None:
        encoding = "utf-16" if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    text = head.decode("utf-8-sig" if encoding == "utf-8" else encoding, "replace")
    if not whole:
        text = text[: text.rfind("\n") + 1] or text
    lines = text.splitlines(keepends=True)
    skipped = next((place for place, line in enumerate(lines) if line.strip()), len(lines))  # blank lines
    setting = SEPARATOR_LINE.fullmatch(lines[skipped].strip()) if skipped < len(lines) else None
    if setting:
        separator = separator or setting[1]
        skipped += 1
    text = "".join(lines[skipped:])
    separator = separator or _separator(path, text)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        first = next(reader, [])
    except (csv.Error, TypeError) as error:
        raise UserError(f"{path} is not readable ({_line(error)}); expected a CSV file") from None
    if not first:
        raise UserError(f"{path} is empty; expected a first row with the names of the columns, then rows")
    if names is not None:
        return Layout(encoding, separator, skipped, [*names])
    if all(is_number(cell.strip()) for cell in first):  # no row of names
        return Layout(encoding, separator, skipped, [f"x{place}" for place in range(len(first))])
    listed = [cell.strip() or f"column {place + 1}" for place, cell in enumerate(first)]
    nameless = [name for name, cell in zip(listed, first) if not cell.strip()]
    if nameless:
        say_once(f"{path}: {', '.join(nameless)} has no name in the first row")
    return Layout(encoding, separator, skipped + reader.line_num, listed, frozenset(nameless))


def _beginning(path: Path) -> tuple[bytes, bool]:
    """Returns at least `HEAD` bytes and `LINES` lines of a file, and whether they are the whole file."""
    try:
        with Bounded(OPEN.get(path.suffix.lower(), open)(path, "rb"), path) as file:
            head = file.read(HEAD)
            while head.count(b"\n") < LINES and (rest := file.read(len(head))):  # because a row may be wide
                head += rest
            return head, not file.read(1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is not readable ({_line(error)}); expected a CSV file") from None


def _separator(path: Path, text: str) -> str:
    """Returns the first of `SEPARATORS` that splits all the first rows into the same number of cells; else a comma.

    The number of cells must be at least two.
    """
    for separator in SEPARATORS:
        try:
            rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
        except csv.Error:
            continue
        widths = {len(row) for row in rows}
        if len(widths) == 1 and widths != {1}:
            if separator != SEPARATORS[0]:
                say_once(f"{path}: its columns are separated by {separator!r}; --config.data.separator says otherwise")
            return separator
    return SEPARATORS[0]


def _line(text: Any) -> str:
    return " ".join(str(text).split())[:120]
