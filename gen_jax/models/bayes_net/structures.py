"""Methods that find the graph of a Bayesian network: a tree, a search, or given edges. Each is a `Structure`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.source import say_once
from gen_jax.data.tables.networks import cycle
from gen_jax.distributions import chow_liu as tree
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.host import on_host
from gen_jax.models.bayes_net import cpds, search
from gen_jax.models.bayes_net.structure_scores import SCORES, Score, Table
from gen_jax.registry import Choices, build

Edges = Sequence[Sequence[str]]  # pairs of names, from the first to the second
SLOW = 100  # columns; a search of more takes long


class Rows(NamedTuple):
    """A batch as codes."""

    x: jax.Array  # [B, D] int32, 0 in missing cells
    observed: jax.Array  # [B, D] bool
    weight: jax.Array  # [B] float32


class Graph(NamedTuple):
    """A graph in the state of a model."""

    parents: jax.Array  # [D, P] int32, -1 for no parent
    confidence: jax.Array  # [D, D] float32, share of bootstrap samples that agree on the edge from a row to a column


class Structure(NamedTuple):
    """A method that finds a graph."""

    max_parents: int
    max_configurations: int  # of the parents of a variable
    find: Callable[..., Graph]  # (key, step, graph, rows) -> graph; traced
    pairwise: bool = False  # whether the graph is a tree, which is fitted to counts of pairs


class Search(NamedTuple):
    """A search without its table."""

    score: Score
    limits: search.Limits
    cards: tuple[int, ...]  # levels of each variable
    patience: int
    restarts: int
    bootstraps: int


def chow_liu(names: Sequence[str], cards: Sequence[int]) -> Structure:
    """Returns the method that finds the best tree, rooted at the first column (Chow and Liu 1968)."""
    return Structure(1, max(cards), keep, pairwise=True)


def fixed(names: Sequence[str], cards: Sequence[int], edges: Edges = ()) -> Structure:
    """Returns the method that takes a graph of given edges.

    Args:
      names: of the columns.
      cards: levels of each column.
      edges: pairs of names of columns, from the first to the second.

    Raises:
      UserError: for an unknown name, a pair of equal names, or a cycle.
    """
    parents = parents_of(edge_matrix("structure.edges", edges, names), names)
    structure = kept(parents, cards)
    padded = cpds.padded_parents(parents, structure.max_parents)
    return structure._replace(find=partial(replace_parents, padded))


def kept(parents: Sequence[Sequence[int]], cards: Sequence[int]) -> Structure:
    """Returns the method that keeps the graph of the first state.

    Args:
      parents: of each variable.
      cards: levels of each variable.
    """
    most = max(1, *map(len, parents))
    configurations = max(prod(cards[parent] for parent in above) for above in parents)
    return Structure(most, configurations, keep)


def keep(key: jax.Array, step: jax.Array, graph: Graph, rows: Rows) -> Graph:
    """Returns the graph as it is."""
    return graph


def replace_parents(parents: np.ndarray, key: jax.Array, step: jax.Array, graph: Graph, rows: Rows) -> Graph:
    """Returns the graph with other parents [D, P]."""
    return graph._replace(parents=jnp.asarray(parents))


def searched(
    names: Sequence[str],
    cards: Sequence[int],
    score: Annotated[Mapping, Choices(SCORES)] = {"name": "bic"},
    max_parents: int = 4,
    max_configurations: int = 1024,
    required: Edges = (),
    forbidden: Edges = (),
    patience: int = 15,
    restarts: int = 5,
    bootstraps: int = 0,
) -> Structure:
    """Returns the method that searches the best graph of the first batch by greedy and tabu steps.

    The first batch should be all the data.

    Args:
      names: of the columns.
      cards: levels of each column.
      score: a `name` in `SCORES` and its options.
      max_parents: of a variable.
      max_configurations: of the parents of a variable, the product of their levels: its table has as many rows.
      required: pairs of names of columns, from the first to the second.
      forbidden: pairs of names of columns, from the first to the second.
      patience: steps without a better graph after which a walk ends.
      restarts: walks from the best graph, changed at random.
      bootstraps: samples of the rows whose graphs say how certain each edge is; 0: none.

    Raises:
      UserError: for an unknown name or option, a number that is too small, or required edges that cannot all be there.
    """
    criterion = build("score", SCORES, score)
    for name, value in (("restarts", restarts), ("bootstraps", bootstraps), ("patience", patience)):
        check_whole(f"structure.{name}", value, 0)
    for name, value in (("max_parents", max_parents), ("max_configurations", max_configurations)):
        check_whole(f"structure.{name}", value)
    limits = search.Limits(
        edge_matrix("structure.required", required, names),
        edge_matrix("structure.forbidden", forbidden, names),
        max_parents,
        max_configurations,
    )
    check_limits(limits, names, cards)
    if len(names) > SLOW:
        say_once(
            f"to search a graph of {len(names)} columns takes long, with many rows hours; chow_liu.py takes a minute"
        )
    settings = Search(criterion, limits, tuple(cards), patience, restarts, bootstraps)
    most = min(max_parents, max(len(names) - 1, 1))
    widest = prod(sorted(cards)[-most:])
    return Structure(most, min(widest, max_configurations), partial(search_graph, settings))


def search_graph(settings: Search, key: jax.Array, step: jax.Array, graph: Graph, rows: Rows) -> Graph:
    """Returns the graph that a search finds in the rows at step 0, and later the graph as it is.

    Args:
      settings: of the search.
      key: of the search.
      step: number of the step.
      graph: of the state.
      rows: a batch.
    """
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tuple(graph))
    seed = jax.random.bits(key)
    return Graph(*on_host(partial(search_rows, settings), shapes, step, *graph, seed, *rows))


def search_rows(
    settings: Search,
    step: np.ndarray,
    parents: np.ndarray,
    confidence: np.ndarray,
    seed: np.ndarray,
    x: np.ndarray,
    observed: np.ndarray,
    weight: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns parents and confidence of the graph that a search finds at step 0. On the host.

    Args:
      settings: of the search.
      step: number of the step [].
      parents: of the graph so far [D, P].
      confidence: of the graph so far [D, D].
      seed: of the search [].
      x: codes [B, D].
      observed: [B, D] bool.
      weight: of each row [B]; rows of weight 0 are padding.
    """
    if step > 0:
        return parents, confidence
    real = weight > 0
    codes = np.where(observed, x, -1)[real].T.astype(np.int64)
    table = Table(codes, weight[real].astype(np.float64), settings.cards)
    score, limits, patience = settings.score, settings.limits, settings.patience
    best = search.search(table, score, limits, int(seed), patience, settings.restarts)
    shares = search.confidence(table, score, limits, int(seed), patience, settings.bootstraps)
    lists = [np.flatnonzero(column).tolist() for column in best.edges.T]
    return cpds.padded_parents(lists, parents.shape[1]), shares.astype(np.float32)


def edge_matrix(option: str, edges: Edges, names: Sequence[str]) -> np.ndarray:
    """Returns edges by name as [D, D] bool, from a row to a column.

    Args:
      option: its name, for the errors.
      edges: pairs of names.
      names: of the columns.

    Raises:
      UserError: for an unknown name, or anything but a pair of different names.
    """
    present = np.zeros((len(names), len(names)), bool)
    for edge in edges:
        if isinstance(edge, str) or len(edge) != 2 or edge[0] == edge[1]:
            raise UserError(
                f"{option}: {edge!r}: expected pairs of different columns, such as ({names[0]!r}, {names[-1]!r})"
            )
        source, target = (list(names).index(choose(f"column in {option}:", name, names)) for name in edge)
        present[source, target] = True
    return present


def parents_of(edges: np.ndarray, names: Sequence[str]) -> list[list[int]]:
    """Returns the parents of each variable.

    Raises:
      UserError: for a cycle, with its names.
    """
    parents = [np.flatnonzero(column).tolist() for column in edges.T]
    circle = cycle(names, parents)
    if circle:
        raise UserError(f"the edges make a cycle, {circle}; expected none")
    return parents


def check_limits(limits: search.Limits, names: Sequence[str], cards: Sequence[int]) -> None:
    """Refuses required edges that cannot all be there.

    Raises:
      UserError: for an edge that is forbidden too, a cycle, or a variable with too many parents.
    """
    both = np.argwhere(limits.required & limits.forbidden)
    if len(both):
        source, target = both[0]
        raise UserError(f"the edge {names[source]} -> {names[target]} is both required and forbidden")
    for name, above in zip(names, parents_of(limits.required, names)):
        size = prod(cards[parent] for parent in above)
        if len(above) > limits.max_parents or size > limits.max_configurations:
            raise UserError(
                f"structure.required gives {name!r} {len(above)} parents with {size} configurations; expected at most "
                f"max_parents={limits.max_parents} and max_configurations={limits.max_configurations}"
            )


def tree_of(counts: jax.Array, graph: Graph, valid: jax.Array, pseudo_count: float) -> tuple[Graph, jax.Array]:
    """Returns the Chow-Liu tree of counts of pairs, and the counts of its families [D, R, R].

    Args:
      counts: of pairs [D, R, D, R].
      graph: of the state.
      valid: [D, R] bool, levels that a variable has.
      pseudo_count: added to each cell of each table of pairs.
    """
    parents = tree.chow_liu(tree.mutual_information(counts, valid, pseudo_count))  # [D], -1 of the root
    variables = jnp.arange(len(parents))
    pairs = counts[jnp.maximum(parents, 0), :, variables]  # [D, R of the parent, R]
    alone = jnp.einsum("drdr->dr", counts)
    is_root = (parents < 0).reshape(-1, 1, 1)
    is_first = jnp.arange(counts.shape[1]).reshape(1, -1, 1) == 0  # the one configuration of no parents
    without_parents = jnp.where(is_first, alone[:, None], 0)
    return graph._replace(parents=parents[:, None]), jnp.where(is_root, without_parents, pairs)


STRUCTURES = {"chow_liu": chow_liu, "fixed": fixed, "search": searched}  # (names, cards, **options) -> Structure
StructureChoice = Annotated[Mapping | None, Choices(STRUCTURES, 2)]
