"""Interpolation between a row and one of its neighbours: the baseline that stores the training rows without a fit."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import given_cells, refuse_given, sampler_options
from gen_jax.data.spec import Spec, columns
from gen_jax.distributions import categorical
from gen_jax.distributions.categorical import Levels
from gen_jax.distributions.linalg import matmul
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.model import Batch, Model, family, observed

APART = 1e6  # squared distance that is added between rows that must not be neighbours


class SmoteState(NamedTuple):
    """The rows that the model has seen."""

    step: jax.Array  # [] int32
    seen: jax.Array  # [] int32, number of rows so far
    x: jax.Array  # [N, D] float32, the last N rows
    mask: jax.Array  # [N, D] bool, observed cells; False in all cells of an empty place


class Table(NamedTuple):
    """The facts of a table that SMOTE reads, and the features that distances are computed from."""

    rows: int  # N
    levels: Levels
    numbers: np.ndarray  # indices of the columns of numbers
    column: np.ndarray  # [F] column of each feature: numbers, then levels
    shared: np.ndarray  # [L] bool, levels that a row and its neighbours must share
    neighbours: int  # k


@family("smote")
def smote(spec: Spec, neighbours: int = 5, within: str = "") -> Model:
    """Returns a model that draws between rows: x_i + u (x_j - x_i) (SMOTE; Chawla et al. 2002, arXiv 1106.1813, section 4.2).

    Row j is one of the nearest rows of row i, and u ~ U(0, 1). A level comes from row j with probability u, and
    otherwise from row i. The paper's variant SMOTE-NC votes instead, which makes rare levels rarer. If both rows lack a
    cell, it comes from any other row.

    One step stores the rows of its batch (`data.order` all), so the state and its checkpoint hold the data. There is no
    likelihood. `given` takes `x` and `mask` [num, D]; both rows are then among the rows nearest to the observed cells.

    Args:
      spec: facts of the data, with D columns.
      neighbours: number of nearest rows, one of which is drawn; by default 5. Distances are Euclidean: numbers have
        standard deviation 1, and two levels have distance 1.
      within: column with levels that a row and its neighbours share, such as the class in the paper; by default none.

    Raises:
      UserError: for data without columns, fewer than two rows, or an argument out of its range.
    """
    table = table_of(spec, neighbours, within)
    draw = jax.jit(partial(draw_rows, table))

    def sample(
        key: jax.Array, state: SmoteState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        refuse_given(given, ("x", "mask"))
        x, mask = given_cells(given, num, spec.shape)
        categorical.check_levels(table.levels, x, mask)
        return {"x": draw(key, state, x, mask)}

    return Model(partial(init, table), partial(step, table), sample, given=("x", "mask"))


def table_of(spec: Spec, neighbours: int, within: str) -> Table:
    """Returns the facts of a table that SMOTE reads.

    Args:
      spec: facts of the data.
      neighbours: number of nearest rows.
      within: column with levels that a row and its neighbours share; empty for none.

    Raises:
      UserError: as `smote`.
    """
    schema, rows = columns(spec), spec.sizes[spec.split]
    check_whole("neighbours", neighbours)
    if rows < 2:
        raise UserError(f"{spec.name} has {rows} rows; expected at least 2, because smote draws between two rows")
    levels = categorical.levels_of(schema)
    numbers = np.setdiff1d(np.arange(len(schema)), levels.columns)
    shared = np.zeros(len(levels.code), bool)
    if within:
        names = [schema[place]["name"] for place in levels.columns]
        shared = levels.column == names.index(choose("column with levels in model.within", within, names))
    column = np.concatenate([numbers, levels.columns[levels.column]]).astype(int)
    return Table(rows, levels, numbers, column, shared, min(neighbours, rows - 1))


def init(table: Table, key: jax.Array, batch: Batch) -> SmoteState:
    """Returns the state before any row.

    Args:
      table: facts of the table.
      key: not used.
      batch: `x` [B, D].
    """
    zero, shape = jnp.zeros((), jnp.int32), (table.rows, batch["x"].shape[1])
    return SmoteState(zero, zero, jnp.zeros(shape), jnp.zeros(shape, bool))


def step(table: Table, key: jax.Array, state: SmoteState, batch: Batch) -> tuple[SmoteState, dict]:
    """Returns the state after the rows of a batch have replaced the oldest rows.

    Args:
      table: facts of the table.
      key: not used.
      state: the state before the step.
      batch: `x` [B, D], and `mask` [B, D] and `weight` [B] if the batch has them.

    Returns:
      The new state, and the metric `rows`, the number of stored rows.
    """
    x = observed(batch)
    real = batch.get("weight", jnp.ones(len(x))) > 0
    place = jnp.where(real, (state.seen + jnp.cumsum(real) - 1) % table.rows, table.rows)  # a padding row has no place
    stored_x = state.x.at[place].set(jnp.nan_to_num(x), mode="drop")
    mask = state.mask.at[place].set(~jnp.isnan(x), mode="drop")
    seen = state.seen + real.sum(dtype=jnp.int32)
    metrics = {"rows": jnp.minimum(seen, table.rows).astype(jnp.float32)}
    return SmoteState(state.step + 1, seen, stored_x, mask), metrics


def features(table: Table, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the features of rows [B, F], 0 for missing cells.

    Args:
      table: facts of the table.
      x: rows [B, D].
      mask: observed cells [B, D].
    """
    levels = categorical.indicators(table.levels, x, mask) * np.float32(np.sqrt(0.5))
    return jnp.concatenate([jnp.where(mask, x, 0)[:, table.numbers], levels], 1)


def distances(table: Table, anchor: jax.Array, counted: jax.Array, stored: jax.Array) -> jax.Array:
    """Returns squared distances [B, N], without the terms that are equal for all stored rows.

    Args:
      table: facts of the table.
      anchor: features [B, F].
      counted: 1 for features that count, else 0 [B, F].
      stored: features of the stored rows [N, F].
    """
    squares = matmul(counted, jnp.square(stored).T) - 2 * matmul(anchor * counted, stored.T)
    anchor_levels = 2 * anchor[:, len(table.numbers) :][:, table.shared]
    stored_levels = 2 * stored[:, len(table.numbers) :][:, table.shared]
    return squares + APART * (anchor_levels.sum(1, keepdims=True) > matmul(anchor_levels, stored_levels.T))


def donor_cells(u: jax.Array, state: SmoteState) -> jax.Array:
    """Returns an observed cell of each column, chosen uniformly among the stored rows.

    Args:
      u: numbers drawn from U(0, 1) [B, D].
      state: the stored rows.

    Returns:
      Cells [B, D].
    """
    order = jnp.argsort(~state.mask, axis=0)  # [N, D], observed cells first
    row = jnp.take_along_axis(order, (u * state.mask.sum(0)[None]).astype(jnp.int32), 0)
    return jnp.take_along_axis(state.x, row, 0)


def row_pairs(
    table: Table, base_key: jax.Array, neighbour_key: jax.Array, state: SmoteState, x: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Draws the two rows between which each sample lies.

    They are any row and one of its neighbours, or two rows near to the observed cells.

    Args:
      table: facts of the table.
      base_key: random key of the first row.
      neighbour_key: random key of the neighbours.
      state: the stored rows.
      x: observed cells [B, D].
      mask: which cells are observed [B, D] bool.

    Returns:
      Indices of the first and the second rows, [B] each.
    """
    stored, stands = features(table, state.x, state.mask), state.mask.any(1)  # [N, F], [N]
    has_evidence = mask.any(1, keepdims=True)  # [B, 1]
    base = jax.random.categorical(base_key, jnp.where(stands, 0.0, -jnp.inf), shape=(len(x),))
    anchor = jnp.where(has_evidence, features(table, x, mask), stored[base])
    counted = (mask | ~has_evidence)[:, table.column].astype(jnp.float32)
    itself = ~has_evidence & (jnp.arange(table.rows)[None] == base[:, None])  # [B, N]
    nearness = jnp.where(stands[None] & ~itself, -distances(table, anchor, counted, stored), -jnp.inf)
    values, rows = jax.lax.top_k(nearness, table.neighbours)  # [B, k]
    logits = jnp.where(jnp.isneginf(values), -jnp.inf, 0.0)
    places = jax.random.categorical(neighbour_key, logits[:, None], shape=(len(x), 2))
    pair = jnp.take_along_axis(rows, places, 1)  # [B, 2]
    return jnp.where(has_evidence[:, 0], pair[:, 0], base), pair[:, 1]


def draw_rows(table: Table, key: jax.Array, state: SmoteState, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Draws rows, each between two stored rows; observed cells stay.

    Args:
      table: facts of the table.
      key: random key.
      state: the stored rows.
      x: observed cells [B, D].
      mask: which cells are observed [B, D] bool.

    Returns:
      Rows [B, D].
    """
    base_key, neighbour_key, u_key, level_key, donor_key = jax.random.split(key, 5)
    first, second = row_pairs(table, base_key, neighbour_key, state, x, mask)
    u = jax.random.uniform(u_key, (len(x), 1))
    a, has_a = state.x[first], state.mask[first]
    b, has_b = state.x[second], state.mask[second]
    donor = donor_cells(jax.random.uniform(donor_key, x.shape), state)
    alone = jnp.where(has_a, a, jnp.where(has_b, b, donor))
    rows = jnp.where(has_a & has_b, a + u * (b - a), alone)
    indicators = partial(categorical.indicators, table.levels)
    share = u * indicators(b, has_b) + (1 - u) * indicators(a, has_a)  # [B, L]
    overall = indicators(state.x, state.mask).mean(0)  # for cells that are missing in both rows
    level = categorical.draw(level_key, table.levels, jnp.log(share + 1e-6 * overall[None] + 1e-12))
    return jnp.where(mask, x, rows.at[:, table.levels.columns].set(level))
