"""Bayesian networks as plain data: reading and writing BIF files, and drawing exact rows from them. No JAX here."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gen_jax.errors import UserError, choose

TOKEN = re.compile(r'"[^"]*"|[{}()\[\],;|]|[^\s{}()\[\],;|"]+')
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
TOLERANCE = 1e-3  # by which the printed probabilities of a distribution may miss 1; they are divided by their sum


class Network(NamedTuple):
    """A discrete Bayesian network; variables and their levels are numbered in their own order."""

    names: tuple[str, ...]  # D variables
    levels: tuple[tuple[str, ...], ...]
    parents: tuple[tuple[int, ...], ...]
    tables: tuple[np.ndarray, ...]  # float64 [levels of each parent ..., levels of the variable], P(variable | parents)


def topological_order(parents: Sequence[Sequence[int]]) -> list[int]:
    """The variables, parents before children, each as early as its number allows; shorter than D where there is a cycle."""
    order, left = [], list(range(len(parents)))
    while ready := [each for each in left if not set(parents[each]) & set(left)]:
        order.append(ready[0])
        left.remove(ready[0])
    return order


def cycle(names: Sequence[str], parents: Sequence[Sequence[int]]) -> str | None:
    """A directed cycle in words, `a -> b -> a`; None where there is none."""
    left = set(range(len(parents))) - set(topological_order(parents))
    if not left:
        return None
    walk = [min(left)]
    while (above := min(set(parents[walk[-1]]) & left)) not in walk:
        walk.append(above)
    walk = [above, *walk[walk.index(above) :][::-1]]
    return " -> ".join(names[each] for each in walk)


def draw(network: Network, rng: np.random.Generator, num: int) -> np.ndarray:
    """Rows of the network, codes [num, D] int32, by ancestral sampling."""
    codes = np.zeros((num, len(network.names)), np.int32)
    for each in topological_order(network.parents):
        table = network.tables[each]
        rows = table.reshape(-1, table.shape[-1]).cumsum(1)  # [configurations, levels]
        above = tuple(codes[:, parent] for parent in network.parents[each])
        config = np.ravel_multi_index(above, table.shape[:-1]) if above else np.zeros(num, int)
        codes[:, each] = (rng.random(num)[:, None] >= rows[config, :-1]).sum(1)
    return codes


def read_bif(path: Path) -> Network:
    """The network of a BIF file.

    Raises:
      UserError: naming what is wrong: no BIF, an unknown variable or level, a missing or repeated distribution, one
        that does not sum to 1, a cycle.
    """
    try:
        text = COMMENT.sub(" ", Path(path).read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a BIF file: {error}") from None
    try:
        levels, distributions = _blocks(iter(TOKEN.findall(text)), str(path))
    except StopIteration:
        raise UserError(f"{path}: ends in the middle of a block; expected a whole BIF file") from None
    names = tuple(levels)
    if not names:
        raise UserError(f"{path}: no variable in it; expected a BIF file")
    parents, tables = [], []
    for name in names:
        if name not in distributions:
            raise UserError(f"{path}: variable {name!r} has no probability block")
        above, rows = distributions[name]
        parents.append(tuple(names.index(parent) for parent in above))
        tables.append(_table(f"{path}: P({name})", [levels[each] for each in above], levels[name], rows))
    if found := cycle(names, parents):
        raise UserError(f"{path}: the network has a cycle, {found}; expected none")
    return Network(names, tuple(levels.values()), tuple(parents), tuple(tables))


def _blocks(tokens: Iterator[str], path: str) -> tuple[dict, dict]:
    """Levels by variable, and (parents, rows) by variable; a row is (levels of the parents, numbers)."""
    levels: dict[str, tuple[str, ...]] = {}
    distributions: dict[str, tuple[list[str], list]] = {}
    for word in tokens:
        if word not in ("network", "variable", "probability"):
            raise UserError(f"{path}: {word!r} where network, variable or probability was expected: no BIF file")
        head = _until(tokens, "{")
        statements = _statements(tokens)
        if word == "variable":
            name = head[0].strip('"')
            found = [each for each in statements if each[:2] == ["type", "discrete"]]
            if len(found) != 1 or name in levels:
                raise UserError(f"{path}: variable {name!r}: expected once, and of type discrete")
            listed = tuple(each.strip('"') for each in found[0][found[0].index("{") + 1 : -1] if each != ",")
            if found[0][3:4] != [str(len(listed))] or len(set(listed)) < len(listed):
                raise UserError(f"{path}: variable {name!r}: expected {found[0][3]} different levels, not {listed}")
            levels[name] = listed
        elif word == "probability":
            scope = [each.strip('"') for each in head if each not in "()|,"]
            for each in scope:
                choose(f"variable in {path}:", each, levels)
            if scope[0] in distributions or len(set(scope)) < len(scope):
                raise UserError(f"{path}: P({scope[0]}) stands there twice, or has a parent twice")
            distributions[scope[0]] = scope[1:], statements
    return levels, distributions


def _until(tokens: Iterator[str], end: str) -> list[str]:
    found = []
    while (token := next(tokens)) != end:
        found.append(token)
    return found


def _statements(tokens: Iterator[str]) -> list[list[str]]:
    """What stands between the braces of a block, split at `;`, without properties."""
    found, depth = [[]], 0
    while (token := next(tokens)) != "}" or depth:
        depth += (token == "{") - (token == "}")
        if token == ";":
            found.append([])
        else:
            found[-1].append(token)
    return [each for each in found if each and each[0] != "property"]


def _table(where: str, above: list[tuple[str, ...]], levels: tuple[str, ...], rows: list[list[str]]) -> np.ndarray:
    """P(variable | parents) [levels of each parent ..., levels], every distribution divided by its sum."""
    table = np.full([*map(len, above), len(levels)], np.nan)
    for row in rows:
        if row[0] == "table":
            place, size, numbers = (), table.size, row[1:]
        elif row[0] == "default":
            place, size, numbers = None, len(levels), row[1:]
        elif row[0] == "(" and ")" in row:
            close = row.index(")")
            given = [each.strip('"') for each in row[1:close] if each != ","]
            if len(given) != len(above):
                raise UserError(f"{where}: {given} are the levels of {len(given)} parents; expected {len(above)}")
            place = tuple(known.index(choose(f"level in {where}:", each, known)) for known, each in zip(above, given))
            size, numbers = len(levels), row[close + 1 :]
        else:
            raise UserError(f"{where}: {row[0]!r} where table, default or levels of the parents were expected")
        try:
            values = np.array([float(each) for each in numbers if each != ","])
        except ValueError as error:
            raise UserError(f"{where}: {error}; expected numbers") from None
        if len(values) != size:
            raise UserError(f"{where}: {len(values)} numbers; expected {size}")
        if place is None:
            table[np.isnan(table).all(-1)] = values
        elif not np.isnan(table[place]).all():
            raise UserError(
                f"{where}: the levels {given} stand there twice" if place else f"{where}: table is not alone"
            )
        else:  # a whole table lists the variable's levels first, then those of each parent
            table[place] = values if place else np.moveaxis(values.reshape(table.shape[-1:] + table.shape[:-1]), 0, -1)
    total = table.sum(-1, keepdims=True)
    wrong = np.argwhere(~(np.abs(total[..., 0] - 1) <= TOLERANCE) | ~(table >= 0).all(-1))
    if len(wrong):
        given = ", ".join(known[code] for known, code in zip(above, wrong[0]))
        sums = f"has the numbers {table[tuple(wrong[0])].tolist()}"
        raise UserError(f"{where}{f' given ({given})' * bool(given)} {sums}; expected probabilities that sum to 1")
    return table / total


def write_bif(network: Network) -> str:
    """The text of a BIF file; numbers keep their digits, so that reading it again gives the same network.

    Raises:
      UserError: for a name or a level that BIF cannot hold.
    """
    text = ["network unknown {\n}\n"]
    for word in (*network.names, *(each for levels in network.levels for each in levels)):
        if TOKEN.fullmatch(word) is None or word in "{}()[],;|":
            raise UserError(f"{word!r} cannot be written to a BIF file: expected no spaces and none of {{}}()[],;|")
    for name, levels in zip(network.names, network.levels):
        text.append(f"variable {name} {{\n  type discrete [ {len(levels)} ] {{ {', '.join(levels)} }};\n}}\n")
    for name, parents, table in zip(network.names, network.parents, network.tables):
        above = " | " + ", ".join(network.names[each] for each in parents) if parents else ""
        text.append(f"probability ( {name}{above} ) {{\n")
        for place in np.ndindex(table.shape[:-1]):
            given = ", ".join(network.levels[parent][code] for parent, code in zip(parents, place))
            text.append(f"  {f'({given})' if parents else 'table'} {', '.join(map(repr, table[place].tolist()))};\n")
        text.append("}\n")
    return "".join(text)
