"""Compares the graphs of two Bayesian networks up to equivalence.

Data alone cannot tell equivalent graphs apart.
"""

import numpy as np


def cpdag(edges: np.ndarray) -> np.ndarray:
    """Returns the completed partially directed graph (CPDAG) of a directed acyclic graph.

    An undirected edge stands in both directions. Edges into a common child of variables that are not neighbours keep
    their direction. So do the edges that follow from these edges by Meek's rules (Meek 1995, section 2.1.2).

    Args:
      edges: [D, D] bool, from a row to a column.
    """
    edges = np.asarray(edges, bool)
    adjacent = edges | edges.T
    directed = colliders(edges, adjacent)
    while True:
        new = directed | (implied(directed, adjacent) & edges)
        if (new == directed).all():
            return directed | (adjacent & ~directed & ~directed.T)
        directed = new


def colliders(edges: np.ndarray, adjacent: np.ndarray) -> np.ndarray:
    """Returns the edges into a common child of two variables that are not adjacent, [D, D] bool.

    Args:
      edges: a directed acyclic graph, [D, D] bool, from a row to a column.
      adjacent: whether two variables have an edge between them, [D, D] bool.
    """
    directed = np.zeros_like(edges)
    for child in range(len(edges)):
        parents = np.flatnonzero(edges[:, child])
        for parent in parents:
            directed[parent, child] = any(other != parent and not adjacent[parent, other] for other in parents)
    return directed


def implied(directed: np.ndarray, adjacent: np.ndarray) -> np.ndarray:
    """Returns the directions that Meek's rules 1 to 3 demand of undirected edges, [D, D] bool.

    Args:
      directed: directed edges, [D, D] bool.
      adjacent: whether two variables have an edge between them, [D, D] bool.
    """
    count = directed.astype(int)
    undirected = adjacent & ~directed & ~directed.T
    apart = ~adjacent & ~np.eye(len(adjacent), dtype=bool)
    first = count.T @ apart > 0  # a -> b - c with a, c apart: b -> c
    second = count @ count > 0  # a -> c -> b and a - b: a -> b
    third = np.zeros_like(adjacent)
    for a, b in np.argwhere(undirected):
        middle = np.flatnonzero(undirected[a] & directed[:, b])
        third[a, b] = apart[np.ix_(middle, middle)].any()  # a - c -> b, a - d -> b with c, d apart: a -> b
    return undirected & (first | second | third)


def cpdag_distance(first: np.ndarray, second: np.ndarray) -> int:
    """Returns the number of pairs of variables between which two equivalence classes differ (Tsamardinos et al. 2006).

    Args:
      first: a directed acyclic graph, [D, D] bool.
      second: a directed acyclic graph, [D, D] bool.
    """
    differ = cpdag(first) != cpdag(second)
    return int(np.triu(differ | differ.T, 1).sum())
