"""Independent columns of levels: Bernoulli where there are two, categorical where there are more. Learnt by counting."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.conditions import given_observed, refuse_given, sampler_options
from gen_jax.data.spec import Spec, columns, schema_setting
from gen_jax.distributions import categorical
from gen_jax.errors import UserError, check_strengths
from gen_jax.model import Batch, Model, weighted_mean


class BernoulliState(NamedTuple):
    """How often each level was seen."""

    step: jax.Array  # [] int32
    counts: jax.Array  # [L] int32, of the levels of all columns one after the other


def bernoulli(spec: Spec, strength: float = 1.0) -> Model:
    """Columns that know nothing of each other, each with the shares of its levels.

    Args:
      strength: pseudo-counts of each level; 1 is Laplace's rule, 0 the maximum of the likelihood.

    One step counts the levels of a batch, so that each row should be seen once (`data.order` once). Cells that are not
    observed are not counted, and are integrated out of `log_prob`. `given` takes `x` and `mask` [num, D].

    Raises:
      UserError: for data with columns of numbers, or a negative strength.
    """
    levels = categorical.levels_of(columns(spec))
    check_strengths(strength=strength)
    numbers = [column["name"] for column in columns(spec) if "levels" not in column]
    if numbers:
        raise UserError(
            f"a Bernoulli model has columns of levels, and of {spec.name} these hold numbers: {', '.join(map(repr, numbers))}. "
            f"Choose the model mixture or gaussian, or make them levels by "
            f"{schema_setting({name: {'kind': 'categorical'} for name in numbers})}"
        )

    def init(key: jax.Array, batch: Batch) -> BernoulliState:
        return BernoulliState(jnp.int32(0), jnp.zeros(len(levels.code), jnp.int32))

    def log_shares(state: BernoulliState) -> jax.Array:
        return categorical.log_shares(levels, state.counts[None].astype(jnp.float32), strength)  # [1, L]

    def step(key: jax.Array, state: BernoulliState, batch: Batch) -> tuple[BernoulliState, dict]:
        weight = batch.get("weight", jnp.ones(len(batch["x"])))
        held = categorical.indicators(levels, batch["x"], batch.get("mask")) * weight[:, None]
        nats = -categorical.log_prob(held, log_shares(state))[:, 0]
        counts = state.counts + jnp.rint(held.sum(0)).astype(jnp.int32)
        return BernoulliState(state.step + 1, counts), {"nats_per_row": weighted_mean(nats, weight)}

    @jax.jit
    def score(state: BernoulliState, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        return categorical.log_prob(categorical.indicators(levels, x, mask), log_shares(state))[:, 0]

    def log_prob(key: jax.Array, state: BernoulliState, batch: Batch) -> jax.Array:
        categorical.check_levels(levels, batch["x"], batch.get("mask"))
        return score(state, batch["x"], batch.get("mask"))

    def sample(
        key: jax.Array, state: BernoulliState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        refuse_given(given, ("x", "mask"))
        tables = jnp.broadcast_to(log_shares(state), (num, len(levels.code)))
        x, observed = categorical.draw(key, levels, tables), given_observed(given, num, spec.shape)
        if observed is None:
            return {"x": x}
        categorical.check_levels(levels, *observed)
        return {"x": jnp.where(observed[1], observed[0], x)}

    def free_parameters(state: BernoulliState) -> int:
        return int((levels.sizes - 1).sum())

    return Model(init, step, sample, log_prob, given=("x", "mask"), extras={"free_parameters": free_parameters})
