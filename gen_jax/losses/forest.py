"""A forest as a mixture of all leaves of all its trees: which leaf rows are in, densities, draws. What leaves hold: `leaves`.

Densities and draws are those of FORDE and FORGE (Watson, Blesch, Kapar & Wright 2023, algorithms 2 and 3): a tree by chance,
a leaf by its share of the rows, cells by the leaf. One tree is worked on at a time, and some of the rows.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.losses import leaves as inside
from gen_jax.losses.leaves import Layout, Leaves

NUMBERS = 1 << 22  # that one row after the other, in every leaf of a tree, is made of at a time


class Trees(NamedTuple):
    """T binary trees of at most L leaves; inner nodes and leaves are numbered from the left, the root is node 0.

    A row goes to the left where its cell is at most the threshold. What leads to a leaf is -1 - the number of the leaf.
    """

    feature: Any  # [T, L - 1] int32, the column of the cell
    threshold: Any  # [T, L - 1] float32
    children: Any  # [T, L - 1, 2] int32, to the left and to the right
    share: Any  # [T, L - 1] float32, of the rows of a node that go to the left
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

    Where a cell is not observed, a row goes to either side by chance, as many rows of the node do.
    """
    rows, x = jnp.arange(len(x)), coded(layout, trees.rank, x)

    def down(found: tuple) -> tuple:
        node, key = found
        here = jnp.maximum(node, 0)
        column = trees.feature[here]
        right = x[rows, column] > trees.threshold[here]
        if mask is not None:
            key, chance_key = jax.random.split(key)
            chance = jax.random.uniform(chance_key, node.shape) >= trees.share[here]
            right = jnp.where(mask[rows, column], right, chance)
        return jnp.where(node < 0, node, trees.children[here, right.astype(jnp.int32)]), key

    start = jnp.zeros(len(x), jnp.int32), jax.random.key(0) if key is None else key
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


def joint(layout: Layout, leaves: Leaves, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Log-densities [B, L] of the observed cells of rows x [B, D] together with each leaf of one tree."""
    numbers = jax.tree.map(lambda each: each[None], leaves._replace(tables=None, parents=None))
    places = layout.numbers
    found = inside.log_numbers(layout, numbers, x[:, None, places], mask[:, None, places])
    return (
        found + inside.log_evidence(leaves, *held_in(layout, x, mask)) + jnp.log(leaves.rows / leaves.rows.sum())[None]
    )


def held_in(layout: Layout, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Which levels the observed cells of rows x [B, D] hold, as 0 and 1 [B, C, R], and which of them are observed [B, C]."""
    seen = mask[:, layout.levels.columns]
    return jax.nn.one_hot(inside.codes(layout, x), layout.valid.shape[1]) * seen[..., None], seen


def posterior(
    key: jax.Array, layout: Layout, forest: Forest, x: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Log-densities [B] of the observed cells of rows x [B, D], and a tree [B] and a leaf [B] drawn given them."""

    def one(own: tuple) -> tuple[jax.Array, jax.Array]:
        key, leaves = own

        def some(rows: tuple) -> tuple[jax.Array, jax.Array]:
            found = joint(layout, leaves, *rows[1:])
            return jax.nn.logsumexp(found, 1), jax.random.categorical(jax.random.fold_in(key, rows[0][0]), found)

        parts = [each.reshape(-1, size, *each.shape[1:]) for each in (jnp.arange(len(x)), x, mask)]
        return jax.tree.map(jnp.ravel, jax.lax.map(some, tuple(parts)))

    size = together(len(x), forest.leaves)
    tree_key, leaf_key = jax.random.split(key)
    evidence, leaf = jax.lax.map(one, (jax.random.split(leaf_key, len(forest.leaves.rows)), forest.leaves))
    tree = jax.random.categorical(tree_key, evidence, axis=0)
    return mixed(evidence), tree, leaf[tree, jnp.arange(len(x))]


def together(rows: int, leaves: Leaves) -> int:
    """A divisor of the number of rows: of how many every leaf of a tree is looked at together."""
    width = sum(each[0].size for each in jax.tree.leaves(leaves))
    return max(size for size in range(1, rows + 1) if rows % size == 0 and (size == 1 or size * width <= NUMBERS))


def prior(key: jax.Array, leaves: Leaves, num: int) -> tuple[jax.Array, jax.Array]:
    """A tree [num] and a leaf [num] by their shares."""
    tree_key, leaf_key = jax.random.split(key)
    tree = jax.random.randint(tree_key, (num,), 0, len(leaves.rows))
    heights = jnp.cumsum(leaves.rows, 1)
    place = jax.random.uniform(leaf_key, (num,)) * heights[tree, -1]
    leaf = jax.vmap(partial(jnp.searchsorted, side="right"))(heights[tree], place)
    return tree, jnp.minimum(leaf, (leaves.rows > 0).sum(1)[tree] - 1)


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
