"""Conditions on the columns of a table as a user writes them: `age>60, city in Wien,Graz, smoker=yes, do(dose)=3`."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.cells import cells_of, is_number
from gen_jax.data.tables.schema import numbers, texts_of
from gen_jax.errors import UserError, choose

EXPECTED = (
    "expected NAME=VALUE,NAME=VALUE with names of columns, NAME>VALUE, NAME in LOW..HIGH or NAME in VALUE,VALUE for a part of "
    'its values, do(NAME)=VALUE for what is set from outside, a pair with a comma in it in quotes, as in "NAME=a, b", or a file'
)
COMPARED = {">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal}
RELATION = r"\s*(!=|>=|<=|=|>|<|\sin(?=\s))\s*"
LONGEST = 1 << 16  # characters
PIECE = re.compile(r'((?:[^,"]|"[^"]*")*),')
Fits = Callable[[np.ndarray], np.ndarray]  # rows [N, D] of the table's own domain -> whether they fit [N]


class Part(NamedTuple):
    """One part of a condition."""

    name: str  # of its column
    relation: str  # = or !=, one of COMPARED, `in` some values, or `..` for from the first to the second
    values: list[str]
    do: bool  # whether the value is set from outside


def read(spec: Spec, text: str) -> list[Part]:
    """Returns the parts of a condition; what stands between commas without a relation is one more value of a list.

    Raises:
      UserError: for anything else, or an unknown column, naming the nearest.
    """
    names = [column["name"] for column in columns(spec)]
    if len(text) > LONGEST:
        raise UserError(f"--given {text[:60]}...: {len(text):,} characters; expected at most {LONGEST:,}")
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    patterns = [re.compile(rf"(?:do\(({name})\)|({name})){RELATION}(.+)", re.DOTALL) for name in (known, ".+?")]
    parts: list[Part] = []
    for said in _between_commas(text):
        found = _split(said, patterns)
        if found is None and said and parts and parts[-1].relation == "in":
            parts[-1].values.append(said)
        elif found is None:
            raise UserError(f"--given {text}: {EXPECTED}")
        else:
            choose(f"column of {spec.name} in --given", found.name, names)
            parts.append(found)
    return [_with_range(columns(spec)[names.index(part.name)], part) for part in parts]


def _between_commas(text: str) -> list[str]:
    """Returns what stands between the commas that are not in quotes; a quotation mark without a second one is a plain one."""
    pieces = text.split(",") if text.count('"') % 2 else PIECE.findall(text + ",")
    return [_unquoted(piece.strip()) for piece in pieces]


def _unquoted(text: str) -> str:
    return text[1:-1].replace('""', '"') if len(text) > 1 and text[0] == text[-1] == '"' else text


def _split(said: str, patterns: Sequence[re.Pattern]) -> Part | None:
    """Returns one part of a condition, by the first pattern that fits; the name of a column may itself hold a relation."""
    for pattern in patterns:
        if found := pattern.fullmatch(said):
            return Part(found[1] or found[2], found[3].strip(), [_unquoted(found[4].strip())], do=found[1] is not None)
    return None


def _with_range(column: dict[str, Any], part: Part) -> Part:
    """Returns a list of one text as what it means: a level that looks like a list, LOW..HIGH, or values between commas."""
    text = part.values[0]
    if part.relation != "in" or len(part.values) > 1 or text in column.get("levels", ()):
        return part
    if ".." in text:
        return part._replace(relation="..", values=[end.strip() for end in text.split("..", 1)])
    return part._replace(values=[value.strip() for value in text.split(",")])


def fits(spec: Spec, text: str, part: Part) -> Fits:
    """Returns the function that tells which rows fit a part of a condition.

    Raises:
      UserError: for an unknown level, a number that is none, levels without an order, or what no row can fit.
    """
    at = [column["name"] for column in columns(spec)].index(part.name)
    column = columns(spec)[at]
    if part.do:
        raise UserError(f"--given {text}: do({part.name}) is set to one value; expected do({part.name})=VALUE")
    if "levels" in column:
        allowed = _compared(*_places(column, text, part), part.relation)
        if not allowed.any():
            raise UserError(
                f"--given {text}: no row fits; the levels of {part.name!r} are {', '.join(column['levels'])}"
            )
        return lambda x: allowed[x[:, at].astype(int)]
    kind = {"kind": "continuous"} if column["kind"] == "integer" else {}
    wanted = _numbers({**column, **kind}, part.values)
    low, high = column["low"], column["high"]
    inside = np.array([low, high, *wanted])
    inside = inside[(inside >= low) & (inside <= high)]
    if column.get("bounded", True) and not _compared(inside, wanted, part.relation).any():
        ends = " to ".join(texts_of(column, np.array([low, high])))
        raise UserError(f"--given {text}: no row fits, because column {part.name!r} holds {ends}")
    return lambda x: _compared(x[:, at], wanted, part.relation)


def _compared(x: np.ndarray, wanted: np.ndarray, relation: str) -> np.ndarray:
    if relation in COMPARED:
        return COMPARED[relation](x, wanted[0])
    if relation == "..":
        return (x >= wanted[0]) & (x <= wanted[1])
    return np.isin(x, wanted) == (relation == "in")


def _places(column: dict[str, Any], text: str, part: Part) -> tuple[np.ndarray, np.ndarray]:
    """Returns the place of each level and of each value in the order by which they are compared."""
    levels = column["levels"]
    if part.relation in ("in", "!=") or column["kind"] == "ordered" and not all(map(is_number, levels)):
        return np.arange(len(levels)), _numbers(column, part.values)
    if all(map(is_number, levels)):
        return np.array([*map(float, levels)]), _numbers({"name": part.name, "kind": "continuous"}, part.values)
    raise UserError(
        f"--given {text}: the levels of column {part.name!r} have no order; expected {part.name}=LEVEL or "
        f"{part.name} in LEVEL,LEVEL"
    )


def _numbers(column: dict[str, Any], values: Sequence[str]) -> np.ndarray:
    return np.concatenate([numbers("--given", [column], {column["name"]: cells_of([value])})[0] for value in values])
