"""Interpolation between a row and one of its neighbours: the honest baseline, which keeps the rows and fits nothing."""

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

APART = 1e6  # squared distance of rows that should not be neighbours


class SmoteState(NamedTuple):
    """The rows so far."""

    step: jax.Array  # [] int32
    seen: jax.Array  # [] int32, number of rows so far
    x: jax.Array  # [N, D] float32, the last N rows
    mask: jax.Array  # [N, D] bool, observed cells; a row without any is not there


class Table(NamedTuple):
    """The facts of a table that SMOTE reads, and the features by which rows are near or far."""

    rows: int  # N
    levels: Levels
    numbers: np.ndarray  # places of the columns of numbers
    column: np.ndarray  # [F], the column of each feature: numbers, then levels
    shared: np.ndarray  # [L] bool, levels that a row and its neighbours share
    neighbours: int  # k


@family("smote")
def smote(spec: Spec, neighbours: int = 5, within: str = "") -> Model:
    """Returns a model that draws between rows: x_i + u (x_j - x_i) (SMOTE, Chawla et al. 2002, JAIR 16, section 4.2).

    Row j is one of the nearest rows of row i, and u ~ U(0, 1). A level is that of row j with probability u, and of row i
    otherwise; the paper's variant SMOTE-NC votes, which makes rare levels rarer. A cell that both rows lack is that of any
    other row. One step keeps the rows of its batch (`data.order` all), so the state, and its checkpoint, hold the
    data. There is no likelihood. `given` takes `x` and `mask` [num, D]: both rows are then among those nearest to the
    observed cells.

    Args:
      spec: facts of the data, of D columns.
      neighbours: number of nearest rows of which one is drawn. Distances are Euclidean: numbers have standard deviation
        1, two levels are 1 apart.
      within: a column with levels that a row and its neighbours share, such as the class in the paper; empty for none.

    Raises:
      UserError: for data without columns, fewer than two rows, or an argument out of its range.
    """
    table = table_of(spec, neighbours, within)
    draw = jax.jit(partial(drawn, table))

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
    """Returns what SMOTE reads of a table.

    Raises:
      UserError: as `smote`.
    """
    schema, rows = columns(spec), spec.sizes[spec.split]
    check_whole("neighbours", neighbours)
    if rows < 2:
        raise UserError(f"smote draws between two rows, and {spec.name} has {rows}")
    levels = categorical.levels_of(schema)
    numbers = np.setdiff1d(np.arange(len(schema)), levels.columns)
    shared = np.zeros(len(levels.code), bool)
    if within:
        names = [schema[place]["name"] for place in levels.columns]
        shared = levels.column == names.index(choose("column with levels in model.within", within, names))
    column = np.concatenate([numbers, levels.columns[levels.column]]).astype(int)
    return Table(rows, levels, numbers, column, shared, min(neighbours, rows - 1))


def init(table: Table, key: jax.Array, batch: Batch) -> SmoteState:
    """Returns the state before any row."""
    zero, shape = jnp.zeros((), jnp.int32), (table.rows, batch["x"].shape[1])
    return SmoteState(zero, zero, jnp.zeros(shape), jnp.zeros(shape, bool))


def step(table: Table, key: jax.Array, state: SmoteState, batch: Batch) -> tuple[SmoteState, dict]:
    """Returns the state with the rows of a batch kept, in place of the oldest rows."""
    x = observed(batch)
    real = batch.get("weight", jnp.ones(len(x))) > 0
    place = jnp.where(real, (state.seen + jnp.cumsum(real) - 1) % table.rows, table.rows)  # padding rows: nowhere
    kept = state.x.at[place].set(jnp.nan_to_num(x), mode="drop")
    mask = state.mask.at[place].set(~jnp.isnan(x), mode="drop")
    seen = state.seen + real.sum(dtype=jnp.int32)
    metrics = {"rows": jnp.minimum(seen, table.rows).astype(jnp.float32)}
    return SmoteState(state.step + 1, seen, kept, mask), metrics


def features(table: Table, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns the features [B, F] of rows x [B, D], 0 where `mask` is 0."""
    levels = categorical.indicators(table.levels, x, mask) * np.float32(np.sqrt(0.5))
    return jnp.concatenate([jnp.where(mask, x, 0)[:, table.numbers], levels], 1)


def distances(table: Table, anchor: jax.Array, counted: jax.Array, stored: jax.Array) -> jax.Array:
    """Returns squared distances [B, N], less what is the same for all stored rows.

    Args:
      table: the table.
      anchor: features [B, F].
      counted: [B, F], 1 for features that count.
      stored: features [N, F].
    """
    squares = matmul(counted, jnp.square(stored).T) - 2 * matmul(anchor * counted, stored.T)
    anchor_levels = 2 * anchor[:, len(table.numbers) :][:, table.shared]
    stored_levels = 2 * stored[:, len(table.numbers) :][:, table.shared]
    return squares + APART * (anchor_levels.sum(1, keepdims=True) > matmul(anchor_levels, stored_levels.T))


def donor_cells(u: jax.Array, state: SmoteState) -> jax.Array:
    """Returns an observed cell of each column [B, D], any of them alike, by uniform u [B, D]."""
    order = jnp.argsort(~state.mask, axis=0)  # [N, D], observed cells first
    row = jnp.take_along_axis(order, (u * state.mask.sum(0)[None]).astype(jnp.int32), 0)
    return jnp.take_along_axis(state.x, row, 0)


def row_pairs(
    table: Table, base_key: jax.Array, neighbour_key: jax.Array, state: SmoteState, x: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Draws the two rows [B] between which a sample lies: any row and a neighbour, or two near to the observed cells."""
    stored, stands = features(table, state.x, state.mask), state.mask.any(1)  # [N, F], [N]
    asked = mask.any(1, keepdims=True)  # [B, 1]
    base = jax.random.categorical(base_key, jnp.where(stands, 0.0, -jnp.inf), shape=(len(x),))
    anchor = jnp.where(asked, features(table, x, mask), stored[base])
    counted = (mask | ~asked)[:, table.column].astype(jnp.float32)
    itself = ~asked & (jnp.arange(table.rows)[None] == base[:, None])  # [B, N]
    nearness = jnp.where(stands[None] & ~itself, -distances(table, anchor, counted, stored), -jnp.inf)
    values, rows = jax.lax.top_k(nearness, table.neighbours)  # [B, k]
    logits = jnp.where(jnp.isneginf(values), -jnp.inf, 0.0)
    places = jax.random.categorical(neighbour_key, logits[:, None], shape=(len(x), 2))
    pair = jnp.take_along_axis(rows, places, 1)  # [B, 2]
    return jnp.where(asked[:, 0], pair[:, 0], base), pair[:, 1]


def drawn(table: Table, key: jax.Array, state: SmoteState, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns rows [B, D], each between two rows; cells of x [B, D] where `mask` is 1."""
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
    overall = indicators(state.x, state.mask).mean(0)  # for cells that both rows lack
    level = categorical.draw(level_key, table.levels, jnp.log(share + 1e-6 * overall[None] + 1e-12))
    return jnp.where(mask, x, rows.at[:, table.levels.columns].set(level))
