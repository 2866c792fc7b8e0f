"""The search for a Bayesian network that explains a table: a greedy walk that may step down, restarts, bootstrap. On the host.

Ties go to the lower number, and all randomness comes from the seed, so that a graph is the same in any process.
"""

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy as np

from gen_jax.models.bayes_net.scores import Family, Table, family_score


class Limits(NamedTuple):
    """What a graph may be."""

    required: np.ndarray  # [D, D] bool, from a row to a column
    forbidden: np.ndarray  # [D, D] bool
    max_parents: int
    max_configurations: int  # of the parents of a variable


class Graph(NamedTuple):
    """A graph with its score."""

    edges: np.ndarray  # [D, D] bool, from a row to a column
    score: float


def reachable(edges: np.ndarray) -> np.ndarray:
    """Which variables a directed path leads to, [D, D] bool, from a row to a column."""
    paths = edges.copy()
    for each in range(len(edges)):
        paths |= paths[:, each : each + 1] & paths[each]
    return paths


def local_scores(table: Table, score: Callable[[Family], float]) -> Callable[[int, frozenset], float]:
    """The score of a variable with a set of parents; what was asked for once is remembered."""
    known: dict[tuple[int, frozenset], float] = {}

    def local(variable: int, parents: frozenset) -> float:
        if (variable, parents) not in known:
            known[variable, parents] = family_score(table, variable, tuple(parents), score)
        return known[variable, parents]

    return local


def toggles(local: Callable, edges: np.ndarray, child: int, limits: Limits, cards: tuple[int, ...]) -> np.ndarray:
    """What the child's score gains where the edge from each variable is added or taken away [D]; -inf where it may not."""
    parents = frozenset(np.flatnonzero(edges[:, child]).tolist())
    now, gains = local(child, parents), np.full(len(edges), -np.inf)
    for each in range(len(edges)):
        if each == child:
            continue
        new = parents ^ {each}
        fits = len(new) <= limits.max_parents and prod(cards[p] for p in new) <= limits.max_configurations
        if fits or each in parents:
            gains[each] = local(child, new) - now
    return gains


def moves(edges: np.ndarray, gains: np.ndarray, limits: Limits) -> np.ndarray:
    """What each legal step gains [3, D, D]: an edge added, deleted, turned round; -inf for the others."""
    paths = reachable(edges)
    detour = (edges.astype(np.float32) @ paths.astype(np.float32)) > 0  # from a row to a column, not by their own edge
    may = ~limits.forbidden
    add = np.where(~edges & ~edges.T & ~paths.T & may, gains, -np.inf)
    delete = np.where(edges & ~limits.required, gains, -np.inf)
    turn = np.where(edges & ~limits.required & ~detour & may.T, gains + gains.T, -np.inf)
    return np.round(np.stack([add, delete, turn]), 7)  # equal scores differ in their last digits


def stepped(edges: np.ndarray, kind: int, source: int, target: int) -> np.ndarray:
    """The graph after one step."""
    edges = edges.copy()
    edges[source, target] = kind == 0
    edges[target, source] |= kind == 2
    return edges


def walk(local: Callable, start: np.ndarray, limits: Limits, cards: tuple[int, ...], patience: int) -> Graph:
    """The best graph on a walk that always takes the best step to a graph it has not seen, even a step down.

    It ends after `patience` steps that led to nothing better (Glover 1989, with the whole walk as its tabu list).
    """
    edges, seen, idle = start, {start.tobytes()}, 0
    total = sum(local(each, frozenset(np.flatnonzero(edges[:, each]).tolist())) for each in range(len(edges)))
    gains = np.stack([toggles(local, edges, each, limits, cards) for each in range(len(edges))], 1)
    best = Graph(edges, total)
    while idle <= patience:
        gain = moves(edges, gains, limits)
        for place in np.argsort(-gain, axis=None, kind="stable"):
            kind, source, target = (int(each) for each in np.unravel_index(place, gain.shape))
            if not np.isfinite(gain[kind, source, target]):
                return best
            new = stepped(edges, kind, source, target)
            if new.tobytes() not in seen:
                break
        else:
            return best
        edges, total = new, total + float(gain[kind, source, target])
        seen.add(edges.tobytes())
        for each in (target, source) if kind == 2 else (target,):
            gains[:, each] = toggles(local, edges, each, limits, cards)
        idle = 0 if total > best.score + 1e-6 else idle + 1
        best = Graph(edges, total) if idle == 0 else best
    return best


def shaken(
    rng: np.random.Generator, edges: np.ndarray, steps: int, limits: Limits, cards: tuple[int, ...]
) -> np.ndarray:
    """The graph after so many legal steps at random."""
    nothing = lambda variable, parents: 0.0  # every legal step alike
    for _ in range(steps):
        gains = np.stack([toggles(nothing, edges, each, limits, cards) for each in range(len(edges))], 1)
        legal = np.argwhere(np.isfinite(moves(edges, gains, limits)))
        if not len(legal):
            break
        edges = stepped(edges, *legal[rng.integers(len(legal))].tolist())
    return edges


def search(
    table: Table, score: Callable[[Family], float], limits: Limits, seed: int, patience: int, restarts: int
) -> Graph:
    """The best graph of a walk from the required edges alone and of `restarts` walks, each from the best so far, shaken."""
    local, rng, cards = local_scores(table, score), np.random.default_rng(seed), table.cards
    best = walk(local, limits.required.copy(), limits, cards, patience)
    for _ in range(restarts):
        steps = max(4, int(best.edges.sum()) // 3)
        found = walk(local, shaken(rng, best.edges, steps, limits, cards), limits, cards, patience)
        best = found if found.score > best.score + 1e-6 else best
    return best


def confidence(
    table: Table, score: Callable[[Family], float], limits: Limits, seed: int, patience: int, bootstraps: int
) -> np.ndarray:
    """The share of bootstrap samples whose graph has the edge, [D, D] (Friedman, Goldszmidt and Wyner 1999)."""
    rng, shares = np.random.default_rng([seed, 1]), table.weight / table.weight.sum()
    found = np.zeros(limits.required.shape)
    for _ in range(bootstraps):
        weight = rng.multinomial(round(table.weight.sum()), shares).astype(np.float64)
        some = table._replace(x=table.x[:, weight > 0], weight=weight[weight > 0])
        found += walk(local_scores(some, score), limits.required.copy(), limits, table.cards, patience).edges
    return found / max(bootstraps, 1)
