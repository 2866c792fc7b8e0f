"""One Gaussian over columns of numbers: full, diagonal or shrunk. Learnt by counting, or by EM where cells are missing."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.conditions import given_observed, refuse_given, sampler_options
from gen_jax.data.spec import Spec, columns, may_miss, schema_setting
from gen_jax.distributions import gaussians
from gen_jax.distributions.gaussians import Moments
from gen_jax.errors import UserError, choose
from gen_jax.model import Batch, Model, weighted_mean

COVARIANCES = ("full", "diagonal", "shrunk")


class GaussianState(NamedTuple):
    """What was seen of G groups of S columns that are independent of each other: one of all, or each alone."""

    step: jax.Array  # [] int32
    moments: Moments  # count [G], mean [G, S], covariance [G, S, S], float32


def gaussian(spec: Spec, covariance: str = "full", shrinkage: float | None = None, floor: float = 1e-6) -> Model:
    """A Gaussian of the maximum likelihood.

    Args:
      covariance: `full`, `diagonal`, or `shrunk` towards a multiple of the identity, for few rows of many columns.
      shrinkage: how much of a shrunk one is the identity's, 0 to 1; None is the oracle's estimate (OAS).
      floor: is added to every variance, in squared units of model space, where numbers of a table have variance 1.

    One step counts the moments of a batch, so that each row should be seen once (`data.order` once). Where cells of a
    table are missing and the covariance is not diagonal, one step is an iteration of EM on the batch alone, which should
    be all rows (`data.order` all). `log_prob` is the density in model space. `given` takes `x` and `mask` [num, D].

    Raises:
      UserError: for data with columns of levels, or an argument that cannot be.
    """
    full, size = choose("covariance", covariance, COVARIANCES) != "diagonal", len(columns(spec))
    check_arguments(spec, covariance, shrinkage, floor)
    by_em = full and may_miss(spec)
    groups = (1, size) if full else (size, 1)

    def grouped(cells: jax.Array) -> jax.Array:
        return cells.reshape(len(cells), *groups).swapaxes(0, 1)  # [G, B, S]

    def init(key: jax.Array, batch: Batch) -> GaussianState:
        zeros = jnp.zeros(groups)
        return GaussianState(jnp.int32(0), Moments(zeros[:, 0], zeros, zeros[:, :, None] * zeros[:, None]))

    def parameters(state: GaussianState) -> tuple[jax.Array, jax.Array]:
        """Means [G, S] and covariances [G, S, S]: what was seen with its floor; 0 and 1 before anything was."""
        count, mean, found = state.moments
        unit = jnp.eye(groups[1])[None]
        if covariance == "shrunk":
            share = jax.vmap(gaussians.oracle_share)(found, count) if shrinkage is None else jnp.full(1, shrinkage)
            found = jax.vmap(gaussians.shrunk)(found, share)
        return mean, jnp.where((count > 0)[:, None, None], found + floor * unit, unit)

    def nats(state: GaussianState, x: jax.Array, mask: jax.Array | None) -> jax.Array:
        known = *parameters(state), grouped(x), None if mask is None else grouped(mask)
        return -jax.vmap(gaussians.log_density, (0, 0, 0, None if mask is None else 0))(*known).sum(0)

    def step(key: jax.Array, state: GaussianState, batch: Batch) -> tuple[GaussianState, dict]:
        x, mask = batch["x"], batch.get("mask")
        weight = batch.get("weight", jnp.ones(len(x)))
        if by_em:
            known = *parameters(state), grouped(x), grouped(mask)
            seen, log_density = jax.vmap(gaussians.expected, (None, 0, 0, 0, 0))(weight, *known)
            return GaussianState(state.step + 1, seen), {"nats_per_row": weighted_mean(-log_density.sum(0), weight)}
        metrics = {"nats_per_row": weighted_mean(nats(state, x, mask), weight)}
        each = jnp.broadcast_to(weight, (groups[0], len(x)))  # [G, B]
        each = each if mask is None else each * grouped(mask)[:, :, 0]
        seen = jax.vmap(gaussians.moments)(each, grouped(x))
        return GaussianState(state.step + 1, gaussians.merged(state.moments, seen)), metrics

    score = jax.jit(nats)

    def log_prob(key: jax.Array, state: GaussianState, batch: Batch) -> jax.Array:
        return -score(state, batch["x"], batch.get("mask"))

    @jax.jit
    def complete(key: jax.Array, state: GaussianState, x: jax.Array, mask: jax.Array) -> jax.Array:
        keys = jax.random.split(key, (groups[0], len(x)))
        rows = jax.vmap(gaussians.completed, (0, None, None, 0, 0))
        return jax.vmap(rows)(keys, *parameters(state), grouped(x), grouped(mask)).swapaxes(0, 1).reshape(x.shape)

    def sample(
        key: jax.Array, state: GaussianState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        refuse_given(given, ("x", "mask"))
        nothing = jnp.zeros((num, size)), jnp.zeros((num, size), bool)
        return {"x": complete(key, state, *(given_observed(given, num, spec.shape) or nothing))}

    def free_parameters(state: GaussianState) -> int:
        return size + (size * (size + 1) // 2 if full else size)

    return Model(init, step, sample, log_prob, given=("x", "mask"), extras={"free_parameters": free_parameters})


def check_arguments(spec: Spec, covariance: str, shrinkage: float | None, floor: float) -> None:
    """Refuses what no Gaussian can have.

    Raises:
      UserError: naming the argument, its value and what was expected.
    """
    levelled = [column["name"] for column in columns(spec) if "levels" in column]
    if levelled:
        names = ", ".join(map(repr, levelled))
        raise UserError(
            f"a Gaussian has columns of numbers, and of {spec.name} these have levels: {names}. Choose the model mixture, or "
            f"leave them out by {schema_setting({name: {'kind': 'drop'} for name in levelled})}"
        )
    if shrinkage is not None and (covariance != "shrunk" or not 0 <= shrinkage <= 1):
        raise UserError(f"shrinkage {shrinkage}: expected 0 to 1, and covariance='shrunk', not {covariance!r}")
    if floor < 0:
        raise UserError(f"floor {floor}: expected at least 0")
