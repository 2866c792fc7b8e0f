"""Tables: the schema of their columns, inferred or said, text cells to numbers and back. Where they are from: `table_sets`."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cells import Cells, is_number, read_cells
from gen_jax.data.source import Source, content_hash, files_hash
from gen_jax.data.spec import FULL, Spec, columns
from gen_jax.errors import UserError, choose

LEVELLED = ("categorical", "ordered")  # kinds of columns whose cells are one of some levels
KINDS = ("continuous", "integer", *LEVELLED, "drop")  # a dropped column is not modelled
SAID = ("kind", "levels", "decimals", "missing")  # what a user's schema may say of a column
MOST_LEVELS = 1000
BINS = 20  # of the marginal of a number

Columns = list[dict[str, Any]]


def table_source(
    name: str, parts: Mapping[str, Mapping[str, Cells]], options: Mapping[str, Any], known: str, said: Mapping = {}
) -> Source:
    """A table as a source of rows: `x` [n, D] float64, levels as their number, NaN where a cell is empty.

    The kinds, the levels and whether cells may be empty are inferred from all splits, the rest from the one learnt from.

    Args:
      parts: the columns of each split.
      options: the `data` section of a config; `columns` in it are a schema that is known already.
      known: a hash of the cells.
      said: the schema of a set of ours; `options["schema"]` overrides it.

    Raises:
      UserError: for splits with other columns, a schema that does not fit, or a column that cannot be modelled.
    """
    learnt = options["split"] if options["split"] in parts else next(iter(parts))
    fixed = options.get("columns")
    for split, part in parts.items():
        same_columns(f"{name}, {split}", part, [column["name"] for column in fixed or ()] or list(parts[learnt]))
    said = {**said, **read_schema(options.get("schema"), list(parts[learnt]))}
    if not fixed and len(next(iter(parts[learnt].values())).codes) < 2:
        raise UserError(f"{name} has one row to learn from, expected more")
    dropped = [column for column, facts in said.items() if facts.get("kind") == "drop"]
    kept = [column for column in parts[learnt] if column not in dropped]
    schema = fixed or [
        infer(name, column, [part[column] for part in parts.values()], said.get(column, {})) for column in kept
    ]
    if not schema:
        raise UserError(f"{name}: its schema drops every column: nothing is left to learn")
    x = {split: numbers(f"{name}, {split}", schema, part) for split, part in parts.items()}
    if not fixed:
        schema = [with_range(name, column, x[learnt][:, at]) for at, column in enumerate(schema)]
    info = {"columns": schema, "dropped": dropped, "marginals": marginals(schema, x[learnt])}
    sizes = {split: len(rows) for split, rows in x.items()}
    content, shape = content_hash(known, schema, sizes), (len(schema),)
    rows = lambda split, indices: {"x": x[split][indices]}
    return Source(name, "table", shape, np.dtype(np.float64), sizes, rows, content, info=info)


def open_table(path: Path, options: Mapping[str, Any], known: str) -> Source:
    """A user's CSV or Parquet file as the split that is learnt from, with `data.test_path` as the one of the tests."""
    parts, test = {options["split"]: read_cells(path)}, options.get("test_path")
    if test is not None:
        test = Path(test).expanduser()
        parts[options["test_split"]] = read_cells(test)
        known = content_hash(known, files_hash([test]))
    return table_source(path.name.split(".")[0], parts, options, known)


def same_columns(where: str, part: Mapping[str, Cells], expected: Sequence[str]) -> None:
    """Raises UserError where rows have other columns than those that are expected."""
    for column in expected:
        if column not in part:
            raise UserError(f"{where} lacks the column {column!r}; its columns are {', '.join(part)}")
    for column in part:
        choose(f"column of {where}", column, expected)


def read_schema(said: str | None, names: Sequence[str]) -> dict[str, dict]:
    """What a user says of columns, in a JSON file or as JSON itself: `{"size": {"kind": "ordered", "levels": ["S", "M"]}}`.

    Raises:
      UserError: for what is no such JSON, a column that there is not, or an unknown fact or kind.
    """
    if said is None:
        return {}
    try:
        schema = json.loads(said if said.lstrip().startswith("{") else Path(said).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"data.schema {said}: not a readable JSON file ({error})") from None
    if not isinstance(schema, dict) or not all(isinstance(facts, dict) for facts in schema.values()):
        raise UserError(
            f'data.schema {said}: expected columns with their facts, such as {{"age": {{"kind": "integer"}}}}'
        )
    for column, facts in schema.items():
        choose("column in data.schema", column, names)
        for fact in facts:
            choose(f"fact of column {column!r} in data.schema", fact, SAID)
        choose(f"kind of column {column!r} in data.schema", facts.get("kind", KINDS[0]), KINDS)
        if "levels" in facts:
            facts["levels"] = [str(level) for level in facts["levels"]]
    return schema


def infer(table: str, name: str, parts: Sequence[Cells], said: Mapping[str, Any]) -> dict[str, Any]:
    """What a column holds, without the range of its values; see `data.spec.columns`.

    Whole numbers are an `integer` (where there are at most two of them, levels), other numbers `continuous` with as many
    decimals as the longest has, everything else `categorical`. A user's schema beats that, level for level.

    Raises:
      UserError: for a column that is empty, has one value only, or too many levels.
    """
    texts = sorted({text for cells in parts for text in cells.texts})
    where = f"{table}: column {name!r}"
    out = f'leave it out by --config.data.schema=\'{{"{name}": {{"kind": "drop"}}}}\''
    if not texts and "levels" not in said:
        raise UserError(f"{where} is empty in every row: {out}")
    if len(texts) == 1 and not said:
        raise UserError(f"{where} holds {texts[0]!r} and no other value, there is nothing to learn: {out}")
    missing = bool(said.get("missing", any((cells.codes < 0).any() for cells in parts)))
    kind = said.get("kind") or ("categorical" if "levels" in said else guess(texts))
    facts = {"name": name, "kind": kind, "missing": missing}
    if kind == "integer":
        return facts
    if kind == "continuous":
        return {**facts, "decimals": int(said.get("decimals", decimals(texts)))}
    if kind == "ordered" and "levels" not in said and not all(map(is_number, texts)):
        raise UserError(f"{where} is ordered: expected its levels in data.schema, from the least to the greatest")
    levels = said.get("levels") or sorted(texts, key=float if all(map(is_number, texts)) else str)
    if len(levels) > MOST_LEVELS:
        odd = next((text for text in levels if not is_number(text)), levels[0])
        raise UserError(f"{where} has {len(levels):,} levels, such as {odd!r}; expected at most {MOST_LEVELS}: {out}")
    if len({*levels}) < len(levels):
        raise UserError(f"{where}: a level stands twice among {', '.join(levels)}")
    return {**facts, "levels": levels}


def guess(texts: Sequence[str]) -> str:
    """The kind of a column that holds these texts."""
    if not all(map(is_number, texts)):
        return "categorical"
    if not all(text.removeprefix("-").isdecimal() for text in texts):
        return "continuous"
    coded = any(len(text) > 1 and text.startswith("0") for text in texts)  # a postal code
    return "categorical" if coded or len(texts) <= 2 else "integer"


def decimals(texts: Sequence[str]) -> int:
    """The decimals of the longest of some numbers; `FULL` where one is written with an exponent or has as many."""
    if any("e" in text.lower() for text in texts):
        return FULL
    return min(FULL, max((len(text.partition(".")[2]) for text in texts), default=FULL))


def numbers(where: str, schema: Columns, part: Mapping[str, Cells]) -> np.ndarray:
    """The cells of columns as numbers [N, D]: values, or of levels their place; NaN where a cell is empty or not there.

    Raises:
      UserError: naming the row and the column of a text that is no number, or no level, and the nearest level.
    """
    rows = max(len(cells.codes) for cells in part.values())
    x = np.full((rows, len(schema)), np.nan)
    for at, column in enumerate(schema):
        cells = part.get(column["name"], Cells([], np.full(rows, -1)))
        values = [_number(where, column, text, cells) for text in cells.texts]
        x[:, at] = np.array([*values, np.nan])[cells.codes]
    return x


def _number(where: str, column: Mapping[str, Any], text: str, cells: Cells) -> float:
    def place() -> str:
        row = 1 + np.flatnonzero(cells.codes == cells.texts.index(text))[0]
        return f"{where}, row {row}, column {column['name']!r}"

    if column["kind"] in LEVELLED:
        known = column["levels"]
        return float(known.index(text if text in known else choose(f"level in {place()}:", text, known)))
    if not is_number(text) or (column["kind"] == "integer" and float(text) != round(float(text))):
        raise UserError(f"{place()} holds {text!r}; expected a{' whole' * (column['kind'] == 'integer')} number")
    return float(text)


def with_range(table: str, column: Mapping[str, Any], x: np.ndarray) -> dict[str, Any]:
    """A column with the smallest and the largest of its values [N] that are learnt from."""
    seen = x[~np.isnan(x)]
    if not len(seen):
        raise UserError(f"{table}: column {column['name']!r} is empty in every row that is learnt from")
    last = float(len(column.get("levels", ())) - 1)
    low, high = (0.0, last) if "levels" in column else (float(seen.min()), float(seen.max()))
    return {**column, "low": low, "high": high}


def marginals(schema: Columns, x: np.ndarray) -> list[list[float]]:
    """Of each column the shares of its levels, or of the parts of its range, for the picture of samples."""
    return [shares(column, x[:, at]).tolist() for at, column in enumerate(schema)]


def shares(column: Mapping[str, Any], x: np.ndarray) -> np.ndarray:
    """As `marginals`, of one column [N]; values beyond the range count to its ends."""
    edges = parts(column)
    counts = np.histogram(np.clip(x[~np.isnan(x)], column["low"], column["high"]), edges)[0]
    return np.round(counts / max(counts.sum(), 1), 6)


def parts(column: Mapping[str, Any]) -> np.ndarray:
    """The edges of a column's levels, or of at most `BINS` equal parts of its range.

    As many of the numbers that can be written with the column's decimals fall into each part.
    """
    low, high = column["low"], column["high"]
    digits = 0 if "levels" in column or column["kind"] == "integer" else column["decimals"]
    gap, most = 10.0**-digits, BINS if "levels" not in column else len(column["levels"])
    values = round((high - low) / gap) + 1
    if digits >= FULL or values > gap * 1e9:
        return np.linspace(low, max(high, low + 1e-9), BINS + 1)
    width = -(-values // most)
    return low + gap * (width * np.arange(-(-values // width) + 1) - 0.5)


def standard(source: Source, split: str) -> tuple[list[float], ...]:
    """Shift, scale, low and high of the columns: numbers get mean 0 and deviation 1, levels stay as they are."""
    schema, x = source.info["columns"], source.rows(split, np.arange(source.sizes[split]))["x"]
    real = np.array(["levels" not in column for column in schema])
    deviation = np.nanstd(x, 0)
    scale = np.where(real & (deviation > 0), deviation, 1.0)
    limits = ([column[end] for column in schema] for end in ("low", "high"))
    return np.where(real, np.nanmean(x, 0), 0.0).tolist(), scale.tolist(), *limits


def texts_of(column: Mapping[str, Any], x: np.ndarray) -> list[str]:
    """The cells of a column as text; empty where NaN."""
    if "levels" in column:
        known = [*column["levels"], ""]
        return [known[int(code)] for code in np.where(np.isnan(x), len(known) - 1, x)]
    digits = {"integer": 0}.get(column["kind"], column.get("decimals", FULL))
    fits = np.round(x, digits) == x if digits < FULL else np.zeros(len(x), bool)  # not a user's own longer number
    return [
        "" if np.isnan(value) else f"{value + 0.0:.{digits}f}" if fit else repr(value)
        for value, fit in zip(x.tolist(), fits)
    ]


def to_csv(samples: Mapping[str, np.ndarray], spec: Spec) -> bytes:
    """Rows `x` [N, D] of a table's own domain as a CSV file with the names, levels and decimals of its columns."""
    schema, file = columns(spec), io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column["name"] for column in schema])
    writer.writerows(zip(*(texts_of(column, samples["x"][:, at]) for at, column in enumerate(schema))))
    return file.getvalue().encode()
