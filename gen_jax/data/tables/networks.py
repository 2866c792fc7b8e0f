"""Discrete Bayesian networks: their order, and exact rows drawn from them."""

import heapq
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

ASIA = Path(__file__).parents[1] / "asia.bif"  # built-in network


class Network(NamedTuple):
    """Holds a discrete Bayesian network. Variables and their levels are numbered in the order of the network."""

    names: tuple[str, ...]  # D variables
    levels: tuple[tuple[str, ...], ...]
    parents: tuple[tuple[int, ...], ...]
    tables: tuple[np.ndarray, ...]  # float64 [levels of each parent ..., levels of the variable], P(variable | parents)


def topological_order(parents: Sequence[Sequence[int]]) -> list[int]:
    """Returns the variables with parents before children. If there is a cycle, variables are missing.

    Among the possible variables the lowest number comes first.

    Args:
      parents: parents of each variable.
    """
    children: dict[int, list[int]] = {}
    for child, above in enumerate(parents):
        for parent in {*above}:
            children.setdefault(parent, []).append(child)
    waiting = [len({*above}) for above in parents]
    ready = [variable for variable, count in enumerate(waiting) if not count]  # a heap
    order = []
    while ready:
        order.append(heapq.heappop(ready))
        for child in children.get(order[-1], ()):
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, child)
    return order


def cycle(names: Sequence[str], parents: Sequence[Sequence[int]]) -> str | None:
    """Returns a directed cycle in words, such as `a -> b -> a`; None if there is no cycle.

    Args:
      names: names of the variables.
      parents: parents of each variable.
    """
    unordered_nodes = set(range(len(parents))) - set(topological_order(parents))
    if not unordered_nodes:
        return None
    walk = [min(unordered_nodes)]
    while (above := min(set(parents[walk[-1]]) & unordered_nodes)) not in walk:
        walk.append(above)
    walk = [above, *walk[walk.index(above) :][::-1]]
    return " -> ".join(names[variable] for variable in walk)


def draw(network: Network, rng: np.random.Generator, num: int) -> np.ndarray:
    """Draws rows of a network by ancestral sampling, as numbers of levels [num, D] int32.

    Args:
      network: the network.
      rng: random generator of the draws.
      num: number of rows.
    """
    codes = np.zeros((num, len(network.names)), np.int32)
    for variable in topological_order(network.parents):
        table = network.tables[variable]
        cumulative = table.reshape(-1, table.shape[-1]).cumsum(1)  # [configurations, levels]
        above = tuple(codes[:, parent] for parent in network.parents[variable])
        config = np.ravel_multi_index(above, table.shape[:-1]) if above else np.zeros(num, int)
        codes[:, variable] = (rng.random(num)[:, None] >= cumulative[config, :-1]).sum(1)
    return codes
