"""Searches a graph that explains a table, on the host: a greedy walk that may step down, restarts and bootstrap.

The lower number wins a tie, and all randomness comes from the seed, so that a graph is the same in any process.
"""

from collections.abc import Callable
from functools import cache
from math import prod
from typing import NamedTuple

import numpy as np

from gen_jax.models.bayes_net.structure_scores import Score, Table, family_score

BETTER = 1e-6  # smallest difference of scores that counts as better
ADD, DELETE, TURN = range(3)  # kinds of steps
LocalScore = Callable[[int, frozenset], float]  # (variable, parents) -> score


class Limits(NamedTuple):
    """Holds the limits of the graphs that are allowed."""

    required: np.ndarray  # [D, D] bool, from a row to a column
    forbidden: np.ndarray  # [D, D] bool
    max_parents: int
    max_configurations: int  # largest number of configurations of the parents of a variable


class ScoredGraph(NamedTuple):
    """Holds a graph with its score."""

    edges: np.ndarray  # [D, D] bool, from a row to a column
    score: float


class Step(NamedTuple):
    """Describes a change of one edge."""

    kind: int  # ADD, DELETE or TURN
    source: int
    target: int


def reachable(edges: np.ndarray) -> np.ndarray:
    """Returns whether a directed path leads from a row to a column, [D, D] bool.

    Args:
      edges: the graph, [D, D] bool, from a row to a column.
    """
    paths = edges.copy()
    for middle in range(len(edges)):
        paths |= paths[:, middle : middle + 1] & paths[middle]
    return paths


def parents_in(edges: np.ndarray, variable: int) -> frozenset[int]:
    """Returns the parents of a variable.

    Args:
      edges: the graph, [D, D] bool, from a row to a column.
      variable: number of the variable.
    """
    return frozenset(np.flatnonzero(edges[:, variable]).tolist())


def local_scores(table: Table, score: Score) -> LocalScore:
    """Returns the score of a variable with a set of parents, as a function with a cache.

    Args:
      table: the rows.
      score: function of the counts of a family.
    """

    @cache
    def local(variable: int, parents: frozenset) -> float:
        return family_score(table, variable, tuple(parents), score)

    return local


def toggles(local: LocalScore, edges: np.ndarray, child: int, limits: Limits, cards: tuple[int, ...]) -> np.ndarray:
    """Returns the gain [D] of the child's score if the edge from each variable is added or deleted.

    The gain is -inf if the limits forbid the new parents. An edge can always be deleted.

    Args:
      local: score of a variable with a set of parents.
      edges: the graph [D, D].
      child: number of the child.
      limits: limits of the graph.
      cards: number of levels of each variable.
    """
    parents = parents_in(edges, child)
    score = local(child, parents)
    gains = np.full(len(edges), -np.inf)
    for candidate in range(len(edges)):
        if candidate == child:
            continue
        new = parents ^ {candidate}
        few = len(new) <= limits.max_parents and prod(cards[parent] for parent in new) <= limits.max_configurations
        if few or candidate in parents:
            gains[candidate] = local(child, new) - score
    return gains


def all_toggles(local: LocalScore, edges: np.ndarray, limits: Limits, cards: tuple[int, ...]) -> np.ndarray:
    """Returns `toggles` of each child, [D, D] from a row to a column.

    Args:
      local: score of a variable with a set of parents.
      edges: the graph, [D, D] bool, from a row to a column.
      limits: limits of the graph.
      cards: number of levels of each variable.
    """
    return np.stack([toggles(local, edges, child, limits, cards) for child in range(len(edges))], 1)


def step_gains(edges: np.ndarray, gains: np.ndarray, limits: Limits) -> np.ndarray:
    """Returns the gain [3, D, D] of adding, deleting or turning round each edge; -inf for a forbidden step.

    Args:
      edges: the graph [D, D].
      gains: `all_toggles` of the graph.
      limits: limits of the graph.
    """
    paths = reachable(edges)
    detour = (edges.astype(np.float32) @ paths.astype(np.float32)) > 0  # from a row to a column by other edges
    allowed = ~limits.forbidden
    add = np.where(~edges & ~edges.T & ~paths.T & allowed, gains, -np.inf)
    delete = np.where(edges & ~limits.required, gains, -np.inf)
    turn = np.where(edges & ~limits.required & ~detour & allowed.T, gains + gains.T, -np.inf)
    return np.round(np.stack([add, delete, turn]), 7)  # because equal scores differ in their last digits


def after(edges: np.ndarray, step: Step) -> np.ndarray:
    """Returns the graph after one step.

    Args:
      edges: the graph, [D, D] bool, from a row to a column.
      step: the step.
    """
    edges = edges.copy()
    edges[step.source, step.target] = step.kind == ADD
    if step.kind == TURN:
        edges[step.target, step.source] = True
    return edges


def best_new_step(edges: np.ndarray, gain: np.ndarray, visited: set[bytes]) -> Step | None:
    """Returns the best step to a graph that was not visited; None if there is no step.

    Args:
      edges: the graph [D, D].
      gain: `step_gains` of the graph.
      visited: graphs that were visited, as bytes.
    """
    for place in np.argsort(-gain, axis=None, kind="stable"):
        step = Step(*(int(index) for index in np.unravel_index(place, gain.shape)))
        if not np.isfinite(gain[step]):
            return None
        if after(edges, step).tobytes() not in visited:
            return step
    return None


def walk(local: LocalScore, start: np.ndarray, limits: Limits, cards: tuple[int, ...], patience: int) -> ScoredGraph:
    """Returns the best graph on a walk that always takes the best step to a new graph, even a step down.

    This is tabu search (Glover 1989) with the whole walk as its tabu list.

    Args:
      local: score of a variable with a set of parents.
      start: the first graph [D, D].
      limits: limits of the graph.
      cards: number of levels of each variable.
      patience: number of steps without a better graph after which the walk ends.
    """
    edges = start
    total = sum(local(variable, parents_in(edges, variable)) for variable in range(len(edges)))
    gains = all_toggles(local, edges, limits, cards)
    best = ScoredGraph(edges, total)
    visited = {edges.tobytes()}
    idle = 0  # steps since the best graph
    while idle <= patience:
        gain = step_gains(edges, gains, limits)
        step = best_new_step(edges, gain, visited)
        if step is None:
            break
        edges = after(edges, step)
        total += float(gain[step])
        visited.add(edges.tobytes())
        for child in (step.target, step.source) if step.kind == TURN else (step.target,):
            gains[:, child] = toggles(local, edges, child, limits, cards)
        idle += 1
        if total > best.score + BETTER:
            best = ScoredGraph(edges, total)
            idle = 0
    return best


def no_score(variable: int, parents: frozenset) -> float:
    """Returns 0 for any parents, so that all allowed steps have the same gain.

    Args:
      variable: number of the variable.
      parents: numbers of its parents.
    """
    return 0.0


def shaken(
    rng: np.random.Generator, edges: np.ndarray, steps: int, limits: Limits, cards: tuple[int, ...]
) -> np.ndarray:
    """Returns the graph after a number of random allowed steps.

    Args:
      rng: random generator of the steps.
      edges: the graph [D, D].
      steps: number of steps.
      limits: limits of the graph.
      cards: number of levels of each variable.
    """
    for _ in range(steps):
        gains = all_toggles(no_score, edges, limits, cards)
        allowed = np.argwhere(np.isfinite(step_gains(edges, gains, limits)))
        if not len(allowed):
            break
        edges = after(edges, Step(*allowed[rng.integers(len(allowed))].tolist()))
    return edges


def search(table: Table, score: Score, limits: Limits, seed: int, patience: int, restarts: int) -> ScoredGraph:
    """Returns the best graph of several walks. The first walk starts from the required edges alone.

    Each later walk starts from the best graph so far, changed by random steps.

    Args:
      table: the rows.
      score: function of the counts of a family.
      limits: limits of the graph.
      seed: seed of the random steps.
      patience: see `walk`.
      restarts: number of walks after the first.
    """
    local = local_scores(table, score)
    rng = np.random.default_rng(seed)
    best = walk(local, limits.required.copy(), limits, table.cards, patience)
    for _ in range(restarts):
        steps = max(4, int(best.edges.sum()) // 3)
        start = shaken(rng, best.edges, steps, limits, table.cards)
        graph = walk(local, start, limits, table.cards, patience)
        if graph.score > best.score + BETTER:
            best = graph
    return best


def confidence(table: Table, score: Score, limits: Limits, seed: int, patience: int, bootstraps: int) -> np.ndarray:
    """Returns the share of bootstrap samples whose graph has the edge, [D, D] (Friedman, Goldszmidt and Wyner 1999).

    Args:
      table: the rows.
      score: function of the counts of a family.
      limits: limits of the graph.
      seed: seed of the samples.
      patience: see `walk`.
      bootstraps: number of samples; if it is 0, all shares are 0.
    """
    rng = np.random.default_rng([seed, 1])
    shares = table.weight / table.weight.sum()
    counts = np.zeros(limits.required.shape)
    for _ in range(bootstraps):
        weight = rng.multinomial(round(table.weight.sum()), shares).astype(np.float64)
        sample = table._replace(x=table.x[:, weight > 0], weight=weight[weight > 0])
        counts += walk(local_scores(sample, score), limits.required.copy(), limits, table.cards, patience).edges
    return counts / max(bootstraps, 1)
