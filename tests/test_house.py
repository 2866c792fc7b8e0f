"""The layout of the package: no circles of imports, no commands that are imported, rooms that hold what their names say."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "gen_jax"


def name_of(path: Path) -> str:
    """Returns the dotted name of a module, without `gen_jax.`; the package itself is the empty text."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in PACKAGE.rglob("*.py")}


def imported(name: str) -> Iterator[str]:
    """Yields the modules of the package that a module imports, in functions too."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gen_jax":
            room = node.module.partition(".")[2]
            for alias in node.names:
                inner = f"{room}.{alias.name}".strip(".")
                yield inner if inner in MODULES else room
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[2] for alias in node.names if alias.name.split(".")[0] == "gen_jax")


@cache
def graph() -> dict[str, set[str]]:
    """Returns what each module imports."""
    return {name: {*imported(name)} - {name} for name in MODULES}


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Returns the modules of a circle of imports; none if there is no circle."""
    done: set[str] = set()

    def search(name: str, way: list[str]) -> list[str]:
        if name in way:
            return way[way.index(name) :]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if found := search(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := search(name, []))), [])


def test_no_circle_of_imports():
    assert circle_in(graph()) == []


def test_a_circle_is_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
