"""Models columns of levels that are independent: Bernoulli for two levels, categorical for more. Fitted by counting."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.conditions import given_cells, refuse_given, sampler_options
from gen_jax.data.spec import Spec, columns, schema_setting
from gen_jax.distributions import categorical
from gen_jax.distributions.categorical import Levels
from gen_jax.errors import UserError, check_strengths
from gen_jax.model import Batch, Model, family, weighted_mean


class BernoulliState(NamedTuple):
    """Holds the counts of the levels in the rows so far."""

    step: jax.Array  # [] int32
    counts: jax.Array  # [L] int32, counts of the levels of all columns, one column after another


@family("bernoulli")
def bernoulli(spec: Spec, strength: float = 1.0) -> Model:
    """Returns a model of independent columns. Each column is a categorical distribution over its levels.

    A step counts the levels of a batch, so that each row should be seen once (`data.order` once). Missing cells are not
    counted, and are summed out of `log_prob`. `given` takes `x` and `mask` [num, D].

    Args:
      spec: facts of the data. All D columns must have levels.
      strength: pseudo-counts of each level; by default 1. The value 1 is Laplace's rule, and 0 is maximum likelihood.

    Raises:
      UserError: for data with columns of numbers, or a negative strength.
    """
    check_columns(spec)
    check_strengths(strength=strength)
    levels = categorical.levels_of(columns(spec))
    score = jax.jit(partial(log_density, levels, strength))

    def log_prob(key: jax.Array, state: BernoulliState, batch: Batch) -> jax.Array:
        categorical.check_levels(levels, batch["x"], batch.get("mask"))
        return score(state, batch["x"], batch.get("mask"))

    def sample(
        key: jax.Array, state: BernoulliState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        refuse_given(given, ("x", "mask"))
        x, mask = given_cells(given, num, spec.shape)
        categorical.check_levels(levels, x, mask)
        shares = jnp.broadcast_to(log_shares(levels, strength, state), (num, len(levels.code)))
        return {"x": jnp.where(mask, x, categorical.draw(key, levels, shares))}

    extras = {"free_parameters": lambda state: int((levels.sizes - 1).sum())}
    update = partial(step, levels, strength)
    return Model(partial(init, levels), update, sample, log_prob, given=("x", "mask"), extras=extras)


def init(levels: Levels, key: jax.Array, batch: Batch) -> BernoulliState:
    """Returns the state before the first row, with counts of 0.

    Args:
      levels: layout of the levels of the D columns.
      key: not used.
      batch: not used.
    """
    return BernoulliState(jnp.int32(0), jnp.zeros(len(levels.code), jnp.int32))


def step(
    levels: Levels, strength: float, key: jax.Array, state: BernoulliState, batch: Batch
) -> tuple[BernoulliState, dict]:
    """Returns the state after the levels of a batch are counted.

    Args:
      levels: layout of the levels of the D columns.
      strength: pseudo-counts of each level.
      key: not used.
      state: the state before the step.
      batch: `x` [B, D], and `mask` [B, D] and `weight` [B] if the batch has them.

    Returns:
      The new state, and the metric `nats_per_row` under the counts before the batch.
    """
    weight = batch.get("weight", jnp.ones(len(batch["x"])))
    indicators = categorical.indicators(levels, batch["x"], batch.get("mask")) * weight[:, None]  # [B, L]
    nats = -categorical.log_prob(indicators, log_shares(levels, strength, state))[:, 0]  # [B], before the batch
    counts = state.counts + jnp.rint(indicators.sum(0)).astype(jnp.int32)
    return BernoulliState(state.step + 1, counts), {"nats_per_row": weighted_mean(nats, weight)}


def log_shares(levels: Levels, strength: float, state: BernoulliState) -> jax.Array:
    """Returns the log-probabilities [1, L] of all levels, in nats.

    Args:
      levels: layout of the levels of the D columns.
      strength: pseudo-counts of each level.
      state: the state.
    """
    return categorical.log_shares(levels, state.counts[None].astype(jnp.float32), strength)


def log_density(
    levels: Levels, strength: float, state: BernoulliState, x: jax.Array, mask: jax.Array | None
) -> jax.Array:
    """Returns log p(x) [B] of the observed cells of rows, in nats. Missing cells are summed out.

    Args:
      levels: layout of the levels of the D columns.
      strength: pseudo-counts of each level.
      state: the state.
      x: rows [B, D].
      mask: observed cells [B, D]; None if all are observed.
    """
    indicators = categorical.indicators(levels, x, mask)
    return categorical.log_prob(indicators, log_shares(levels, strength, state))[:, 0]


def check_columns(spec: Spec) -> None:
    """Refuses data with columns of numbers.

    Args:
      spec: facts of the data.

    Raises:
      UserError: with the names of the columns, and the setting that turns them into levels.
    """
    numbers = [column["name"] for column in columns(spec) if "levels" not in column]
    if numbers:
        raise UserError(
            f"columns {', '.join(map(repr, numbers))} of {spec.name} hold numbers; expected levels. Choose the model "
            "mixture or gaussian, or make them levels by "
            f"{schema_setting({name: {'kind': 'categorical'} for name in numbers})}"
        )
