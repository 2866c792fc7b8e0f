"""Bayesian networks as plain data: reading and writing BIF files, and drawing exact rows from them. No JAX here."""

import heapq
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.limits import ask
from gen_jax.data.source import Source
from gen_jax.data.spec import Spec, columns
from gen_jax.data.tables.schema import marginals
from gen_jax.errors import UserError, choose

# A comment begins where a word would: "http://a" and http://a are words.
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"[^"]*"|[{}()\[\],;|]|[^\s{}()\[\],;|"]+', re.DOTALL)
COMMENTS = ("//", "/*")
ASIA = Path(__file__).parents[1] / "asia.bif"  # the network that is embedded
LARGEST_TABLE, MOST_PARENTS = 1 << 26, 32  # numbers in the table of a variable; dimensions of an array
ROWS = 10_000  # drawn for each split of a network as data
TOLERANCE = 1e-3  # by which the printed probabilities of a distribution may miss 1; they are divided by their sum


class Network(NamedTuple):
    """A discrete Bayesian network; variables and their levels are numbered in their own order."""

    names: tuple[str, ...]  # D variables
    levels: tuple[tuple[str, ...], ...]
    parents: tuple[tuple[int, ...], ...]
    tables: tuple[np.ndarray, ...]  # float64 [levels of each parent ..., levels of the variable], P(variable | parents)


def topological_order(parents: Sequence[Sequence[int]]) -> list[int]:
    """The variables, parents before children, each as early as its number allows; shorter than D where there is a cycle."""
    children: dict[int, list[int]] = {}
    for child, above in enumerate(parents):
        for parent in {*above}:
            children.setdefault(parent, []).append(child)
    waiting = [len({*above}) for above in parents]
    ready, order = [each for each, count in enumerate(waiting) if not count], []  # a heap
    while ready:
        order.append(heapq.heappop(ready))
        for child in children.get(order[-1], ()):
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, child)
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
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a BIF file: {error}") from None
    try:
        words = (word for word in TOKEN.findall(text) if not word.startswith(COMMENTS))
        levels, distributions = _blocks(words, str(path))
    except StopIteration:
        raise UserError(f"{path}: ends in the middle of a block; expected a whole BIF file") from None
    names = tuple(levels)
    if not names:
        raise UserError(f"{path}: no variable in it; expected a BIF file")
    parents, tables, place = [], [], {name: at for at, name in enumerate(names)}
    for name in names:
        if name not in distributions:
            raise UserError(f"{path}: variable {name!r} has no probability block")
        above, rows = distributions[name]
        parents.append(tuple(place[parent] for parent in above))
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
            name = head[0].strip('"') if head else ""
            found = [each for each in statements if each[:2] == ["type", "discrete"] and "{" in each]
            if len(found) != 1 or not name or name in levels:
                raise UserError(f"{path}: variable {name!r}: expected once, and of type discrete")
            listed = tuple(each.strip('"') for each in found[0][found[0].index("{") + 1 : -1] if each != ",")
            if found[0][3:4] != [str(len(listed))] or len(set(listed)) < len(listed):
                raise UserError(f"{path}: variable {name!r}: expected {found[0][3]} different levels, not {listed}")
            levels[name] = listed
        elif word == "probability":
            scope = [each.strip('"') for each in head if each not in "()|,"]
            if not scope:
                raise UserError(
                    f"{path}: a probability block of no variable; expected probability ( NAME | PARENT, ... )"
                )
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
    size = math.prod(map(len, above)) * len(levels)
    ask(8 * size, where)
    if size > LARGEST_TABLE or len(above) >= MOST_PARENTS:
        raise UserError(
            f"{where}: {len(above)} parents, a table of {size:.3g} numbers; expected at most {LARGEST_TABLE:,}"
        )
    table = np.full([*map(len, above), len(levels)], np.nan)
    for row in sorted(rows, key=lambda row: row[0] == "default"):  # which fills what is left
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
      UserError: for a name or a level with quotation marks, which BIF cannot hold.
    """
    names, text = [quoted(name) for name in network.names], ["network unknown {\n}\n"]
    levels = [[quoted(level) for level in listed] for listed in network.levels]
    for name, listed in zip(names, levels):
        text.append(f"variable {name} {{\n  type discrete [ {len(listed)} ] {{ {', '.join(listed)} }};\n}}\n")
    for name, parents, table in zip(names, network.parents, network.tables):
        above = " | " + ", ".join(names[each] for each in parents) if parents else ""
        text.append(f"probability ( {name}{above} ) {{\n")
        for place in np.ndindex(table.shape[:-1]):
            given = ", ".join(levels[parent][code] for parent, code in zip(parents, place))
            text.append(f"  {f'({given})' if parents else 'table'} {', '.join(map(repr, table[place].tolist()))};\n")
        text.append("}\n")
    return "".join(text)


def quoted(word: str) -> str:
    """A word as BIF holds it: in quotation marks where it is not of one piece."""
    if '"' in word:
        raise UserError(f"{word!r} cannot be written to a BIF file: expected no quotation marks")
    plain = TOKEN.fullmatch(word) and word not in [*"{}()[],;|"] and not word.startswith(COMMENTS)
    return word if plain else f'"{word}"'


def open_network(path: Path, options: Mapping[str, Any], known: str) -> Source:
    """A network as a source of exact rows: `ROWS` in the split that is learnt from and in the one of the tests.

    The rows of a split are always the same; the network itself is in `info`, so that a run needs its file no more.

    Raises:
      UserError: for a file that is no network, or options that need a table.
    """
    for option in ("test_path", "schema"):
        if options.get(option) is not None:
            raise UserError(
                f"data.{option} {options[option]!r} is for a file of rows; {path} is a network, which draws its own"
            )
    network = read_bif(path)
    schema = [
        {
            "name": name,
            "kind": "categorical",
            "levels": [*levels],
            "missing": False,
            "low": 0.0,
            "high": len(levels) - 1.0,
        }
        for name, levels in zip(network.names, network.levels)
    ]
    splits = dict.fromkeys((options["split"], options["test_split"]))
    x = {split: draw(network, np.random.default_rng([*split.encode()]), ROWS).astype(np.float64) for split in splits}
    info = {"columns": schema, "dropped": [], "marginals": marginals(schema, x[options["split"]])}
    info["network"] = plain_network(path, network)
    rows = lambda split, indices: {"x": x[split][indices]}
    sizes, shape = dict.fromkeys(splits, ROWS), (len(schema),)
    return Source(path.stem, "table", shape, np.dtype(np.float64), sizes, rows, content_hash(known), info=info)


def plain_network(path: str | Path, network: Network) -> dict[str, Any]:
    """Returns the tables of a network as plain data, which a run keeps so that it does not need the file again."""
    tables = [table.tolist() for table in network.tables]
    return {"path": str(path), "parents": [*map(list, network.parents)], "tables": tables}


def with_network(spec: Spec, path: str, known: Spec | None) -> Spec:
    """Returns a spec that holds a network: from `known`, the spec of a begun run, if it holds one, else from the file."""
    if known is not None and "model_network" not in known.info:
        return spec  # of a run begun by an earlier version, which needs the file
    kept = {} if known is None else known.info["model_network"]
    kept = kept if kept.get("path") == str(path) else plain_network(path, network_of(spec, path))
    return spec._replace(info={**spec.info, "model_network": kept})


def network_of(spec: Spec, path: str) -> Network:
    """The network of a file, its variables and levels in the order of the columns of a table.

    It is read from the spec where the data were drawn from it.

    Raises:
      UserError: where the variables are not the columns, or have other levels.
    """
    schema = columns(spec)
    names, levels = (
        tuple(column["name"] for column in schema),
        tuple(tuple(each.get("levels", ())) for each in schema),
    )
    for plain in (spec.info.get("network", {}), spec.info.get("model_network", {})):
        if plain.get("path") == str(path):
            parents, tables = (tuple(map(tuple, plain["parents"])), tuple(map(np.asarray, plain["tables"])))
            return Network(names, levels, parents, tables)
    network = read_bif(Path(path))
    for name in network.names:
        choose(f"column of {spec.name}, for a variable of {path}:", name, names)
    for name, listed in zip(names, levels):
        choose(f"variable of {path}, for a column of {spec.name}:", name, network.names)
        if {*listed} != {*network.levels[network.names.index(name)]}:
            theirs = ", ".join(network.levels[network.names.index(name)])
            raise UserError(
                f"{path}: {name!r} has the levels {theirs}, in {spec.name} {', '.join(listed) or 'numbers'}"
            )
    place = [network.names.index(name) for name in names]
    moved = [[network.levels[old].index(level) for level in listed] for old, listed in zip(place, levels)]
    parents = tuple(tuple(place.index(above) for above in network.parents[old]) for old in place)
    tables = tuple(
        network.tables[old][np.ix_(*(moved[each] for each in (*above, new)))]
        for new, (old, above) in enumerate(zip(place, parents))
    )
    return Network(names, levels, parents, tables)
