"""Numbers as levels: bins of equal shares with exponential tails, a density on the whole line. In model space."""

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BEYOND = np.float32(3e38)  # stands for a missing edge, because a state must be finite
NARROWEST = 1e-3  # smallest mean excess of a tail


class Bins(NamedTuple):
    """Edges and tails of the bins of D columns. They are not read for a column that has levels."""

    edges: jax.Array  # [D, R - 1] float32, ascending; a column with fewer than R bins ends with BEYOND
    tails: jax.Array  # [D, 2] float32, mean distance of the numbers below the first and above the last edge from it


def fit(x: jax.Array, observed: jax.Array, bins: int) -> Bins:
    """Fits at most `bins` bins per column with about the same number of rows. Equal numbers share a bin.

    Args:
      x: numbers [B, D].
      observed: which cells are observed [B, D] bool.
      bins: largest number of bins R.

    Returns:
      The bins of all columns.
    """
    columns = jnp.where(observed, x, BEYOND).T  # [D, B]
    rise, count = jnp.sort(columns, 1), observed.sum(0)  # [D]

    def edges_of(rise: jax.Array, count: jax.Array) -> jax.Array:
        place = jnp.maximum(count * jnp.arange(1, bins) // bins, 1)
        below = rise[place - 1]
        above = rise[jnp.minimum(jnp.searchsorted(rise, below, side="right"), len(rise) - 1)]
        edges = jnp.sort(jnp.where((above > below) & (above < BEYOND), below / 2 + above / 2, BEYOND))
        repeated = jnp.concatenate([jnp.zeros(1, bool), edges[1:] == edges[:-1]])
        edges = jnp.sort(jnp.where(repeated, BEYOND, edges))
        last = jnp.where(count > 0, rise[jnp.maximum(count - 1, 0)], 0.0)
        return edges.at[0].set(jnp.where(edges[0] < BEYOND, edges[0], last))  # a constant column has one edge

    edges = jax.vmap(edges_of)(rise, count)
    first, last = ends(edges)
    inside = columns < BEYOND
    low = inside & (columns <= first[:, None])
    high = inside & (columns > last[:, None])
    excess = (mean_where(first[:, None] - columns, low), mean_where(columns - last[:, None], high))
    return Bins(edges, jnp.maximum(jnp.stack(excess, 1), NARROWEST))


def mean_where(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the means over the last axis of the values that `mask` selects, 0 if it selects none.

    Args:
      values: numbers [D, B].
      mask: selected values [D, B] bool.

    Returns:
      Means [D].
    """
    return jnp.where(mask, values, 0).sum(1) / jnp.maximum(mask.sum(1), 1)


def ends(edges: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the first and the last edge of each column, [D] each.

    Args:
      edges: edges of the bins [D, R - 1].
    """
    return edges[:, 0], jnp.where(edges < BEYOND, edges, -jnp.inf).max(1)


def used(bins: Bins) -> jax.Array:
    """Returns the number of bins of each column [D] int32.

    Args:
      bins: bins of D columns.
    """
    return 1 + (bins.edges < BEYOND).sum(1)


def code(bins: Bins, x: jax.Array) -> jax.Array:
    """Returns the index of the bin of each cell [B, D] int32.

    Args:
      bins: bins of D columns.
      x: numbers [B, D].
    """
    index = jnp.zeros(x.shape, jnp.int32)
    for edge in bins.edges.T:
        index += (x > edge[None]).astype(jnp.int32)
    return index


def log_density(bins: Bins, x: jax.Array) -> jax.Array:
    """Returns the log-density of each cell within its bin.

    Args:
      bins: bins of D columns.
      x: numbers [B, D].

    Returns:
      Log-densities [B, D] in nats.
    """
    first, last = ends(bins.edges)
    padded = jnp.concatenate([bins.edges, jnp.full((len(first), 1), BEYOND)], 1)
    k = code(bins, x)  # [B, D]
    width = jnp.take_along_axis(padded.T, k, 0) - jnp.take_along_axis(padded.T, jnp.maximum(k - 1, 0), 0)
    low, high = bins.tails.T[:, None]  # [1, D]
    below = -jnp.log(low) - (first[None] - x) / low
    above = -jnp.log(high) - (x - last[None]) / high
    return jnp.where(x <= first[None], below, jnp.where(x > last[None], above, -jnp.log(width)))


def labels(edges: np.ndarray) -> tuple[str, ...]:
    """Returns the names of the bins of one column.

    Args:
      edges: edges of the bins [R - 1]; edges that are BEYOND are ignored.
    """
    texts = [f"{edge:.6g}" for edge in edges if edge < BEYOND]
    return (f"up_to_{texts[0]}", *(f"{low}_to_{high}" for low, high in pairwise(texts)), f"above_{texts[-1]}")


def undo(bins: Bins, k: jax.Array, share: jax.Array) -> jax.Array:
    """Returns the numbers below which the fraction `share` of their bin lies. Uniform fractions draw from the bin.

    Args:
      bins: bins of D columns.
      k: indices of bins [B, D].
      share: fractions [B, D], from 0 to 1.

    Returns:
      Numbers [B, D] float32.
    """
    first, last = ends(bins.edges)
    padded = jnp.concatenate([bins.edges, jnp.full((len(first), 1), BEYOND)], 1).T
    upper, lower = jnp.take_along_axis(padded, k, 0), jnp.take_along_axis(padded, jnp.maximum(k - 1, 0), 0)
    excess = -jnp.log1p(-share)
    below, above = first[None] - excess * bins.tails.T[:1], last[None] + excess * bins.tails.T[1:]
    between = lower + share * jnp.where(upper < BEYOND, upper - lower, 0)
    return jnp.where(k == 0, below, jnp.where(upper < BEYOND, between, above))
