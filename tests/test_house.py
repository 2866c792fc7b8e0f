"""The layout of the package: no circles of imports, no commands that are imported, rooms that hold what their names say."""

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from gen_jax.models import MODELS

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


COMMANDS = {"__main__"} | {path.stem for path in PACKAGE.glob("*.py") if "\ndef main(" in path.read_text()}
BY_NATURE = {"optimizers.evolution"}  # one family reads it now; its room says what it is
FLOORS = (  # the rooms and the files at the top, lowest floor first: each imports from its own room and from lower floors
    {"errors"},
    {"references"},
    {"config", "files", "host", "keys", "registry"},
    {"data"},
    {"devices", "model"},
    {"conditions"},
    {"losses", "distributions", "nets", "optimizers"},
    {"coding"},
    {"models", "metrics"},
    {"storage"},
    {"verbs"},
    {"run"},
    {"training"},
    {"page"},
    {"cli"},
    COMMANDS,
)


def room_of(name: str) -> str:
    return name.partition(".")[0]


def floor_of(name: str) -> int:
    """Returns the floor of a module; the package itself stands above all."""
    return next((floor for floor, rooms in enumerate(FLOORS) if room_of(name) in rooms), len(FLOORS))


def reaching_up(graph: dict[str, set[str]]) -> list[str]:
    """Returns the imports of another room that does not lie on a lower floor."""
    return [
        f"{name} imports {other}"
        for name, others in sorted(graph.items())
        for other in sorted(others)
        if room_of(name) != room_of(other) and floor_of(other) >= floor_of(name)
    ]


def test_no_room_imports_upwards():
    assert {room_of(name) for name in MODULES if floor_of(name) == len(FLOORS)} == {""}
    assert reaching_up(graph()) == []


TWICE = {"ladder"}  # the family and its net: one idea of one paper


def namesakes(names: Iterable[str]) -> dict[str, list[str]]:
    """Returns the modules that share their last name; a command may share that of the functions it calls, in `verbs`."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        found[name.rpartition(".")[2]].append(name)
    called = lambda name: name.startswith("verbs.") and name.removeprefix("verbs.") in COMMANDS
    alike = {last: [name for name in each if not called(name)] for last, each in found.items()}
    return {last: each for last, each in alike.items() if len(each) > 1 and last not in TWICE}


def test_one_name_for_one_thing():
    assert namesakes(name for name, path in MODULES.items() if path.name != "__init__.py") == {}
    assert namesakes(["data.scores", "metrics.scores", "train", "verbs.train"]) == {
        "scores": ["data.scores", "metrics.scores"]
    }


def guests(graph: dict[str, set[str]]) -> list[str]:
    """Returns the imports of a module of `models` by another room; the registry, `models` itself, is for all."""
    return [
        f"{name} imports {other}"
        for name, others in sorted(graph.items())
        for other in sorted(others)
        if room_of(name) != "models" and other.startswith("models.")
    ]


def test_commands_and_verbs_know_the_registry_alone():
    """What only some families offer is in `Model.extras`."""
    assert guests(graph()) == []


def families_named_in(source: str) -> set[str]:
    """Returns the families whose names are texts of a module, except those that share a name with a likelihood."""
    nodes = ast.walk(ast.parse(source))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return texts & ({*MODELS} - {"bernoulli", "gaussian"})


def test_no_room_asks_for_a_family_by_name():
    others = [name for name in MODULES if room_of(name) != "models"]
    assert [name for name in others if families_named_in(MODULES[name].read_text())] == []


def family_of(name: str) -> str:
    """Returns the family that a module belongs to; the empty text for a module that families share."""
    parts = name.split(".")
    shared = ("latent_variable", "completion", "sequences")
    return parts[1] if parts[0] == "models" and len(parts) > 1 and parts[1] not in shared else ""


def lodgers(graph: dict[str, set[str]]) -> list[str]:
    """Returns the modules of the shared rooms `losses`, `distributions` and `optimizers` that one family alone reads."""
    shared = [name for name in graph if room_of(name) in ("losses", "distributions", "optimizers") and "." in name]
    readers = {name: [other for other, read in graph.items() if name in read] for name in shared}
    return [
        name
        for name, others in sorted(readers.items())
        if len(others) and all(map(family_of, others)) and len({*map(family_of, others)}) == 1
    ]


def test_what_one_family_reads_lives_with_it():
    """The losses of one family stay in `losses`: there they are looked for."""
    assert {name for name in lodgers(graph()) if room_of(name) != "losses"} == BY_NATURE


def readers_of_commands(graph: dict[str, set[str]]) -> list[str]:
    """Returns the modules that import a command."""
    return sorted(name for name, others in graph.items() if others & COMMANDS)


def test_nothing_imports_a_command():
    assert len(COMMANDS) > 10
    assert readers_of_commands(graph()) == []


def test_data_starts_no_jax():
    """A worker that decodes rows imports `data` alone."""
    code = "import sys, gen_jax.data, gen_jax.data.feed.rows; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_broken_rules_are_found():
    assert readers_of_commands({"training.fit": {"sample"}, "verbs.draw": {"model"}}) == ["training.fit"]
    assert reaching_up({"nets.mlp": {"models.vae"}}) == ["nets.mlp imports models.vae"]
    assert reaching_up({"metrics.row_functions": {"models.vae"}}) == ["metrics.row_functions imports models.vae"]
    assert not reaching_up({"sample": {"verbs.draw"}, "verbs.draw": {"models", "verbs.given"}})
    assert guests({"verbs.draw": {"models", "models.vae"}}) == ["verbs.draw imports models.vae"]
    assert guests({"models.vae": {"models.completion"}, "storage.loading": {"models"}}) == []
    assert families_named_in('if name == "gan" or name in ("vae", "mlp"): """A gan."""') == {"gan", "vae"}
    assert lodgers({"distributions.x": set(), "models.hmm.state_paths": {"distributions.x"}}) == ["distributions.x"]
    assert not lodgers({"distributions.x": set(), "models.hmm": {"distributions.x"}, "models.vae": {"distributions.x"}})


NO_NOUNS = frozenset(
    "each found known own told asked wanted kept seen taken made chosen one other rest left most said drawn written read shown "
    "held needed what which here there mine".split()
)
LIFE = 3  # lines from the first to the last place of a name that is no noun
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES = (ast.FunctionDef, ast.ClassDef, ast.Lambda, *COMPREHENSIONS)


def nodes_of(scope: ast.AST) -> Iterator[ast.AST]:
    """Yields the nodes of a scope, and the scopes directly inside it without their contents."""
    waiting = [*ast.iter_child_nodes(scope)]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, SCOPES):
            waiting += ast.iter_child_nodes(node)


def targets_of_walruses(nodes: Iterable[ast.AST]) -> set[str]:
    walks = (ast.walk(node) for node in nodes)
    return {node.target.id for walk in walks for node in walk if isinstance(node, ast.NamedExpr)}


def names_bound_in(scope: ast.AST) -> set[str]:
    """Returns the variables and arguments of a scope; a walrus in a comprehension binds in the scope around it."""
    nodes = [*nodes_of(scope)]
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    if isinstance(scope, COMPREHENSIONS):
        return names - targets_of_walruses([scope])
    arguments = {node.arg for node in nodes if isinstance(node, ast.arg)}
    return names | arguments | targets_of_walruses(node for node in nodes if isinstance(node, COMPREHENSIONS))


def places_of_names(tree: ast.AST) -> dict[tuple[ast.AST, str], list[ast.Name]]:
    """Returns where each scope's variables stand, in the scopes inside it too."""
    places: dict[tuple[ast.AST, str], list[ast.Name]] = defaultdict(list)

    def visit(node: ast.AST, scopes: list[tuple[ast.AST, set[str]]]):
        if isinstance(node, (ast.Module, *SCOPES)):
            scopes = [(node, names_bound_in(node)), *scopes]
        if isinstance(node, ast.Name):
            scope = next((scope for scope, names in scopes if node.id in names), None)
            if scope:
                places[scope, node.id].append(node)
        for child in ast.iter_child_nodes(node):
            visit(child, scopes)

    visit(tree, [])
    return places


def is_noun(name: str, scope: ast.AST) -> bool:
    """Returns whether a name may live long; `left` is a noun beside `right`."""
    return name.strip("_") not in NO_NOUNS or (name == "left" and "right" in names_bound_in(scope))


def names_without_noun(source: str) -> list[str]:
    """Returns the functions, arguments and long-lived variables whose names are no nouns.

    Fields of classes may have such names, and functions that read may be named `read`, which is a verb.
    """
    tree = ast.parse(source)
    faults = set()
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        arguments = [node for node in ast.walk(function.args) if isinstance(node, ast.arg)]
        faults |= {(node.lineno, node.arg) for node in arguments if not is_noun(node.arg, function)}
        if function.name.strip("_") in NO_NOUNS - {"read"}:
            faults.add((function.lineno, function.name))
    for (scope, name), nodes in places_of_names(tree).items():
        lines = [node.lineno for node in nodes]
        if max(lines) - min(lines) > LIFE and not is_noun(name, scope) and not isinstance(scope, ast.ClassDef):
            faults.add((min(lines), name))
    return [f"{line}: {name}" for line, name in sorted(faults)]


def test_names_are_nouns():
    faults = {name: names_without_noun(path.read_text()) for name, path in MODULES.items()}
    assert {name: found for name, found in faults.items() if found} == {}


def test_a_name_without_a_noun_is_found():
    loop = "for each in range(3):\n" + "    print()\n" * LIFE
    assert names_without_noun("def kept(what): pass") == ["1: kept", "1: what"]
    assert names_without_noun("def read(left, right): pass") == []
    assert names_without_noun(loop + "    print(each)") == ["1: each"]
    assert names_without_noun(loop + "print([each for each in ()])") == []
    assert names_without_noun("class Table:\n    left: int\n" + "    x: int\n" * LIFE + "    y = left") == []
