"""A forest as a mixture of all leaves of all its trees: which leaf rows are in, densities, draws. What leaves hold: `leaves`.

Densities and draws are those of FORDE and FORGE (Watson, Blesch, Kapar & Wright 2023, algorithms 2 and 3): a tree by chance,
a leaf by its share of the rows, cells by the leaf. One tree is worked on at a time, and some of the rows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.models.forest import leaves as inside
from gen_jax.models.forest.leaves import Layout, Leaves

NUMBERS = 1 << 22  # of rows in leaves that are looked at together
FEWEST = 64  # rows in leaves that are looked at together, at least


class Trees(NamedTuple):
    """T binary trees of at most L leaves; inner nodes and leaves are numbered from the left, the root is node 0.

    A row goes to the left where its cell is at most the threshold. What leads to a leaf is -1 - the number of the leaf.
    """

    feature: Any  # [T, L - 1] int32, the column of the cell
    threshold: Any  # [T, L - 1] float32
    children: Any  # [T, L - 1, 2] int32, to the left and to the right
    share: Any  # [T, L - 1] float32, of the rows of a node that went to the left, before small leaves were pruned
    rank: Any  # [T, D, R] float32, the numbers of levels that thresholds are compared with


class Forest(NamedTuple):
    trees: Trees
    leaves: Leaves  # [T, L, ...]


def coded(layout: Layout, rank: jax.Array, x: jax.Array) -> jax.Array:
    """Rows x [B, D] as a tree with the ranks [D, R] compares them."""
    places = layout.levels.columns
    if not len(places):
        return x
    return x.at[:, places].set(rank[places[None], inside.codes(layout, x)])


def route(
    layout: Layout, trees: Trees, x: jax.Array, mask: jax.Array | None = None, key: jax.Array | None = None
) -> jax.Array:
    """The leaf [B] int32 of one tree that each row of x [B, D] is in.

    Where a cell is not observed, a row goes to either side by chance, as many rows of the node do. One uniform number is
    enough for all nodes of a row: within the side that it fell on, it is uniform again.
    """
    rows, x = jnp.arange(len(x)), coded(layout, trees.rank, x)

    def down(found: tuple) -> tuple:
        node, place = found
        here = jnp.maximum(node, 0)
        column = trees.feature[here]
        right = x[rows, column] > trees.threshold[here]
        if mask is not None:
            seen, share = mask[rows, column], trees.share[here]
            right = jnp.where(seen, right, place >= share)
            place = jnp.where(seen, place, jnp.where(right, (place - share) / (1 - share), place / share))
        return jnp.where(node < 0, node, trees.children[here, right.astype(jnp.int32)]), place

    start = jnp.zeros(len(x), jnp.int32), None if key is None else jax.random.uniform(key, len(x))
    return -1 - jax.lax.while_loop(lambda found: (found[0] >= 0).any(), down, start)[0]


def fitted(
    layout: Layout, trees: Trees, low: jax.Array, high: jax.Array, x: jax.Array, full: jax.Array, mask: jax.Array
):
    """The forest of some trees whose leaves are of rows x [B, D], where `mask` is.

    Args:
      low, high: [T, L, D] bounds of the cells in each leaf, as trees compare them.
      full: [B, D] the rows with all their cells, which decide on the leaf that they are in.
    """
    prior = inside.shares(layout, x, mask) if len(layout.valid) else None

    def one(own: tuple) -> Leaves:
        trees, low, high = own
        rank = trees.rank[layout.levels.columns][None]  # [1, C, R]
        bounds = (each[:, layout.levels.columns, None] for each in (low, high))
        can = (rank > next(bounds)) & (rank <= next(bounds)) & layout.valid[None]
        box = low[:, layout.numbers], high[:, layout.numbers]
        return inside.fitted(layout, x, mask, route(layout, trees, full), box, can, prior)

    return Forest(trees, jax.lax.map(one, (trees, low, high)))


def log_prob(layout: Layout, forest: Forest, x: jax.Array) -> jax.Array:
    """Log-densities [B] of whole rows x [B, D], differentiable in the numbers: each tree has one leaf for a row."""
    code = inside.codes(layout, x)

    def one(own: Forest) -> jax.Array:
        trees, leaves = own
        leaf = jax.lax.stop_gradient(route(layout, trees, x))
        numbers = jax.tree.map(lambda each: each[leaf], leaves._replace(tables=None, parents=None))
        found = inside.log_numbers(layout, numbers, x[:, layout.numbers], None) + inside.log_levels(leaves, leaf, code)
        return found + jnp.log(leaves.rows[leaf]) - jnp.log(leaves.rows.sum())

    return mixed(jax.lax.map(one, forest))


def mixed(evidence: jax.Array) -> jax.Array:
    """Log-densities [B] under all trees alike, of those under each [T, B]."""
    return jax.nn.logsumexp(evidence, 0) - np.log(len(evidence))


def joint(layout: Layout, forest: Forest, place: jax.Array, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Log-densities [P] of the observed cells of rows x [P, D] together with a leaf each, of all numbered through [P]."""
    leaves = jax.tree.map(lambda each: each.reshape(-1, *each.shape[2:]), forest.leaves)
    numbers = jax.tree.map(lambda each: each[place], leaves._replace(tables=None, parents=None))
    found = inside.log_numbers(layout, numbers, x[:, layout.numbers], mask[:, layout.numbers])
    found = found + inside.log_levels(leaves, place, inside.codes(layout, x), mask[:, layout.levels.columns])
    total = forest.leaves.rows[0].sum()  # every tree has all rows
    return found + jnp.log(numbers.rows / total) - np.log(len(forest.leaves.rows))


def held_in(layout: Layout, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which levels the observed cells of rows x [B, D] hold, as 0 and 1 [B, C, R], and which of them are observed [B, C]."""
    seen = mask[:, layout.levels.columns]
    return jax.nn.one_hot(inside.codes(layout, x), layout.valid.shape[1]) * seen[..., None], seen


def reached(layout: Layout, trees: Trees, x: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The leaves that rows x [B, D] may be in by their observed cells, on the host: rows [P] and leaves [P], numbered through.

    In the order of the rows. What is observed cannot be in any other leaf.
    """
    cells = np.asarray(jax.vmap(lambda rank: coded(layout, rank, jnp.asarray(x)))(trees.rank))  # [T, B, D]
    feature, threshold, children = (np.asarray(each) for each in trees[:3])
    tree, row = (each.ravel() for each in np.indices(cells.shape[:2], np.int32))
    node, found = np.zeros_like(row), []
    while len(node):
        column, below = feature[tree, node], children[tree, node]
        hidden, right = ~mask[row, column], cells[tree, row, column] > threshold[tree, node]
        ways = ~right | hidden, right | (hidden & (below[:, 0] != below[:, 1]))  # a leaf alone is on both sides
        tree, row = (np.concatenate([each[way] for way in ways]) for each in (tree, row))
        node = np.concatenate([below[way, side] for side, way in enumerate(ways)])
        found.append((row[node < 0], tree[node < 0] * (feature.shape[1] + 1) - 1 - node[node < 0]))
        tree, row, node = (each[node >= 0] for each in (tree, row, node))
    row, place = (np.concatenate(each) for each in zip(*found))
    order = np.lexsort((place, row))
    return row[order], place[order]


def posterior(
    layout: Layout, joint: Callable, key: jax.Array, forest: Forest, x: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-densities [B] of the observed cells of rows x [B, D], and a tree [B] and a leaf [B] drawn given them; on the host.

    Rows with the same observed cells have one density, which is computed once.

    Args:
      joint: that of the layout, compiled.
    """
    trees, most = forest.leaves.rows.shape
    width = sum(each[0, 0].size for each in jax.tree.leaves(forest.leaves)) if layout.dependent else x.shape[1]
    share, size = np.asarray(jax.random.uniform(key, len(x)), np.float64), max(1, NUMBERS // (trees * most))
    distinct, which = np.unique(np.concatenate([np.where(mask, x, 0), mask], 1), axis=0, return_inverse=True)
    x, mask, which = distinct[:, : x.shape[1]], distinct[:, x.shape[1] :] > 0, which.ravel()
    evidence, tree, leaf = np.empty(len(share)), np.empty(len(share), int), np.empty(len(share), int)
    for start in range(0, len(x), size):
        rows = slice(start, start + size)
        row, place = reached(layout, forest.trees, x[rows], mask[rows])
        parts = alike(len(row), NUMBERS // width)
        found = [joint(forest, place[part], x[rows][row[part]], mask[rows][row[part]]) for part in parts]
        found = np.concatenate(found).astype(np.float64)[: len(row)]
        ends = np.searchsorted(row, np.arange(len(x[rows])), side="right")
        first = np.append(0, ends[:-1])
        top = np.maximum.reduceat(found, first)
        top = np.where(np.isfinite(top), top, 0)
        heights = np.append(0, np.cumsum(np.exp(found - top[row])))
        total = heights[ends] - heights[first]
        members = np.flatnonzero((which >= start) & (which < start + size))
        own = which[members] - start
        chosen = np.searchsorted(heights[1:], heights[first[own]] + share[members] * total[own], side="right")
        with np.errstate(divide="ignore"):
            evidence[members] = (top + np.log(total))[own]
        tree[members], leaf[members] = np.divmod(place[np.clip(chosen, first[own], ends[own] - 1)], most)
    return evidence, tree, leaf


def alike(num: int, most: int) -> np.ndarray:
    """The numbers below `num` in lines of one length, a power of two or `most` [K, S]; the last is repeated."""
    size = min(max(1, most), max(FEWEST, 1 << (num - 1).bit_length()))
    return np.minimum(np.arange(-(-num // size) * size), num - 1).reshape(-1, size)


def prior(key: jax.Array, leaves: Leaves, num: int) -> tuple[jax.Array, jax.Array]:
    """A tree [num] and a leaf [num] by their shares."""
    tree_key, leaf_key = jax.random.split(key)
    tree, heights = jax.random.randint(tree_key, (num,), 0, len(leaves.rows)), jnp.cumsum(leaves.rows, 1)
    place = jax.random.uniform(leaf_key, (num,)) * heights[tree, -1]

    def halve(_: int, found: tuple) -> tuple:
        low, high = found
        middle = (low + high) // 2
        beyond = heights[tree, middle] <= place
        return jnp.where(beyond, middle + 1, low), jnp.where(beyond, high, middle)

    last = (leaves.rows > 0).sum(1)[tree] - 1
    return tree, jax.lax.fori_loop(0, heights.shape[1].bit_length(), halve, (jnp.zeros_like(last), last))[1]


def draw(
    key: jax.Array, layout: Layout, leaves: Leaves, tree: jax.Array, leaf: jax.Array, x: jax.Array, mask: jax.Array
) -> jax.Array:
    """Rows [B, D] of the leaves they are said to be in; the observed cells of x [B, D] stay as they are."""
    number_key, level_key = jax.random.split(key)
    own, drawn = jax.tree.map(lambda each: each[tree, leaf], leaves), x
    if own.mean is not None:
        drawn = drawn.at[:, layout.numbers].set(inside.draw_numbers(number_key, layout, own))
    if own.tables is not None:
        levels = inside.draw_levels(level_key, own, *held_in(layout, x, mask))
        drawn = drawn.at[:, layout.levels.columns].set(levels.astype(x.dtype))
    return jnp.where(mask, x, drawn)
