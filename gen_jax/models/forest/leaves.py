"""What the leaves of a generative forest hold: a density of their cells each, fitted, scored and drawn from. No trees here.

Arrays lead with the leaves [L] of one tree, or with one leaf for each row [B]. Numbers are independent of all else in a
leaf: a Gaussian within its bounds, or one value as wide as the column is exact. Levels are independent too, or follow a
tree of their own (Chow & Liu 1968); a column without a parent reads row 0 of its table.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, erfinv

from gen_jax.data.spec import FULL, Spec, columns
from gen_jax.distributions import categorical, chow_liu
from gen_jax.distributions.bins import BEYOND
from gen_jax.distributions.categorical import Levels
from gen_jax.distributions.linalg import NEVER

CHUNK = 128  # rows whose pairs of levels are counted together
PULL = 1.0
NARROWEST = 1e-3  # of a value that is repeated in a column without known decimals, in model space


class Layout(NamedTuple):
    """Which columns hold what; plain NumPy, fixed by the schema."""

    levels: Levels
    valid: np.ndarray  # [C, R] bool, which of at most R levels a column has
    numbers: np.ndarray  # [N] the places of the columns of numbers
    gap: np.ndarray  # [N] float32, between two numbers that are written differently, in model space
    pseudo_rows: float  # of the whole table that every leaf holds besides its own rows
    dependent: bool  # whether levels follow a tree


class Leaves(NamedTuple):
    """None in the place of arrays without numbers, which no checkpoint can hold."""

    rows: jax.Array  # [L] float32, real rows; 0 where there is no leaf
    low: jax.Array | None  # [L, N] float32
    high: jax.Array | None  # [L, N] float32
    mean: jax.Array | None  # [L, N] float32
    scale: jax.Array | None  # [L, N] float32, 0 where all rows have one value
    tables: jax.Array | None  # [L, C, Q, R] float32, P(level | level of the parent); Q is R, or 1 where there are none
    parents: jax.Array | None  # [L, C] int32, -1 where a column has none


def layout_of(spec: Spec, pseudo_rows: float, dependent: bool) -> Layout:
    """The layout of a table or of vectors."""
    schema = columns(spec)
    levels = categorical.levels_of(schema)
    valid = np.arange(levels.sizes.max(initial=1))[None] < levels.sizes[:, None]
    numbers = np.setdiff1d(np.arange(len(schema)), levels.columns)
    digits = np.array([0 if schema[at]["kind"] == "integer" else schema[at]["decimals"] for at in numbers], int)
    gap = np.where(digits < FULL, 10.0**-digits / np.broadcast_to(spec.scale, spec.shape)[numbers], NARROWEST)
    dependent = dependent and len(levels.sizes) > 1
    return Layout(levels, valid, numbers, gap.astype(np.float32), pseudo_rows, dependent)


def blank(layout: Layout, leaves: int) -> Leaves:
    """Leaves that are all alike: numbers with mean 0 and variance 1, every level as likely as the others; one has rows."""
    rows = jnp.zeros(leaves).at[0].set(1)
    numbers = [jnp.full((leaves, len(layout.numbers)), value, jnp.float32) for value in (-BEYOND, BEYOND, 0, 1)]
    numbers = numbers if len(layout.numbers) else [None] * 4
    if not len(layout.valid):
        return Leaves(rows, *numbers, None, None)
    count, most = layout.valid.shape
    even = jnp.asarray(layout.valid / layout.valid.sum(1, keepdims=True), jnp.float32)
    tables = jnp.broadcast_to(even[None, :, None], (leaves, count, most if layout.dependent else 1, most))
    return Leaves(rows, *numbers, tables, jnp.full((leaves, count), -1, jnp.int32) if layout.dependent else None)


def codes(layout: Layout, x: jax.Array) -> jax.Array:
    """The levels of rows x [B, D], int32 [B, C]; 0 where a cell holds none."""
    held = jnp.rint(x[:, layout.levels.columns]).astype(jnp.int32)
    return jnp.clip(held, 0, jnp.asarray(layout.levels.sizes, jnp.int32)[None] - 1)


def shares(layout: Layout, x: jax.Array, mask: jax.Array) -> jax.Array:
    """How often each level is in the rows x [B, D], of all its column holds, with one more row of each [C, R]."""
    places, seen = np.arange(len(layout.valid))[None], mask[:, layout.levels.columns]
    counts = jnp.zeros(layout.valid.shape).at[places, codes(layout, x)].add(seen)
    return categorical.normalised(counts[:, None], jnp.asarray(layout.valid), 1.0)[:, 0]


def fitted(
    layout: Layout, x: jax.Array, mask: jax.Array, leaf: jax.Array, box: tuple, can: jax.Array, prior: jax.Array
) -> Leaves:
    """Leaves of the observed cells of rows x [B, D] that are in `leaf` [B].

    Args:
      mask: [B, D], none of a padding row.
      box: bounds of the numbers in each leaf, [L, N] each.
      can: [L, C, R] bool, which levels can be in a leaf.
      prior: [C, R] of `shares`.
    """
    most = len(can)
    total = partial(jax.ops.segment_sum, segment_ids=leaf, num_segments=most)
    rows = total((mask.any(1)).astype(jnp.float32))
    numbers = _numbers(layout, x, mask, leaf, box, total) if len(layout.numbers) else (None,) * 4
    if not len(layout.valid):
        return Leaves(rows, *numbers, None, None)
    prior = jnp.where(can, prior[None], 0)
    prior = prior / jnp.maximum(prior.sum(2, keepdims=True), 1e-30)  # [L, C, R]
    code, seen = codes(layout, x), mask[:, layout.levels.columns]
    counts = jnp.zeros(prior.shape).at[leaf[:, None], np.arange(code.shape[1])[None], code].add(seen)
    alone = smoothed(counts, prior, layout.pseudo_rows)
    if not layout.dependent:
        return Leaves(rows, *numbers, alone[:, :, None], None)
    tables, parents = _dependent(layout, code, seen, leaf, most, alone, can)
    return Leaves(rows, *numbers, tables, parents)


def smoothed(counts: jax.Array, prior: jax.Array, pseudo_rows: float) -> jax.Array:
    """Shares of levels by their counts [..., R] and so many rows more that are like the prior, a distribution [..., R]."""
    total = counts.sum(-1, keepdims=True) + pseudo_rows
    return jnp.where(total > 0, (counts + pseudo_rows * prior) / jnp.where(total > 0, total, 1), prior)


def _numbers(layout: Layout, x: jax.Array, mask: jax.Array, leaf: jax.Array, box: tuple, total: Any) -> tuple:
    low, high = box
    x, seen = x[:, layout.numbers], mask[:, layout.numbers].astype(jnp.float32)
    count = total(seen)
    mean = total(seen * x) / jnp.maximum(count, 1)
    variance = total(seen * jnp.square(x - mean[leaf])) / jnp.maximum(count, 1)
    ends = (
        end(jnp.where(seen > 0, x, -sign * BEYOND), leaf, len(low))
        for end, sign in ((jax.ops.segment_min, -1), (jax.ops.segment_max, 1))
    )
    least, most = ends
    gap = layout.gap[None]
    single = (count > 0) & (most - least < gap / 2)
    scale = jnp.where(count > 0, jnp.sqrt(variance + jnp.square(gap) / 12), 1)
    return low, high, jnp.clip(jnp.where(single, least, mean), low, high), jnp.where(single, 0, scale)


def _dependent(
    layout: Layout, code: jax.Array, seen: jax.Array, leaf: jax.Array, most: int, alone: jax.Array, can: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Tables [L, C, R, R] and parents [L, C] of the levels in each leaf, by counts of pairs of its rows.

    An edge stays where it explains more than its parameters cost, by the extended BIC, for it is the best of many (Chen &
    Chen 2008, equation 2.1 with gamma = 1). Each row of a table holds `PULL` rows more that are like the whole leaf, unless
    there are to be no pseudo-rows.
    """
    order = jnp.argsort(leaf)
    pad = ((0, CHUNK), (0, 0))
    code, seen = (jnp.pad(each[order], pad) for each in (code, seen))
    size = jax.ops.segment_sum(jnp.ones(len(leaf), jnp.int32), leaf, most)
    width = alone.shape[2]

    def one(own: tuple) -> tuple[jax.Array, jax.Array]:
        first, size, alone, can = own

        def count(chunk: jax.Array, pairs: jax.Array) -> jax.Array:
            start = first + chunk * CHUNK
            here = start + jnp.arange(CHUNK) < first + size
            some, known = (jax.lax.dynamic_slice_in_dim(each, start, CHUNK) for each in (code, seen))
            return pairs + chow_liu.pair_counts(some, known, here.astype(jnp.float32), width)

        blank = jnp.zeros((*alone.shape, *alone.shape))
        pairs = jax.lax.fori_loop(0, (size + CHUNK - 1) // CHUNK, count, blank)  # [C, R, C, R]
        gain = chow_liu.mutual_information(pairs, can, 0.0) * pairs.sum((1, 3))
        free = jnp.maximum(can.sum(1) - 1, 0).astype(jnp.float32)
        gain = gain - free[:, None] * free[None] * (jnp.log(jnp.maximum(size, 1)) / 2 + np.log(len(free)))
        parents = chow_liu.chow_liu(gain)
        places = jnp.arange(len(parents))
        parents = jnp.where(gain[places, parents] > 0, parents, -1)
        given = pairs[parents, :, places]  # [C, R of the parent, R]
        given = smoothed(given, alone[:, None], PULL if layout.pseudo_rows > 0 else 0.0)
        return jnp.where((parents < 0)[:, None, None], alone[:, None], given), parents

    first = jnp.cumsum(size) - size
    return jax.lax.map(one, (first, size, alone, can))


def log_numbers(layout: Layout, leaves: Leaves, x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Log-densities of the observed numbers of x [..., N], added up, in leaves that lead alike."""
    if leaves.mean is None:
        return jnp.zeros(())
    low, high, mean, scale = leaves[1:5]
    gap, rows = layout.gap.reshape((1,) * (x.ndim - 1) + (-1,)), leaves.rows[..., None]
    broad = _log_truncated(x, mean, jnp.ones_like(scale), low, high)
    near = jnp.abs(x - mean) <= gap / 2
    wide = jnp.where(scale > 0, scale, 1)
    local = jnp.where(scale > 0, _log_truncated(x, mean, wide, low, high), jnp.where(near, -jnp.log(gap), NEVER))
    if layout.pseudo_rows > 0:
        log_total = jnp.log(rows + layout.pseudo_rows)
        local = local + jnp.log(jnp.maximum(rows, 1e-30)) - log_total
        local = jnp.logaddexp(local, broad + np.log(layout.pseudo_rows) - log_total)
    inside = (x > low) & (x <= high) & (local > NEVER / 2)
    each = jnp.where(inside, local, -jnp.inf)
    return (each if mask is None else jnp.where(mask, each, 0)).sum(-1)


def _log_truncated(x: jax.Array, mean: jax.Array, scale: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    below, above = _reach(mean, scale, low, high)
    return -0.5 * jnp.square((x - mean) / scale) - jnp.log(scale * (below + above)) - 0.5 * np.log(np.pi / 2)


def _reach(mean: jax.Array, scale: jax.Array, low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Twice the probability between the mean, which is within the bounds, and either of them."""
    return erf((mean - low) / scale * 0.5**0.5), erf((high - mean) / scale * 0.5**0.5)


def draw_numbers(key: jax.Array, layout: Layout, leaves: Leaves) -> jax.Array:
    """Numbers [B, N] of rows that are each in a leaf of their own."""
    low, high, mean, scale = leaves[1:5]
    which, place = jax.random.uniform(key, (2, *mean.shape))
    rows = leaves.rows[:, None]
    broad = which * (rows + layout.pseudo_rows) >= rows
    wide = jnp.where(broad | (scale == 0), 1, scale)
    below, above = _reach(mean, wide, low, high)
    drawn = mean + wide * 2**0.5 * erfinv(jnp.clip(place * (below + above) - below, -1 + 1e-7, 1 - 1e-7))
    single = mean + (place - 0.5) * layout.gap[None]
    return jnp.where((scale == 0) & ~broad, single, jnp.clip(drawn, low, high))


def log_levels(leaves: Leaves, leaf: jax.Array, code: jax.Array, seen: jax.Array | None = None) -> jax.Array:
    """Log-probabilities [B] of rows of levels [B, C] in the leaves [B] that they are in; what is not `seen` is summed out."""
    if leaves.tables is None:
        return jnp.zeros(())
    places = jnp.arange(code.shape[1])[None]
    if leaves.parents is None:
        each = jnp.log(leaves.tables[leaf[:, None], places, 0, code])
        return (each if seen is None else jnp.where(seen, each, 0)).sum(1)
    parents = leaves.parents[leaf]
    if seen is not None:
        may = jnp.where(seen[..., None], jnp.log(jax.nn.one_hot(code, leaves.tables.shape[-1])), 0)
        return jax.vmap(_upward)(leaves.tables[leaf], parents, may)[1]
    above = jnp.where(parents < 0, 0, jnp.take_along_axis(code, jnp.maximum(parents, 0), 1))
    return jnp.log(leaves.tables[leaf[:, None], places, above, code]).sum(1)


def _order(parents: jax.Array) -> jax.Array:
    """The columns, each behind its parent [C]."""

    def up(found: tuple) -> tuple:
        above, depth = found
        return jnp.where(above < 0, -1, parents[above]), depth + (above >= 0)

    start = parents, jnp.zeros_like(parents)
    return jnp.argsort(jax.lax.while_loop(lambda found: (found[0] >= 0).any(), up, start)[1])


def _upward(tables: jax.Array, parents: jax.Array, may: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Logs of P(what is observed at and below a column | its level) [C, R], and of all that is observed [] (Pearl 1988).

    Args:
      may: [C, R], 0 where a level agrees with what is observed, else -inf.
    """
    order, log_tables = _order(parents), jnp.log(tables)

    def visit(number: jax.Array, found: tuple) -> tuple:
        below, evidence = found
        column = order[len(order) - 1 - number]
        message = jax.nn.logsumexp(log_tables[column] + below[column][None], 1)  # [R of the parent]
        root = parents[column] < 0
        below = below.at[parents[column]].add(jnp.where(root, 0, message))
        return below, evidence + jnp.where(root, message[0], 0)

    return jax.lax.fori_loop(0, len(order), visit, (may, jnp.zeros(())))


def draw_levels(key: jax.Array, leaves: Leaves, held: jax.Array, seen: jax.Array) -> jax.Array:
    """Levels [B, C] int32 of rows that are each in a leaf of their own, given those that are observed."""
    if leaves.parents is None:
        heights = jnp.cumsum(leaves.tables[:, :, 0] * jnp.where(seen[..., None], held, 1), 2)
        top = heights[..., -1]  # one number a cell is drawn, not one a level
        place = jnp.minimum(jax.random.uniform(key, top.shape) * top, jnp.nextafter(top, jnp.zeros_like(top)))
        return (heights <= place[..., None]).sum(2).astype(jnp.int32)
    may = jnp.where(seen[..., None], jnp.log(held), 0)  # [B, C, R]
    noise = jax.random.gumbel(key, may.shape)

    def row(tables: jax.Array, parents: jax.Array, may: jax.Array, noise: jax.Array) -> jax.Array:
        order, below = _order(parents), _upward(tables, parents, may)[0]

        def visit(number: jax.Array, drawn: jax.Array) -> jax.Array:
            column = order[number]
            above = jnp.where(parents[column] < 0, 0, drawn[parents[column]])
            level = (jnp.log(tables[column, above]) + below[column] + noise[column]).argmax()
            return drawn.at[column].set(level.astype(jnp.int32))

        return jax.lax.fori_loop(0, len(order), visit, jnp.zeros(len(order), jnp.int32))

    return jax.vmap(row)(leaves.tables, leaves.parents, may, noise)
