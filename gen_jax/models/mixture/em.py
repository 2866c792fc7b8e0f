"""Mixtures of K components, Gaussians over numbers with independent levels: expectations and maximisers. No state.

The N numbers are in G groups of S numbers. Within a component the groups are independent. There is one group of all
numbers, or one group per number. L counts the levels of all columns, one after another. Missing cells are integrated
out (Ghahramani & Jordan 1994).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.distributions import categorical, multivariate_normal
from gen_jax.distributions.categorical import Levels
from gen_jax.distributions.linalg import matmul, quotient
from gen_jax.distributions.multivariate_normal import Moments

LEAST = 1e-6  # a component with fewer expected rows keeps its parameters
LLOYD = 10  # number of k-means rounds before the first iteration


class Layout(NamedTuple):
    """Columns of a table by their kind, numbers or levels; plain data, fixed by the schema."""

    levels: Levels
    numbers: np.ndarray  # [N] indices of the columns of numbers
    groups: tuple[int, int]  # G, S


class Cells(NamedTuple):
    """Rows in the form that a mixture reads."""

    x: jax.Array  # [G, B, S] numbers
    mask: jax.Array | None  # [G, B, S] bool, observed numbers; None if all are observed
    held: jax.Array  # [B, L] indicators of the levels, 0 and 1


class Parameters(NamedTuple):
    """Parameters of a mixture."""

    log_weight: jax.Array  # [K] float32
    mean: jax.Array  # [K, G, S] float32
    covariance: jax.Array  # [K, G, S, S] float32
    log_p: jax.Array  # [K, L] float32


class Statistics(NamedTuple):
    """Expected counts and moments."""

    count: jax.Array  # type: ignore[assignment]  # shadows tuple.count; [K] float32
    moments: Moments  # count [K, G], mean [K, G, S], covariance [K, G, S, S], float32
    held: jax.Array  # [K, L] float32


def layout_of(schema: list[dict[str, Any]], full: bool) -> Layout:
    """Returns the layout of columns.

    Args:
      schema: columns of the table.
      full: whether the numbers of a row depend on one another within a component.
    """
    levels = categorical.levels_of(schema)
    numbers = np.setdiff1d(np.arange(len(schema)), levels.columns)
    return Layout(levels, numbers, (1, len(numbers)) if full and len(numbers) else (len(numbers), 1))


def read(layout: Layout, x: jax.Array, mask: jax.Array | None) -> Cells:
    """Returns the cells of rows.

    Args:
      layout: the layout.
      x: rows [B, D].
      mask: observed cells [B, D]; None if all are observed.
    """
    if mask is None:
        return Cells(grouped(layout, x), None, categorical.indicators(layout.levels, x, None))
    observed = mask > 0
    return Cells(grouped(layout, x), grouped(layout, observed), categorical.indicators(layout.levels, x, observed))


def grouped(layout: Layout, x: jax.Array) -> jax.Array:
    """Returns the numbers of rows in their groups, [G, B, S].

    Args:
      layout: the layout.
      x: rows [B, D].
    """
    return x[:, layout.numbers].reshape(len(x), *layout.groups).swapaxes(0, 1)


def blank(layout: Layout, components: int) -> Parameters:
    """Returns components that are all equal, with mean 0 and variance 1.

    Args:
      layout: the layout.
      components: number of components K.
    """
    groups, size = layout.groups
    unit = jnp.broadcast_to(jnp.eye(size), (components, groups, size, size))
    log_p = jnp.zeros((components, len(layout.levels.code)))
    return Parameters(jnp.zeros(components), jnp.zeros((components, groups, size)), unit, log_p)


def log_joint(params: Parameters, cells: Cells) -> jax.Array:
    """Returns log p(k, x) [B, K] of the observed cells, in nats.

    Args:
      params: parameters of the mixture.
      cells: cells of B rows.
    """

    def log_density(gaussian: tuple) -> jax.Array:
        # loops over groups, because batched products are several times slower on a CPU
        groups = (*gaussian, cells.x, cells.mask)
        return jax.lax.map(lambda group: multivariate_normal.log_density(*group), groups).sum(0)

    density = jax.lax.map(log_density, (params.mean, params.covariance))
    return params.log_weight[None] + density.T + categorical.log_prob(cells.held, params.log_p)


def posterior(joint: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns p(k | x) [B, K] and log p(x) [B].

    On a CPU this is five times as fast as `softmax` and `logsumexp`. One exponential serves both results; the barrier
    keeps XLA from computing it again within the sum.

    Args:
      joint: log p(k, x) [B, K].
    """
    peak = joint.max(1, keepdims=True)
    scaled = jax.lax.optimization_barrier(jnp.exp(joint - peak))
    total = scaled.sum(1, keepdims=True)
    return scaled / total, (peak + jnp.log(total))[:, 0]


def expectation(params: Parameters, shares: jax.Array, cells: Cells) -> Statistics:
    """Returns the expected statistics of rows, computed one component after another to save memory.

    Args:
      params: parameters of the mixture.
      shares: weights with which rows belong to components [B, K].
      cells: cells of B rows.
    """

    def moments_of(component: tuple) -> Moments:
        share, *gaussian = component
        if cells.mask is None:
            return jax.lax.map(lambda x: multivariate_normal.moments(share, x), cells.x)
        group = lambda each: multivariate_normal.expected(share, *each)[0]
        return jax.lax.map(group, (*gaussian, cells.x, cells.mask))

    moments = jax.lax.map(moments_of, (shares.T, params.mean, params.covariance))
    return Statistics(shares.sum(0), moments, matmul(shares.T, cells.held))


def maximise(levels: Levels, params: Parameters, statistics: Statistics, floor: float, strength: float) -> Parameters:
    """Returns the parameters that fit the statistics. A component without rows keeps its parameters.

    Args:
      levels: places of the levels.
      params: parameters before.
      statistics: expected statistics.
      floor: number added to every variance.
      strength: pseudo-counts of each level.
    """
    occupied = statistics.count > LEAST
    weight, unit = quotient(statistics.count, statistics.count.sum()), jnp.eye(params.mean.shape[-1])
    covariance = statistics.moments.covariance + floor * unit[None, None]
    return Parameters(
        jnp.log(jnp.maximum(weight, 1e-30)),
        jnp.where(occupied[:, None, None], statistics.moments.mean, params.mean),
        jnp.where(occupied[:, None, None, None], covariance, params.covariance),
        jnp.where(occupied[:, None], categorical.log_shares(levels, statistics.held, strength), params.log_p),
    )


def merged(first: Statistics, second: Statistics) -> Statistics:
    """Returns the statistics of two groups of rows together.

    Args:
      first: statistics of the first group.
      second: statistics of the second group.
    """
    moments = multivariate_normal.merged(first.moments, second.moments)
    return Statistics(first.count + second.count, moments, first.held + second.held)


def pooled(statistics: Statistics) -> Statistics:
    """Returns the statistics with the mean covariance within components for every component.

    Thus no component begins too narrow.

    Args:
      statistics: expected statistics.
    """
    covariance = statistics.moments.covariance
    within = jnp.average(covariance, 0, statistics.count + 1e-12)[None] * jnp.ones_like(covariance)
    return statistics._replace(moments=statistics.moments._replace(covariance=within))


def clusters(key: jax.Array, cells: Cells, weight: jax.Array, components: int) -> jax.Array:
    """Returns clusters of rows as the start of EM: every row belongs to the nearest of K centres.

    The centres come from greedy k-means++ (Arthur & Vassilvitskii 2007, section 5) and `LLOYD` rounds of k-means.
    Distances are over numbers and indicators of levels. A missing cell counts as 0, the mean of a column of numbers.

    Args:
      key: random key.
      cells: cells of B rows.
      weight: weights of the rows [B].
      components: number of components K.

    Returns:
      Shares [B, K] of the weight.
    """
    rows = cells.x if cells.mask is None else jnp.where(cells.mask, cells.x, 0)
    rows = jnp.concatenate([rows.swapaxes(0, 1).reshape(len(weight), -1), cells.held], 1)  # [B, F]
    real, trials = (weight > 0).astype(jnp.float32), 2 + int(np.log(components))

    def squares(centres: jax.Array) -> jax.Array:
        lengths = jnp.square(rows).sum(1)[None] + jnp.square(centres).sum(1)[:, None]
        return jnp.maximum(lengths - 2 * matmul(centres, rows.T), 0)  # [centres, B]

    def grow(nearest: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        odds = jnp.where((nearest * real).max() > 0, nearest, 1) * real  # any row, if no other row is left
        tried = rows[jax.random.categorical(key, jnp.log(odds), shape=(trials,))]
        closer = jnp.minimum(nearest[None], squares(tried))
        best = matmul(closer, real).argmin()
        return closer[best], tried[best]

    def round_of(_: int, centres: jax.Array) -> jax.Array:
        mine = jax.nn.one_hot(squares(centres).argmin(0), components) * real[:, None]
        return jnp.where(
            mine.sum(0)[:, None] > 0, quotient(matmul(mine.T, rows), mine.sum(0)[:, None] + 0 * centres), centres
        )

    far = jnp.full(len(rows), jnp.finfo(jnp.float32).max)
    centres = jax.lax.fori_loop(0, LLOYD, round_of, jax.lax.scan(grow, far, jax.random.split(key, components))[1])
    return jax.nn.one_hot(squares(centres).argmin(0), components) * weight[:, None]
