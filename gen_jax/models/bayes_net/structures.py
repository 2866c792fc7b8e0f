"""How a Bayesian network comes to its graph: a tree, a search, or what somebody says. Each is a `Structure`."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.source import say_once
from gen_jax.data.tables.networks import cycle
from gen_jax.distributions import chow_liu as tree
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.host import on_host
from gen_jax.models.bayes_net import cpds, search
from gen_jax.models.bayes_net.scores import SCORES, Table
from gen_jax.registry import build

Edges = Sequence[Sequence[str]]  # pairs of names, from the first to the second


class Rows(NamedTuple):
    """A batch as codes."""

    x: jax.Array  # [B, D] int32, 0 where nothing is observed
    observed: jax.Array  # [B, D] bool
    weight: jax.Array  # [B] float32


class Graph(NamedTuple):
    """A graph in the state of a model."""

    parents: jax.Array  # [D, P] int32, -1 where there are fewer than P
    confidence: jax.Array  # [D, D] float32, share of bootstrap samples that agree on the edge from a row to a column


class Structure(NamedTuple):
    """A way to a graph. `learn` is traced: (key, step, graph, rows) -> graph, as `Graph`."""

    max_parents: int
    max_configurations: int  # of the parents of a variable
    learn: Callable
    pairwise: bool = False  # a tree, which is learnt from counts of pairs


def chow_liu(names: Sequence[str], cards: Sequence[int]) -> Structure:
    """The best tree, rooted at the first column."""
    return Structure(1, max(cards), keep, pairwise=True)


def fixed(names: Sequence[str], cards: Sequence[int], edges: Edges = ()) -> Structure:
    """The edges that are named, and no others.

    Args:
      edges: pairs of names of columns, from the first to the second.
    """
    parents = parents_of(matrix("structure.edges", edges, names), names)
    most = max(1, *map(len, parents))

    def learn(key: jax.Array, step: jax.Array, graph: Graph, rows: Rows) -> Graph:
        return graph._replace(parents=jnp.asarray(cpds.padded(parents, most)))

    return Structure(most, max(prod(cards[each] for each in above) for above in parents), learn)


def kept(parents: Sequence[Sequence[int]], cards: Sequence[int]) -> Structure:
    """The graph that the state begins with."""
    most = max(1, *map(len, parents))
    return Structure(most, max(prod(cards[each] for each in above) for above in parents), keep)


def keep(key: jax.Array, step: jax.Array, graph: Graph, rows: Rows) -> Graph:
    """The graph as it is."""
    return graph


MANY = 100  # columns, from which a search takes long


def searched(
    names: Sequence[str],
    cards: Sequence[int],
    score: Mapping = {"name": "bic"},
    max_parents: int = 4,
    max_configurations: int = 1024,
    required: Edges = (),
    forbidden: Edges = (),
    patience: int = 15,
    restarts: int = 5,
    bootstraps: int = 0,
) -> Structure:
    """The best graph that a walk of greedy and tabu steps finds in the first batch, which should be all the data.

    Args:
      score: a `name` in `SCORES` and its options.
      max_parents: of a variable.
      max_configurations: of the parents of a variable, the product of their levels: its table has as many rows.
      required, forbidden: pairs of names of columns, from the first to the second.
      patience: steps without a better graph after which a walk ends.
      restarts: walks from the best graph, changed at random.
      bootstraps: samples of the rows whose graphs say how certain each edge is; 0 is none.
    """
    criterion = build("score", SCORES, score)
    for name, value in (("restarts", restarts), ("bootstraps", bootstraps), ("patience", patience)):
        check_whole(f"structure.{name}", value, 0)
    for name, value in (("max_parents", max_parents), ("max_configurations", max_configurations)):
        check_whole(f"structure.{name}", value)
    must, never = (
        matrix(f"structure.{what}", each, names) for what, each in (("required", required), ("forbidden", forbidden))
    )
    limits = search.Limits(must, never, max_parents, max_configurations)
    check_limits(limits, names, cards)
    if len(names) > MANY:
        say_once(
            f"to search a graph of {len(names)} columns takes long, with many rows hours; chow_liu.py takes a minute"
        )

    def host(step: Any, parents: Any, confidence: Any, seed: Any, x: Any, observed: Any, weight: Any) -> tuple:
        if step > 0:
            return parents, confidence
        real = weight > 0
        rows = np.where(observed, x, -1)[real].T.astype(np.int64)
        table = Table(rows, weight[real].astype(np.float64), tuple(cards))
        found = search.search(table, criterion, limits, int(seed), patience, restarts)
        shares = search.confidence(table, criterion, limits, int(seed), patience, bootstraps)
        new = cpds.padded([np.flatnonzero(column).tolist() for column in found.edges.T], parents.shape[1])
        return new, shares.astype(np.float32)

    def learn(key: jax.Array, step: jax.Array, graph: Graph, rows: Rows) -> Graph:
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tuple(graph))
        seed = jax.random.bits(key)
        return Graph(*on_host(host, shapes, step, *graph, seed, *rows))

    most = min(max_parents, max(len(names) - 1, 1))
    return Structure(most, min(prod(sorted(cards)[-most:]), max_configurations), learn)


def matrix(what: str, edges: Edges, names: Sequence[str]) -> np.ndarray:
    """Edges by name as [D, D] bool, from a row to a column.

    Raises:
      UserError: for an unknown name, or what is no pair of different names.
    """
    found = np.zeros((len(names), len(names)), bool)
    for edge in edges:
        if isinstance(edge, str) or len(edge) != 2 or edge[0] == edge[1]:
            raise UserError(
                f"{what}: {edge!r}: expected pairs of different columns, such as ({names[0]!r}, {names[-1]!r})"
            )
        source, target = (list(names).index(choose(f"column in {what}:", each, names)) for each in edge)
        found[source, target] = True
    return found


def parents_of(edges: np.ndarray, names: Sequence[str]) -> list[list[int]]:
    """The parents of each variable.

    Raises:
      UserError: naming a cycle, where there is one.
    """
    parents = [np.flatnonzero(column).tolist() for column in edges.T]
    if found := cycle(names, parents):
        raise UserError(f"the edges make a cycle, {found}; expected none")
    return parents


def check_limits(limits: search.Limits, names: Sequence[str], cards: Sequence[int]) -> None:
    """Raises UserError where the edges that are required cannot all be there."""
    both = np.argwhere(limits.required & limits.forbidden)
    if len(both):
        raise UserError("the edge {} -> {} is both required and forbidden".format(*(names[each] for each in both[0])))
    for name, above in zip(names, parents_of(limits.required, names)):
        size = prod(cards[each] for each in above)
        if len(above) > limits.max_parents or size > limits.max_configurations:
            raise UserError(
                f"structure.required gives {name!r} {len(above)} parents with {size} configurations; expected at most "
                f"max_parents={limits.max_parents} and max_configurations={limits.max_configurations}"
            )


STRUCTURES = {"chow_liu": chow_liu, "fixed": fixed, "search": searched}  # (names, cards, **options) -> Structure


def tree_of(counts: jax.Array, graph: Graph, valid: jax.Array, pseudo_count: float) -> tuple[Graph, jax.Array]:
    """The Chow-Liu tree of counts of pairs [D, R, D, R], and the counts of its families [D, R, R]."""
    parents = tree.chow_liu(tree.mutual_information(counts, valid, pseudo_count))
    variables = jnp.arange(len(parents))
    pairs = counts[jnp.maximum(parents, 0), :, variables]  # [D, R of the parent, R]
    alone = jnp.einsum("drdr->dr", counts)
    root = (parents < 0).reshape(-1, 1, 1)
    first = jnp.arange(counts.shape[1]).reshape(1, -1, 1) == 0
    return graph._replace(parents=parents[:, None]), jnp.where(root, jnp.where(first, alone[:, None], 0), pairs)
