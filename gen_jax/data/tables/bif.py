"""Bayesian networks as BIF files: reading and writing."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gen_jax.data.limits import ask
from gen_jax.data.tables.networks import Network, cycle
from gen_jax.errors import UserError, choose

# A comment begins only at the start of a word: "http://a" and http://a are words.
TOKEN = re.compile(r'//[^\r\n]*|/\*.*?\*/|"[^"]*"|[{}()\[\],;|]|[^\s{}()\[\],;|"]+', re.DOTALL)
COMMENTS = ("//", "/*")
LARGEST_TABLE, MOST_PARENTS = 1 << 26, 32  # limits of the cells of a variable's table, and of the axes of an array
TOLERANCE = 1e-3  # largest distance from 1 of the sum of the printed probabilities of a distribution


def read_bif(path: Path) -> Network:
    """Reads the network of a BIF file.

    Args:
      path: the file.

    Raises:
      UserError: for a file that is not BIF, an unknown variable or level, a missing or repeated distribution, a
        distribution that does not sum to 1, or a cycle.
    """
    try:
        text = Path(path).expanduser().read_bytes().decode("utf-8-sig")  # as bytes, to keep carriage returns
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not readable ({error}); expected a BIF file") from None
    try:
        words = (word for word in TOKEN.findall(text) if not word.startswith(COMMENTS))
        levels, distributions = _blocks(words, str(path))
    except StopIteration:
        raise UserError(f"{path} ends in the middle of a block; expected a whole BIF file") from None
    names = tuple(levels)
    if not names:
        raise UserError(f"{path} holds no variable; expected a BIF file")
    places = {name: place for place, name in enumerate(names)}
    parents, tables = [], []
    for name in names:
        if name not in distributions:
            raise UserError(f"{path}: variable {name!r} has no probability block; expected one")
        above, rows = distributions[name]
        parents.append(tuple(places[parent] for parent in above))
        tables.append(_table(f"{path}: P({name})", [levels[parent] for parent in above], levels[name], rows))
    if circle := cycle(names, parents):
        raise UserError(f"{path}: the network has the cycle {circle}; expected none")
    return Network(names, tuple(levels.values()), tuple(parents), tuple(tables))


def _blocks(tokens: Iterator[str], path: str) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[list[str], list]]]:
    """Returns the levels of each variable, and the parents of each variable with the statements of its distribution."""
    levels: dict[str, tuple[str, ...]] = {}
    distributions: dict[str, tuple[list[str], list]] = {}
    for word in tokens:
        if word not in ("network", "variable", "probability"):
            raise UserError(f"{path}: {word!r} begins a block; expected network, variable or probability")
        head = _until(tokens, "{")
        statements = _statements(tokens)
        if word == "variable":
            name = head[0].strip('"') if head else ""
            if name in levels:
                raise UserError(f"{path}: variable {name!r} is declared twice; expected it once")
            levels[name] = _levels(name, statements, path)
        elif word == "probability":
            variable, *parents = _scope(head, levels, path)
            if variable in distributions:
                raise UserError(f"{path}: P({variable}) is declared twice; expected it once")
            distributions[variable] = parents, statements
    return levels, distributions


def _levels(name: str, statements: list[list[str]], path: str) -> tuple[str, ...]:
    """Returns the levels of a variable from `type discrete [ 2 ] { yes, no };`."""
    types = [words for words in statements if words[:2] == ["type", "discrete"] and "{" in words]
    if len(types) != 1 or not name:
        raise UserError(f"{path}: variable {name!r} is not discrete; expected one type discrete")
    words = types[0]
    levels = tuple(word.strip('"') for word in words[words.index("{") + 1 : -1] if word != ",")
    if words[3:4] != [str(len(levels))] or len(set(levels)) < len(levels):
        size = words[3] if len(words) > 3 and words[3].isdecimal() else "a number of"
        raise UserError(f"{path}: variable {name!r} has the levels {levels}; expected {size} different levels")
    return levels


def _scope(head: list[str], levels: dict[str, tuple[str, ...]], path: str) -> list[str]:
    """Returns the variable and the parents of a distribution from `( NAME | PARENT, ... )`."""
    scope = [word.strip('"') for word in head if word not in "()|,"]
    if not scope:
        raise UserError(f"{path}: a probability block has no variable; expected probability ( NAME | PARENT, ... )")
    for name in scope:
        choose(f"variable in {path}:", name, levels)
    if len(set(scope)) < len(scope):
        raise UserError(f"{path}: P({scope[0]}) has a parent twice; expected different parents")
    return scope


def _until(tokens: Iterator[str], end: str) -> list[str]:
    words = []
    while (token := next(tokens)) != end:
        words.append(token)
    return words


def _statements(tokens: Iterator[str]) -> list[list[str]]:
    """Returns the words between the braces of a block, split at `;`, without properties."""
    depth = 0
    statements: list[list[str]] = [[]]
    while (token := next(tokens)) != "}" or depth:
        depth += (token == "{") - (token == "}")
        if token == ";":
            statements.append([])
        else:
            statements[-1].append(token)
    return [words for words in statements if words and words[0] != "property"]


def _table(
    where: str, above: list[tuple[str, ...]], levels: tuple[str, ...], statements: list[list[str]]
) -> np.ndarray:
    """Returns P(variable | parents) [levels of each parent ..., levels]. Each distribution is divided by its sum.

    Args:
      where: the file and the variable, for the errors.
      above: levels of each parent.
      levels: levels of the variable.
      statements: statements of the distribution.
    """
    size = math.prod(map(len, above)) * len(levels)
    ask(8 * size, where)
    if size > LARGEST_TABLE or len(above) >= MOST_PARENTS:
        raise UserError(
            f"{where}: {len(above)} parents, a table of {size:.3g} numbers; expected at most {LARGEST_TABLE:,}"
        )
    table = np.full([*map(len, above), len(levels)], np.nan)
    for words in sorted(statements, key=lambda words: words[0] == "default"):  # last, because it fills the empty cells
        _fill(where, above, words, table)
    _refuse_no_distribution(where, above, table)
    return table / table.sum(-1, keepdims=True)


def _fill(where: str, above: list[tuple[str, ...]], words: list[str], table: np.ndarray) -> None:
    """Writes the numbers of a statement into a table.

    A statement is `table 0.1, 0.9`, `default 0.1, 0.9`, or `( yes, no ) 0.1, 0.9`.
    """
    if words[0] == "table":
        if not np.isnan(table).all():
            raise UserError(f"{where}: table is not alone; expected no other statement")
        # Because the first axis of a whole table is the variable, it is moved behind the parents.
        values = _numbers(where, words[1:], table.size).reshape(table.shape[-1:] + table.shape[:-1])
        table[...] = np.moveaxis(values, 0, -1)
    elif words[0] == "default":
        table[np.isnan(table).all(-1)] = _numbers(where, words[1:], table.shape[-1])
    elif words[0] == "(" and ")" in words:
        end = words.index(")")
        given = [word.strip('"') for word in words[1:end] if word != ","]
        if len(given) != len(above):
            raise UserError(f"{where}: {given} are the levels of {len(given)} parents; expected {len(above)}")
        place = tuple(names.index(choose(f"level in {where}:", level, names)) for names, level in zip(above, given))
        values = _numbers(where, words[end + 1 :], table.shape[-1])
        if not np.isnan(table[place]).all():
            raise UserError(f"{where}: the levels {given} are given twice; expected them once")
        table[place] = values
    else:
        raise UserError(f"{where}: {words[0]!r} begins a statement; expected table, default or levels of the parents")


def _numbers(where: str, words: list[str], size: int) -> np.ndarray:
    try:
        values = np.array([float(word) for word in words if word != ","])
    except ValueError as error:
        raise UserError(f"{where}: {error}; expected numbers") from None
    if len(values) != size:
        raise UserError(f"{where}: {len(values)} numbers; expected {size}")
    return values


def _refuse_no_distribution(where: str, above: list[tuple[str, ...]], table: np.ndarray) -> None:
    """Refuses numbers below 0, and distributions that do not sum to 1."""
    total = table.sum(-1)
    wrong = np.argwhere(~(np.abs(total - 1) <= TOLERANCE) | ~(table >= 0).all(-1))
    if len(wrong):
        place = tuple(wrong[0])
        given = ", ".join(names[code] for names, code in zip(above, place))
        condition = f" given ({given})" if given else ""
        numbers = table[place].tolist()
        raise UserError(f"{where}{condition} has the numbers {numbers}; expected probabilities that sum to 1")


def write_bif(network: Network) -> str:
    """Returns a network as the text of a BIF file. Numbers keep all digits, so that reading gives the same network.

    Args:
      network: the network.

    Raises:
      UserError: for a name or a level with quotation marks, which BIF cannot hold.
    """
    names, text = [quoted(name) for name in network.names], ["network unknown {\n}\n"]
    levels = [[quoted(level) for level in listed] for listed in network.levels]
    for name, listed in zip(names, levels):
        text.append(f"variable {name} {{\n  type discrete [ {len(listed)} ] {{ {', '.join(listed)} }};\n}}\n")
    for name, parents, table in zip(names, network.parents, network.tables):
        above = " | " + ", ".join(names[parent] for parent in parents) if parents else ""
        text.append(f"probability ( {name}{above} ) {{\n")
        for place in np.ndindex(table.shape[:-1]):
            given = ", ".join(levels[parent][code] for parent, code in zip(parents, place))
            text.append(f"  {f'({given})' if parents else 'table'} {', '.join(map(repr, table[place].tolist()))};\n")
        text.append("}\n")
    return "".join(text)


def quoted(word: str) -> str:
    """Returns a word as BIF holds it: in quotation marks if it is not a single token.

    Args:
      word: the word.

    Raises:
      UserError: for a word with quotation marks.
    """
    if '"' in word:
        raise UserError(f"{word!r} holds quotation marks; expected none in a BIF file")
    plain = TOKEN.fullmatch(word) and word not in [*"{}()[],;|"] and not word.startswith(COMMENTS)
    return word if plain else f'"{word}"'
