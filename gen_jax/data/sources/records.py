"""Reads metadata of rows: a CSV or TSV file with a row for each row of the data, or a JSON list of records."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gen_jax.data.limits import Bounded
from gen_jax.data.tables.text_columns import OPEN, suffix_of
from gen_jax.errors import UserError, readable

SEPARATORS_OF = {".csv": ",", ".tsv": "\t"}  # suffix -> separator, unless `data.separator` is set
SPLIT = "split"  # column with the split of each row


def metadata_file(setting: str, folder: Path) -> Path:
    """Returns the metadata file that the user names.

    Args:
      setting: its path, from the working directory or from the folder of the data.
      folder: folder of the data.

    Raises:
      UserError: for a file that does not exist.
    """
    for file in (Path(setting).expanduser(), folder / setting):
        if file.is_file():
            return file
    raise UserError(f"data.metadata {setting} does not exist; expected a CSV file or a JSON list, with a record a row")


def read_columns(file: Path, options: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Returns the columns of a metadata file by name.

    Args:
      file: a CSV file, a TSV file, or a JSON list of records. The first row of a CSV file holds the names.
      options: the `data` section of a config, of which `separator` is read.

    Raises:
      UserError: for a file that cannot be read, is empty, or has rows of different lengths or records of different
        keys.
    """
    suffix = suffix_of(file)
    if suffix == ".json":
        return _columns_of_records(file)
    if suffix.split(".gz")[0] not in SEPARATORS_OF:
        raise UserError(f"file type of {file} is {suffix!r}; expected metadata in a .csv, .tsv or .json file")
    rows = read_rows_of_text(file, options.get("separator") or SEPARATORS_OF[suffix.split(".gz")[0]])
    if len(rows) < 2:
        raise UserError(f"{file} has no rows; expected names of columns, then a row for each row of the data")
    names, cells = rows[0], rows[1:]
    if len({*names}) < len(names):
        raise UserError(f"columns of {file} are {', '.join(names)[:80]}; expected different names")
    return {name: [row[place] for row in cells] for place, name in enumerate(names)}


def read_rows_of_text(file: Path, separator: str) -> list[list[str]]:
    """Returns the cells of a CSV or TSV file, row by row, without blank rows.

    Cells of a TSV file have no quotation marks with a meaning.

    Args:
      file: the file, which may be compressed.
      separator: the separator.

    Raises:
      UserError: for a file that cannot be read, or has rows of different lengths.
    """
    with readable(f"{file}", "a text file"):
        text = read_whole_text(file)
        lines = io.StringIO(text, newline="")
        if separator == "\t":
            cells = csv.reader(lines, delimiter=separator, quoting=csv.QUOTE_NONE)
        else:
            cells = csv.reader(lines, delimiter=separator)
        rows = [(cells.line_num, row) for row in cells if row]
    for line, row in rows:
        if len(row) != len(rows[0][1]):
            raise UserError(
                f"line {line} of {file} has {len(row)} cells; expected {len(rows[0][1])}, as in the first row"
            )
    return [row for _, row in rows]


def read_whole_text(file: Path) -> str:
    """Returns the text of a file in UTF-8, which may be compressed.

    Args:
      file: the file.

    Raises:
      Exception: of any type, for a file that cannot be read; see `errors.readable`.
    """
    with Bounded(OPEN.get(file.suffix.lower(), open)(file, "rb"), file) as binary:
        return binary.read().decode("utf-8-sig")


def _columns_of_records(file: Path) -> dict[str, list[Any]]:
    with readable(f"{file}", "a JSON file"):
        records = json.loads(read_whole_text(file))
    if not isinstance(records, list) or not records or not all(isinstance(record, dict) for record in records):
        raise UserError(f"{file} holds other JSON; expected a list of records, one for each row")
    for number, record in enumerate(records):
        if record.keys() != records[0].keys():
            odd = min(record.keys() ^ records[0].keys())
            raise UserError(
                f"key {odd!r} of {file} is in record 1 or in record {number + 1} alone; expected equal keys"
            )
    return {name: [record[name] for record in records] for name in records[0]}
