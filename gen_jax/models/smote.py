"""Interpolation between a row and one of its neighbours: nothing is learnt but the rows themselves. The honest baseline."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import given_observed, refuse_given, sampler_options
from gen_jax.data.spec import Spec, columns
from gen_jax.distributions import categorical
from gen_jax.distributions.linalg import matmul
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.model import Batch, Model, observed

APART = 1e6  # squared distance of rows that should not be neighbours


class SmoteState(NamedTuple):
    """The rows that were seen."""

    step: jax.Array  # [] int32
    seen: jax.Array  # [] int32, rows so far
    x: jax.Array  # [N, D] float32, the last of them
    mask: jax.Array  # [N, D] bool, their cells that are observed; none of a row that there is not


def smote(spec: Spec, neighbours: int = 5, within: str = "") -> Model:
    """Draws x_i + u (x_j - x_i): a row, one of its nearest, and u ~ U(0, 1) (SMOTE, Chawla et al. 2002, JAIR 16, section 4.2).

    Args:
      neighbours: of which one is drawn. Near is Euclidean: numbers have deviation 1, two levels are 1 apart.
      within: a column with levels which a row and its neighbours share, where it is named: the class in the paper.

    A level is that of the second row with probability u, that of the first otherwise (the paper's variant SMOTE-NC
    votes, which makes rare levels rarer). A cell that both rows lack is that of any other row. Learns in one step
    from all rows (`data.order` all); keeps as many as the split has, so the state, and its checkpoint, hold the data.
    There is no likelihood. `given` takes `x` and `mask` [num, D]: both rows are then drawn from those nearest to what
    is observed.

    Raises:
      UserError: for data without columns, fewer than two rows, or an argument that cannot be.
    """
    schema, rows = columns(spec), spec.sizes[spec.split]
    levels = categorical.levels_of(schema)
    numbers = np.setdiff1d(np.arange(len(schema)), levels.columns)
    check_whole("neighbours", neighbours)
    if rows < 2:
        raise UserError(f"smote draws between two rows, and {spec.name} has {rows}")
    names = [schema[at]["name"] for at in levels.columns]
    shared = np.zeros(len(levels.code), bool)  # [L], levels of the column `within`
    if within:
        shared = levels.column == names.index(choose("column with levels in model.within", within, names))
    place = np.concatenate([numbers, levels.columns[levels.column]]).astype(int)  # [F] the column of a feature
    near = min(neighbours, rows - 1)

    def init(key: jax.Array, batch: Batch) -> SmoteState:
        zero = jnp.zeros((), jnp.int32)
        return SmoteState(zero, zero, jnp.zeros((rows, len(schema))), jnp.zeros((rows, len(schema)), bool))

    def step(key: jax.Array, state: SmoteState, batch: Batch) -> tuple[SmoteState, dict]:
        x = observed(batch)
        real = batch.get("weight", jnp.ones(len(x))) > 0
        place = jnp.where(real, (state.seen + jnp.cumsum(real) - 1) % rows, rows)  # padding rows: nowhere
        mask = ~jnp.isnan(x)
        kept = (old.at[place].set(new, mode="drop") for old, new in ((state.x, jnp.nan_to_num(x)), (state.mask, mask)))
        seen = state.seen + real.sum(dtype=jnp.int32)
        return SmoteState(state.step + 1, seen, *kept), {"rows": jnp.minimum(seen, rows).astype(jnp.float32)}

    def features(x: jax.Array, mask: jax.Array) -> jax.Array:
        held = categorical.indicators(levels, x, mask) * np.float32(np.sqrt(0.5))
        return jnp.concatenate([jnp.where(mask, x, 0)[:, numbers], held], 1)  # [B, F]

    def distances(anchor: jax.Array, counted: jax.Array, known: jax.Array) -> jax.Array:
        """Squared, of each row [B, F] to each known one [N, F] in the columns that count, less what is the same for all."""
        squares = matmul(counted, jnp.square(known).T) - 2 * matmul(anchor * counted, known.T)
        a, b = (2 * each[:, len(numbers) :][:, shared] for each in (anchor, known))
        return squares + APART * (a.sum(1, keepdims=True) > matmul(a, b.T))

    def picked_by_column(u: jax.Array, state: SmoteState) -> jax.Array:
        """A cell of each column [B, D] that is observed in some row, any of them alike by uniform u [B, D]."""
        order = jnp.argsort(~state.mask, axis=0)  # [N, D], where it is observed first
        row = jnp.take_along_axis(order, (u * state.mask.sum(0)[None]).astype(jnp.int32), 0)
        return jnp.take_along_axis(state.x, row, 0)

    @partial(jax.jit, static_argnames="num")
    def draw(key: jax.Array, state: SmoteState, num: int, x: jax.Array, mask: jax.Array) -> jax.Array:
        first_key, second_key, u_key, level_key, donor_key = jax.random.split(key, 5)
        there, asked = state.mask.any(1), mask.any(1, keepdims=True)  # [N], [B, 1]
        known = features(state.x, state.mask)
        base = jax.random.categorical(first_key, jnp.where(there, 0.0, -jnp.inf), shape=(num,))  # [B]
        anchor = jnp.where(asked, features(x, mask), known[base])
        counted = (mask | ~asked)[:, place].astype(jnp.float32)
        far = distances(anchor, counted, known)  # [B, N]
        itself = ~asked & (jnp.arange(rows)[None] == base[:, None])
        values, index = jax.lax.top_k(jnp.where(there[None] & ~itself, -far, -jnp.inf), near)  # [B, k]
        logits = jnp.where(jnp.isneginf(values), -jnp.inf, 0.0)
        chosen = jax.random.categorical(second_key, logits[:, None], shape=(num, 2))  # [B, 2]
        picked = jnp.take_along_axis(index, chosen, 1)
        one, two = jnp.where(asked[:, 0], picked[:, 0], base), picked[:, 1]
        u = jax.random.uniform(u_key, (num, 1))
        (a, has_a), (b, has_b) = ((state.x[each], state.mask[each]) for each in (one, two))
        donor = picked_by_column(jax.random.uniform(donor_key, (num, len(schema))), state)
        between = jnp.where(has_a & has_b, a + u * (b - a), jnp.where(has_a, a, jnp.where(has_b, b, donor)))
        share = u * categorical.indicators(levels, b, has_b) + (1 - u) * categorical.indicators(levels, a, has_a)
        everywhere = categorical.indicators(levels, state.x, state.mask).mean(0)  # where both cells are empty
        level = categorical.draw(level_key, levels, jnp.log(share + 1e-6 * everywhere[None] + 1e-12))
        return jnp.where(mask, x, between.at[:, levels.columns].set(level))

    def sample(
        key: jax.Array, state: SmoteState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        refuse_given(given, ("x", "mask"))
        known = given_observed(given, num, spec.shape)
        x, mask = known or (jnp.zeros((num, len(schema))), jnp.zeros((num, len(schema)), bool))
        categorical.check_levels(levels, x, mask)
        return {"x": draw(key, state, num, x, mask)}

    return Model(init, step, sample, given=("x", "mask"))
