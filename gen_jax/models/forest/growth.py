"""Grows the trees of a generative forest on the host. Scikit-learn separates real from synthetic rows; NumPy prunes.

A tree asks whether a cell is at most a threshold. Levels without an order are replaced by their rank, a random
permutation in each tree. Results depend on the arguments alone, and not on the number of cores.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.feed.resident import cores
from gen_jax.distributions.bins import BEYOND
from gen_jax.models.forest.leaf_mixture import Trees


class Grown(NamedTuple):
    """Holds trees with the bounds of their leaves. Cells are in the form that the trees compare."""

    trees: Trees[np.ndarray]
    low: np.ndarray  # [T, L, D] float32, exclusive lower bound of a cell; -BEYOND if there is no bound
    high: np.ndarray  # [T, L, D] float32, inclusive upper bound of a cell; BEYOND if there is no bound


def stumps(shape: tuple[int, int, int, int]) -> Grown:
    """Returns T trees of one leaf, with room for L leaves, over D columns of at most R levels.

    Args:
      shape: T, L, D, R.
    """
    trees, leaves, columns, levels = shape
    nodes = trees, leaves - 1
    bounds = trees, leaves, columns
    rank = np.broadcast_to(np.arange(levels, dtype=np.float32), (trees, columns, levels)).copy()
    stump = Trees(
        feature=np.zeros(nodes, np.int32),
        threshold=np.full(nodes, BEYOND),
        children=np.full((*nodes, 2), -1, np.int32),
        share=np.ones(nodes, np.float32),
        rank=rank,
    )
    return Grown(stump, np.full(bounds, -BEYOND), np.full(bounds, BEYOND))


def resampled(
    rng: np.random.Generator, x: np.ndarray, observed: np.ndarray, leaf: np.ndarray, rows: np.ndarray | None = None
) -> np.ndarray:
    """Draws synthetic rows. Each cell comes from a row in the same leaf of a tree that is chosen at random.

    The cells of a row are drawn independently. Over all rows, this is a draw from the forest in which columns are
    independent in leaves (Watson et al. 2023, algorithm 1). Only observed cells are drawn. If a leaf has no observed
    cell of a column, any observed cell of the column is drawn.

    Args:
      rng: random generator of the draws.
      x: rows [B, D].
      observed: observed cells, [B, D] bool.
      leaf: leaf of each row in each tree, [T, B] int.
      rows: numbers [K] of the rows for which cells are drawn; by default all rows.

    Returns:
      Rows [K, D].
    """
    rows = np.arange(len(x)) if rows is None else rows
    shape = len(rows), x.shape[1]
    synthetic = np.empty(shape, x.dtype)
    tree_of_row = rng.integers(len(leaf), size=len(rows))
    uniform = rng.random(shape)
    count = observed.sum(0)
    partly = (count > 0) & (count < len(x))  # columns with missing and with observed cells
    leaf = leaf.astype(np.min_scalar_type(leaf.max(initial=0)))  # because few bits are sorted in linear time
    for tree, leaf_of_row in enumerate(leaf):
        places = np.flatnonzero(tree_of_row == tree)
        asked = leaf_of_row[rows[places]]
        order = np.argsort(leaf_of_row, kind="stable")
        for columns, donors in donors_of(observed, partly, order):
            first, last = donor_ranges(leaf_of_row[donors], asked)
            cells = np.ix_(places, columns)
            donor = first[:, None] + (uniform[cells] * (last - first)[:, None]).astype(int)
            donor = np.minimum(donor, last[:, None] - 1)
            synthetic[cells] = x[donors[donor], columns[None]]
    return synthetic


def donors_of(observed: np.ndarray, partly: np.ndarray, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields columns with the numbers of the rows whose cells of these columns are observed.

    Args:
      observed: observed cells, [B, D] bool.
      partly: columns that come alone, [D] bool. The other columns come together. All of their cells are observed, or
        none is and all cells are 0.
      order: numbers of rows [B], in the order in which they are yielded.
    """
    yield np.flatnonzero(~partly), order
    for column in np.flatnonzero(partly):
        yield np.array([column]), order[observed[order, column]]


def donor_ranges(donor_leaf: np.ndarray, leaf: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the first donor of each leaf, and the end of its donors [K]. A leaf without donors has all donors.

    Args:
      donor_leaf: leaf of each donor, in ascending order.
      leaf: leaves [K].
    """
    first = np.searchsorted(donor_leaf, leaf, "left")
    last = np.searchsorted(donor_leaf, leaf, "right")
    present = last > first
    return np.where(present, first, 0), np.where(present, last, len(donor_leaf))


def grown(
    seed: int,
    real: np.ndarray,
    synthetic: np.ndarray,
    unordered: Sequence[int],
    shape: tuple[int, int, int, int],
    min_rows: int,
) -> tuple[Grown, float]:
    """Grows a forest that tells real rows from synthetic rows, prunes it, and returns it with its out-of-bag accuracy.

    Each tree is trained on a bootstrap sample. Its votes count for the rows that are not in the sample (Breiman 2001).

    Args:
      seed: seed of all draws.
      real: rows [B, D] float32.
      synthetic: synthetic rows [B, D] float32.
      unordered: number of levels [D] of each column whose levels have no order; 0 for another column.
      shape: T, L, D, R as in `Trees`.
      min_rows: smallest number of real rows of a leaf.

    Returns:
      The pruned trees with their bounds, and the out-of-bag accuracy (1/2 for guessing).
    """
    from sklearn.tree import DecisionTreeClassifier  # slow to import, and no other family needs it

    rows = np.concatenate([real, synthetic])
    labels = np.arange(len(rows)) < len(real)
    forest = stumps(shape)
    votes = np.zeros(len(rows))
    counted = np.zeros(len(rows), bool)
    grow = partial(grow_tree, forest, seed, rows, labels, unordered, min_rows, DecisionTreeClassifier)
    with ThreadPoolExecutor(cores()) as pool:
        for left_out, vote in pool.map(grow, range(shape[0])):
            votes += np.where(left_out, vote, 0)
            counted |= left_out
    right = np.where(votes == 0, 0.5, (votes > 0) == labels)[counted]
    return forest, float(right.mean()) if len(right) else 0.5


def grow_tree(
    forest: Grown,
    seed: int,
    rows: np.ndarray,
    labels: np.ndarray,
    unordered: Sequence[int],
    min_rows: int,
    classifier: Callable[..., Any],
    tree: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Grows one tree, and writes it into its place after pruning.

    Args:
      forest: the forest, which is written to.
      seed: seed of the forest.
      rows: real and synthetic rows [M, D] float32.
      labels: whether a row is real, [M] bool.
      unordered: number of levels [D] of each column whose levels have no order; 0 for another column.
      min_rows: smallest number of real rows of a leaf.
      classifier: the decision tree class of scikit-learn.
      tree: number of the tree in the forest.

    Returns:
      Whether a row is out of the bag [M], and the vote of the tree [M], which is above 0 for real rows.
    """
    rng = np.random.default_rng([seed, tree])
    rank = forest.trees.rank[tree]
    for column, levels in enumerate(unordered):
        if levels:
            rank[column, :levels] = rng.permutation(levels)
    cells = ranked(rank, unordered, rows)
    times = np.bincount(rng.integers(len(rows), size=len(rows)), minlength=len(rows))
    options = {"max_features": "sqrt", "min_samples_leaf": min_rows, "random_state": int(rng.integers(2**31))}
    learnt = classifier(**options).fit(cells, labels, times.astype(np.float64), check_input=False).tree_
    node = learnt.apply(cells)
    keep(forest, tree, learnt, np.bincount(node[labels], minlength=learnt.node_count), min_rows)
    vote = learnt.value[:, 0, 1] / learnt.value[:, 0].sum(1) - 0.5
    return times == 0, vote[node]


def ranked(rank: np.ndarray, unordered: Sequence[int], x: np.ndarray) -> np.ndarray:
    """Returns rows [B, D] with ranks in the place of levels without an order.

    Args:
      rank: ranks of levels [D, R].
      unordered: number of levels [D] of each column whose levels have no order; 0 for another column.
      x: rows [B, D].
    """
    cells = x.copy()
    for column in np.flatnonzero(unordered):
        cells[:, column] = rank[column][x[:, column].astype(int)]
    return cells


class Merged(NamedTuple):
    """Holds a tree of scikit-learn, with N nodes, after its small leaves are merged."""

    goal: np.ndarray  # [N], node that takes the place of each node after its small children are removed
    splits: np.ndarray  # inner nodes that stay
    leaves: np.ndarray  # leaves that stay


def keep(forest: Grown, tree: int, learnt: Any, rows: np.ndarray, min_rows: int) -> None:
    """Writes a tree of scikit-learn into the place of `tree`, without the leaves that have too few real rows.

    The sibling of a small leaf takes the place of their parent. If there is no room for the leaves that stay, the
    leaves with the fewest rows are removed as well.

    Args:
      forest: the forest, which is written to.
      tree: number of the tree in the forest.
      learnt: the `tree_` of a decision tree of scikit-learn.
      rows: number of real rows of each leaf, [nodes].
      min_rows: smallest number of real rows of a leaf.
    """
    depths = by_depth(learnt.children_left, learnt.children_right)
    room = forest.low.shape[1]
    rows = rows_below(learnt, depths, rows)
    merged = merge_small(learnt, depths, rows, min_rows)
    while len(merged.leaves) > room:
        least = int(np.sort(rows[merged.leaves])[-room]) + 1
        merged = merge_small(learnt, depths, rows, least)
    write_tree(forest, tree, learnt, rows, merged)


def rows_below(learnt: Any, depths: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
    """Returns the number of rows of each node, [nodes].

    Args:
      learnt: the `tree_` of a decision tree of scikit-learn.
      depths: nodes of each depth, see `by_depth`.
      rows: number of rows of each leaf, [nodes].
    """
    left, right = learnt.children_left, learnt.children_right
    rows = rows.copy()
    for nodes in reversed(depths):
        inner = nodes[left[nodes] >= 0]
        rows[inner] = rows[left[inner]] + rows[right[inner]]
    return rows


def merge_small(learnt: Any, depths: Sequence[np.ndarray], rows: np.ndarray, least: int) -> Merged:
    """Returns the tree in which every leaf has at least `least` rows.

    Args:
      learnt: the `tree_` of a decision tree of scikit-learn.
      depths: nodes of each depth, see `by_depth`.
      rows: number of rows of each node, [nodes].
      least: smallest number of rows of a leaf.
    """
    left, right = learnt.children_left, learnt.children_right
    inner = left >= 0
    enough = rows >= least
    stays_left = inner & enough[left]
    stays_right = inner & enough[right]
    splits = stays_left & stays_right
    goal = np.arange(len(rows))
    goal = np.where(stays_left & ~stays_right, left, goal)
    goal = np.where(stays_right & ~stays_left, right, goal)
    while (goal[goal] != goal).any():  # a child that takes the place of its parent may be replaced by its own child
        goal = goal[goal]
    survivors = np.zeros(len(rows), bool)
    survivors[goal[0]] = True
    for nodes in depths:
        above = nodes[survivors[nodes] & splits[nodes]]
        survivors[goal[left[above]]] = True
        survivors[goal[right[above]]] = True
    return Merged(goal, np.flatnonzero(survivors & splits), np.flatnonzero(survivors & ~splits))


def write_tree(forest: Grown, tree: int, learnt: Any, rows: np.ndarray, merged: Merged) -> None:
    """Writes a merged tree of scikit-learn into the place of `tree`.

    Args:
      forest: the forest, which is written to.
      tree: number of the tree in the forest.
      learnt: the `tree_` of a decision tree of scikit-learn.
      rows: number of rows of each node, [nodes].
      merged: the tree after its small leaves are merged.
    """
    nodes = merged.splits
    left, right = learnt.children_left[nodes], learnt.children_right[nodes]
    number = np.zeros(len(rows), np.int32)  # number of a node in the forest; leaves count down from -1
    number[nodes] = np.arange(len(nodes))
    number[merged.leaves] = -1 - np.arange(len(merged.leaves))
    threshold = learnt.threshold[nodes].astype(np.float32)
    # Because x <= threshold goes to the left, a rounded threshold may not exceed the exact one.
    threshold = np.where(threshold > learnt.threshold[nodes], np.nextafter(threshold, np.float32(-np.inf)), threshold)
    trees = forest.trees
    places = slice(0, len(nodes))
    trees.feature[tree, places] = learnt.feature[nodes]
    trees.threshold[tree, places] = threshold
    trees.children[tree, places] = number[merged.goal[np.stack([left, right], 1)]]
    trees.share[tree, places] = rows[left] / rows[nodes]
    bound(forest, tree, len(nodes))


def bound(forest: Grown, tree: int, nodes: int) -> None:
    """Writes the bounds of the leaves of a tree, one depth after the other.

    Args:
      forest: the forest, which is written to.
      tree: number of the tree in the forest.
      nodes: number of inner nodes of the tree.
    """
    trees = forest.trees
    columns = forest.low.shape[2]
    low = np.full((nodes, columns), -BEYOND, np.float32)  # bounds of inner nodes
    high = np.full((nodes, columns), BEYOND, np.float32)
    parents = np.arange(min(nodes, 1))  # inner nodes of one depth
    while len(parents):
        places = np.arange(len(parents))
        feature = trees.feature[tree, parents]
        threshold = trees.threshold[tree, parents]
        left_high = high[parents]
        left_high[places, feature] = threshold  # tighter than the bound of the parent
        right_low = low[parents]
        right_low[places, feature] = threshold
        left, right = trees.children[tree, parents].T
        hand_down(forest, tree, left, (low, high), (low[parents], left_high))
        hand_down(forest, tree, right, (low, high), (right_low, high[parents]))
        parents = np.concatenate([left[left >= 0], right[right >= 0]])


def hand_down(
    forest: Grown,
    tree: int,
    child: np.ndarray,
    of_nodes: tuple[np.ndarray, np.ndarray],
    bounds: tuple[np.ndarray, np.ndarray],
) -> None:
    """Writes the bounds of children: inner nodes into `of_nodes`, leaves into the forest.

    Args:
      forest: the forest, which is written to.
      tree: number of the tree in the forest.
      child: children [K] on one side, as in `Trees`.
      of_nodes: bounds `low` and `high` [nodes, D] of the inner nodes of the tree, which are written to.
      bounds: bounds `low` and `high` [K, D] of the children.
    """
    inner = child >= 0
    of_leaves = forest.low[tree], forest.high[tree]
    for node_bound, leaf_bound, child_bound in zip(of_nodes, of_leaves, bounds):
        node_bound[child[inner]] = child_bound[inner]
        leaf_bound[-1 - child[~inner]] = child_bound[~inner]


def by_depth(left: np.ndarray, right: np.ndarray) -> list[np.ndarray]:
    """Returns the nodes of each depth, from the root down.

    Args:
      left: left child of each node, [nodes]; -1 for a leaf.
      right: right child of each node, [nodes]; -1 for a leaf.
    """
    depths = [np.zeros(1, int)]
    while len(depths[-1]):
        nodes = depths[-1]
        inner = nodes[left[nodes] >= 0]
        depths.append(np.concatenate([left[inner], right[inner]]))
    return depths[:-1]
