"""What the syntax of a function says about its keys: the names that one way through it uses twice, or folds and uses."""

import ast

LOOPS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.Lambda)
ENDS = (ast.Return, ast.Raise, ast.Continue, ast.Break)
Ways = set[tuple[int, int]]  # (uses, folds) of a key on the ways that lead to a statement


def key_faults(source: str) -> set[tuple[str, str]]:
    """Returns (function, key) for each function of `source` that uses a key twice, or both folds it and uses it.

    A use is to be an argument of a call. Of `fold_in` a key may be the argument any number of times, and then of nothing
    else. What a loop uses of a key from outside counts twice, and what a nested function uses counts where it is defined.
    """
    found = set()
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.FunctionDef):
            names = {node.arg for node in ast.walk(function) if isinstance(node, ast.arg)} | stored(function)
            for name in filter(lambda name: name == "key" or name.endswith("_key"), names):
                faults: list[bool] = []
                block({(0, 0)}, function.body, name, faults)
                found |= {(function.name, name)} if any(faults) else set()
    return found


def stored(node: ast.AST) -> set[str]:
    """The names that are bound anywhere within `node`."""
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}


def block(ways: Ways, statements: list[ast.stmt], name: str, faults: list[bool]) -> Ways:
    """The ways that go on behind `statements`."""
    for statement in statements:
        if isinstance(statement, ast.If):
            ways = added(ways, statement.test, name, faults)
            parts = (block(ways, part, name, faults) for part in (statement.body, statement.orelse))
            ways = set().union(*parts)
        elif isinstance(statement, (ast.With, ast.Try)):
            ways = block(ways, statement.body, name, faults)
        elif isinstance(statement, (ast.For, ast.While)):
            if isinstance(statement, ast.For):
                ways = added(ways, statement.iter, name, faults)
            ways = {(0, 0)} if name in stored(getattr(statement, "target", ast.Pass())) else ways
            rounds = 1 if name in stored(statement) else 2
            for _ in range(rounds):
                ways = ways | block(ways, statement.body, name, faults)
        else:
            ways = added(ways, statement, name, faults)
            if isinstance(statement, ENDS):
                return set()
            if not isinstance(statement, FUNCTIONS) and name in stored(statement):
                ways = {(0, 0)}
    return ways


def added(ways: Ways, node: ast.AST, name: str, faults: list[bool]) -> Ways:
    """The ways behind an expression or a simple statement."""
    uses, folds = counted(node, name)
    ways = {(way[0] + uses, way[1] + folds) for way in ways}
    faults.append(any(uses > 1 or (uses and folds) for uses, folds in ways))
    return ways


def counted(node: ast.AST, name: str) -> tuple[int, int]:
    """How often `node` uses a key, and how often it folds it."""
    if isinstance(node, FUNCTIONS) and name in {arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)}:
        return 0, 0  # a name of its own
    if isinstance(node, ast.FunctionDef) and name in stored(node):
        return 0, 0
    if isinstance(node, ast.IfExp):
        (test, body, other) = (counted(part, name) for part in (node.test, node.body, node.orelse))
        return test[0] + max(body[0], other[0]), test[1] + max(body[1], other[1])
    uses = folds = 0
    if isinstance(node, ast.Call):
        given = [*node.args, *(keyword.value for keyword in node.keywords)]
        times = sum(isinstance(each, ast.Name) and each.id == name for each in given)
        function = ast.unparse(node.func) + (ast.unparse(node.args[0]) if node.args else "")  # or partial(fold_in, key)
        uses, folds = (0, times) if "fold_in" in function else (times, 0)
    if isinstance(node, LOOPS) and name not in stored(node):
        first, *rest = node.generators
        inner = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        inner = [counted(each, name) for each in (*inner, *rest)]
        inner = [(2 * uses, folds) for uses, folds in inner] + [counted(first.iter, name)]
    else:
        inner = [counted(child, name) for child in ast.iter_child_nodes(node)]
    return uses + sum(each[0] for each in inner), folds + sum(each[1] for each in inner)
