"""Writes rows of a table as a CSV file, and as a CSV file without cells that a spreadsheet would run."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.ids import new_ids
from gen_jax.data.tables.text_columns import is_number
from gen_jax.data.tables.values import texts_of


def to_csv(samples: Mapping[str, np.ndarray], spec: Spec) -> bytes:
    """Returns rows as a CSV file with the names, levels and decimals of their columns, and new ids.

    Args:
      samples: `x` [N, D] in the domain of the table.
      spec: facts of the table.
    """
    texts = {column["name"]: texts_of(column, samples["x"][:, place]) for place, column in enumerate(columns(spec))}
    order = [*texts]
    for facts in spec.ids:
        order.insert(facts["at"], facts["name"])
        texts[facts["name"]] = new_ids(facts, samples["x"])
    return csv_of({name: texts[name] for name in order})


def csv_of(texts: Mapping[str, Sequence[str]]) -> bytes:
    """Returns columns of texts as a CSV file with their names in the first row.

    Args:
      texts: texts of each column by name.
    """
    return csv_rows([[*texts], *zip(*texts.values())])


def csv_rows(rows: Iterable[Iterable[str]]) -> bytes:
    """Returns rows of texts as a CSV file.

    Args:
      rows: the rows.
    """
    file = io.StringIO()
    plain = csv.writer(file, lineterminator="\n")
    quoted = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for row in rows:
        cells = [*row]
        # Because Python 3.11 writes a carriage return without quotation marks, a reader would begin another row.
        writer = quoted if any("\r" in cell for cell in cells) else plain
        writer.writerow(cells)
    return file.getvalue().encode()


def for_spreadsheets(content: bytes) -> bytes:
    """Returns a CSV file with an apostrophe before each cell that a spreadsheet would run as a formula.

    The spreadsheet then reads the cell as text. A cell that begins with `=`, `+`, `-` or `@` and is not a number is a
    formula. It may call programs or the network.

    Args:
      content: the CSV file.
    """
    rows = csv.reader(io.StringIO(content.decode(), newline=""))
    return csv_rows([f"'{cell}" if is_formula(cell) else cell for cell in row] for row in rows)


def is_formula(cell: str) -> bool:
    """Returns whether a spreadsheet would run a cell.

    Args:
      cell: text of the cell.
    """
    return cell.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r")) and not is_number(cell)


def formulas(spec: Spec) -> list[str]:
    """Returns the names and levels of a table that a spreadsheet would run.

    Args:
      spec: facts of the table.
    """
    return [
        text for column in columns(spec) for text in (column["name"], *column.get("levels", ())) if is_formula(text)
    ]
