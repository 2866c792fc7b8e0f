"""Hidden Markov models: one function, whose arguments are the emission family, the priors and how it learns."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import errors
from gen_jax.conditions import refuse_impossible, sampler_options
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.distributions import linalg
from gen_jax.errors import UserError, choose
from gen_jax.model import Batch, Model
from gen_jax.models.hmm import emissions, paths
from gen_jax.models.hmm import forward_backward as inference
from gen_jax.models.hmm.emissions import dirichlet_penalty, log_normalised
from gen_jax.models.sequences import Frames, asked_for, check_sequences, frames_of, refuse_few_frames

LEAST = 1e-3  # expected frames, in all the data, below which a state is dead


class Statistics(NamedTuple):
    """Expected counts of what happens in the data."""

    initial: jax.Array  # [K] float32, sequences that begin in a state
    transition: jax.Array  # [K, K] float32, from a row to a column
    emission: Any  # leaves lead with K


class HmmState(NamedTuple):
    """The state of a hidden Markov model."""

    step: jax.Array  # [] int32
    log_initial: jax.Array  # [K] float32
    log_transition: jax.Array  # [K, K] float32, from a row to a column
    emission: emissions.Categorical | emissions.Bernoulli | emissions.Gaussian
    statistics: Statistics | None  # running; None unless stepwise


def hmm(
    spec: Spec,
    states: int = 8,
    emission: Mapping | None = None,
    initial_strength: float = 0.1,
    transition_strength: float = 0.1,
    stepwise: float | None = None,
    scan: str = "auto",
) -> Model:
    """A hidden Markov model that learns by expectation maximisation (Baum et al. 1970; Rabiner 1989).

    Args:
      states: K.
      emission: a `name` in `EMISSIONS` and its options; None is `categorical` for tokens, `bernoulli` for rolls and
        `gaussian` for reals, each with its defaults.
      initial_strength, transition_strength: pseudo-counts of each first state and of each transition (a Dirichlet
        prior of 1 + strength); 0 is none.
      stepwise: None learns from each batch alone, which should be all the data; a number a in (0.5, 1] keeps running
        statistics that a batch moves by (step + 1)^-a (Cappe and Moulines 2009; Liang and Klein 2009, section 3).
      scan: `sequential`, `associative` (parallel in time), or `auto`: what pays on this platform.

    A step is one iteration. Its metrics are those of the parameters before it: `nats_per_frame`, `penalty` (of the
    priors, per frame as well: the sum of the two falls) and `reseeded`, the dead states that begin anew, at the frames
    explained worst. A sample has the shape of `spec`, or what `given` says: `length` [num], or `x` with `mask`, whose
    observed cells stay while the others are drawn from their posterior.

    Raises:
      UserError: for data that are no sequences, an emission that does not fit them, more states than frames, an
        unknown name or option.
    """
    density = emissions.fitting(spec, emission)
    read = partial(frames_of, whole=density.whole)
    check_arguments(spec, states, initial_strength, transition_strength, stepwise, scan)
    rows = spec.sizes.get(spec.split, 0)
    check = partial(check_sequences, shape=tuple(spec.shape[1:]), values=levels(spec), binary=kind_of(spec).binary)

    def init(key: jax.Array, batch: Batch) -> HmmState:
        share_key, chain_key = jax.random.split(key)
        frames = read(batch)
        shares = density.start(share_key, frames.x, frames.observed, states)
        shares = shares * (frames.weight[None] * frames.seen)[..., None]
        counts = density.statistics(frames.x, frames.observed, shares)
        chain = jax.nn.log_softmax(0.3 * jax.random.normal(chain_key, (states + 1, states)))  # nearly uniform
        empty = Statistics(jnp.zeros(states), jnp.zeros((states, states)), jax.tree.map(jnp.zeros_like, counts))
        params = density.maximise(counts, density.blank(states, frames.x))
        return HmmState(jnp.zeros((), jnp.int32), chain[0], chain[1:], params, empty if stepwise else None)

    def chain_and_densities(state: HmmState, frames: Frames) -> tuple[jax.Array, ...]:
        log_likelihood = density.log_likelihood(state.emission, frames.x, frames.observed)  # [T, B, K]
        return jnp.exp(state.log_initial), jnp.exp(state.log_transition), log_likelihood, frames.valid

    def parallel(frames: Frames) -> bool:
        return inference.parallel_pays(scan, jax.default_backend(), len(frames.x), states)

    def penalty(state: HmmState) -> jax.Array:
        initial = dirichlet_penalty(state.log_initial, initial_strength)
        return initial + dirichlet_penalty(state.log_transition, transition_strength) + density.penalty(state.emission)

    def step(key: jax.Array, state: HmmState, batch: Batch) -> tuple[HmmState, dict]:
        frames, old = read(batch), state.statistics
        refuse_few_frames(states, frames.valid.size, "this batch")
        known = *chain_and_densities(state, frames), frames.weight, parallel(frames)
        *chain, shares, evidence = inference.expectation(*known)
        scale = rows / jnp.maximum(frames.weight.sum(), 1e-12) if stepwise and rows else jnp.ones(())
        share = (state.step + 1.0) ** -(stepwise or 0.0)
        initial, transition = emissions.blend_counts(list(old[:2]), chain, share, scale) if stepwise else chain
        occupancy = initial + transition.sum(0)
        dead = (occupancy < LEAST) & (occupancy.sum() > 0)  # [K]
        weight = frames.weight[None] * frames.seen  # [T, B]
        shares = jax.lax.cond(dead.any(), inference.reseeded, lambda shares, *_: shares, shares, evidence, weight, dead)
        counts = density.statistics(frames.x, frames.observed, shares)
        counts = density.blend(old.emission, counts, share, scale) if stepwise else counts
        log_initial = log_normalised(initial + initial_strength, state.log_initial)
        log_transition = log_normalised(transition + transition_strength, state.log_transition)
        chain = (inference.revived(log_prob, dead) for log_prob in (log_initial, log_transition))
        statistics = Statistics(initial, transition, counts) if stepwise else None
        new = HmmState(state.step + 1, *chain, density.maximise(counts, state.emission), statistics)
        total = jnp.maximum(weight.sum(), 1e-12)
        log_prob = jnp.where(frames.weight > 0, linalg.pairwise_sum(evidence) * frames.weight, 0).sum()
        metrics = {"nats_per_frame": -log_prob / total, "penalty": penalty(state) / (total * scale)}
        return new, {**metrics, "reseeded": dead.sum().astype(jnp.float32)}

    @partial(jax.jit, static_argnums=2)
    def score(state: HmmState, batch: Batch, exact: bool = False) -> jax.Array:
        frames = read(batch)
        known = chain_and_densities(state, frames)
        if exact:
            return inference.log_forward(state.log_initial, state.log_transition, *known[2:])
        return linalg.pairwise_sum(inference.filtering(*known, parallel(frames))[2])

    def log_prob(key: jax.Array, state: HmmState, batch: Batch) -> jax.Array:
        batch = readable(batch)
        values = score(state, batch)
        impossible = np.isneginf(values)
        return jnp.where(impossible, score(state, batch, True), values) if impossible.any() else values

    def readable(batch: Batch) -> Batch:
        check(batch)
        return {name: batch[name] for name in ("x", "length", "mask") if name in batch}

    @jax.jit
    def best_path(state: HmmState, batch: Batch) -> jax.Array:
        frames = read(batch)
        known = chain_and_densities(state, frames)[2:]
        return paths.viterbi(state.log_initial, state.log_transition, *known, parallel(frames))[0].T

    def encode(key: jax.Array, state: HmmState, batch: Batch) -> dict:
        return {"z": best_path(state, readable(batch))}

    @jax.jit
    def complete(key: jax.Array, state: HmmState, batch: Batch) -> tuple[jax.Array, jax.Array]:
        frames = read(batch)
        filtered, _, evidence = inference.filtering(*chain_and_densities(state, frames), parallel(frames))
        keys = jax.vmap(lambda row: jax.random.split(jax.random.fold_in(key, row)))(jnp.arange(len(batch["x"])))
        z = paths.sample_paths(keys[:, 0], jnp.exp(state.log_transition), filtered, frames.valid)  # [T, B]
        at = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (None, 0))(keys[:, 1], jnp.arange(len(z)))  # [T, B]
        drawn = jax.vmap(jax.vmap(lambda key, z: density.draw(key, state.emission, z)))(at, z)
        x = jnp.where(frames.observed, frames.x, drawn)
        x = jnp.where(frames.valid.reshape(*z.shape, *(1,) * (x.ndim - 2)), x, 0)
        return x.swapaxes(0, 1).reshape(batch["x"].shape), linalg.pairwise_sum(evidence)

    def sample(key: jax.Array, state: HmmState, num: int, given: dict | None = None, how: dict | None = None) -> Batch:
        sampler_options(how)
        batch = asked_for(given, num, spec)
        check(batch)
        x, evidence = complete(key, state, batch)
        refuse_impossible(evidence, "sequence")
        return {"x": x, **({"length": batch["length"]} if "length" in batch else {})}

    return Model(init, step, sample, log_prob, encode=encode, given=("x", "mask", "length"))


def check_arguments(
    spec: Spec, states: int, initial: float, transition: float, stepwise: float | None, scan: str
) -> None:
    """Refuses arguments that no hidden Markov model can have.

    Raises:
      UserError: naming the argument, its value and what was expected.
    """
    if states < 1:
        raise UserError(f"states {states}: expected at least 1")
    if spec.sizes:
        refuse_few_frames(states, max(spec.sizes.values()) * spec.shape[0], spec.name)
    errors.check_strengths(initial_strength=initial, transition_strength=transition)
    if stepwise is not None and not 0.5 < stepwise <= 1:
        raise UserError(f"stepwise {stepwise}: expected None or an exponent above 0.5 up to 1, such as 0.7")
    choose("scan", scan, inference.SCANS)
