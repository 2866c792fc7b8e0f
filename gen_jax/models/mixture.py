"""Mixtures: components of a Gaussian over the numbers and independent levels, so of either kind of column or of both. By EM."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.data.spec import Spec, columns
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.losses import categories, gaussians
from gen_jax.losses.emissions import check_strengths, near_seeds
from gen_jax.losses.gaussians import Moments
from gen_jax.losses.hmm import matmul, quotient
from gen_jax.model import Batch, Model, given_observed, refuse_given, weighted_mean

COVARIANCES = ("full", "diagonal")


class Statistics(NamedTuple):
    """Expected counts and moments of K components, over G independent groups of S columns of numbers, and L levels."""

    count: jax.Array  # [K] float32
    moments: Moments  # count [K, G], mean [K, G, S], covariance [K, G, S, S], float32
    held: jax.Array  # [K, L] float32


class MixtureState(NamedTuple):
    """The parameters of a mixture."""

    step: jax.Array  # [] int32
    log_weight: jax.Array  # [K] float32
    mean: jax.Array  # [K, G, S] float32
    covariance: jax.Array  # [K, G, S, S] float32
    log_p: jax.Array  # [K, L] float32, of the levels of all columns one after the other
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
    parameters before it. Restarts are the run's `replicas`: a start has its centres at rows far from each other, within
    a common covariance. Cells that are not observed are integrated out (Ghahramani & Jordan 1994). `log_prob` is a
    density in the numbers, in model space. `encode` gives the component that a row most probably is of. `given` takes
    `x` and `mask` [num, D].

    Raises:
      UserError: for data without columns, or an argument that cannot be.
    """
    schema = columns(spec)
    levels, size = categories.levels_of(schema), len(schema)
    numbers = np.setdiff1d(np.arange(size), levels.columns)
    full = choose("covariance", covariance, COVARIANCES) == "full" and len(numbers) > 0
    groups = (1, len(numbers)) if full else (len(numbers), 1)
    check_arguments(spec, components, floor, strength, batches)

    def read(batch: Batch) -> tuple:
        """Numbers [G, B, S] with their mask (None where all is observed), and levels held [B, L]."""
        x, mask = batch["x"], batch["mask"] > 0 if "mask" in batch else None
        cells = (None if each is None else each[:, numbers].reshape(len(x), *groups) for each in (x, mask))
        grouped = (None if each is None else each.swapaxes(0, 1) for each in cells)
        return *grouped, categories.indicators(levels, x, mask)

    def log_joint(state: MixtureState, x: jax.Array, mask: jax.Array | None, held: jax.Array) -> jax.Array:
        """log p(k, x) [B, K]."""
        each = jax.vmap(gaussians.log_density, (0, 0, 0, None if mask is None else 0))
        one = lambda params: each(*params, x, mask).sum(0)
        density = jax.lax.map(one, (state.mean, state.covariance)).T
        return state.log_weight[None] + density + categories.log_prob(held, state.log_p)

    def expectation(state: MixtureState, shares: jax.Array, x: jax.Array, mask: jax.Array | None, held: jax.Array):
        """Statistics of rows that belong to components by `shares` [B, K]."""

        def one(component: tuple) -> Moments:
            share, mean, covariance = component
            if mask is None:
                return jax.vmap(gaussians.moments, (None, 0))(share, x)
            return jax.vmap(gaussians.moments, (None, 0, 0))(
                share, *jax.vmap(gaussians.expected)(mean, covariance, x, mask)
            )

        moments = jax.lax.map(one, (shares.T, state.mean, state.covariance))
        return Statistics(shares.sum(0), moments, matmul(shares.T, held))

    def maximise(state: MixtureState, found: Statistics) -> MixtureState:
        seen = found.count > 1e-6  # rows; a component without any stays where it was
        log_weight = jnp.log(jnp.maximum(quotient(found.count, found.count.sum()), 1e-30))
        wide = found.moments.covariance + floor * jnp.eye(groups[1])[None, None]
        return state._replace(
            log_weight=log_weight,
            mean=jnp.where(seen[:, None, None], found.moments.mean, state.mean),
            covariance=jnp.where(seen[:, None, None, None], wide, state.covariance),
            log_p=jnp.where(seen[:, None], categories.log_shares(levels, found.held, strength), state.log_p),
        )

    def init(key: jax.Array, batch: Batch) -> MixtureState:
        x, mask, held = read(batch)
        weight = batch.get("weight", jnp.ones(len(held)))
        flat, real = x.swapaxes(0, 1).reshape(len(held), -1), (weight > 0)[:, None]
        seen = jnp.ones_like(flat, bool) if mask is None else mask.swapaxes(0, 1).reshape(flat.shape)
        features, seen = jnp.concatenate([flat, held], 1), jnp.concatenate([seen, jnp.ones_like(held, bool)], 1)
        shares = near_seeds(key, features[None], (seen & real)[None], components)[0] * weight[:, None]
        unit = jnp.broadcast_to(jnp.eye(groups[1]), (components, groups[0], groups[1], groups[1]))
        zeros = jnp.zeros((components, len(levels.code)))
        blank = MixtureState(jnp.int32(0), jnp.zeros(components), unit[..., 0] * 0, unit, zeros, None)
        found = expectation(blank, shares, x, mask, held)
        within = jnp.average(found.moments.covariance, 0, found.count + 1e-12)[None] * jnp.ones_like(unit)
        found = found._replace(moments=found.moments._replace(covariance=within))
        empty = jax.tree.map(jnp.zeros_like, found) if batches > 1 else None
        return maximise(blank, found)._replace(statistics=empty)

    def step(key: jax.Array, state: MixtureState, batch: Batch) -> tuple[MixtureState, dict]:
        cells = read(batch)
        weight = batch.get("weight", jnp.ones(len(cells[2])))
        joint = log_joint(state, *cells)
        evidence = jax.nn.logsumexp(joint, 1)
        metrics = {"nats_per_row": -weighted_mean(jnp.where(weight > 0, evidence, 0), weight)}
        found = expectation(state, jax.nn.softmax(joint, 1) * weight[:, None], *cells)
        if batches > 1:
            old = jax.tree.map(lambda leaf: jnp.where(state.step % batches == 0, 0, leaf), state.statistics)
            both = gaussians.merged(old.moments, found.moments)
            found = Statistics(old.count + found.count, both, old.held + found.held)
        new = maximise(state, found)
        if batches > 1:
            ends = (state.step + 1) % batches == 0
            new = jax.tree.map(lambda new, old: jnp.where(ends, new, old), new, state)._replace(statistics=found)
        return new._replace(step=state.step + 1), metrics

    @jax.jit
    def posterior(state: MixtureState, batch: Batch) -> tuple[jax.Array, jax.Array]:
        joint = log_joint(state, *read(batch))
        return jax.nn.logsumexp(joint, 1), joint.argmax(1)

    def explained(state: MixtureState, batch: Batch) -> tuple[jax.Array, jax.Array]:
        categories.check_levels(levels, batch["x"], batch.get("mask"))
        return posterior(state, {name: batch[name] for name in ("x", "mask") if name in batch})

    def log_prob(key: jax.Array, state: MixtureState, batch: Batch) -> jax.Array:
        return explained(state, batch)[0]

    def encode(key: jax.Array, state: MixtureState, batch: Batch) -> dict:
        return {"z": explained(state, batch)[1]}

    @jax.jit
    def complete(key: jax.Array, state: MixtureState, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
        choice_key, number_key, level_key = jax.random.split(key, 3)
        values, observed, held = read({"x": x, "mask": mask})
        joint = log_joint(state, values, observed, held)
        z = jax.random.categorical(choice_key, joint)  # [B], the component
        keys = jax.random.split(number_key, (groups[0], len(x)))
        rows = jax.vmap(jax.vmap(gaussians.completed))
        mean, spread = state.mean[z].swapaxes(0, 1), state.covariance[z].swapaxes(0, 1)
        values = rows(keys, mean, spread, values, observed).swapaxes(0, 1).reshape(len(x), -1)
        drawn = (
            x.at[:, numbers].set(values).at[:, levels.columns].set(categories.draw(level_key, levels, state.log_p[z]))
        )
        return jnp.where(mask, x, drawn), jax.nn.logsumexp(joint, 1)

    def sample(key: jax.Array, state: MixtureState, num: int, given: dict | None = None) -> Batch:
        refuse_given(given, ("x", "mask"))
        x, mask = given_observed(given, num, spec.shape) or (jnp.zeros((num, size)), jnp.zeros((num, size), bool))
        categories.check_levels(levels, x, mask)
        drawn, evidence = complete(key, state, x, mask)
        if np.isneginf(evidence).any():
            raise UserError(f"given x: row {np.argmin(evidence)} is impossible under this model")
        return {"x": drawn}

    def free_parameters(state: MixtureState) -> int:
        within = groups[0] * (groups[1] + groups[1] * (groups[1] + 1) // 2) + int((levels.sizes - 1).sum())
        return components * within + components - 1

    return Model(init, step, sample, log_prob, encode=encode, given=("x", "mask"), free_parameters=free_parameters)


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
