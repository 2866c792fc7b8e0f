"""The schema of a table: the facts of its columns in the form that a user writes.

Columns that do not fit raise errors with a schema that mends them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from gen_jax.data.domain import FULL
from gen_jax.data.spec import schema_setting
from gen_jax.data.tables.text_columns import Cells
from gen_jax.errors import UserError, choose

LEVELLED = ("categorical", "ordered")  # kinds of columns whose cells are levels
NOT_MODELLED = ("drop", "id")  # kinds of columns that are not modelled; drawn rows get new ids
KINDS = ("continuous", "integer", "date", *LEVELLED, *NOT_MODELLED)
TYPES = {  # facts of a column that a user may write
    "kind": (str, "a kind"),
    "levels": (list, "a list of levels"),
    "decimals": (int, "a whole number"),
    "format": (str, "a format of dates"),
    "missing": (bool, "true or false"),
    "empty": (list, "a list of texts"),
    "symbols": (list, "a list of texts"),
    "bounded": (bool, "true or false"),
    "common": (int, "a whole number"),
    "other": (str, "a level"),
}

Columns = list[dict[str, Any]]  # see `data.spec.columns`


class Unfit(UserError):
    """Reports a column that cannot be modelled. Its `facts`, put into the schema, mend the column or leave it out."""

    def __init__(self, why: str, facts: Mapping[str, Any] = MappingProxyType({"kind": "drop"})) -> None:
        super().__init__(why)
        self.facts = dict(facts)


def facts_of_text(options: Mapping[str, Any]) -> tuple[dict[str, list[str]], ...]:
    """Returns the facts by which the texts of cells are read.

    Args:
      options: the `data` section of a config. If `columns` is set, `schema` is not read.

    Returns:
      Three dictionaries by name of the column: texts that are always levels, texts that are missing cells, and symbols
      that are removed from numbers.
    """
    columns = options.get("columns")
    schema = {column["name"]: column for column in columns} if columns else schema_json(options.get("schema"))
    return tuple(
        {name: [*map(str, facts[fact])] for name, facts in schema.items() if isinstance(facts.get(fact), list)}
        for fact in ("levels", "empty", "symbols")
    )


def all_fit(
    table: str, schema: Mapping[str, dict], names: Sequence[str], facts_of: Callable[[str], dict[str, Any]]
) -> Columns:
    """Returns the facts of all columns.

    Args:
      table: name of the table.
      schema: facts by column that the user writes.
      names: names of the columns.
      facts_of: function from a name to the facts of a column. It raises Unfit for a column that does not fit.

    Raises:
      UserError: for all columns that do not fit, with a schema that mends all of them.
    """
    columns, unfit = [], {}
    for name in names:
        try:
            columns.append(facts_of(name))
        except Unfit as error:
            unfit[name] = error
    if not unfit:
        return columns
    mended = {**schema, **{name: error.facts for name, error in unfit.items()}}
    reasons = ", ".join(f"column {name!r} {error}" for name, error in unfit.items())
    remedy = "leaves it out" if all(error.facts == {"kind": "drop"} for error in unfit.values()) else "mends it"
    if len(unfit) > 1:
        remedy = remedy.replace("it", "them")
    raise UserError(
        f"{table} does not fit: {reasons}; expected columns to learn from. This {remedy}: {schema_setting(mended)}"
    )


def same_columns(where: str, part: Mapping[str, Cells], expected: Sequence[str]) -> None:
    """Refuses a part of a table whose columns are not the expected columns. Their order does not matter.

    Args:
      where: name of the part, for the errors.
      part: cells by column.
      expected: names of the expected columns.

    Raises:
      UserError: for the first difference.
    """
    for column in expected:
        if column not in part:
            raise UserError(f"column {column!r} of {where} is missing; expected it beside {', '.join(part)}")
    names = {*expected}
    for column in part:
        if column not in names:
            choose(f"column of {where}", column, expected)


def read_schema(text: str | None, names: Sequence[str]) -> dict[str, dict]:
    """Reads the schema of a user, such as `{"size": {"kind": "ordered", "levels": ["S", "M"]}}`.

    Args:
      text: JSON, or the path of a JSON file. None gives no facts.
      names: names of the columns.

    Raises:
      UserError: for a text that is not such JSON, or an unknown column, fact or kind.
    """
    schema = schema_json(text)
    for column, facts in schema.items():
        choose("column in data.schema", column, names)
        refuse_facts(column, facts)
        if "levels" in facts:
            facts["levels"] = [str(level) for level in facts["levels"]]
    return schema


def refuse_facts(column: str, facts: Mapping[str, Any]) -> None:
    """Refuses facts of a column that are unknown or have a wrong type.

    Args:
      column: name of the column.
      facts: facts of the column.

    Raises:
      UserError: for the first such fact.
    """
    for fact in facts:
        choose(f"fact of column {column!r} in data.schema", fact, TYPES)
    choose(f"kind of column {column!r} in data.schema", str(facts.get("kind", KINDS[0])), KINDS)
    for fact, value in facts.items():
        kind, expected = TYPES[fact]
        if not isinstance(value, kind) or isinstance(value, bool) != (kind is bool):
            raise UserError(f"{fact} of column {column!r} in data.schema is {str(value)[:80]!r}; expected {expected}")
    if not 0 <= facts.get("decimals", 0) <= FULL or facts.get("common", 2) < 2:
        raise UserError(
            f"decimals or common of column {column!r} in data.schema is out of range; expected 0 to {FULL} decimals, "
            "at least 2 common levels"
        )


def schema_json(text: str | None) -> dict[str, dict]:
    """Reads facts by column from JSON, or from a JSON file.

    Args:
      text: JSON, or the path of a JSON file. None gives no facts.

    Raises:
      UserError: for a text that is not JSON, or does not hold facts by column.
    """
    if text is None:
        return {}
    try:
        schema = json.loads(text if text.lstrip().startswith("{") else Path(text).expanduser().read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"data.schema {text[:200]} is not readable ({error}); expected JSON, or a JSON file") from None
    if not isinstance(schema, dict) or not all(isinstance(facts, dict) for facts in schema.values()):
        raise UserError(
            f'data.schema is {text[:200]}; expected columns with their facts, such as {{"age": {{"kind": "integer"}}}}'
        )
    return schema
