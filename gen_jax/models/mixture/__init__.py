"""Mixtures: components of a Gaussian over numbers and independent levels, so of either kind of column or of both. By EM."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.conditions import given_observed, refuse_given, refuse_impossible, sampler_options
from gen_jax.data.spec import Spec, columns
from gen_jax.distributions import categorical, gaussians
from gen_jax.errors import UserError, check_strengths, check_whole, choose
from gen_jax.model import Batch, Model, weighted_mean
from gen_jax.models.mixture import em
from gen_jax.models.mixture.em import Parameters, Statistics

COVARIANCES = ("full", "diagonal")


class MixtureState(NamedTuple):
    """What a mixture carries from step to step; None in the place of arrays without numbers, which no checkpoint can hold."""

    step: jax.Array  # [] int32
    params: Parameters
    statistics: Statistics | None  # of the batches since the last iteration; None where one batch is an iteration


def mixture(
    spec: Spec,
    components: int = 8,
    covariance: str = "full",
    floor: float = 1e-6,
    strength: float = 0.1,
    batches: int = 1,
) -> Model:
    """A mixture of K components that learns by expectation maximisation (Dempster, Laird & Rubin 1977).

    Args:
      components: K.
      covariance: `full` or `diagonal`, of the numbers within a component; levels are independent there.
      floor: is added to every variance, in squared units of model space, where numbers of a table have variance 1.
      strength: pseudo-counts of each level in each component.
      batches: how many batches make one iteration, whose expectations are added up; with `data.order` once the number of
        batches of a pass, so that rows that do not fit in memory together are learnt from exactly.

    With one batch an iteration, the batch should be all rows (`data.order` all). A step's metric is that of the
    parameters before it. Restarts are the run's `replicas`: a start is that of k-means, with a common covariance. Cells
    that are not observed are integrated out, in learning too. `log_prob` is a density in the numbers, in model space.
    `encode` gives the component that a row most probably is of. `given` takes `x` and `mask` [num, D].

    Raises:
      UserError: for data without columns, or an argument that cannot be.
    """
    schema, size = columns(spec), len(columns(spec))
    layout = em.layout_of(schema, choose("covariance", covariance, COVARIANCES) == "full")
    levels, (groups, width) = layout.levels, layout.groups
    check_arguments(spec, components, floor, strength, batches)
    fit = partial(em.maximise, levels, floor=floor, strength=strength)

    def read(batch: Batch) -> em.Cells:
        return em.read(layout, batch["x"], batch.get("mask"))

    def nothing() -> Statistics:
        params = em.blank(layout, components)
        moments = gaussians.Moments(params.mean[:, :, 0], params.mean, 0 * params.covariance)
        return Statistics(params.log_weight, moments, params.log_p)

    def stored(state: MixtureState) -> MixtureState:
        return jax.tree.map(lambda leaf: leaf if leaf.size else None, state)

    def whole(state: MixtureState) -> MixtureState:
        like = MixtureState(state.step, em.blank(layout, components), nothing() if batches > 1 else None)
        return jax.tree.map(lambda empty, leaf: empty if leaf is None else leaf, like, state)

    def init(key: jax.Array, batch: Batch) -> MixtureState:
        cells = read(batch)
        weight = batch.get("weight", jnp.ones(len(cells.held)))
        shares = em.clusters(key, cells, weight, components)
        params = em.blank(layout, components)
        found = em.pooled(em.expectation(params, shares, cells))
        return stored(MixtureState(jnp.int32(0), fit(params, found), nothing() if batches > 1 else None))

    def step(key: jax.Array, state: MixtureState, batch: Batch) -> tuple[MixtureState, dict]:
        cells, state = read(batch), whole(state)
        weight = batch.get("weight", jnp.ones(len(cells.held)))
        shares, evidence = em.posterior(em.log_joint(state.params, cells))
        evidence = jnp.where(weight > 0, evidence, 0)
        found = em.expectation(state.params, shares * weight[:, None], cells)
        ends = (state.step + 1) % batches == 0
        if batches > 1:
            begins = state.step % batches == 0
            before = jax.tree.map(lambda leaf: jnp.where(begins, 0, leaf), state.statistics)
            found = em.merged(before, found)
        params = jax.tree.map(partial(jnp.where, ends), fit(state.params, found), state.params)
        new = MixtureState(state.step + 1, params, found if batches > 1 else None)
        return stored(new), {"nats_per_row": -weighted_mean(evidence, weight)}

    @jax.jit
    def posterior(state: MixtureState, batch: Batch) -> tuple[jax.Array, jax.Array]:
        joint = em.log_joint(whole(state).params, read(batch))
        return jax.nn.logsumexp(joint, 1), joint.argmax(1)

    def explained(state: MixtureState, batch: Batch) -> tuple[jax.Array, jax.Array]:
        categorical.check_levels(levels, batch["x"], batch.get("mask"))
        return posterior(state, {name: batch[name] for name in ("x", "mask") if name in batch})

    def log_prob(key: jax.Array, state: MixtureState, batch: Batch) -> jax.Array:
        return explained(state, batch)[0]

    def encode(key: jax.Array, state: MixtureState, batch: Batch) -> dict:
        return {"z": explained(state, batch)[1]}

    @jax.jit
    def complete(key: jax.Array, state: MixtureState, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        choice_key, number_key, level_key = jax.random.split(key, 3)
        params, cells = whole(state).params, em.read(layout, x, mask)
        joint = em.log_joint(params, cells)
        z = jax.random.categorical(choice_key, joint)  # [B], the component
        keys = jax.random.split(number_key, (groups, len(x)))
        own = (each[z].swapaxes(0, 1) for each in (params.mean, params.covariance))
        numbers = jax.vmap(jax.vmap(gaussians.completed))(keys, *own, cells.x, cells.mask).swapaxes(0, 1)
        drawn = x.at[:, layout.numbers].set(numbers.reshape(len(x), groups * width))
        drawn = drawn.at[:, levels.columns].set(categorical.draw(level_key, levels, params.log_p[z]))
        return jnp.where(mask, x, drawn), jax.nn.logsumexp(joint, 1)

    def sample(
        key: jax.Array, state: MixtureState, num: int, given: dict | None = None, how: dict | None = None
    ) -> Batch:
        sampler_options(how)
        refuse_given(given, ("x", "mask"))
        x, mask = given_observed(given, num, spec.shape) or (jnp.zeros((num, size)), jnp.zeros((num, size), bool))
        categorical.check_levels(levels, x, mask)
        drawn, evidence = complete(key, state, x, mask)
        refuse_impossible(evidence)
        return {"x": drawn}

    def free_parameters(state: MixtureState) -> int:
        within = groups * (width + width * (width + 1) // 2) + int((levels.sizes - 1).sum())
        return components * within + components - 1

    return Model(
        init, step, sample, log_prob, encode=encode, given=("x", "mask"), extras={"free_parameters": free_parameters}
    )


def check_arguments(spec: Spec, components: int, floor: float, strength: float, batches: int) -> None:
    """Refuses what no mixture can have.

    Raises:
      UserError: naming the argument, its value and what was expected.
    """
    check_whole("components", components)
    check_whole("batches", batches)
    check_strengths(strength=strength)
    if floor < 0:
        raise UserError(f"floor {floor}: expected at least 0")
    rows = spec.sizes.get(spec.split, components)
    if components > rows:
        raise UserError(f"components {components}: {spec.name} has {rows} rows, expected at most as many components")
