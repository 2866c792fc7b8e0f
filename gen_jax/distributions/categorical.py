"""Columns of levels as flat tables of probabilities [..., L]; L counts the levels of all columns. No models here."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.distributions.linalg import matmul
from gen_jax.errors import UserError
from gen_jax.model import Array


class Levels(NamedTuple):
    """Places of the levels of C columns in a flat table; NumPy arrays, fixed by the schema."""

    columns: np.ndarray  # [C] indices of these columns in a row
    column: np.ndarray  # [L] index of the level's column, from 0 to C - 1
    code: np.ndarray  # [L] index of the level in its column
    sizes: np.ndarray  # [C] number of levels of each column


def levels_of(schema: list[dict[str, Any]]) -> Levels:
    """Returns the places of the levels of a table.

    Args:
      schema: columns of the table; columns without `levels` are passed over.
    """
    columns = np.array([at for at, column in enumerate(schema) if "levels" in column], int)
    sizes = np.array([len(schema[at]["levels"]) for at in columns], int)
    code = np.concatenate([np.arange(size) for size in sizes]) if len(sizes) else np.zeros(0, int)
    return Levels(columns, np.repeat(np.arange(len(sizes)), sizes), code, sizes)


def check_levels(levels: Levels, x: Array, mask: Array | None) -> None:
    """Refuses an observed cell that holds no level of its column.

    Args:
      levels: places of the levels.
      x: rows [B, D].
      mask: observed cells [B, D]; None if all are observed.

    Raises:
      UserError: for such a cell.
    """
    codes = np.asarray(x)[:, levels.columns]
    wrong = ~((codes >= 0) & (codes < levels.sizes[None]) & (codes == np.rint(codes)))
    if mask is not None:
        wrong &= np.asarray(mask)[:, levels.columns].astype(bool)
    if wrong.any():
        row, at = np.argwhere(wrong)[0]
        place, last = levels.columns[at], levels.sizes[at] - 1
        raise UserError(f"row {row}, column {place} of x is {codes[row, at]:g}; expected a level from 0 to {last}")


def indicators(levels: Levels, x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns the levels of all cells as one-hot vectors, 0 for missing cells.

    Args:
      levels: places of the levels.
      x: rows [B, D].
      mask: observed cells [B, D] bool; None if all are observed.

    Returns:
      Indicators [B, L] float32.
    """
    place = levels.columns[levels.column]
    held = x[:, place] == jnp.asarray(levels.code, x.dtype)[None]
    return (held if mask is None else held & mask[:, place]).astype(jnp.float32)


def log_shares(levels: Levels, counts: jax.Array, strength: float) -> jax.Array:
    """Returns the log-probabilities of the levels of each column, estimated from counts.

    If a column has no counts, all its levels have equal probability.

    Args:
      levels: places of the levels.
      counts: counts of the levels [K, L].
      strength: pseudo-count that is added to every level.

    Returns:
      Log-probabilities [K, L] in nats.
    """
    totals = jnp.zeros((len(counts), len(levels.sizes))).at[:, levels.column].add(counts)
    totals = totals[:, levels.column]
    counts, sizes = counts + strength, jnp.asarray(levels.sizes[levels.column], jnp.float32)[None]
    totals = totals + strength * sizes
    return jnp.where(totals > 0, jnp.log(counts) - jnp.log(totals), -jnp.log(sizes))


def log_prob(level_indicators: jax.Array, log_p: jax.Array) -> jax.Array:
    """Returns the log-probabilities of rows under tables of levels, -inf for a row with an impossible level.

    Args:
      level_indicators: indicators of the levels of rows [B, L].
      log_p: log-probabilities of the levels [K, L].

    Returns:
      Log-probabilities [B, K] in nats.
    """
    never = jnp.isneginf(log_p)
    impossible = matmul(level_indicators, never.astype(jnp.float32).T)
    return jnp.where(impossible > 0, -jnp.inf, matmul(level_indicators, jnp.where(never, 0, log_p).T))


def places(levels: Levels) -> tuple[np.ndarray, np.ndarray]:
    """Returns a table of the places of each column's levels in a flat table, padded to the widest column.

    Args:
      levels: places of the levels.

    Returns:
      Indices into L [C, widest], 0 for padding; and which entries are levels [C, widest] bool.
    """
    widest = int(levels.sizes.max(initial=1))
    first = np.concatenate([[0], np.cumsum(levels.sizes)])[:-1]
    within = np.arange(widest)[None] < levels.sizes[:, None]
    return np.where(within, first[:, None] + np.arange(widest)[None], 0).astype(int), within


def draw(key: jax.Array, levels: Levels, log_p: jax.Array) -> jax.Array:
    """Draws a level of each column.

    Args:
      key: random key.
      levels: places of the levels.
      log_p: log-probabilities of each row [B, L].

    Returns:
      Indices of levels [B, C] float32.
    """
    place, within = places(levels)
    logits = jnp.where(within[None], log_p[:, place], -jnp.inf)  # [B, C, widest]
    return jax.random.categorical(key, logits).astype(jnp.float32)


def normalised(counts: jax.Array, valid: jax.Array, pseudo_count: float) -> jax.Array:
    """Returns tables of probabilities from counts. If a table has no counts, its valid levels have equal probability.

    Args:
      counts: counts [D, Q, R].
      valid: which levels a column has [D, R] bool.
      pseudo_count: number that is added to the count of every valid level.

    Returns:
      Probabilities [D, Q, R].
    """
    counts = jnp.where(valid[:, None], counts + pseudo_count, 0)
    total = counts.sum(2, keepdims=True)
    return jnp.where(total > 0, counts / jnp.where(total > 0, total, 1), valid[:, None] / valid.sum(1)[:, None, None])
