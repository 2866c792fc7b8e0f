"""Treats a forest as a mixture of all leaves of all its trees: the leaf of a row, densities and draws.

The module `leaves` has the cells of a leaf. Densities and draws follow FORDE and FORGE (Watson, Blesch, Kapar & Wright
2023, algorithms 2 and 3). A tree is uniform, a leaf has its share of the rows, and cells follow the leaf. To save
memory, trees are processed one after the other, and rows in parts.
"""

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.models.forest import leaves as inside
from gen_jax.models.forest.leaves import Layout, Leaves

NUMBERS = 1 << 22  # largest number of values of the pairs of a row and a leaf that are computed together
FEWEST = 64  # smallest number of pairs of a row and a leaf that are computed together

ArrayType = TypeVar("ArrayType", jax.Array, np.ndarray)


class Trees(NamedTuple, Generic[ArrayType]):
    """Holds T binary trees of at most L leaves. Node 0 is the root; inner nodes and leaves are numbered from the left.

    A row goes to the left if its cell is at most the threshold. A child that is a leaf is -1 - the number of the leaf.
    """

    feature: ArrayType  # [T, L - 1] int32, column of the cell
    threshold: ArrayType  # [T, L - 1] float32
    children: ArrayType  # [T, L - 1, 2] int32, left and right child
    share: ArrayType  # [T, L - 1] float32, share of the rows of a node that went left, before small leaves were merged
    rank: ArrayType  # [T, D, R] float32, ranks of levels, which are compared with thresholds


class Forest(NamedTuple):
    """Holds trees and the cells of their leaves."""

    trees: Trees[jax.Array]
    leaves: Leaves  # [T, L, ...]


class Candidates(NamedTuple):
    """Holds the pairs of a row and a possible leaf of that row, in the order of the rows. On the host."""

    row: np.ndarray  # [P] int32
    place: np.ndarray  # [P] int32, number of the leaf, counted through all trees with L leaves for each tree


def coded(layout: Layout, rank: jax.Array, x: jax.Array) -> jax.Array:
    """Returns rows [B, D] in the form that a tree compares, with ranks in the place of levels.

    Args:
      layout: layout of the table.
      rank: ranks of levels [D, R].
      x: rows [B, D].
    """
    places = layout.levels.columns
    if not len(places):
        return x
    return x.at[:, places].set(rank[places[None], inside.codes(layout, x)])


def route(layout: Layout, tree: Trees[jax.Array], x: jax.Array) -> jax.Array:
    """Returns the leaf [B] int32 of each row in one tree.

    Args:
      layout: layout of the table.
      tree: one tree.
      x: rows [B, D].
    """
    rows = jnp.arange(len(x))
    cells = coded(layout, tree.rank, x)

    def descend(node: jax.Array) -> jax.Array:
        inner = jnp.maximum(node, 0)
        right = cells[rows, tree.feature[inner]] > tree.threshold[inner]
        return jnp.where(node < 0, node, tree.children[inner, right.astype(jnp.int32)])

    node = jax.lax.while_loop(lambda node: (node >= 0).any(), descend, jnp.zeros(len(x), jnp.int32))
    return -1 - node


def route_by_chance(key: jax.Array, layout: Layout, tree: Trees[jax.Array], x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns a leaf [B] int32 of each row in one tree. A row takes a random branch at splits on missing cells.

    The probability of a branch is its share of the rows of the node. One uniform number is enough for all nodes of a
    row, because it is uniform again within the branch that it chose.

    Args:
      key: random key of the draw.
      layout: layout of the table.
      tree: one tree.
      x: rows [B, D].
      mask: observed cells, [B, D] bool.
    """
    rows = jnp.arange(len(x))
    cells = coded(layout, tree.rank, x)

    def descend(paths: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        node, uniform = paths
        inner = jnp.maximum(node, 0)
        column = tree.feature[inner]
        share = tree.share[inner]
        observed = mask[rows, column]
        right = jnp.where(observed, cells[rows, column] > tree.threshold[inner], uniform >= share)
        within = jnp.where(right, (uniform - share) / (1 - share), uniform / share)
        node = jnp.where(node < 0, node, tree.children[inner, right.astype(jnp.int32)])
        return node, jnp.where(observed, uniform, within)

    start = jnp.zeros(len(x), jnp.int32), jax.random.uniform(key, (len(x),))
    node, _ = jax.lax.while_loop(lambda paths: (paths[0] >= 0).any(), descend, start)
    return -1 - node


def fitted(
    layout: Layout,
    trees: Trees[jax.Array],
    low: jax.Array,
    high: jax.Array,
    x: jax.Array,
    full: jax.Array,
    mask: jax.Array,
) -> Forest:
    """Returns a forest whose leaves are fitted to the observed cells of rows.

    Args:
      layout: layout of the table.
      trees: T trees.
      low: lower bounds [T, L, D] of the cells of each leaf, exclusive, in the form that trees compare.
      high: upper bounds [T, L, D] of the cells of each leaf, inclusive.
      x: rows [B, D].
      full: rows [B, D] without missing cells, which decide on the leaf of a row.
      mask: observed cells, [B, D] bool. No cell of a padding row is observed.
    """
    prior = inside.shares(layout, x, mask) if len(layout.valid) else None

    def fit_leaves(grown: tuple[Trees[jax.Array], jax.Array, jax.Array]) -> Leaves:
        tree, low, high = grown
        region = region_of(layout, tree, low, high)
        return inside.fitted(layout, x, mask, route(layout, tree, full), region, prior)

    return Forest(trees, jax.lax.map(fit_leaves, (trees, low, high)))


def region_of(layout: Layout, tree: Trees[jax.Array], low: jax.Array, high: jax.Array) -> inside.Region:
    """Returns the cells that the leaves of one tree can hold.

    Args:
      layout: layout of the table.
      tree: one tree.
      low: lower bounds [L, D], exclusive.
      high: upper bounds [L, D], inclusive.
    """
    places = layout.levels.columns
    rank = tree.rank[places][None]  # [1, C, R]
    allowed = (rank > low[:, places, None]) & (rank <= high[:, places, None]) & layout.valid[None]
    return inside.Region(low[:, layout.numbers], high[:, layout.numbers], allowed)


def without_levels(leaves: Leaves) -> Leaves:
    """Returns leaves without their tables of levels, which are too large to be copied for each row.

    Args:
      leaves: the leaves.
    """
    return leaves._replace(tables=None, parents=None)


def log_prob(layout: Layout, forest: Forest, x: jax.Array) -> jax.Array:
    """Returns the log-densities [B] of complete rows, in nats. Differentiable in the numbers.

    A complete row has one leaf in each tree.

    Args:
      layout: layout of the table.
      forest: the forest.
      x: rows [B, D].
    """
    code = inside.codes(layout, x)

    def log_prob_of_tree(single: Forest) -> jax.Array:
        tree, leaves = single
        leaf = jax.lax.stop_gradient(route(layout, tree, x))
        leaf_of_row = jax.tree.map(lambda array: array[leaf], without_levels(leaves))
        log_p = inside.log_numbers(layout, leaf_of_row, x[:, layout.numbers], None)
        log_p = log_p + inside.log_levels(layout, leaves, leaf, code)
        return log_p + jnp.log(leaves.rows[leaf]) - jnp.log(leaves.rows.sum())

    log_p = jax.lax.map(log_prob_of_tree, forest)  # [T, B]
    return jax.nn.logsumexp(log_p, 0) - np.log(len(log_p))


def joint(layout: Layout, forest: Forest, place: jax.Array, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the joint log-densities [P] of the observed cells of rows and of one leaf for each row.

    Args:
      layout: layout of the table.
      forest: the forest.
      place: leaf [P] of each row, as in `Candidates`.
      x: rows [P, D].
      mask: observed cells, [P, D] bool.
    """
    leaves = jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), forest.leaves)  # [T L, ...]
    leaf_of_row = jax.tree.map(lambda array: array[place], without_levels(leaves))
    log_p = inside.log_numbers(layout, leaf_of_row, x[:, layout.numbers], mask[:, layout.numbers])
    seen = mask[:, layout.levels.columns]
    log_p = log_p + inside.log_levels(layout, leaves, place, inside.codes(layout, x), seen)
    total = forest.leaves.rows[0].sum()  # every tree has all rows
    return log_p + jnp.log(leaf_of_row.rows / total) - np.log(len(forest.leaves.rows))


def candidates_of(layout: Layout, trees: Trees[jax.Array], x: np.ndarray, mask: np.ndarray) -> Candidates:
    """Returns the leaves that rows may be in by their observed cells. Runs on the host.

    Args:
      layout: layout of the table.
      trees: T trees.
      x: rows [B, D].
      mask: observed cells, [B, D] bool.
    """
    cells = np.asarray(jax.vmap(lambda rank: coded(layout, rank, jnp.asarray(x)))(trees.rank))  # [T, B, D]
    feature = np.asarray(trees.feature)
    threshold = np.asarray(trees.threshold)
    children = np.asarray(trees.children)
    num_leaves = feature.shape[1] + 1
    indices = np.indices(cells.shape[:2], np.int32)
    tree = indices[0].ravel()
    row = indices[1].ravel()
    node = np.zeros_like(row)
    leaf_rows, leaf_places = [], []
    while len(node):
        column = feature[tree, node]
        below = children[tree, node]  # [., 2]
        hidden = ~mask[row, column]
        right = cells[tree, row, column] > threshold[tree, node]
        to_left = ~right | hidden
        to_right = right | (hidden & (below[:, 0] != below[:, 1]))  # both children are leaf 0 if a tree has one leaf
        tree = np.concatenate([tree[to_left], tree[to_right]])
        row = np.concatenate([row[to_left], row[to_right]])
        node = np.concatenate([below[to_left, 0], below[to_right, 1]])
        leaf = node < 0
        leaf_rows.append(row[leaf])
        leaf_places.append(tree[leaf] * num_leaves - 1 - node[leaf])
        tree, row, node = tree[~leaf], row[~leaf], node[~leaf]
    row = np.concatenate(leaf_rows)
    place = np.concatenate(leaf_places)
    order = np.lexsort((place, row))
    return Candidates(row[order], place[order])


def posterior(
    layout: Layout, joint: Callable[..., jax.Array], key: jax.Array, forest: Forest, x: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draws a tree and a leaf for each row, given its observed cells. Runs on the host.

    Rows with the same observed cells have the same density, which is computed once.

    Args:
      layout: layout of the table.
      joint: the function `joint` of the layout, compiled.
      key: random key of the draw.
      forest: the forest.
      x: rows [B, D].
      mask: observed cells, [B, D] bool.

    Returns:
      The log-densities [B] of the observed cells, the trees [B] and the leaves [B].
    """
    num, columns = x.shape
    trees, num_leaves = forest.leaves.rows.shape
    uniform = np.asarray(jax.random.uniform(key, (num,)), np.float64)
    observed = np.concatenate([np.where(mask, x, 0), mask], 1)
    distinct, group = np.unique(observed, axis=0, return_inverse=True)
    group = group.ravel()
    evidence = np.empty(num)
    place = np.empty(num, int)
    size = max(1, NUMBERS // (trees * num_leaves))  # number of distinct rows that are computed together
    for start in range(0, len(distinct), size):
        part = distinct[start : start + size]
        part_x, part_mask = part[:, :columns], part[:, columns:] > 0
        candidates = candidates_of(layout, forest.trees, part_x, part_mask)
        log_p = log_joint(layout, joint, forest, candidates, part_x, part_mask)
        members = np.flatnonzero((group >= start) & (group < start + size))
        drawn = draw_places(candidates, log_p, group[members] - start, uniform[members])
        evidence[members], place[members] = drawn
    tree, leaf = np.divmod(place, num_leaves)
    return evidence, tree, leaf


def log_joint(
    layout: Layout,
    joint: Callable[..., jax.Array],
    forest: Forest,
    candidates: Candidates,
    x: np.ndarray,
    mask: np.ndarray,
) -> np.ndarray:
    """Returns the joint log-density [P] float64 of each candidate, computed in parts.

    Args:
      layout: layout of the table.
      joint: the function `joint` of the layout, compiled.
      forest: the forest.
      candidates: P leaves of the rows.
      x: rows [B, D].
      mask: observed cells, [B, D] bool.
    """
    row, place = candidates
    numbers = x.shape[1]  # number of values of a pair of a row and a leaf
    if layout.dependent:
        numbers = sum(array[0, 0].size for array in jax.tree.leaves(forest.leaves))
    log_p = [
        joint(forest, place[part], x[row[part]], mask[row[part]]) for part in equal_parts(len(row), NUMBERS // numbers)
    ]
    return np.concatenate(log_p).astype(np.float64)[: len(row)]


def equal_parts(num: int, max_size: int) -> np.ndarray:
    """Returns the numbers from 0 to num - 1 in K parts of one size S, [K, S].

    The size is a power of two or `max_size`. The last number is repeated to the end of the last part. Few sizes mean few
    compilations.

    Args:
      num: number of all numbers.
      max_size: largest size of a part.
    """
    size = min(max(1, max_size), max(FEWEST, 1 << (num - 1).bit_length()))
    parts = -(-num // size)
    return np.minimum(np.arange(parts * size), num - 1).reshape(-1, size)


def draw_places(
    candidates: Candidates, log_p: np.ndarray, row: np.ndarray, uniform: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Draws a leaf for each of some rows in proportion to the joint densities. Runs on the host.

    Args:
      candidates: P leaves of R rows, with at least one leaf for each row.
      log_p: joint log-densities [P] of the observed cells of a row and a leaf.
      row: numbers [B] of rows, below R.
      uniform: uniform numbers [B] in [0, 1).

    Returns:
      The log-densities [B] of the observed cells, and the leaves [B] in the numbering of `Candidates`.
    """
    last = np.searchsorted(candidates.row, np.arange(candidates.row[-1] + 1), side="right")  # [R]
    first = np.append(0, last[:-1])
    top = np.maximum.reduceat(log_p, first)
    top = np.where(np.isfinite(top), top, 0)
    heights = np.append(0, np.cumsum(np.exp(log_p - top[candidates.row])))  # [P + 1]
    total = heights[last] - heights[first]
    with np.errstate(divide="ignore"):
        evidence = top + np.log(total)
    target = heights[first[row]] + uniform * total[row]
    chosen = np.searchsorted(heights[1:], target, side="right")
    chosen = np.clip(chosen, first[row], last[row] - 1)  # a rounded target may be in a leaf of the next row
    return evidence[row], candidates.place[chosen]


def prior(key: jax.Array, leaves: Leaves, num: int) -> tuple[jax.Array, jax.Array]:
    """Draws trees [num] uniformly and leaves [num] by their shares of the rows, by binary search.

    Args:
      key: random key of the draw.
      leaves: leaves [T, L, ...].
      num: number of draws.
    """
    tree_key, leaf_key = jax.random.split(key)
    tree = jax.random.randint(tree_key, (num,), 0, len(leaves.rows))
    heights = jnp.cumsum(leaves.rows, 1)  # [T, L]
    target = jax.random.uniform(leaf_key, (num,)) * heights[tree, -1]

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low + high) // 2
        beyond = heights[tree, middle] <= target
        return jnp.where(beyond, middle + 1, low), jnp.where(beyond, high, middle)

    last = (leaves.rows > 0).sum(1)[tree] - 1
    steps = heights.shape[1].bit_length()
    _, leaf = jax.lax.fori_loop(0, steps, halve, (jnp.zeros_like(last), last))
    return tree, leaf


def draw(
    key: jax.Array, layout: Layout, leaves: Leaves, tree: jax.Array, leaf: jax.Array, x: jax.Array, mask: jax.Array
) -> jax.Array:
    """Draws the missing cells of rows. The observed cells stay as they are.

    Args:
      key: random key of the draw.
      layout: layout of the table.
      leaves: leaves [T, L, ...].
      tree: tree [B] of each row.
      leaf: leaf [B] of each row in its tree.
      x: rows [B, D].
      mask: observed cells, [B, D] bool.

    Returns:
      Rows [B, D].
    """
    number_key, level_key = jax.random.split(key)
    leaf_of_row = jax.tree.map(lambda array: array[tree, leaf], leaves)
    numbers = inside.numbers_of(leaf_of_row)
    samples = x
    if numbers is not None:
        values = inside.draw_numbers(number_key, layout, leaf_of_row.rows, numbers)
        samples = samples.at[:, layout.numbers].set(values)
    if leaf_of_row.tables is not None:
        allowed = inside.agreeing(layout, inside.codes(layout, x), mask[:, layout.levels.columns])
        levels = inside.draw_levels(level_key, leaf_of_row.tables, leaf_of_row.parents, allowed)
        samples = samples.at[:, layout.levels.columns].set(levels.astype(x.dtype))
    return jnp.where(mask, x, samples)
