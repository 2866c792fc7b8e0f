"""Hidden Markov models. The emission density, the priors and the kind of EM are arguments."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import refuse_impossible, sampler_options
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.distributions import linalg
from gen_jax.errors import UserError, check_strengths, choose
from gen_jax.model import Batch, Model, family
from gen_jax.models.hmm import emissions, state_paths
from gen_jax.models.hmm import forward_backward as inference
from gen_jax.models.hmm.discrete_emissions import Bernoulli, Categorical
from gen_jax.models.hmm.emission_density import Emission, blend_counts, dirichlet_penalty, log_normalised
from gen_jax.models.hmm.forward_backward import Expectation
from gen_jax.models.hmm.gaussian_emissions import Gaussian
from gen_jax.models.hmm.reseeding import dead_states, reseeded, revived
from gen_jax.models.sequences import Frames, asked_for, check_sequences, frames_of, refuse_few_frames


class Statistics(NamedTuple):
    """Expected counts of first states, transitions and emissions."""

    initial: jax.Array  # [K] float32, expected number of sequences that begin in a state
    transition: jax.Array  # [K, K] float32, expected number of transitions from a row to a column
    emission: Any  # statistics of the emissions; the first axis of a leaf is K


class HmmState(NamedTuple):
    """The state of a hidden Markov model."""

    step: jax.Array  # [] int32
    log_initial: jax.Array  # [K] float32
    log_transition: jax.Array  # [K, K] float32, from a row to a column
    emission: Categorical | Bernoulli | Gaussian
    statistics: Statistics | None  # running statistics; None unless stepwise


class HiddenMarkov(NamedTuple):
    """A hidden Markov model without its parameters."""

    states: int  # K
    density: Emission  # density of a frame given its hidden state
    frame: tuple[int, ...]  # shape of a frame; () for tokens and for samples of sound
    values: int = 0  # number of values of a token; 0 for frames of numbers
    binary: bool = False  # whether the numbers of a frame are 0 or 1
    initial_strength: float = 0.0  # pseudo-counts of each first state
    transition_strength: float = 0.0  # pseudo-counts of each transition
    stepwise: float | None = None  # exponent of the step size of stepwise EM; None for EM on a batch
    rows: int = 0  # number of rows to which running statistics are scaled; 0 for no scaling
    scan: str = "auto"  # how recursions over time run, see `hmm`


@family("hmm")
def hmm(
    spec: Spec,
    states: int = 8,
    emission: emissions.EmissionChoice = None,
    initial_strength: float = 0.1,
    transition_strength: float = 0.1,
    stepwise: float | None = None,
    scan: str = "auto",
) -> Model:
    """Returns a hidden Markov model that is fitted by expectation maximisation (Baum et al. 1970; Rabiner 1989).

    A step is one iteration of EM. Its metrics belong to the parameters before the step: `nats_per_frame`, `penalty` and
    `reseeded`. `penalty` is the penalty of the priors per frame; its sum with `nats_per_frame` falls. `reseeded` is the
    number of dead states that restart.

    A sample has the shape of `spec`, or the shape that `given` asks for: `length` [num] frames, or `x` with `mask`. The
    observed cells stay, and the other cells are drawn from their posterior.

    Args:
      spec: facts of the data: tokens, rolls, sound or series.
      states: number of hidden states K; by default 8.
      emission: a `name` in `hmm.emissions.EMISSIONS` and its options. By default None: `categorical` for tokens,
        `bernoulli` for rolls, `gaussian` for real numbers, with their defaults.
      initial_strength: pseudo-counts of each first state; 0 for no prior. The prior is Dirichlet(1 + strength).
      transition_strength: pseudo-counts of each transition; 0 for no prior.
      stepwise: exponent a of stepwise EM in (0.5, 1]; None for plain EM. With None a step reads only its batch,
        which should be all the data. With a number a, a batch moves running statistics by (step + 1)^-a (Cappe and
        Moulines 2009; Liang and Klein 2009, section 3).
      scan: `sequential`, `associative` (parallel in time), or `auto`, the faster of these on this platform.

    Raises:
      UserError: for data that are no sequences, an emission that does not fit them, more states than frames, or an
        unknown name or option.
    """
    density = emissions.fitting(spec, emission)
    check_arguments(spec, states, initial_strength, transition_strength, stepwise, scan)
    model = HiddenMarkov(
        states=states,
        density=density,
        frame=tuple(spec.shape[1:]),
        values=levels(spec),
        binary=kind_of(spec).binary,
        initial_strength=initial_strength,
        transition_strength=transition_strength,
        stepwise=stepwise,
        rows=spec.sizes.get(spec.split, 0),
        scan=scan,
    )
    return Model(
        partial(init, model),
        partial(step, model),
        partial(sample, model, spec, jax.jit(partial(complete, model))),
        partial(log_prob, model, jax.jit(partial(score, model), static_argnames="exact")),
        encode=partial(encode, model, jax.jit(partial(best_path, model))),
        given=("x", "mask", "length"),
    )


def check_arguments(
    spec: Spec, states: int, initial: float, transition: float, stepwise: float | None, scan: str
) -> None:
    """Refuses arguments that no hidden Markov model can have.

    Args:
      spec: facts of the data.
      states: number of hidden states.
      initial: pseudo-counts of each first state.
      transition: pseudo-counts of each transition.
      stepwise: exponent of stepwise EM, or None.
      scan: how recursions over time run.

    Raises:
      UserError: naming the argument, its value and what was expected.
    """
    if states < 1:
        raise UserError(f"states is {states}; expected at least 1")
    if spec.sizes:
        refuse_few_frames(states, max(spec.sizes.values()) * spec.shape[0], spec.name)
    check_strengths(initial_strength=initial, transition_strength=transition)
    if stepwise is not None and not 0.5 < stepwise <= 1:
        raise UserError(f"stepwise is {stepwise}; expected None or an exponent above 0.5 up to 1, such as 0.7")
    choose("scan", scan, inference.SCANS)


def init(model: HiddenMarkov, key: jax.Array, batch: Batch) -> HmmState:
    """Returns the state before the first step, with emissions fitted to a rough clustering of the frames of a batch.

    Args:
      model: the model.
      key: random key.
      batch: `x`, `length`, `weight` and `mask` as in `step`.
    """
    share_key, chain_key = jax.random.split(key)
    density, states = model.density, model.states
    frames = frames_of(batch, density.whole)
    shares = density.start(share_key, frames.x, frames.observed, states)  # [T, B, K]
    shares = shares * frame_weight(frames)[..., None]
    counts = density.statistics(frames.x, frames.observed, shares)
    chain = jax.nn.log_softmax(0.3 * jax.random.normal(chain_key, (states + 1, states)))  # nearly uniform
    running = None
    if model.stepwise:
        running = Statistics(jnp.zeros(states), jnp.zeros((states, states)), jax.tree.map(jnp.zeros_like, counts))
    params = density.maximise(counts, density.blank(states, frames.x))
    return HmmState(jnp.zeros((), jnp.int32), chain[0], chain[1:], params, running)


def step(model: HiddenMarkov, key: jax.Array, state: HmmState, batch: Batch) -> tuple[HmmState, dict]:
    """Returns the state after one iteration of EM, and the metrics of the parameters before it.

    Args:
      model: the model.
      key: not used.
      state: the state before the iteration.
      batch: `x` [B, T, *frame]. If the batch has them, also `length` [B] in frames, `weight` [B], and `mask` of
        observed frames [B, T] or cells [B, T, *frame].
    """
    frames = frames_of(batch, model.density.whole)
    refuse_few_frames(model.states, frames.valid.size, "this batch")
    expected = expected_counts(model, state, frames)
    statistics, dead = blended_counts(model, state, frames, expected)
    after = maximised(model, state, statistics, dead)
    total = jnp.maximum(frame_weight(frames).sum(), 1e-12)
    evidence = linalg.pairwise_sum(expected.evidence)  # [B]
    log_likelihood = jnp.where(frames.weight > 0, evidence * frames.weight, 0).sum()  # because 0 times infinity is NaN
    metrics = {
        "nats_per_frame": -log_likelihood / total,
        "penalty": penalty(model, state) / (total * data_scale(model, frames)),
        "reseeded": dead.sum().astype(jnp.float32),
    }
    return after, metrics


def expected_counts(model: HiddenMarkov, state: HmmState, frames: Frames) -> Expectation:
    """Returns the expected counts over hidden paths given the frames: the E-step.

    Args:
      model: the model.
      state: the parameters.
      frames: the sequences.
    """
    return inference.expectation(
        jnp.exp(state.log_initial),
        jnp.exp(state.log_transition),
        frame_log_likelihood(model, state, frames),
        frames.valid,
        frames.weight,
        parallel(model, frames),
    )


def blended_counts(
    model: HiddenMarkov, state: HmmState, frames: Frames, expected: Expectation
) -> tuple[Statistics, jax.Array]:
    """Returns the statistics that parameters are fitted to, and which states are dead [K].

    The statistics are the counts of the batch, in which dead states are reseeded. Stepwise EM blends them into the
    running statistics (Cappe and Moulines 2009, arXiv 0712.4273, eq. 11).

    Args:
      model: the model.
      state: the state before the step.
      frames: the sequences.
      expected: expected counts of the batch.
    """
    running, density = state.statistics, model.density
    initial, transition = expected.initial, expected.transition
    if model.stepwise and running:
        step_size = (state.step + 1.0) ** -model.stepwise
        keep, add = 1 - step_size, step_size * data_scale(model, frames)
        initial = blend_counts(running.initial, initial, keep, add)
        transition = blend_counts(running.transition, transition, keep, add)
    dead = dead_states(initial, transition)
    shares = reseeded(expected.shares, expected.evidence, frame_weight(frames), dead)
    emission = density.statistics(frames.x, frames.observed, shares)
    if running:
        emission = density.blend(running.emission, emission, keep, add)
    return Statistics(initial, transition, emission), dead


def maximised(model: HiddenMarkov, state: HmmState, statistics: Statistics, dead: jax.Array) -> HmmState:
    """Returns the state after the M-step: the mode of the parameters given the statistics (Rabiner 1989, eq. 40).

    Args:
      model: the model.
      state: the state before the step; parameters without counts stay.
      statistics: expected counts.
      dead: dead states [K] bool, to which every state now leads with probability 1 / K.
    """
    log_initial = log_normalised(statistics.initial + model.initial_strength, state.log_initial)
    log_transition = log_normalised(statistics.transition + model.transition_strength, state.log_transition)
    return HmmState(
        step=state.step + 1,
        log_initial=revived(log_initial, dead),
        log_transition=revived(log_transition, dead),
        emission=model.density.maximise(statistics.emission, state.emission),
        statistics=statistics if model.stepwise else None,
    )


def penalty(model: HiddenMarkov, state: HmmState) -> jax.Array:
    """Returns minus the log-density of the priors at the parameters [], up to its constant.

    Args:
      model: the model.
      state: the parameters.
    """
    initial = dirichlet_penalty(state.log_initial, model.initial_strength)
    transition = dirichlet_penalty(state.log_transition, model.transition_strength)
    return initial + transition + model.density.penalty(state.emission)


def data_scale(model: HiddenMarkov, frames: Frames) -> jax.Array:
    """Returns the number of rows of the data per row of a batch []; 1 unless EM is stepwise.

    Args:
      model: the model.
      frames: the sequences of the batch.
    """
    if not (model.stepwise and model.rows):
        return jnp.ones(())
    return model.rows / jnp.maximum(frames.weight.sum(), 1e-12)


def frame_weight(frames: Frames) -> jax.Array:
    """Returns the weight of each frame [T, B]; 0 if all its cells are missing.

    Args:
      frames: the sequences.
    """
    return frames.weight[None] * frames.seen


def frame_log_likelihood(model: HiddenMarkov, state: HmmState, frames: Frames) -> jax.Array:
    """Returns log p(x_t | z_t = k) of the observed cells, [T, B, K] nats.

    Args:
      model: the model.
      state: the parameters.
      frames: the sequences.
    """
    return model.density.log_likelihood(state.emission, frames.x, frames.observed)


def parallel(model: HiddenMarkov, frames: Frames) -> bool:
    """Returns whether recursions over time run as parallel scans.

    Args:
      model: the model.
      frames: the sequences.
    """
    return inference.parallel_pays(model.scan, jax.default_backend(), len(frames.x), model.states)


def readable(model: HiddenMarkov, batch: Batch) -> Batch:
    """Returns the arrays of a batch that inference reads.

    Args:
      model: the model.
      batch: `x`, `length` and `mask` as in `step`.

    Raises:
      UserError: for sequences that the model cannot read.
    """
    check_sequences(batch, model.frame, model.values, model.binary)
    return {name: batch[name] for name in ("x", "length", "mask") if name in batch}


def log_prob(model: HiddenMarkov, compiled: Callable, key: jax.Array, state: HmmState, batch: Batch) -> jax.Array:
    """Returns log p(x) of the observed cells of each sequence, [B] nats.

    Args:
      model: the model.
      compiled: function (state, batch, exact) -> [B], `score` of the model.
      key: not used.
      state: the parameters.
      batch: `x`, `length` and `mask` as in `step`.

    Raises:
      UserError: for sequences that the model cannot read.
    """
    batch = readable(model, batch)
    values = compiled(state, batch, exact=False)
    impossible = np.isneginf(values)
    if impossible.any():
        values = jnp.where(impossible, compiled(state, batch, exact=True), values)
    return values


def score(model: HiddenMarkov, state: HmmState, batch: Batch, exact: bool) -> jax.Array:
    """Returns the log-probability of each sequence of a batch, [B] nats.

    Args:
      model: the model.
      state: the parameters.
      batch: `x`, `length` and `mask` as in `step`.
      exact: whether all probabilities stay in log space, which is slower.
    """
    frames = frames_of(batch, model.density.whole)
    if exact:
        log_likelihood = frame_log_likelihood(model, state, frames)
        return inference.log_forward(state.log_initial, state.log_transition, log_likelihood, frames.valid)
    return linalg.pairwise_sum(filtered(model, state, frames)[2])


def filtered(model: HiddenMarkov, state: HmmState, frames: Frames) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns `forward_backward.filtering` of the frames.

    Args:
      model: the model.
      state: the parameters.
      frames: the sequences.
    """
    return inference.filtering(
        jnp.exp(state.log_initial),
        jnp.exp(state.log_transition),
        frame_log_likelihood(model, state, frames),
        frames.valid,
        parallel(model, frames),
    )


def encode(model: HiddenMarkov, compiled: Callable, key: jax.Array, state: HmmState, batch: Batch) -> dict:
    """Returns the most probable hidden path `z` [B, T] int32 of each sequence.

    Args:
      model: the model.
      compiled: function (state, batch) -> [B, T], `best_path` of the model.
      key: not used.
      state: the parameters.
      batch: `x`, `length` and `mask` as in `step`.

    Raises:
      UserError: for sequences that the model cannot read.
    """
    return {"z": compiled(state, readable(model, batch))}


def best_path(model: HiddenMarkov, state: HmmState, batch: Batch) -> jax.Array:
    """Returns the most probable hidden path of each sequence, [B, T] int32.

    Args:
      model: the model.
      state: the parameters.
      batch: `x`, `length` and `mask` as in `step`.
    """
    frames = frames_of(batch, model.density.whole)
    log_likelihood = frame_log_likelihood(model, state, frames)
    return state_paths.viterbi(
        state.log_initial, state.log_transition, log_likelihood, frames.valid, parallel(model, frames)
    )[0].T


def sample(
    model: HiddenMarkov,
    spec: Spec,
    compiled: Callable,
    key: jax.Array,
    state: HmmState,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws `num` sequences.

    Args:
      model: the model.
      spec: facts of the data, among them the number of frames of a sequence.
      compiled: the compiled function `complete` of the model, (key, state, batch) -> (x, evidence).
      key: random key.
      state: the parameters.
      num: number of sequences.
      given: conditions, see `hmm`; by default None.
      how: must be empty, because the sampler has no options.

    Returns:
      `x` [num, T, *frame], and `length` [num] if it is given.

    Raises:
      UserError: for a condition that the model does not have, or observed cells that are impossible.
    """
    sampler_options(how)
    batch = asked_for(given, num, spec)
    x, evidence = compiled(key, state, readable(model, batch))
    refuse_impossible(evidence, "sequence")
    if "length" not in batch:
        return {"x": x}
    return {"x": x, "length": batch["length"]}


def complete(model: HiddenMarkov, key: jax.Array, state: HmmState, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Draws the missing cells of sequences from their posterior.

    The draws of a row depend only on its index and its cells, not on other rows.

    Args:
      model: the model.
      key: random key.
      state: the parameters.
      batch: `x`, `mask`, and `length` if rows end early.

    Returns:
      x [B, T, *frame], and log p of the observed cells [B] in nats.
    """
    keys = jax.vmap(lambda row: jax.random.split(jax.random.fold_in(key, row)))(jnp.arange(len(batch["x"])))
    path_keys, frame_keys = keys[:, 0], keys[:, 1]  # [B]
    frames = frames_of(batch, model.density.whole)
    probabilities, _, evidence = filtered(model, state, frames)
    z = state_paths.sample_paths(path_keys, jnp.exp(state.log_transition), probabilities, frames.valid)  # [T, B]
    keys = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)), (None, 0))(frame_keys, jnp.arange(len(z)))  # [T, B]
    drawn = jax.vmap(jax.vmap(lambda key, z: model.density.draw(key, state.emission, z)))(keys, z)
    x = jnp.where(frames.observed, frames.x, drawn)
    x = jnp.where(frames.valid.reshape(*z.shape, *(1,) * (x.ndim - 2)), x, 0)
    return x.swapaxes(0, 1).reshape(batch["x"].shape), linalg.pairwise_sum(evidence)
