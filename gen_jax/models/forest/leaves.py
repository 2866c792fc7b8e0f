"""Densities of cells in the leaves of a generative forest: fitting, scoring and drawing, without the trees.

Arrays have a leading axis for the leaves [L] of one tree, or for one leaf of each row [B]. N columns hold numbers. C
columns hold levels, at most R levels each. Given the leaf, a number is independent of all other cells. It is normal
within its bounds. If all rows of the leaf have one value, the number is uniform around that value, within half a unit
of the last decimal.

Levels are independent too, or follow a tree of columns (Chow & Liu 1968). A column without a parent reads row 0 of its
table.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf, erfinv

from gen_jax.data.domain import FULL
from gen_jax.data.spec import Spec, columns
from gen_jax.distributions import categorical, chow_liu
from gen_jax.distributions.bins import BEYOND
from gen_jax.distributions.categorical import Levels
from gen_jax.distributions.linalg import NEVER

CHUNK = 128  # number of rows whose pairs of levels are counted together
PULL = 1.0  # number of pseudo-rows of each row of a table that depends on a parent
NARROWEST = 1e-3  # width of a repeated value in a column with an unknown number of decimals, in model space


class Layout(NamedTuple):
    """Describes the places of numbers and levels in a row. It holds NumPy arrays that the schema fixes."""

    levels: Levels
    valid: np.ndarray  # [C, R] bool, levels that a column has
    numbers: np.ndarray  # [N] places of the columns of numbers
    gap: np.ndarray  # [N] float32, smallest difference of two numbers that are written differently, in model space
    pseudo_rows: float  # number of pseudo-rows of the whole table in every leaf
    dependent: bool  # whether levels follow a tree


class Leaves(NamedTuple):
    """Holds the state of leaves. Empty arrays are None, because a checkpoint cannot hold arrays of size 0."""

    rows: jax.Array  # [L] float32, number of real rows; 0 if there is no leaf
    low: jax.Array | None  # [L, N] float32
    high: jax.Array | None  # [L, N] float32
    mean: jax.Array | None  # [L, N] float32
    scale: jax.Array | None  # [L, N] float32, 0 if all rows have one value
    tables: (
        jax.Array | None
    )  # [L, C, Q, R] float32, P(level | level of the parent); Q is R, or 1 if there are no parents
    parents: jax.Array | None  # [L, C] int32, -1 for a column without a parent


class Numbers(NamedTuple):
    """Holds distributions of the numbers in leaves, as in `Leaves`."""

    low: jax.Array  # [L, N] float32, lower bound, exclusive
    high: jax.Array  # [L, N] float32, upper bound, inclusive
    mean: jax.Array  # [L, N] float32, within the bounds
    scale: jax.Array  # [L, N] float32, 0 if all rows have one value


class Region(NamedTuple):
    """Holds the cells that leaves can hold, by the thresholds of the nodes above the leaves."""

    low: jax.Array  # [L, N] float32, lower bound, exclusive
    high: jax.Array  # [L, N] float32, upper bound, inclusive
    allowed: jax.Array  # [L, C, R] bool, levels


def layout_of(spec: Spec, pseudo_rows: float, dependent: bool) -> Layout:
    """Returns the layout of a table or of vectors.

    Args:
      spec: facts of the data.
      pseudo_rows: number of pseudo-rows of the whole table in every leaf.
      dependent: whether levels follow a tree in each leaf. It has no effect if fewer than two columns have levels.

    Raises:
      UserError: for data without columns.
    """
    schema = columns(spec)
    levels = categorical.levels_of(schema)
    valid = np.arange(levels.sizes.max(initial=1))[None] < levels.sizes[:, None]
    numbers = np.setdiff1d(np.arange(len(schema)), levels.columns)
    decimals = np.array(
        [0 if schema[place]["kind"] == "integer" else schema[place]["decimals"] for place in numbers], int
    )
    exact = 10.0**-decimals / np.broadcast_to(spec.scale, spec.shape)[numbers]
    gap = np.where(decimals < FULL, exact, NARROWEST).astype(np.float32)
    dependent = dependent and len(levels.sizes) > 1
    return Layout(levels, valid, numbers, gap, pseudo_rows, dependent)


def numbers_of(leaves: Leaves) -> Numbers | None:
    """Returns the distributions of numbers; None if no column holds numbers.

    Args:
      leaves: the leaves.
    """
    if leaves.low is None or leaves.high is None or leaves.mean is None or leaves.scale is None:
        return None
    return Numbers(leaves.low, leaves.high, leaves.mean, leaves.scale)


def joined(
    rows: jax.Array, numbers: Numbers | None, tables: jax.Array | None = None, parents: jax.Array | None = None
) -> Leaves:
    """Returns leaves with the distributions of their numbers and of their levels.

    Args:
      rows: number of real rows of each leaf [L].
      numbers: distributions of numbers; None if no column holds numbers.
      tables: tables [L, C, Q, R] of levels; by default None, no columns of levels.
      parents: parents [L, C] of the columns of levels; by default None, independent levels.
    """
    if numbers is None:
        return Leaves(rows, None, None, None, None, tables, parents)
    return Leaves(rows, *numbers, tables, parents)


def blank(layout: Layout, num: int) -> Leaves:
    """Returns leaves with equal distributions. The first leaf has one row, and all other leaves have no rows.

    Numbers have mean 0 and variance 1, and the levels of a column are equally likely.

    Args:
      layout: layout of the table.
      num: number of leaves.
    """
    rows = jnp.zeros(num).at[0].set(1)
    numbers = blank_numbers(layout, num) if len(layout.numbers) else None
    if not len(layout.valid):
        return joined(rows, numbers)
    count, max_levels = layout.valid.shape
    even = jnp.asarray(layout.valid / layout.valid.sum(1, keepdims=True), jnp.float32)  # [C, R]
    if not layout.dependent:
        return joined(rows, numbers, jnp.broadcast_to(even[None, :, None], (num, count, 1, max_levels)))
    tables = jnp.broadcast_to(even[None, :, None], (num, count, max_levels, max_levels))
    return joined(rows, numbers, tables, jnp.full((num, count), -1, jnp.int32))


def blank_numbers(layout: Layout, num: int) -> Numbers:
    """Returns standard normal distributions without bounds.

    Args:
      layout: layout of the table.
      num: number of leaves.
    """
    shape = num, len(layout.numbers)
    return Numbers(
        low=jnp.full(shape, -BEYOND, jnp.float32),
        high=jnp.full(shape, BEYOND, jnp.float32),
        mean=jnp.zeros(shape, jnp.float32),
        scale=jnp.ones(shape, jnp.float32),
    )


def codes(layout: Layout, x: jax.Array) -> jax.Array:
    """Returns the levels of rows, [B, C] int32. A cell without a level gets the nearest level of its column.

    Args:
      layout: layout of the table.
      x: rows [B, D].
    """
    cells = jnp.rint(x[:, layout.levels.columns]).astype(jnp.int32)
    return jnp.clip(cells, 0, jnp.asarray(layout.levels.sizes, jnp.int32)[None] - 1)


def agreeing(layout: Layout, code: jax.Array, observed: jax.Array) -> jax.Array:
    """Returns 1 for the levels that agree with the observed cells, else 0: [B, C, R] float32.

    Args:
      layout: layout of the table.
      code: levels of rows [B, C].
      observed: observed cells, [B, C] bool.
    """
    return jnp.where(observed[..., None], jax.nn.one_hot(code, layout.valid.shape[1]), 1)


def shares(layout: Layout, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the share [C, R] of each level among the observed cells of its column, with one pseudo-row of each level.

    Args:
      layout: layout of the table.
      x: rows [B, D].
      mask: observed cells, [B, D] bool. No cell of a padding row is observed.
    """
    places = np.arange(len(layout.valid))[None]
    seen = mask[:, layout.levels.columns]
    counts = jnp.zeros(layout.valid.shape).at[places, codes(layout, x)].add(seen)
    return categorical.normalised(counts[:, None], jnp.asarray(layout.valid), 1.0)[:, 0]


def fitted(
    layout: Layout, x: jax.Array, mask: jax.Array, leaf: jax.Array, region: Region, prior: jax.Array | None
) -> Leaves:
    """Returns leaves that are fitted to the observed cells of their rows.

    Args:
      layout: layout of the table.
      x: rows [B, D].
      mask: observed cells, [B, D] bool. No cell of a padding row is observed.
      leaf: leaf [B] of each row.
      region: cells that each leaf can hold.
      prior: shares [C, R] of levels in the whole table, see `shares`; None if no column has levels.
    """
    num = len(region.allowed)
    rows = jax.ops.segment_sum(mask.any(1).astype(jnp.float32), leaf, num)
    numbers = fit_numbers(layout, x, mask, leaf, region) if len(layout.numbers) else None
    if prior is None:
        return joined(rows, numbers)
    tables, parents = fit_levels(layout, x, mask, leaf, region.allowed, prior)
    return joined(rows, numbers, tables, parents)


def fit_numbers(layout: Layout, x: jax.Array, mask: jax.Array, leaf: jax.Array, region: Region) -> Numbers:
    """Returns the distributions of numbers by the moments of the observed cells in each leaf.

    Args:
      layout: layout of the table.
      x: rows [B, D].
      mask: observed cells, [B, D] bool. No cell of a padding row is observed.
      leaf: leaf [B] of each row.
      region: cells that each leaf can hold.
    """
    num = len(region.allowed)
    x = x[:, layout.numbers]
    observed = mask[:, layout.numbers].astype(jnp.float32)
    count = jax.ops.segment_sum(observed, leaf, num)  # [L, N]
    mean = jax.ops.segment_sum(observed * x, leaf, num) / jnp.maximum(count, 1)
    variance = jax.ops.segment_sum(observed * jnp.square(x - mean[leaf]), leaf, num) / jnp.maximum(count, 1)
    smallest = jax.ops.segment_min(jnp.where(observed > 0, x, BEYOND), leaf, num)
    largest = jax.ops.segment_max(jnp.where(observed > 0, x, -BEYOND), leaf, num)
    gap = layout.gap[None]
    single = (count > 0) & (largest - smallest < gap / 2)
    # Because a rounded number stands for an interval as wide as the gap, gap^2 / 12 is added to the variance.
    scale = jnp.where(count > 0, jnp.sqrt(variance + jnp.square(gap) / 12), 1)
    mean = jnp.clip(jnp.where(single, smallest, mean), region.low, region.high)
    return Numbers(region.low, region.high, mean, jnp.where(single, 0, scale))


def fit_levels(
    layout: Layout, x: jax.Array, mask: jax.Array, leaf: jax.Array, allowed: jax.Array, prior: jax.Array
) -> tuple[jax.Array, jax.Array | None]:
    """Returns tables [L, C, Q, R] and parents [L, C] of levels. The parents are None if levels are independent.

    Args:
      layout: layout of the table.
      x: rows [B, D].
      mask: observed cells, [B, D] bool. No cell of a padding row is observed.
      leaf: leaf [B] of each row.
      allowed: levels that can be in a leaf, [L, C, R] bool.
      prior: shares [C, R] of levels in the whole table.
    """
    prior = jnp.where(allowed, prior[None], 0)
    prior = prior / jnp.maximum(prior.sum(2, keepdims=True), 1e-30)  # [L, C, R]
    code = codes(layout, x)
    observed = mask[:, layout.levels.columns]
    places = np.arange(code.shape[1])[None]
    counts = jnp.zeros(prior.shape).at[leaf[:, None], places, code].add(observed)
    marginals = smoothed(counts, prior, layout.pseudo_rows)
    if not layout.dependent:
        return marginals[:, :, None], None
    pull = PULL if layout.pseudo_rows > 0 else 0.0
    return fit_level_trees(code, observed, leaf, marginals, allowed, pull)


def smoothed(counts: jax.Array, prior: jax.Array, pseudo_rows: float) -> jax.Array:
    """Returns the shares of levels by their counts, with pseudo-rows that follow the prior.

    Args:
      counts: counts of levels [..., R].
      prior: distribution [..., R]. If there are no rows, the shares equal the prior.
      pseudo_rows: number of pseudo-rows.
    """
    total = counts.sum(-1, keepdims=True) + pseudo_rows
    return jnp.where(total > 0, (counts + pseudo_rows * prior) / jnp.where(total > 0, total, 1), prior)


def fit_level_trees(
    code: jax.Array, observed: jax.Array, leaf: jax.Array, marginals: jax.Array, allowed: jax.Array, pull: float
) -> tuple[jax.Array, jax.Array]:
    """Returns tables [L, C, R, R] and parents [L, C] of a Chow-Liu tree in each leaf.

    Args:
      code: levels of rows [B, C].
      observed: observed cells, [B, C] bool.
      leaf: leaf [B] of each row.
      marginals: probabilities of levels [L, C, R].
      allowed: levels that can be in a leaf, [L, C, R] bool.
      pull: number of pseudo-rows in each row of a table, which follow the marginals.
    """
    order = jnp.argsort(leaf)
    padding = (0, CHUNK), (0, 0)  # because the last chunk of rows may end after the last row
    code = jnp.pad(code[order], padding)
    observed = jnp.pad(observed[order], padding)
    size = jax.ops.segment_sum(jnp.ones(len(leaf), jnp.int32), leaf, len(allowed))  # [L]
    first = jnp.cumsum(size) - size

    def fit_leaf(facts: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        first, size, marginals, allowed = facts
        pairs = count_pairs(code, observed, first, size, marginals.shape[1])
        return fit_level_tree(pairs, size, marginals, allowed, pull)

    return jax.lax.map(fit_leaf, (first, size, marginals, allowed))


def count_pairs(code: jax.Array, observed: jax.Array, first: jax.Array, size: jax.Array, max_levels: int) -> jax.Array:
    """Returns the number of rows of a leaf in which two levels occur together, [C, R, C, R].

    Args:
      code: levels [B + CHUNK, C] of rows in the order of their leaves.
      observed: observed cells, [B + CHUNK, C] bool.
      first: number [] of the first row of the leaf.
      size: number [] of rows of the leaf.
      max_levels: largest number of levels of a column, R.
    """
    count = code.shape[1]

    def add_chunk(chunk: jax.Array, pairs: jax.Array) -> jax.Array:
        start = first + chunk * CHUNK
        in_leaf = start + jnp.arange(CHUNK) < first + size
        chunk_code = jax.lax.dynamic_slice_in_dim(code, start, CHUNK)
        chunk_observed = jax.lax.dynamic_slice_in_dim(observed, start, CHUNK)
        return pairs + chow_liu.pair_counts(chunk_code, chunk_observed, in_leaf.astype(jnp.float32), max_levels)

    chunks = (size + CHUNK - 1) // CHUNK
    return jax.lax.fori_loop(0, chunks, add_chunk, jnp.zeros((count, max_levels, count, max_levels)))


def fit_level_tree(
    pairs: jax.Array, size: jax.Array, marginals: jax.Array, allowed: jax.Array, pull: float
) -> tuple[jax.Array, jax.Array]:
    """Returns tables [C, R, R] and parents [C] of the Chow-Liu tree of one leaf.

    An edge stays if its gain exceeds the cost of its parameters by the extended BIC (Chen & Chen 2008, equation 2.1
    with gamma = 1). The extended BIC is needed because the edge is the best of many edges.

    Args:
      pairs: counts of pairs of levels [C, R, C, R].
      size: number [] of rows of the leaf.
      marginals: probabilities of levels [C, R].
      allowed: levels that can be in the leaf, [C, R] bool.
      pull: number of pseudo-rows in each row of a table, which follow the marginals.
    """
    gain = chow_liu.mutual_information(pairs, allowed, 0.0) * pairs.sum((1, 3))  # [C, C], nats
    parameters = jnp.maximum(allowed.sum(1) - 1, 0).astype(jnp.float32)
    cost = jnp.log(jnp.maximum(size, 1)) / 2 + np.log(len(parameters))
    gain = gain - parameters[:, None] * parameters[None] * cost
    parents = chow_liu.chow_liu(gain)
    places = jnp.arange(len(parents))
    parents = jnp.where(gain[places, parents] > 0, parents, -1)
    tables = smoothed(pairs[parents, :, places], marginals[:, None], pull)  # [C, R of the parent, R]
    return jnp.where((parents < 0)[:, None, None], marginals[:, None], tables), parents


def log_numbers(layout: Layout, leaves: Leaves, x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns the log-density [...] of the observed numbers of each row in nats; a scalar 0 if no column holds numbers.

    The log-density is -inf if an observed number is outside the bounds of its leaf.

    Args:
      layout: layout of the table.
      leaves: leaf of each row, [...].
      x: numbers [..., N] in model space.
      mask: observed numbers, [..., N] bool; None if all are observed.
    """
    numbers = numbers_of(leaves)
    if numbers is None:
        return jnp.zeros(())
    rows = leaves.rows[..., None]
    log_p = log_fitted(layout, numbers, x)
    if layout.pseudo_rows > 0:
        log_wide = log_truncated(x, numbers.mean, jnp.ones_like(numbers.scale), numbers.low, numbers.high)
        log_total = jnp.log(rows + layout.pseudo_rows)
        log_p = log_p + jnp.log(jnp.maximum(rows, 1e-30)) - log_total
        log_p = jnp.logaddexp(log_p, log_wide + np.log(layout.pseudo_rows) - log_total)
    possible = (x > numbers.low) & (x <= numbers.high) & (log_p > NEVER / 2)
    log_p = jnp.where(possible, log_p, -jnp.inf)
    if mask is not None:
        log_p = jnp.where(mask, log_p, 0)
    return log_p.sum(-1)


def log_fitted(layout: Layout, numbers: Numbers, x: jax.Array) -> jax.Array:
    """Returns the log-densities of numbers within their bounds, without pseudo-rows.

    Args:
      layout: layout of the table.
      numbers: distributions in the leaf of each row.
      x: numbers [..., N].
    """
    low, high, mean, scale = numbers
    gap = layout.gap.reshape((1,) * (x.ndim - 1) + (-1,))
    log_normal = log_truncated(x, mean, jnp.where(scale > 0, scale, 1), low, high)
    log_single = jnp.where(jnp.abs(x - mean) <= gap / 2, -jnp.log(gap), NEVER)
    return jnp.where(scale > 0, log_normal, log_single)


def log_truncated(x: jax.Array, mean: jax.Array, scale: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Returns the log-density of a normal distribution that is truncated to its bounds.

    Args:
      x: numbers, within the bounds.
      mean: means, within the bounds.
      scale: standard deviations.
      low: lower bounds, exclusive.
      high: upper bounds, inclusive.
    """
    below, above = mass_around(mean, scale, low, high)
    return -0.5 * jnp.square((x - mean) / scale) - jnp.log(scale * (below + above)) - 0.5 * np.log(np.pi / 2)


def mass_around(mean: jax.Array, scale: jax.Array, low: jax.Array, high: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns twice the probability from `low` to the mean, and twice the probability from the mean to `high`.

    Args:
      mean: means, within the bounds.
      scale: standard deviations.
      low: lower bounds, exclusive.
      high: upper bounds, inclusive.
    """
    return erf((mean - low) / scale * 0.5**0.5), erf((high - mean) / scale * 0.5**0.5)


def draw_numbers(key: jax.Array, layout: Layout, rows: jax.Array, numbers: Numbers) -> jax.Array:
    """Draws the numbers [B, N] of rows.

    Args:
      key: random key of the draw.
      layout: layout of the table.
      rows: number of real rows [B] of the leaf of each row.
      numbers: distributions [B, N] in the leaf of each row.
    """
    low, high, mean, scale = numbers
    which, place = jax.random.uniform(key, (2, *mean.shape))
    pseudo = which * (rows[:, None] + layout.pseudo_rows) >= rows[:, None]  # whether a number is from a pseudo-row
    width = jnp.where(pseudo | (scale == 0), 1, scale)
    below, above = mass_around(mean, width, low, high)
    quantile = jnp.clip(place * (below + above) - below, -1 + 1e-7, 1 - 1e-7)
    normal = jnp.clip(mean + width * 2**0.5 * erfinv(quantile), low, high)
    single = mean + (place - 0.5) * layout.gap[None]
    return jnp.where((scale == 0) & ~pseudo, single, normal)


def log_levels(
    layout: Layout, leaves: Leaves, leaf: jax.Array, code: jax.Array, observed: jax.Array | None = None
) -> jax.Array:
    """Returns the log-probability [B] of the observed levels of each row; 0 [] if no column has levels.

    Args:
      layout: layout of the table.
      leaves: leaves [L].
      leaf: leaf [B] of each row.
      code: levels of rows [B, C].
      observed: observed cells, [B, C] bool; by default None, all cells.
    """
    tables, parents = leaves.tables, leaves.parents
    if tables is None:
        return jnp.zeros(())
    places = jnp.arange(code.shape[1])[None]
    if parents is None:
        log_p = jnp.log(tables[leaf[:, None], places, 0, code])  # [B, C]
        if observed is not None:
            log_p = jnp.where(observed, log_p, 0)
        return log_p.sum(1)
    if observed is not None:
        evidence = jnp.log(agreeing(layout, code, observed))
        return jax.vmap(pass_upward)(tables[leaf], parents[leaf], evidence)[1]
    parent = parents[leaf]  # [B, C]
    parent_code = jnp.take_along_axis(code, jnp.maximum(parent, 0), 1)
    return jnp.log(tables[leaf[:, None], places, jnp.where(parent < 0, 0, parent_code), code]).sum(1)


def parents_first(parents: jax.Array) -> jax.Array:
    """Returns the columns [C] in an order in which each column stands after its parent.

    Args:
      parents: parent of each column [C]; -1 for a root.
    """

    def climb(climbed: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        ancestor, depth = climbed
        return jnp.where(ancestor < 0, -1, parents[ancestor]), depth + (ancestor >= 0)

    start = parents, jnp.zeros_like(parents)
    _, depth = jax.lax.while_loop(lambda climbed: (climbed[0] >= 0).any(), climb, start)
    return jnp.argsort(depth)


def pass_upward(tables: jax.Array, parents: jax.Array, evidence: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the messages of a tree of columns from its leaves to its roots (Pearl 1988).

    Args:
      tables: tables [C, R, R], P(level | level of the parent).
      parents: parent of each column [C]; -1 for a root.
      evidence: evidence [C, R]: 0 if a level agrees with the observed cell, else -inf.

    Returns:
      Two log-probabilities. The first [C, R] is of the observed cells of a column and of all columns below it, given
      the level of the column. The second [] is of all observed cells.
    """
    order = parents_first(parents)
    log_tables = jnp.log(tables)

    def visit(number: jax.Array, messages: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        below, total = messages
        column = order[len(order) - 1 - number]
        message = jax.nn.logsumexp(log_tables[column] + below[column][None], 1)  # [R of the parent]
        root = parents[column] < 0
        below = below.at[parents[column]].add(jnp.where(root, 0, message))
        return below, total + jnp.where(root, message[0], 0)

    return jax.lax.fori_loop(0, len(order), visit, (evidence, jnp.zeros(())))


def draw_levels(key: jax.Array, tables: jax.Array, parents: jax.Array | None, allowed: jax.Array) -> jax.Array:
    """Draws the levels [B, C] int32 of rows, given their observed cells.

    Args:
      key: random key of the draw.
      tables: tables [B, C, Q, R] of the leaf of each row.
      parents: parents [B, C] of the leaf of each row; None if levels are independent.
      allowed: see `agreeing`, [B, C, R]: 1 for the levels that agree with the observed cells, else 0.
    """
    if parents is None:
        return draw_independent(key, tables[:, :, 0] * allowed)
    noise = jax.random.gumbel(key, allowed.shape)
    return jax.vmap(draw_level_tree)(tables, parents, jnp.log(allowed), noise)


def draw_independent(key: jax.Array, weights: jax.Array) -> jax.Array:
    """Draws levels [B, C] int32 by their weights, from one uniform number a cell.

    Args:
      key: random key of the draw.
      weights: weights of levels [B, C, R].
    """
    heights = jnp.cumsum(weights, 2)
    top = heights[..., -1]
    place = jax.random.uniform(key, top.shape) * top
    place = jnp.minimum(place, jnp.nextafter(top, jnp.zeros_like(top)))  # because a rounded product may reach the top
    return (heights <= place[..., None]).sum(2).astype(jnp.int32)


def draw_level_tree(tables: jax.Array, parents: jax.Array, evidence: jax.Array, noise: jax.Array) -> jax.Array:
    """Returns levels [C] int32 of one row, drawn from the roots down.

    Args:
      tables: tables [C, R, R], P(level | level of the parent).
      parents: parent of each column [C]; -1 for a root.
      evidence: evidence [C, R]: 0 if a level agrees with the observed cell, else -inf.
      noise: draws [C, R] of a standard Gumbel distribution.
    """
    order = parents_first(parents)
    below, _ = pass_upward(tables, parents, evidence)

    def visit(number: jax.Array, levels: jax.Array) -> jax.Array:
        column = order[number]
        parent_level = jnp.where(parents[column] < 0, 0, levels[parents[column]])
        level = (jnp.log(tables[column, parent_level]) + below[column] + noise[column]).argmax()
        return levels.at[column].set(level.astype(jnp.int32))

    return jax.lax.fori_loop(0, len(order), visit, jnp.zeros(len(order), jnp.int32))
