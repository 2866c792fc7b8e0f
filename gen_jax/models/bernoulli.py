"""Independent columns of levels: Bernoulli for two levels, categorical for more. Fitted by counting."""

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
    """Counts of the levels so far."""

    step: jax.Array  # [] int32
    counts: jax.Array  # [L] int32, of the levels of all columns one after the other


@family("bernoulli")
def bernoulli(spec: Spec, strength: float = 1.0) -> Model:
    """Returns a model of columns that are independent of each other, each with the shares of its levels.

    One step counts the levels of a batch, so that each row should be seen once (`data.order` once). Missing cells are not
    counted, and are integrated out of `log_prob`. `given` takes `x` and `mask` [num, D].

    Args:
      spec: facts of the data, whose D columns all have levels.
      strength: pseudo-counts of each level; 1 is Laplace's rule, 0 maximum likelihood.

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
    """Returns the state before any row: counts of 0."""
    return BernoulliState(jnp.int32(0), jnp.zeros(len(levels.code), jnp.int32))


def step(
    levels: Levels, strength: float, key: jax.Array, state: BernoulliState, batch: Batch
) -> tuple[BernoulliState, dict]:
    """Returns the state with the levels of a batch counted."""
    weight = batch.get("weight", jnp.ones(len(batch["x"])))
    indicators = categorical.indicators(levels, batch["x"], batch.get("mask")) * weight[:, None]  # [B, L]
    nats = -categorical.log_prob(indicators, log_shares(levels, strength, state))[:, 0]  # [B], before the batch
    counts = state.counts + jnp.rint(indicators.sum(0)).astype(jnp.int32)
    return BernoulliState(state.step + 1, counts), {"nats_per_row": weighted_mean(nats, weight)}


def log_shares(levels: Levels, strength: float, state: BernoulliState) -> jax.Array:
    """Returns the logarithms of the shares of all levels, [1, L]."""
    return categorical.log_shares(levels, state.counts[None].astype(jnp.float32), strength)


def log_density(
    levels: Levels, strength: float, state: BernoulliState, x: jax.Array, mask: jax.Array | None
) -> jax.Array:
    """Returns log p [B] in nats of rows x [B, D]; cells where `mask` is 0 are summed out."""
    indicators = categorical.indicators(levels, x, mask)
    return categorical.log_prob(indicators, log_shares(levels, strength, state))[:, 0]


def check_columns(spec: Spec) -> None:
    """Refuses columns of numbers.

    Raises:
      UserError: naming the columns, and the setting that makes them levels.
    """
    numbers = [column["name"] for column in columns(spec) if "levels" not in column]
    if numbers:
        raise UserError(
            f"a Bernoulli model has columns of levels, and of {spec.name} these hold numbers: {', '.join(map(repr, numbers))}. "
            f"Choose the model mixture or gaussian, or make them levels by "
            f"{schema_setting({name: {'kind': 'categorical'} for name in numbers})}"
        )
