"""Mixtures fitted by EM. A component is a Gaussian over the numbers of a row, with independent levels.

The data may have numbers, levels or both.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.conditions import given_cells, refuse_given, refuse_impossible, sampler_options
from gen_jax.data.spec import Spec, columns
from gen_jax.distributions import categorical, multivariate_normal
from gen_jax.errors import UserError, check_strengths, check_whole, choose
from gen_jax.model import Batch, Model, family, weighted_mean
from gen_jax.models.mixture import em
from gen_jax.models.mixture.em import Parameters, Statistics

COVARIANCES = ("full", "diagonal")


class MixtureState(NamedTuple):
    """The state of a mixture. Empty arrays are stored as None, because no checkpoint can hold an array of size 0."""

    step: jax.Array  # [] int32
    params: Parameters
    statistics: Statistics | None  # expectations since the last iteration; None if one batch is an iteration


class Mixture(NamedTuple):
    """A mixture without its parameters."""

    layout: em.Layout
    components: int  # K
    floor: float  # number added to every variance
    strength: float  # pseudo-counts of each level in each component
    batches: int  # number of batches of one iteration


@family("mixture")
def mixture(
    spec: Spec,
    components: int = 8,
    covariance: str = "full",
    floor: float = 1e-6,
    strength: float = 0.1,
    batches: int = 1,
) -> Model:
    """Returns a mixture of K components that is fitted by expectation maximisation (Dempster, Laird & Rubin 1977).

    If one batch is an iteration, it should hold all rows (`data.order` all). The metric of a step belongs to the
    parameters before the step. The first clusters come from k-means, and all components begin with a common covariance.
    For restarts, use the `replicas` of a run.

    Missing cells are integrated out. `log_prob` is a density of the numbers in model space. `encode` gives the most
    probable component of a row. `given` takes `x` and `mask` [num, D].

    Args:
      spec: facts of the data, with D columns.
      components: number of components K; by default 8.
      covariance: covariance of the numbers within a component, `full` or `diagonal`; by default `full`. Levels are
        independent within a component.
      floor: number added to every variance, in squared units of model space; by default 1e-6. Numbers of a table have
        variance 1 there.
      strength: pseudo-counts of each level in each component; by default 0.1.
      batches: number of batches of one iteration, whose expectations are added up; by default 1. With `data.order`
        once, set it to the number of batches of a pass: then rows that do not fit in memory together are fitted
        exactly.

    Raises:
      UserError: for data without columns, or an argument out of its range.
    """
    layout = em.layout_of(columns(spec), choose("covariance", covariance, COVARIANCES) == "full")
    check_arguments(spec, components, floor, strength, batches)
    form = Mixture(layout, components, floor, strength, batches)
    posterior, complete = jax.jit(partial(log_evidence, form)), jax.jit(partial(completed, form))

    def explain(state: MixtureState, batch: Batch) -> tuple[jax.Array, jax.Array]:
        categorical.check_levels(layout.levels, batch["x"], batch.get("mask"))
        return posterior(state, batch["x"], batch.get("mask"))

    def log_prob(key: jax.Array, state: MixtureState, batch: Batch) -> jax.Array:
        return explain(state, batch)[0]

    def encode(key: jax.Array, state: MixtureState, batch: Batch) -> dict:
        return {"z": explain(state, batch)[1]}

    def sample(
        key: jax.Array, state: MixtureState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        refuse_given(given, ("x", "mask"))
        x, mask = given_cells(given, num, spec.shape)
        categorical.check_levels(layout.levels, x, mask)
        drawn, evidence = complete(key, state, x, mask)
        refuse_impossible(evidence)
        return {"x": drawn}

    extras = {"free_parameters": partial(free_parameters, form)}
    start, update = partial(init, form), partial(step, form)
    return Model(start, update, sample, log_prob, encode=encode, given=("x", "mask"), extras=extras)


def init(form: Mixture, key: jax.Array, batch: Batch) -> MixtureState:
    """Returns the state before the first iteration: clusters of k-means with a common covariance.

    Args:
      form: the mixture.
      key: random key.
      batch: `x` [B, D], and `mask` [B, D] and `weight` [B] if the batch has them.
    """
    cells = em.read(form.layout, batch["x"], batch.get("mask"))
    weight = batch.get("weight", jnp.ones(len(cells.held)))
    shares = em.clusters(key, cells, weight, form.components)
    blank = em.blank(form.layout, form.components)
    statistics = em.pooled(em.expectation(blank, shares, cells))
    params = em.maximise(form.layout.levels, blank, statistics, form.floor, form.strength)
    return stored(MixtureState(jnp.int32(0), params, no_statistics(form)))


def step(form: Mixture, key: jax.Array, state: MixtureState, batch: Batch) -> tuple[MixtureState, dict]:
    """Returns the state after the expectations of a batch. The parameters change if the batch ends an iteration.

    Args:
      form: the mixture.
      key: not used.
      state: the state before the step.
      batch: `x` [B, D], and `mask` [B, D] and `weight` [B] if the batch has them.

    Returns:
      The new state, and the metric `nats_per_row` of the parameters before the step.
    """
    cells = em.read(form.layout, batch["x"], batch.get("mask"))
    state = restored(form, state)
    weight = batch.get("weight", jnp.ones(len(cells.held)))
    shares, evidence = em.posterior(em.log_joint(state.params, cells))
    evidence = jnp.where(weight > 0, evidence, 0)
    statistics = em.expectation(state.params, shares * weight[:, None], cells)
    ends = (state.step + 1) % form.batches == 0
    if form.batches > 1:
        begins = state.step % form.batches == 0
        before = jax.tree.map(lambda leaf: jnp.where(begins, 0, leaf), state.statistics)
        statistics = em.merged(before, statistics)
    maximum = em.maximise(form.layout.levels, state.params, statistics, form.floor, form.strength)
    params = jax.tree.map(partial(jnp.where, ends), maximum, state.params)
    new = MixtureState(state.step + 1, params, statistics if form.batches > 1 else None)
    return stored(new), {"nats_per_row": -weighted_mean(evidence, weight)}


def no_statistics(form: Mixture) -> Statistics | None:
    """Returns the statistics before the first batch of an iteration; None if one batch is an iteration.

    Args:
      form: the mixture.
    """
    if form.batches == 1:
        return None
    params = em.blank(form.layout, form.components)
    moments = multivariate_normal.Moments(params.mean[:, :, 0], params.mean, 0 * params.covariance)
    return Statistics(params.log_weight, moments, params.log_p)


def stored(state: MixtureState) -> MixtureState:
    """Returns a state with None in place of empty arrays.

    Args:
      state: the state.
    """
    return jax.tree.map(lambda leaf: leaf if leaf.size else None, state)


def restored(form: Mixture, state: MixtureState) -> MixtureState:
    """Returns a state with empty arrays in place of None.

    Args:
      form: the mixture.
      state: the state as it is stored.
    """
    like = MixtureState(state.step, em.blank(form.layout, form.components), no_statistics(form))
    return jax.tree.map(lambda empty, leaf: empty if leaf is None else leaf, like, state)


def log_evidence(
    form: Mixture, state: MixtureState, x: jax.Array, mask: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """Returns the log-density of the observed cells, and the most probable component.

    Args:
      form: the mixture.
      state: the state.
      x: rows [B, D].
      mask: observed cells [B, D]; None if all are observed.

    Returns:
      log p(x) [B] in nats, and the component [B].
    """
    joint = em.log_joint(restored(form, state).params, em.read(form.layout, x, mask))
    return jax.nn.logsumexp(joint, 1), joint.argmax(1)


def completed(
    form: Mixture, key: jax.Array, state: MixtureState, x: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Draws the missing cells of rows.

    Args:
      form: the mixture.
      key: random key.
      state: the state.
      x: rows [B, D].
      mask: observed cells [B, D]; cells are drawn where it is 0.

    Returns:
      Complete rows [B, D], and log p [B] of the observed cells in nats.
    """
    choice_key, number_key, level_key = jax.random.split(key, 3)
    layout, params = form.layout, restored(form, state).params
    cells = em.read(layout, x, mask)
    joint = em.log_joint(params, cells)
    z = jax.random.categorical(choice_key, joint)  # [B], the component
    groups, width = layout.groups
    keys = jax.random.split(number_key, (groups, len(x)))
    mean, covariance = params.mean[z].swapaxes(0, 1), params.covariance[z].swapaxes(0, 1)  # [G, B, ...]
    observed = em.grouped(layout, mask > 0)
    numbers = jax.vmap(jax.vmap(multivariate_normal.completed))(keys, mean, covariance, cells.x, observed)  # [G, B, S]
    rows = x.at[:, layout.numbers].set(numbers.swapaxes(0, 1).reshape(len(x), groups * width))
    levels = categorical.draw(level_key, layout.levels, params.log_p[z])
    rows = rows.at[:, layout.levels.columns].set(levels)
    return jnp.where(mask, x, rows), jax.nn.logsumexp(joint, 1)


def free_parameters(form: Mixture, state: MixtureState) -> int:
    """Returns the number of fitted parameters.

    Args:
      form: the mixture.
      state: not used.
    """
    groups, width = form.layout.groups
    within = groups * (width + width * (width + 1) // 2) + int((form.layout.levels.sizes - 1).sum())
    return form.components * within + form.components - 1


def check_arguments(spec: Spec, components: int, floor: float, strength: float, batches: int) -> None:
    """Refuses arguments that no mixture can have.

    Args:
      spec: facts of the data.
      components: number of components.
      floor: number added to every variance.
      strength: pseudo-counts of each level.
      batches: number of batches of one iteration.

    Raises:
      UserError: naming the argument, its value and what was expected.
    """
    check_whole("components", components)
    check_whole("batches", batches)
    check_strengths(strength=strength)
    if floor < 0:
        raise UserError(f"floor is {floor}; expected at least 0")
    rows = spec.sizes.get(spec.split, components)
    if components > rows:
        raise UserError(f"components is {components}; expected at most {rows}, the number of rows of {spec.name}")
