"""How the trees of a generative forest grow, on the host: scikit-learn tells real rows from drawn ones, NumPy prunes.

A tree asks whether a cell is at most a threshold; levels without an order stand there by their rank, at random in each
tree. Everything is a function of its arguments alone, whatever the number of cores.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.feed.resident import cores
from gen_jax.distributions.bins import BEYOND
from gen_jax.models.forest.density import Trees


class Grown(NamedTuple):
    """Trees with the bounds of their leaves, of cells as the trees compare them."""

    trees: Trees
    low: np.ndarray  # [T, L, D] float32, below every cell; -BEYOND where nothing is
    high: np.ndarray  # [T, L, D] float32, the greatest value that a cell may have; BEYOND where any may


def stumps(shape: tuple[int, int, int, int]) -> Grown:
    """T trees of one leaf, with room for L leaves, over D columns of at most R levels."""
    trees, leaves, columns, levels = shape
    nodes, bounds = (trees, leaves - 1), (trees, leaves, columns)
    rank = np.broadcast_to(np.arange(levels, dtype=np.float32), (trees, columns, levels)).copy()
    splits = np.zeros(nodes, np.int32), np.full(nodes, BEYOND), np.full((*nodes, 2), -1, np.int32)
    return Grown(Trees(*splits, np.ones(nodes, np.float32), rank), np.full(bounds, -BEYOND), np.full(bounds, BEYOND))


def resampled(
    rng: np.random.Generator, x: np.ndarray, observed: np.ndarray, leaf: np.ndarray, rows: np.ndarray | None = None
) -> np.ndarray:
    """For each row of x [B, D] one of independent cells, each of a row in the same leaf of a tree chosen at random.

    Watson et al. 2023, algorithm 1: of all rows together, a draw from the forest in which columns are independent in
    leaves. Cells that are not observed are never taken; where a leaf has no other, any observed one of the column is.

    Args:
      leaf: [T, B] int, that each row is of.
      rows: the rows that are asked for, all where None.
    """
    rows = np.arange(len(x)) if rows is None else rows
    drawn, chosen = np.empty((len(rows), x.shape[1]), x.dtype), rng.integers(len(leaf), size=len(rows))
    share = rng.random(drawn.shape)
    some = ~observed.all(0) & observed.any(0)  # a column without any cell is 0 throughout
    leaf = leaf.astype(np.min_scalar_type(leaf.max(initial=0)))  # few bits are sorted in linear time
    for tree, own in enumerate(leaf):
        mine, order = np.flatnonzero(chosen == tree), np.argsort(own, kind="stable")
        groups = [(np.flatnonzero(~some), order)]
        groups += [(np.array([at]), order[observed[order, at]]) for at in np.flatnonzero(some)]
        for places, donors in groups:
            first, last = (np.searchsorted(own[donors], own[rows[mine]], side)[:, None] for side in ("left", "right"))
            first, last = np.where(last > first, first, 0), np.where(last > first, last, len(donors))
            place = first + (share[np.ix_(mine, places)] * (last - first)).astype(int)
            drawn[np.ix_(mine, places)] = x[donors[np.minimum(place, last - 1)], places[None]]
    return drawn


def grown(
    seed: int, real: np.ndarray, drawn: np.ndarray, unordered: Sequence[int], shape: tuple[int, ...], min_rows: int
) -> tuple[Grown, float]:
    """A forest that tells real rows [B, D] float32 from as many drawn ones, pruned, and how often it is right.

    Each tree learns from a bootstrap sample, and its votes count for the rows that are not in it (Breiman 2001).

    Args:
      unordered: how many levels each column has, whose order means nothing; 0 of the other columns.
      shape: T, L, D, R as in `Trees`.
      min_rows: of real rows in a leaf, at least.

    Returns:
      the trees, and the out-of-bag accuracy, 1/2 where they are right by chance.
    """
    from sklearn.tree import DecisionTreeClassifier  # slow to import, and no other family needs it

    rows = np.concatenate([real, drawn])
    labels = np.arange(len(rows)) < len(real)
    forest = stumps(shape)

    def one(tree: int) -> tuple[np.ndarray, np.ndarray]:
        rng, rank = np.random.default_rng([seed, tree]), forest.trees.rank[tree]
        for column in np.flatnonzero(unordered):
            rank[column, : unordered[column]] = rng.permutation(unordered[column])
        cells = ranked(rank, unordered, rows)
        times = np.bincount(rng.integers(len(rows), size=len(rows)), minlength=len(rows))
        how = {"max_features": "sqrt", "min_samples_leaf": min_rows, "random_state": int(rng.integers(2**31))}
        learnt = DecisionTreeClassifier(**how).fit(cells, labels, times.astype(np.float64), check_input=False).tree_
        node = learnt.apply(cells)
        keep(forest, tree, learnt, np.bincount(node[: len(real)], minlength=learnt.node_count), min_rows)
        vote = learnt.value[:, 0, 1] / learnt.value[:, 0].sum(1) - 0.5
        return times == 0, vote[node]

    votes, voters = np.zeros(len(rows)), np.zeros(len(rows), bool)
    with ThreadPoolExecutor(cores()) as pool:
        for left_out, vote in pool.map(one, range(shape[0])):
            votes += np.where(left_out, vote, 0)
            voters |= left_out
    right = np.where(votes == 0, 0.5, (votes > 0) == labels)[voters]
    return forest, float(right.mean()) if len(right) else 0.5


def ranked(rank: np.ndarray, unordered: Sequence[int], x: np.ndarray) -> np.ndarray:
    """Rows x [B, D] with the ranks [D, R] of levels in their place."""
    coded = x.copy()
    for column in np.flatnonzero(unordered):
        coded[:, column] = rank[column][x[:, column].astype(int)]
    return coded


class Merged(NamedTuple):
    """A tree of scikit-learn without its small leaves; N nodes of the tree."""

    goal: np.ndarray  # [N], the node in whose place a node stands after its small children are gone
    splits: np.ndarray  # inner nodes that stay
    leaves: np.ndarray  # leaves that stay


def keep(forest: Grown, tree: int, learnt: Any, rows: np.ndarray, min_rows: int) -> None:
    """Writes a tree of scikit-learn into the place of `tree`, without the leaves that have too few real rows.

    Such a leaf goes to its sibling, with all that is below that. If there is no room for the leaves that stay, those
    with the fewest rows go as well.

    Args:
      forest: is written to.
      tree: number of the tree in the forest.
      learnt: the `tree_` of a decision tree.
      rows: number of real rows [nodes] of each leaf.
      min_rows: least rows of a leaf.
    """
    depths, room = by_depth(learnt.children_left, learnt.children_right), forest.low.shape[1]
    rows = rows_below(learnt, depths, rows)
    merged = merge_small(learnt, depths, rows, min_rows)
    while len(merged.leaves) > room:
        least = int(np.sort(rows[merged.leaves])[-room]) + 1
        merged = merge_small(learnt, depths, rows, least)
    write_tree(forest, tree, learnt, rows, merged)


def rows_below(learnt: Any, depths: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Returns the number of rows [nodes] of each node by those of the leaves."""
    left, right, rows = learnt.children_left, learnt.children_right, rows.copy()
    for nodes in reversed(depths):
        inner = nodes[left[nodes] >= 0]
        rows[inner] = rows[left[inner]] + rows[right[inner]]
    return rows


def merge_small(learnt: Any, depths: Sequence[np.ndarray], rows: np.ndarray, least: int) -> Merged:
    """Returns the tree in which every leaf has at least `least` of the `rows` [nodes]."""
    left, right, itself = learnt.children_left, learnt.children_right, np.arange(len(rows))
    inner, enough = left >= 0, rows >= least
    splits = inner & enough[left] & enough[right]
    goal = np.where(inner & enough[left], left, np.where(inner & enough[right], right, itself))
    goal = np.where(splits, itself, goal)
    while (goal[goal] != goal).any():  # a child that takes the place of its parent may give way to its own child
        goal = goal[goal]
    kept = np.zeros(len(rows), bool)
    kept[goal[0]] = True
    for nodes in depths:
        above = nodes[kept[nodes] & splits[nodes]]
        kept[goal[left[above]]] = True
        kept[goal[right[above]]] = True
    return Merged(goal, np.flatnonzero(kept & splits), np.flatnonzero(kept & ~splits))


def write_tree(forest: Grown, tree: int, learnt: Any, rows: np.ndarray, merged: Merged) -> None:
    """Writes a tree of scikit-learn, as it was merged, into the place of `tree`; `rows` [nodes] are those of each node."""
    left, right, nodes = learnt.children_left, learnt.children_right, merged.splits
    number = np.zeros(len(rows), np.int32)  # of a node in the forest; leaves count down from -1
    number[nodes] = np.arange(len(nodes))
    number[merged.leaves] = -1 - np.arange(len(merged.leaves))
    threshold = learnt.threshold[nodes].astype(np.float32)
    # Because x <= threshold goes to the left, a rounded threshold may not exceed the exact one.
    threshold = np.where(threshold > learnt.threshold[nodes], np.nextafter(threshold, np.float32(-np.inf)), threshold)
    trees, places = forest.trees, slice(0, len(nodes))
    trees.feature[tree, places] = learnt.feature[nodes]
    trees.threshold[tree, places] = threshold
    trees.children[tree, places] = number[merged.goal[np.stack([left[nodes], right[nodes]], 1)]]
    trees.share[tree, places] = rows[left[nodes]] / rows[nodes]
    bound(forest, tree, len(nodes))


def bound(forest: Grown, tree: int, nodes: int) -> None:
    """Writes the bounds of the leaves of a tree with so many inner nodes, one depth after the other."""
    trees, columns = forest.trees, forest.low.shape[2]
    low, high = (np.full((nodes, columns), value, np.float32) for value in (-BEYOND, BEYOND))
    here = np.arange(min(nodes, 1))
    while len(here):
        feature, threshold, below = trees.feature[tree, here], trees.threshold[tree, here], []
        for side, own in enumerate(((low[here], high[here]), (low[here], high[here]))):
            own[1 - side][np.arange(len(here)), feature] = threshold  # it is tighter than what was there
            child = trees.children[tree, here, side]
            inner = child >= 0
            for bounds, of_nodes, values in zip((forest.low, forest.high), (low, high), own):
                of_nodes[child[inner]], bounds[tree, -1 - child[~inner]] = values[inner], values[~inner]
            below.append(child[inner])
        here = np.concatenate(below)


def by_depth(left: np.ndarray, right: np.ndarray) -> list[np.ndarray]:
    """The nodes of each depth, from the root down."""
    depths = [np.zeros(1, int)]
    while len(depths[-1]):
        inner = depths[-1][left[depths[-1]] >= 0]
        depths.append(np.concatenate([left[inner], right[inner]]))
    return depths[:-1]
