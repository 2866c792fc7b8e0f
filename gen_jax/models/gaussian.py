"""One Gaussian over columns of numbers: full, diagonal or shrunk. Fitted by counting, or by EM if cells are missing."""

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
    """Moments of the rows so far, of G groups of S columns that are independent of each other."""

    step: jax.Array  # [] int32
    moments: Moments  # count [G], mean [G, S], covariance [G, S, S], float32


class Gaussian(NamedTuple):
    """A Gaussian without its parameters."""

    groups: tuple[int, int]  # G, S: all columns in one group, or each column in a group of its own
    covariance: str  # a name in COVARIANCES
    shrinkage: float | None  # share of the identity in a shrunk covariance; None: the oracle's estimate
    floor: float  # added to every variance


@family("gaussian")
def gaussian(spec: Spec, covariance: str = "full", shrinkage: float | None = None, floor: float = 1e-6) -> Model:
    """Returns a Gaussian that is fitted by maximum likelihood.

    One step counts the moments of a batch, so that each row should be seen once (`data.order` once). If cells of a table
    are missing and the covariance is not diagonal, one step is an iteration of EM on its batch, which should be all rows
    (`data.order` all). `log_prob` is the density in model space. `given` takes `x` and `mask` [num, D].

    Args:
      spec: facts of the data, whose D columns are all numbers.
      covariance: `full`, `diagonal`, or `shrunk` towards a multiple of the identity, for few rows of many columns.
      shrinkage: share of the identity in a shrunk covariance, 0 to 1; None is the oracle's estimate (OAS).
      floor: added to every variance, in squared units of model space, where numbers of a table have variance 1.

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
    """Returns the state before any row: no moments."""
    groups, size = form.groups
    moments = Moments(jnp.zeros(groups), jnp.zeros((groups, size)), jnp.zeros((groups, size, size)))
    return GaussianState(jnp.int32(0), moments)


def parameters(form: Gaussian, state: GaussianState) -> tuple[jax.Array, jax.Array]:
    """Returns means [G, S] and covariances [G, S, S] with their floor; 0 and 1 before any row."""
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
    """Returns cells [B, D] by their groups, [G, B, S]."""
    return cells.reshape(len(cells), *form.groups).swapaxes(0, 1)


def log_density(form: Gaussian, state: GaussianState, x: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Returns the log-density [B] in nats of rows x [B, D]; cells where `mask` is 0 are integrated out."""
    cells = grouped(form, x), None if mask is None else grouped(form, mask)
    density = jax.vmap(multivariate_normal.log_density, (0, 0, 0, None if mask is None else 0))
    return density(*parameters(form, state), *cells).sum(0)


def counting_step(form: Gaussian, key: jax.Array, state: GaussianState, batch: Batch) -> tuple[GaussianState, dict]:
    """Returns the state with the moments of a batch added."""
    x, mask = batch["x"], batch.get("mask")
    weight = batch.get("weight", jnp.ones(len(x)))
    nats = -log_density(form, state, x, mask)  # [B], before the batch
    cells = jnp.broadcast_to(weight, (form.groups[0], len(x)))  # [G, B]
    if mask is not None:
        cells = cells * grouped(form, mask)[:, :, 0]
    moments = multivariate_normal.merged(state.moments, jax.vmap(multivariate_normal.moments)(cells, grouped(form, x)))
    return GaussianState(state.step + 1, moments), {"nats_per_row": weighted_mean(nats, weight)}


def em_step(form: Gaussian, key: jax.Array, state: GaussianState, batch: Batch) -> tuple[GaussianState, dict]:
    """Returns the state whose moments are those expected of a batch with missing cells."""
    x, mask = batch["x"], batch["mask"]
    weight = batch.get("weight", jnp.ones(len(x)))
    expected = jax.vmap(multivariate_normal.expected, (None, 0, 0, 0, 0))
    moments, log_p = expected(weight, *parameters(form, state), grouped(form, x), grouped(form, mask))
    return GaussianState(state.step + 1, moments), {"nats_per_row": weighted_mean(-log_p.sum(0), weight)}


def completed(form: Gaussian, key: jax.Array, state: GaussianState, x: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns rows x [B, D] whose cells are drawn where `mask` is 0."""
    keys = jax.random.split(key, (form.groups[0], len(x)))
    complete = jax.vmap(jax.vmap(multivariate_normal.completed, (0, None, None, 0, 0)))
    rows = complete(keys, *parameters(form, state), grouped(form, x), grouped(form, mask))  # [G, B, S]
    return rows.swapaxes(0, 1).reshape(x.shape)


def check_arguments(spec: Spec, covariance: str, shrinkage: float | None, floor: float) -> None:
    """Refuses arguments that no Gaussian can have.

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
