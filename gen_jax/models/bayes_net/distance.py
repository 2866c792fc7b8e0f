"""How far two Bayesian networks' graphs are from each other: what data alone can tell, their equivalence classes."""

import numpy as np


def cpdag(edges: np.ndarray) -> np.ndarray:
    """The completed partially directed graph of a directed acyclic one [D, D] bool; an undirected edge stands both ways.

    Edges into common children of variables that are not neighbours keep their direction, and those that follow from
    these by Meek's rules (Meek 1995, section 2.1.2).
    """
    edges = np.asarray(edges, bool)
    near = edges | edges.T
    fixed = np.zeros_like(edges)
    for child in range(len(edges)):
        above = np.flatnonzero(edges[:, child])
        for each in above:
            fixed[each, child] = any(other != each and not near[each, other] for other in above)
    while True:
        new = fixed | (_follows(fixed, near) & edges)
        if (new == fixed).all():
            return fixed | (near & ~fixed & ~fixed.T)
        fixed = new


def _follows(fixed: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Directions that Meek's rules 1 to 3 demand of undirected edges."""
    count, line = fixed.astype(int), near & ~fixed & ~fixed.T
    away = ~near & ~np.eye(len(near), dtype=bool)
    first = count.T @ away > 0  # a -> b - c with a, c apart: b -> c
    second = count @ count > 0  # a -> c -> b and a - b: a -> b
    third = np.zeros_like(near)
    for a, b in np.argwhere(line):
        middle = np.flatnonzero(line[a] & fixed[:, b])
        third[a, b] = away[np.ix_(middle, middle)].any()  # a - c -> b, a - d -> b with c, d apart: a -> b
    return line & (first | second | third)


def cpdag_distance(first: np.ndarray, second: np.ndarray) -> int:
    """Pairs of variables between which the equivalence classes of two graphs differ (Tsamardinos et al. 2006)."""
    differ = cpdag(first) != cpdag(second)
    return int(np.triu(differ | differ.T, 1).sum())
