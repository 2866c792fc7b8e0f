"""A table as a source of rows: its schema, its cells as numbers, and the rows that are held out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash, files_hash
from gen_jax.data.source import Source, say_once
from gen_jax.data.tables.ids import facts_of_ids
from gen_jax.data.tables.schema import NOT_MODELLED, Columns, all_fit, facts_of_text, read_schema, same_columns
from gen_jax.data.tables.schema_inference import infer, with_range
from gen_jax.data.tables.statistics import marginals
from gen_jax.data.tables.text_columns import Cells, cells_of_values, read_cells
from gen_jax.data.tables.values import numbers
from gen_jax.errors import UserError, check_share

FEWEST_HELD_OUT = 100  # smallest number of rows of a table of which a share is held out
HOLDOUT = 4  # first number of the seed, so that no two uses share their noise

Part = Mapping[str, Cells]  # columns of a split by name


def table_source(
    name: str, parts: Mapping[str, Part], options: Mapping[str, Any], content: str, facts: Mapping[str, dict] = {}
) -> Source:
    """Returns a table as a source of rows: `x` [n, D] float64, with levels as their places, and NaN for missing cells.

    Kinds, levels, and whether cells may be missing are inferred from all splits. All other facts are inferred from the
    training split.

    Args:
      name: name of the table.
      parts: the columns of each split.
      options: the `data` section of a config. If `columns` is set, it is a complete schema.
      content: hash of the cells.
      facts: facts by column of a built-in set, which `options["schema"]` overrides; by default none.

    Raises:
      UserError: for splits with different columns, a schema that does not fit, or a column that cannot be modelled.
    """
    split = options["split"] if options["split"] in parts else next(iter(parts))
    names, finished = [*parts[split]], options.get("columns")
    expected = [column["name"] for column in finished or ()] or names
    for other, part in parts.items():
        same_columns(f"{name}, {other}", part, expected)
    users = read_schema(options.get("schema"), names)
    facts = {**facts, **users}
    dropped = [column for column, fact in facts.items() if fact.get("kind") in NOT_MODELLED]
    if finished:
        schema = finished
        x = {other: numbers(f"{name}, {other}", schema, part) for other, part in parts.items()}
    else:
        if len(next(iter(parts[split].values())).codes) < 2:
            raise UserError(f"{name} has one row to learn from; expected at least two")
        kept = [column for column in names if column not in dropped]
        schema = inferred_schema(name, kept, parts, facts, users)
        x = {other: numbers(f"{name}, {other}", schema, part) for other, part in parts.items()}
        schema = schema_with_ranges(name, schema, x[split], parts[split], users)
    info = {"columns": schema, "dropped": dropped, "marginals": marginals(schema, x[split])}
    ids = [column for column in names if facts.get(column, {}).get("kind") == "id"]
    if ids:
        info["ids"] = facts_of_id_columns(parts[split], ids, dropped)
    sizes = {other: len(rows) for other, rows in x.items()}
    return Source(
        name=name,
        kind="table",
        shape=(len(schema),),
        dtype=np.dtype(np.float64),
        sizes=sizes,
        rows=lambda split, indices: {"x": x[split][indices]},
        content=content_hash(content, schema, sizes),
        info=info,
    )


def inferred_schema(
    table: str, names: Sequence[str], parts: Mapping[str, Part], facts: Mapping[str, dict], users: Mapping[str, dict]
) -> Columns:
    """Returns the facts of columns without their ranges.

    Args:
      table: name of the table.
      names: names of the columns that are modelled.
      parts: the columns of each split.
      facts: all facts by column that are not inferred.
      users: the part of these facts that the user writes.

    Raises:
      UserError: for columns that cannot be modelled, or a schema that drops all columns.
    """
    if not names:
        raise UserError(f"schema of {table} drops every column; expected at least one column to learn")
    facts_of = lambda name: infer(name, [part[name] for part in parts.values()], facts.get(name, {}))
    return all_fit(table, users, names, facts_of)


def schema_with_ranges(table: str, schema: Columns, x: np.ndarray, part: Part, users: Mapping[str, dict]) -> Columns:
    """Returns the facts of columns with the ranges of the training rows.

    Args:
      table: name of the table.
      schema: facts of the columns without their ranges.
      x: training rows [N, D].
      part: texts of the training rows.
      users: facts by column that the user writes.

    Raises:
      UserError: for columns that cannot be modelled.
    """
    places = {column["name"]: place for place, column in enumerate(schema)}
    facts_of = lambda name: with_range(schema[places[name]], x[:, places[name]], part[name])
    return all_fit(table, users, [*places], facts_of)


def facts_of_id_columns(part: Part, ids: Sequence[str], dropped: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the facts of each column of ids: name, place in a file of drawn rows, and form of the ids.

    Args:
      part: columns of the training split.
      ids: names of the columns of ids.
      dropped: names of the columns that are not modelled.
    """
    written = [column for column in part if column not in dropped or column in ids]
    return [{"name": column, "at": written.index(column), **facts_of_ids(part[column].texts)} for column in ids]


def open_table(path: Path, options: Mapping[str, Any], content: str) -> Source:
    """Opens a user's CSV or Parquet file as the training split, and `data.test_path` as the test split.

    Without `data.test_path`, a share `data.holdout` of the rows is the test split, if there are at least
    `FEWEST_HELD_OUT` rows.

    Args:
      path: the file.
      options: the `data` section of a config.
      content: hash of the file.

    Raises:
      UserError: for a file that cannot be read, and in the cases of `table_source`.
    """
    texts = facts_of_text(options)
    reading = {option: options[option] for option in ("separator", "decimal") if options.get(option)}
    if reading:
        content = content_hash(content, reading)
    parts = {options["split"]: read_cells(path, None, options, *texts)}
    if options.get("test_path") is not None:
        test = Path(options["test_path"]).expanduser()
        parts[options["test_split"]] = read_cells(test, None, options, *texts)
        content = content_hash(content, files_hash([test]))
    elif not options.get("columns"):
        parts = with_holdout(path, parts, options)
    return table_source(path.name.split(".")[0], parts, options, content)


def is_table(x: Any) -> bool:
    """Returns whether values are columns by name, as in a dictionary or a data frame.

    Args:
      x: the values.
    """
    return hasattr(x, "items") and getattr(x, "ndim", 2) == 2  # because a series of pandas has `items` too


def table_in_memory(name: str, parts: Mapping[str, Any], options: Mapping[str, Any]) -> Source:
    """Opens a table of a program, whose cells are read as those of a file.

    Without a test split, a share `data.holdout` of the rows is the test split, as in `open_table`.

    Args:
      name: name of the data.
      parts: columns by name of each split, or an array [N, D], whose columns are x0, x1, ...
      options: the `data` section of a config.

    Raises:
      UserError: for values that are not a table, and in the cases of `table_source`.
    """
    texts = facts_of_text(options)
    cells = {split: cells_of_values(f"{name}, {split}", columns_in(values), *texts) for split, values in parts.items()}
    facts = [
        [split, column, each.texts, each.codes.tolist()]
        for split, columns in cells.items()
        for column, each in columns.items()
    ]
    if len(cells) == 1 and not options.get("columns"):
        cells = with_holdout(name, cells, options)
    return table_source(name, cells, options, content_hash(*facts))


def columns_in(values: Any) -> dict[str, Any]:
    """Returns the columns of a table by name.

    Args:
      values: columns by name, or an array [N, D].

    Raises:
      UserError: for anything else.
    """
    if is_table(values):
        return {str(name): column for name, column in values.items()}
    try:
        x = np.asarray(values)
    except ValueError:
        x = np.empty(0)
    if x.ndim != 2:
        raise UserError(f"table is of type {type(values).__name__}; expected columns by name, or an array [N, D]")
    return {f"x{place}": x[:, place] for place in range(x.shape[1])}


def with_holdout(
    path: Path | str, parts: dict[str, dict[str, Cells]], options: Mapping[str, Any]
) -> dict[str, dict[str, Cells]]:
    """Returns the rows of a table in two splits. The held-out rows depend on the number of rows alone.

    Args:
      path: file or name of the table.
      parts: columns of the only split.
      options: the `data` section of a config.

    Raises:
      UserError: for a share below 0, or a share of 1 or more.
    """
    share, split, test = options.get("holdout") or 0, options["split"], options["test_split"]
    check_share("data.holdout", share)
    rows = len(next(iter(parts[split].values())).codes)
    num = round(share * rows)
    if not num or rows < FEWEST_HELD_OUT or split == test:
        return parts
    held_out = np.zeros(rows, bool)
    held_out[np.random.default_rng([HOLDOUT, rows]).permutation(rows)[:num]] = True
    say_once(
        f"{path}: {num:,} of its {rows:,} rows are the test split; --config.data.holdout=0 learns from all of them"
    )
    return {
        name: {column: Cells(cells.texts, cells.codes[chosen], chosen) for column, cells in parts[split].items()}
        for name, chosen in ((split, np.flatnonzero(~held_out)), (test, np.flatnonzero(held_out)))
    }
