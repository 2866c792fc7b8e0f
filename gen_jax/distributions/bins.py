"""Numbers as levels and back: bins of equal shares with exponential tails, a density on the whole line. In model space."""

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BEYOND = np.float32(3e38)  # stands where there is no edge: a state is finite
NARROWEST = 1e-3  # mean excess of a tail, at least


class Bins(NamedTuple):
    """Where the bins of D columns lie; of a column with levels nothing is read."""

    edges: jax.Array  # [D, R - 1] float32, rising; BEYOND where there are fewer bins than R
    tails: jax.Array  # [D, 2] float32, mean distance of what lies below the first and above the last edge from it


def fit(x: jax.Array, observed: jax.Array, bins: int) -> Bins:
    """At most `bins` bins of each column of x [B, D] with about as many rows each; equal numbers share a bin."""
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
    """Means [D] of values [D, B] where `mask` holds, 0 where it holds nowhere."""
    return jnp.where(mask, values, 0).sum(1) / jnp.maximum(mask.sum(1), 1)


def ends(edges: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The first and the last edge of each column [D]."""
    return edges[:, 0], jnp.where(edges < BEYOND, edges, -jnp.inf).max(1)


def used(bins: Bins) -> jax.Array:
    """How many bins each column has [D] int32."""
    return 1 + (bins.edges < BEYOND).sum(1)


def code(bins: Bins, x: jax.Array) -> jax.Array:
    """The bin of each cell of x [B, D], int32."""
    return sum((x > edge[None]).astype(jnp.int32) for edge in bins.edges.T)


def log_density(bins: Bins, x: jax.Array) -> jax.Array:
    """Log-density of each cell of x [B, D] within its bin."""
    first, last = ends(bins.edges)
    padded = jnp.concatenate([bins.edges, jnp.full((len(first), 1), BEYOND)], 1)
    k = code(bins, x)  # [B, D]
    width = jnp.take_along_axis(padded.T, k, 0) - jnp.take_along_axis(padded.T, jnp.maximum(k - 1, 0), 0)
    low, high = bins.tails.T[:, None]  # [1, D]
    below = -jnp.log(low) - (first[None] - x) / low
    above = -jnp.log(high) - (x - last[None]) / high
    return jnp.where(x <= first[None], below, jnp.where(x > last[None], above, -jnp.log(width)))


def labels(edges: np.ndarray) -> tuple[str, ...]:
    """Names of the bins between some edges, those that are finite."""
    texts = [f"{edge:.6g}" for edge in edges if edge < BEYOND]
    return (f"up_to_{texts[0]}", *(f"{low}_to_{high}" for low, high in pairwise(texts)), f"above_{texts[-1]}")


def undo(bins: Bins, k: jax.Array, share: jax.Array) -> jax.Array:
    """The numbers [B, D] float32 below which `share` [B, D] of their bin k [B, D] lies: uniform shares draw from it."""
    first, last = ends(bins.edges)
    padded = jnp.concatenate([bins.edges, jnp.full((len(first), 1), BEYOND)], 1).T
    upper, lower = jnp.take_along_axis(padded, k, 0), jnp.take_along_axis(padded, jnp.maximum(k - 1, 0), 0)
    excess = -jnp.log1p(-share)
    below, above = first[None] - excess * bins.tails.T[:1], last[None] + excess * bins.tails.T[1:]
    between = lower + share * jnp.where(upper < BEYOND, upper - lower, 0)
    return jnp.where(k == 0, below, jnp.where(upper < BEYOND, between, above))
