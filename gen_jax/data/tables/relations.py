"""Conditions on the columns of a table as a user writes them: `age>60, city in Wien,Graz, smoker=yes, do(dose)=3`."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.text_columns import cells_of, is_number
from gen_jax.data.tables.values import numbers, texts_of
from gen_jax.errors import UserError, choose

EXPECTED = (
    "NAME=VALUE,NAME=VALUE with names of columns, NAME>VALUE, NAME in LOW..HIGH or NAME in VALUE,VALUE for a part of "
    'its values, do(NAME)=VALUE for what is set from outside, a pair with a comma in it in quotes, as in "NAME=a, b", or a file'
)
COMPARED = {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal}
OPERATOR = r"\s*(!=|>=|<=|=|>|<|\sin(?=\s))\s*"
LONGEST = 1 << 16  # largest number of characters of a condition
PIECE = re.compile(r'((?:[^,"]|"[^"]*")*),')
RowTest = Callable[[np.ndarray], np.ndarray]  # rows [N, D] in the domain of the table -> whether they fit, bool [N]


class Relation(NamedTuple):
    """Holds a relation between a column and values."""

    name: str  # name of the column
    operator: (
        str  # = or !=, a key of COMPARED, `in` for a list of values, or `..` for the range from the first to the second
    )
    values: list[str]
    do: bool  # whether an intervention sets the value


def read(spec: Spec, text: str) -> list[Relation]:
    """Reads the relations of a condition. A piece between commas without an operator is a further value of a list.

    Args:
      spec: the facts of the table.
      text: the condition.

    Raises:
      UserError: for a text that is not a condition, or an unknown column.
    """
    if len(text) > LONGEST:
        raise UserError(f"--given {text[:60]}...: {len(text):,} characters; expected at most {LONGEST:,}")
    schema = {column["name"]: column for column in columns(spec)}
    patterns = _patterns([*schema])
    relations: list[Relation] = []
    for piece in _between_commas(text):
        relation = _relation(piece, patterns)
        if relation is not None:
            choose(f"column of {spec.name} in --given", relation.name, [*schema])
            relations.append(relation)
        elif piece and relations and relations[-1].operator == "in":
            relations[-1].values.append(piece)
        else:
            raise UserError(f"--given is {text}; expected {EXPECTED}")
    return [_with_range(schema[relation.name], relation) for relation in relations]


def _patterns(names: Sequence[str]) -> list[re.Pattern]:
    """Returns two patterns of a relation: with a name of a column, and with any name."""
    longest_first = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return [re.compile(rf"(?:do\(({name})\)|({name})){OPERATOR}(.+)", re.DOTALL) for name in (longest_first, ".+?")]


def _between_commas(text: str) -> list[str]:
    """Returns the pieces between the commas that are not in quotation marks.

    A quotation mark without a second one is a plain character.
    """
    pieces = text.split(",") if text.count('"') % 2 else PIECE.findall(text + ",")
    return [_unquoted(piece.strip()) for piece in pieces]


def _unquoted(text: str) -> str:
    return text[1:-1].replace('""', '"') if len(text) > 1 and text[0] == text[-1] == '"' else text


def _relation(piece: str, patterns: Sequence[re.Pattern]) -> Relation | None:
    """Returns the relation by the first pattern that fits, because the name of a column may contain an operator."""
    for pattern in patterns:
        if match := pattern.fullmatch(piece):
            done, name, operator, value = match.groups()
            return Relation(done or name, operator.strip(), [_unquoted(value.strip())], do=done is not None)
    return None


def _with_range(column: dict[str, Any], relation: Relation) -> Relation:
    """Returns a list of one text by its meaning.

    The meaning is a level that looks like a list, a range LOW..HIGH, or values between commas.
    """
    text = relation.values[0]
    if relation.operator != "in" or len(relation.values) > 1 or text in column.get("levels", ()):
        return relation
    if ".." in text:
        return relation._replace(operator="..", values=[end.strip() for end in text.split("..", 1)])
    return relation._replace(values=[value.strip() for value in text.split(",")])


def row_test(spec: Spec, text: str, relation: Relation) -> RowTest:
    """Returns the function that tests whether rows fit a relation.

    Args:
      spec: the facts of the table.
      text: the condition that holds the relation, for the errors.
      relation: a relation with an operator other than `=`.

    Raises:
      UserError: for an unknown level, a text that is not a number, levels without an order, or a relation that no row
        can fit.
    """
    if relation.do:
        name = relation.name
        raise UserError(f"--given {text}: do({name}) is set to one value; expected do({name})=VALUE")
    place = [column["name"] for column in columns(spec)].index(relation.name)
    column = columns(spec)[place]
    if "levels" in column:
        fits = _fitting_levels(column, text, relation)
        return lambda x: fits[x[:, place].astype(int)]
    kind = {"kind": "continuous"} if column["kind"] == "integer" else {}
    wanted = _numbers({**column, **kind}, relation.values)
    if column.get("bounded", True):
        _refuse_beyond(column, text, wanted, relation.operator)
    return lambda x: _compared(x[:, place], wanted, relation.operator)


def _fitting_levels(column: dict[str, Any], text: str, relation: Relation) -> np.ndarray:
    """Returns whether the levels of a column fit a relation, bool [L]."""
    fits = _compared(*_places(column, text, relation), relation.operator)
    if not fits.any():
        listed = ", ".join(column["levels"])
        raise UserError(f"--given {text}: no row fits; expected a level of {relation.name!r}, which are {listed}")
    return fits


def _refuse_beyond(column: dict[str, Any], text: str, values: np.ndarray, operator: str) -> None:
    """Refuses a relation that no value in the range of a column fits."""
    low, high = column["low"], column["high"]
    tried = np.array([low, high, *values])
    tried = tried[(tried >= low) & (tried <= high)]
    if not _compared(tried, values, operator).any():
        ends = " to ".join(texts_of(column, np.array([low, high])))
        raise UserError(
            f"--given {text}: no row fits; expected a value of column {column['name']!r}, which holds {ends}"
        )


def _compared(x: np.ndarray, values: np.ndarray, operator: str) -> np.ndarray:
    if operator in COMPARED:
        return COMPARED[operator](x, values[0])
    if operator == "..":
        return (x >= values[0]) & (x <= values[1])
    return np.isin(x, values) == (operator == "in")


def _places(column: dict[str, Any], text: str, relation: Relation) -> tuple[np.ndarray, np.ndarray]:
    """Returns the levels of a column and the values of a relation as numbers that can be compared."""
    levels, numeric = column["levels"], all(map(is_number, column["levels"]))
    if relation.operator in ("in", "!=") or (column["kind"] == "ordered" and not numeric):
        return np.arange(len(levels)), _numbers(column, relation.values)
    if numeric:
        number = {"name": relation.name, "kind": "continuous"}
        return np.array([*map(float, levels)]), _numbers(number, relation.values)
    raise UserError(
        f"--given {text}: the levels of column {relation.name!r} have no order; expected {relation.name}=LEVEL or "
        f"{relation.name} in LEVEL,LEVEL"
    )


def _numbers(column: dict[str, Any], values: Sequence[str]) -> np.ndarray:
    return np.concatenate([numbers("--given", [column], {column["name"]: cells_of([value])})[0] for value in values])
