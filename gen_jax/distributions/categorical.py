"""Columns of levels: flat tables of probabilities [..., L], L the levels of all columns together. No models live here."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.distributions.linalg import matmul
from gen_jax.errors import UserError


class Levels(NamedTuple):
    """Where the levels of C columns stand in a flat table; plain NumPy, fixed by the schema."""

    columns: np.ndarray  # [C] the places of these columns among all of a row
    column: np.ndarray  # [L] which of the C columns a level is of
    code: np.ndarray  # [L] its number within that column
    sizes: np.ndarray  # [C] how many levels a column has


def levels_of(schema: list[dict[str, Any]]) -> Levels:
    """The columns of a table that have levels."""
    columns = np.array([at for at, column in enumerate(schema) if "levels" in column], int)
    sizes = np.array([len(schema[at]["levels"]) for at in columns], int)
    code = np.concatenate([np.arange(size) for size in sizes]) if len(sizes) else np.zeros(0, int)
    return Levels(columns, np.repeat(np.arange(len(sizes)), sizes), code, sizes)


def check_levels(levels: Levels, x: jax.Array, mask: jax.Array | None) -> None:
    """Raises UserError where an observed cell of x [B, D] holds no level of its column."""
    codes = np.asarray(x)[:, levels.columns]
    wrong = ~((codes >= 0) & (codes < levels.sizes[None]) & (codes == np.rint(codes)))
    if mask is not None:
        wrong &= np.asarray(mask)[:, levels.columns].astype(bool)
    if wrong.any():
        row, at = np.argwhere(wrong)[0]
        place, last = levels.columns[at], levels.sizes[at] - 1
        raise UserError(f"x has {codes[row, at]:g} in row {row}, column {place}: expected a level from 0 to {last}")


def indicators(levels: Levels, x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Which level each cell of x [B, D] holds, as 0 and 1 [B, L]; all 0 where a cell is not observed."""
    place = levels.columns[levels.column]
    held = x[:, place] == jnp.asarray(levels.code, x.dtype)[None]
    return (held if mask is None else held & mask[:, place]).astype(jnp.float32)


def log_shares(levels: Levels, counts: jax.Array, strength: float) -> jax.Array:
    """Logs of the shares of levels [K, L] by their counts [K, L], each with `strength` pseudo-counts.

    A column without any count has all its levels alike.
    """
    totals = jnp.zeros((len(counts), len(levels.sizes))).at[:, levels.column].add(counts)
    totals = totals[:, levels.column]
    counts, sizes = counts + strength, jnp.asarray(levels.sizes[levels.column], jnp.float32)[None]
    totals = totals + strength * sizes
    return jnp.where(totals > 0, jnp.log(counts) - jnp.log(totals), -jnp.log(sizes))


def log_prob(held: jax.Array, log_p: jax.Array) -> jax.Array:
    """Log-probabilities [B, K] of the levels that rows hold [B, L] under tables [K, L]: impossible ones give -inf."""
    never = jnp.isneginf(log_p)
    impossible = matmul(held, never.astype(jnp.float32).T)
    return jnp.where(impossible > 0, -jnp.inf, matmul(held, jnp.where(never, 0, log_p).T))


def places(levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """Where each level of each column stands in a flat table [C, widest], and whether a column has so many."""
    widest = int(levels.sizes.max(initial=1))
    first = np.concatenate([[0], np.cumsum(levels.sizes)])[:-1]
    within = np.arange(widest)[None] < levels.sizes[:, None]
    return np.where(within, first[:, None] + np.arange(widest)[None], 0).astype(int), within


def draw(key: jax.Array, levels: Levels, log_p: jax.Array) -> jax.Array:
    """A level of each column [B, C] float32, by tables of each row [B, L]."""
    place, within = places(levels)
    logits = jnp.where(within[None], log_p[:, place], -jnp.inf)  # [B, C, widest]
    return jax.random.categorical(key, logits).astype(jnp.float32)


def normalised(counts: jax.Array, valid: jax.Array, pseudo_count: float) -> jax.Array:
    """Tables [D, Q, R] of counts, each valid level with `pseudo_count` more; where there is nothing all are alike."""
    counts = jnp.where(valid[:, None], counts + pseudo_count, 0)
    total = counts.sum(2, keepdims=True)
    return jnp.where(total > 0, counts / jnp.where(total > 0, total, 1), valid[:, None] / valid.sum(1)[:, None, None])
