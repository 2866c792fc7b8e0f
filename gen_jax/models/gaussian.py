"""Models columns of numbers by one Gaussian, with a full, diagonal or shrunk covariance.

The Gaussian is fitted by counting moments, or by EM if cells are missing.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.conditions import given_cells, refuse_given, sampler_options
from gen_jax.data.spec import Spec, columns, may_miss, schema_setting
from gen_jax.distributions import multivariate_normal
from gen_jax.distributions.multivariate_normal import Moments
from gen_jax.errors import UserError, choose
from gen_jax.model import Batch, Model, family, weighted_mean

COVARIANCES = ("full", "diagonal", "shrunk")


class GaussianState(NamedTuple):
    """Holds the moments of the rows so far, for G independent groups of S columns."""

    step: jax.Array  # [] int32
    moments: Moments  # count [G], mean [G, S], covariance [G, S, S], float32


class Gaussian(NamedTuple):
    """Describes a Gaussian without its parameters."""

    groups: tuple[int, int]  # G, S: all columns in one group, or each column in a group of its own
    covariance: str  # a name in COVARIANCES
    shrinkage: float | None  # share of the identity in a shrunk covariance; None: the estimate of OAS
    floor: float  # number added to every variance


@family("gaussian")
def gaussian(spec: Spec, covariance: str = "full", shrinkage: float | None = None, floor: float = 1e-6) -> Model:
    """Returns a Gaussian that is fitted by maximum likelihood.

    A step adds the moments of a batch, so that each row should be seen once (`data.order` once). If cells of a table
    are missing and the covariance is not diagonal, a step is one iteration of EM. Its batch should then hold all rows
    (`data.order` all).

    `log_prob` is the density in model space. `given` takes `x` and `mask` [num, D].

    Args:
      spec: facts of the data. All D columns must hold numbers.
      covariance: `full`, `diagonal` or `shrunk`; by default `full`. `shrunk` moves the covariance towards a multiple of
        the identity, for few rows of many columns.
      shrinkage: share of the identity in a shrunk covariance, 0 to 1. None, the default, estimates it by the oracle
        approximating shrinkage (OAS) of Chen, Wiesel, Eldar & Hero 2010 (arXiv 0907.4698).
      floor: number added to every variance, in squared units of model space; by default 1e-6. Numbers of a table have
        variance 1 there.

    Raises:
      UserError: for data with columns of levels, or an argument out of its range.
    """
    size = len(columns(spec))
    full = choose("covariance", covariance, COVARIANCES) != "diagonal"
    check_arguments(spec, covariance, shrinkage, floor)
    form = Gaussian((1, size) if full else (size, 1), covariance, shrinkage, floor)
    learn = em_step if full and may_miss(spec) else counting_step
    score, complete = jax.jit(partial(log_density, form)), jax.jit(partial(completed, form))

    def log_prob(key: jax.Array, state: GaussianState, batch: Batch) -> jax.Array:
        return score(state, batch["x"], batch.get("mask"))

    def sample(
        key: jax.Array, state: GaussianState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        refuse_given(given, ("x", "mask"))
        return {"x": complete(key, state, *given_cells(given, num, spec.shape))}

    def free_parameters(state: GaussianState) -> int:
        return size + (size * (size + 1) // 2 if full else size)

    extras = {"free_parameters": free_parameters}
    return Model(partial(init, form), partial(learn, form), sample, log_prob, given=("x", "mask"), extras=extras)


def init(form: Gaussian, key: jax.Array, batch: Batch) -> GaussianState:
    """Returns the state before the first row, with moments of 0.

    Args:
      form: the Gaussian.
      key: not used.
      batch: not used.
    """
    groups, size = form.groups
    moments = Moments(jnp.zeros(groups), jnp.zeros((groups, size)), jnp.zeros((groups, size, size)))
    return GaussianState(jnp.int32(0), moments)


def parameters(form: Gaussian, state: GaussianState) -> tuple[jax.Array, jax.Array]:
    """Returns the means and the covariances with their floor. Before the first row they are 0 and the identity.

    Args:
      form: the Gaussian.
      state: the state.

    Returns:
      The means [G, S], and the covariances [G, S, S].
    """
    count, mean, covariance = state.moments
    if form.covariance == "shrunk":
        if form.shrinkage is None:
            share = jax.vmap(multivariate_normal.oracle_share)(covariance, count)
        else:
            share = jnp.full(1, form.shrinkage)
        covariance = jax.vmap(multivariate_normal.shrunk)(covariance, share)
    unit = jnp.eye(form.groups[1])[None]
    return mean, jnp.where((count > 0)[:, None, None], covariance + form.floor * unit, unit)


def grouped(form: Gaussian, cells: jax.Array) -> jax.Array:
    """Returns the cells of each group of columns, [G, B, S].

    Args:
      form: the Gaussian.
      cells: cells of rows [B, D].
    """
    return cells.reshape(len(cells), *form.groups).swapaxes(0, 1)


def log_density(form: Gaussian, state: GaussianState, x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns the log-density [B] of the observed cells of rows, in nats. Missing cells are integrated out.

    Args:
      form: the Gaussian.
      state: the state.
      x: rows [B, D].
      mask: observed cells [B, D]; None if all are observed.
    """
    cells = grouped(form, x), None if mask is None else grouped(form, mask)
    density = jax.vmap(multivariate_normal.log_density, (0, 0, 0, None if mask is None else 0))
    return density(*parameters(form, state), *cells).sum(0)


def counting_step(form: Gaussian, key: jax.Array, state: GaussianState, batch: Batch) -> tuple[GaussianState, dict]:
    """Returns the state after the moments of a batch are added.

    Args:
      form: the Gaussian.
      key: not used.
      state: the state before the step.
      batch: `x` [B, D], and `mask` [B, D] and `weight` [B] if the batch has them.

    Returns:
      The new state, and the metric `nats_per_row` under the parameters before the batch.
    """
    x, mask = batch["x"], batch.get("mask")
    weight = batch.get("weight", jnp.ones(len(x)))
    nats = -log_density(form, state, x, mask)  # [B], before the batch
    cells = jnp.broadcast_to(weight, (form.groups[0], len(x)))  # [G, B]
    if mask is not None:
        cells = cells * grouped(form, mask)[:, :, 0]
    moments = multivariate_normal.merged(state.moments, jax.vmap(multivariate_normal.moments)(cells, grouped(form, x)))
    return GaussianState(state.step + 1, moments), {"nats_per_row": weighted_mean(nats, weight)}


def em_step(form: Gaussian, key: jax.Array, state: GaussianState, batch: Batch) -> tuple[GaussianState, dict]:
    """Returns the state after one iteration of EM. Its moments are expectations over the missing cells of the batch.

    Args:
      form: the Gaussian.
      key: not used.
      state: the state before the iteration.
      batch: `x` [B, D], `mask` [B, D], and `weight` [B] if the batch has it.

    Returns:
      The new state, and the metric `nats_per_row` under the parameters before the iteration.
    """
    x, mask = batch["x"], batch["mask"]
    weight = batch.get("weight", jnp.ones(len(x)))
    expected = jax.vmap(multivariate_normal.expected, (None, 0, 0, 0, 0))
    moments, log_p = expected(weight, *parameters(form, state), grouped(form, x), grouped(form, mask))
    return GaussianState(state.step + 1, moments), {"nats_per_row": weighted_mean(-log_p.sum(0), weight)}


def completed(form: Gaussian, key: jax.Array, state: GaussianState, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns rows [B, D] whose missing cells are drawn from the Gaussian.

    Args:
      form: the Gaussian.
      key: random key.
      state: the state.
      x: rows [B, D].
      mask: observed cells [B, D]; cells are drawn where it is 0.
    """
    keys = jax.random.split(key, (form.groups[0], len(x)))
    complete = jax.vmap(jax.vmap(multivariate_normal.completed, (0, None, None, 0, 0)))
    rows = complete(keys, *parameters(form, state), grouped(form, x), grouped(form, mask))  # [G, B, S]
    return rows.swapaxes(0, 1).reshape(x.shape)


def check_arguments(spec: Spec, covariance: str, shrinkage: float | None, floor: float) -> None:
    """Refuses arguments that no Gaussian can have.

    Args:
      spec: facts of the data.
      covariance: see `gaussian`.
      shrinkage: see `gaussian`.
      floor: see `gaussian`.

    Raises:
      UserError: with the argument, its value and the expected value.
    """
    levelled = [column["name"] for column in columns(spec) if "levels" in column]
    if levelled:
        names = ", ".join(map(repr, levelled))
        raise UserError(
            f"columns {names} of {spec.name} have levels; expected numbers. Choose the model mixture, or leave them "
            f"out by {schema_setting({name: {'kind': 'drop'} for name in levelled})}"
        )
    if shrinkage is not None and (covariance != "shrunk" or not 0 <= shrinkage <= 1):
        raise UserError(
            f"shrinkage is {shrinkage} with covariance {covariance!r}; expected 0 to 1, and covariance='shrunk'"
        )
    if floor < 0:
        raise UserError(f"floor is {floor}; expected at least 0")
