"""Methods that find the graph of a Bayesian network: a tree, a search, or given edges. Each method is a `Structure`."""

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

Edges = Sequence[Sequence[str]]  # pairs of names of columns, from the first to the second
SLOW = 100  # number of columns above which a search takes long


class Rows(NamedTuple):
    """Holds the rows of a batch as codes."""

    x: jax.Array  # [B, D] int32, 0 in missing cells
    observed: jax.Array  # [B, D] bool
    weight: jax.Array  # [B] float32


class Graph(NamedTuple):
    """Holds a graph in the state of a model."""

    parents: jax.Array  # [D, P] int32, -1 for no parent
    confidence: jax.Array  # [D, D] float32, share of bootstrap samples with the edge from a row to a column


class Structure(NamedTuple):
    """Describes a method that finds a graph."""

    max_parents: int
    max_configurations: int  # largest number of configurations of the parents of a variable
    find: Callable[..., Graph]  # (key, step, graph, rows) -> graph; traced
    pairwise: bool = False  # whether the graph is a tree, which is fitted to counts of pairs of columns


class Search(NamedTuple):
    """Holds the settings of a search."""

    score: Score
    limits: search.Limits
    cards: tuple[int, ...]  # number of levels of each variable
    patience: int
    restarts: int
    bootstraps: int


def chow_liu(names: Sequence[str], cards: Sequence[int]) -> Structure:
    """Returns the method that finds the best tree, with the first column as its root (Chow and Liu 1968).

    Args:
      names: names of the columns.
      cards: number of levels of each column.
    """
    return Structure(1, max(cards), keep, pairwise=True)


def fixed(names: Sequence[str], cards: Sequence[int], edges: Edges = ()) -> Structure:
    """Returns the method that takes a graph of given edges.

    Args:
      names: names of the columns.
      cards: number of levels of each column.
      edges: pairs of names of columns, from the first to the second; by default none.

    Raises:
      UserError: for an unknown name, a pair of equal names, or a cycle.
    """
    parents = parents_of(edge_matrix("structure.edges", edges, names), names)
    structure = fixed_structure(parents, cards)
    padded = cpds.padded_parents(parents, structure.max_parents)
    return structure._replace(find=partial(replace_parents, padded))


def fixed_structure(parents: Sequence[Sequence[int]], cards: Sequence[int]) -> Structure:
    """Returns the method that keeps the graph of the first state.

    Args:
      parents: parents of each variable.
      cards: number of levels of each variable.
    """
    most = max(1, *map(len, parents))
    configurations = max(prod(cards[parent] for parent in above) for above in parents)
    return Structure(most, configurations, keep)


def keep(key: jax.Array, step: jax.Array, graph: Graph, rows: Rows) -> Graph:
    """Returns the graph unchanged.

    Args:
      key: not used.
      step: not used.
      graph: graph of the state.
      rows: not used.
    """
    return graph


def replace_parents(parents: np.ndarray, key: jax.Array, step: jax.Array, graph: Graph, rows: Rows) -> Graph:
    """Returns the graph with other parents.

    Args:
      parents: parents [D, P].
      key: not used.
      step: not used.
      graph: graph of the state.
      rows: not used.
    """
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

    The first batch should hold all the data.

    Args:
      names: names of the columns.
      cards: number of levels of each column.
      score: a `name` in `SCORES` and its options; by default `bic`.
      max_parents: largest number of parents of a variable; by default 4.
      max_configurations: largest number of configurations of the parents of a variable; by default 1024. It is the
        product of their levels, and the number of rows of the variable's table.
      required: edges that the graph must have, as pairs of names of columns, from the first to the second; by default
        none.
      forbidden: edges that the graph must not have, as pairs of names of columns, from the first to the second; by
        default none.
      patience: number of steps without a better graph after which a walk ends; by default 15.
      restarts: number of further walks from the best graph, changed at random; by default 5.
      bootstraps: number of samples of the rows, whose graphs give the confidence of each edge; by default 0.

    Raises:
      UserError: for an unknown name or option, a number that is too small, or required edges that contradict the
        limits.
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
    """Returns the graph that a search finds in the rows at step 0. At later steps the graph is unchanged.

    Args:
      settings: settings of the search.
      key: random key of the search.
      step: number of the step [].
      graph: graph of the state.
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
    """Returns the parents and the confidence of the graph that a search finds at step 0. Runs on the host.

    Args:
      settings: settings of the search.
      step: number of the step [].
      parents: parents of the graph so far [D, P].
      confidence: confidence of the graph so far [D, D].
      seed: seed of the search [].
      x: codes [B, D].
      observed: observed cells, [B, D] bool.
      weight: weight of each row [B]. Rows of weight 0 are padding.

    Returns:
      The parents [D, P] int32, and the confidence [D, D] float32.
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
    """Returns edges by name as a matrix [D, D] bool, from a row to a column.

    Args:
      option: name of the option, for the errors.
      edges: pairs of names of columns.
      names: names of the columns.

    Raises:
      UserError: for an unknown name, or an edge that is not a pair of different names.
    """
    present = np.zeros((len(names), len(names)), bool)
    for edge in edges:
        if isinstance(edge, str) or len(edge) != 2 or edge[0] == edge[1]:
            raise UserError(
                f"{option} holds {edge!r}; expected pairs of different columns, such as ({names[0]!r}, {names[-1]!r})"
            )
        source, target = (list(names).index(choose(f"column in {option}:", name, names)) for name in edge)
        present[source, target] = True
    return present


def parents_of(edges: np.ndarray, names: Sequence[str]) -> list[list[int]]:
    """Returns the parents of each variable.

    Args:
      edges: [D, D] bool, from a row to a column.
      names: names of the columns.

    Raises:
      UserError: for a cycle, with the names of its columns.
    """
    parents = [np.flatnonzero(column).tolist() for column in edges.T]
    circle = cycle(names, parents)
    if circle:
        raise UserError(f"the edges make a cycle, {circle}; expected none")
    return parents


def check_limits(limits: search.Limits, names: Sequence[str], cards: Sequence[int]) -> None:
    """Refuses required edges that contradict the limits or make a cycle.

    Args:
      limits: limits of the graph.
      names: names of the columns.
      cards: number of levels of each column.

    Raises:
      UserError: for a required edge that is also forbidden, a cycle, or a variable with too many parents.
    """
    both = np.argwhere(limits.required & limits.forbidden)
    if len(both):
        source, target = both[0]
        raise UserError(
            f"the edge {names[source]} -> {names[target]} is both required and forbidden; expected one of them"
        )
    for name, above in zip(names, parents_of(limits.required, names)):
        size = prod(cards[parent] for parent in above)
        if len(above) > limits.max_parents or size > limits.max_configurations:
            raise UserError(
                f"structure.required gives {name!r} {len(above)} parents with {size} configurations; expected at most "
                f"max_parents={limits.max_parents} and max_configurations={limits.max_configurations}"
            )


def tree_of(counts: jax.Array, graph: Graph, valid: jax.Array, pseudo_count: float) -> tuple[Graph, jax.Array]:
    """Returns the Chow-Liu tree of counts of pairs, and the counts [D, R, R] of its families.

    Args:
      counts: counts of pairs [D, R, D, R].
      graph: graph of the state.
      valid: levels that a variable has, [D, R] bool.
      pseudo_count: number added to each cell of each table of pairs.
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
