"""Hidden Markov models against enumeration, published figures, textbook EM in float64 and independent libraries."""

import itertools
from functools import lru_cache, partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import host, make_spec
from scipy.special import log_softmax

from gen_jax.distributions.linalg import FEW, pairwise_sum
from gen_jax.errors import UserError
from gen_jax.models.hmm import (
    HiddenMarkov,
    HmmState,
    blended_counts,
    expected_counts,
    frame_log_likelihood,
    hmm,
    maximised,
    penalty,
    state_paths,
)
from gen_jax.models.hmm import forward_backward as inference
from gen_jax.models.hmm.discrete_emissions import Categorical
from gen_jax.models.hmm.emissions import fitting
from gen_jax.models.hmm.gaussian_emissions import Gaussian, gaussian
from gen_jax.models.hmm.relabel import align, bic, free_parameters, permute
from gen_jax.models.hmm.reseeding import revived
from gen_jax.models.sequences import frames_of

KEY = jax.random.key(0)
FLAT = {"initial_strength": 0.0, "transition_strength": 0.0}  # no priors: the textbook's EM
both_scans = pytest.mark.parametrize("scan", ["sequential", "associative"])


def tokens_spec(vocabulary: int, length: int = 5):
    return make_spec("text", (length,))._replace(info={"vocabulary": list(range(vocabulary))})


def logs(table) -> jax.Array:
    with np.errstate(divide="ignore"):
        return jnp.asarray(np.log(table), jnp.float32)


def state_of(initial, transition, emission) -> HmmState:
    return HmmState(jnp.zeros((), jnp.int32), logs(initial), logs(transition), emission, None)


def random_chain(rng, states: int):
    return rng.dirichlet(np.ones(states)), rng.dirichlet(np.ones(states), states)


def enumerated(initial, transition, log_likelihood) -> dict:
    """log p(x), filter, smoother, pairs, best path and p(path | x) of one sequence, by all K^T paths, in float64."""
    frames, states = log_likelihood.shape
    every = np.array(list(itertools.product(range(states), repeat=frames)))  # [K^T, T]
    moves = transition if transition.ndim == 3 else np.broadcast_to(transition, (frames - 1, states, states))
    with np.errstate(divide="ignore"):
        weight = np.log(initial)[every[:, 0]] + log_likelihood[np.arange(frames), every].sum(1)
        for t in range(frames - 1):
            weight = weight + np.log(moves[t])[every[:, t], every[:, t + 1]]
    total = np.logaddexp.reduce(weight)
    share = np.exp(weight - total)
    smoothed = np.stack([np.bincount(every[:, t], share, states) for t in range(frames)])
    pairs = [np.bincount(every[:, t] * states + every[:, t + 1], share, states**2) for t in range(frames - 1)]
    best = every[np.argmax(weight)]
    return {
        "log_prob": total,
        "smoothed": smoothed,
        "filtered": smoothed if frames == 1 else None,
        "pairs": np.sum(pairs, 0).reshape(states, states) if pairs else np.zeros((states, states)),
        "best": best,
        "best_log_prob": weight.max(),
        "share": share,
        "every": every,
    }


@partial(jax.jit, static_argnums=4)
def passes(initial, transition, log_likelihood, valid, parallel):
    filtered, predicted, evidence = inference.filtering(initial, transition, log_likelihood, valid, parallel)
    smoothed = inference.smoothing(transition, filtered, predicted, valid, parallel)
    return pairwise_sum(evidence), filtered, predicted, smoothed


def inferred(initial, transition, log_likelihood, lengths=None, parallel=False):
    """Log-probability, filter, prediction, smoother of sequences [B, T, K], time-major, and what went in."""
    log_likelihood = np.asarray(log_likelihood, np.float32).swapaxes(0, 1)
    frames, rows = log_likelihood.shape[:2]
    lengths = np.full(rows, frames) if lengths is None else np.asarray(lengths)
    valid = np.arange(frames)[:, None] < lengths[None]
    chain = np.asarray(initial, np.float32), np.asarray(transition, np.float32)
    return *passes(*chain, log_likelihood, valid, parallel), valid, log_likelihood


viterbi = jax.jit(state_paths.viterbi, static_argnums=4)


WIKIPEDIA = (np.array([0.5, 0.5]), np.array([[0.7, 0.3], [0.3, 0.7]]), np.array([[0.9, 0.1], [0.2, 0.8]]))
CLINIC = (np.array([0.6, 0.4]), np.array([[0.7, 0.3], [0.4, 0.6]]), np.array([[0.1, 0.4, 0.5], [0.6, 0.3, 0.1]]))


@both_scans
def test_wikipedia_forward_backward(scan):
    """Figures of hmmlearn's tests/test_base.py."""
    initial, transition, emission = WIKIPEDIA
    x = np.array([[0, 0, 1, 0, 0]], np.int32)
    model, state = hmm(tokens_spec(2), 2, scan=scan), state_of(initial, transition, Categorical(logs(emission)))
    np.testing.assert_allclose(model.log_prob(KEY, state, {"x": x}), [-3.3725], atol=5e-5)
    assert np.array_equal(model.encode(KEY, state, {"x": x})["z"], [[0, 0, 1, 0, 0]])
    log_likelihood = np.log(emission)[:, x[0]].T[None]
    smoothed = inferred(initial, transition, log_likelihood, parallel=scan == "associative")[3]
    np.testing.assert_allclose(smoothed[:, 0, 0], [0.8673, 0.8204, 0.3075, 0.8204, 0.8673], atol=5e-5)


@both_scans
def test_wikipedia_viterbi(scan):
    """Figures of hmmlearn's tests/test_categorical_hmm.py: walk, shop, clean."""
    initial, transition, emission = CLINIC
    x, parallel = np.array([[0, 1, 2]], np.int32), scan == "associative"
    model, state = hmm(tokens_spec(3, 3), 2, scan=scan), state_of(initial, transition, Categorical(logs(emission)))
    assert np.array_equal(model.encode(KEY, state, {"x": x})["z"], [[1, 0, 0]])
    np.testing.assert_allclose(model.log_prob(KEY, state, {"x": x}), [-3.39287], atol=1e-5)
    *_, smoothed, valid, log_likelihood = inferred(
        initial, transition, np.log(emission)[:, x[0]].T[None], parallel=parallel
    )
    np.testing.assert_allclose(smoothed[:, 0, 0], [0.23170303, 0.62406281, 0.86397706], atol=1e-6)
    score = viterbi(logs(initial), logs(transition), log_likelihood, valid, parallel)[1]
    np.testing.assert_allclose(np.exp(score), [0.01344], rtol=1e-5)


@pytest.mark.parametrize("varying", [False, True], ids=["fixed", "varying"])
@pytest.mark.parametrize("states", [FEW - 1, FEW + 1])
@both_scans
def test_filter_smoother_and_pairs_match_enumeration(scan, states, varying):
    """Every length of a batch; with another matrix at every transition, where an index off by one shows."""
    rng, frames = np.random.default_rng(1), 5
    initial, transition = random_chain(rng, states)
    transition = rng.dirichlet(np.ones(states), (frames - 1, states)) if varying else transition
    log_likelihood = rng.normal(0, 3, (frames, frames, states))
    lengths = np.arange(1, frames + 1)
    log_prob, filtered, predicted, smoothed, valid, _ = inferred(
        initial, transition, log_likelihood, lengths, scan == "associative"
    )
    pairs = np.zeros((states, states))
    for row, length in enumerate(lengths):
        moves = transition[: length - 1] if varying else transition
        exact = enumerated(initial, moves, log_likelihood[row, :length])
        np.testing.assert_allclose(log_prob[row], exact["log_prob"], rtol=1e-6)
        np.testing.assert_allclose(smoothed[:length, row], exact["smoothed"], atol=1e-6)
        pairs += exact["pairs"]
        for t in range(length):
            prefix = enumerated(initial, moves[:t] if varying else moves, log_likelihood[row, : t + 1])
            np.testing.assert_allclose(filtered[t, row], prefix["smoothed"][t], atol=1e-6)
    if not varying:
        weight = valid.astype(np.float32)
        counted = inference.expected_transitions(
            np.asarray(transition, np.float32), filtered, predicted, smoothed, weight
        )
        np.testing.assert_allclose(counted, pairs, atol=1e-5)


@both_scans
def test_viterbi_matches_enumeration_at_every_length(scan):
    rng, states, frames = np.random.default_rng(2), 3, 6
    initial, transition = random_chain(rng, states)
    log_likelihood = rng.normal(0, 2, (frames, frames, states))
    lengths = np.arange(1, frames + 1)
    *_, valid, time_major = inferred(initial, transition, log_likelihood, lengths)
    path, score = viterbi(logs(initial), logs(transition), time_major, valid, scan == "associative")
    for row, length in enumerate(lengths):
        exact = enumerated(initial, transition, log_likelihood[row, :length])
        assert np.array_equal(path[:length, row], exact["best"])
        assert np.all(path[length:, row] == path[length - 1, row])
        np.testing.assert_allclose(score[row], exact["best_log_prob"], rtol=1e-6)


@pytest.mark.parametrize("varying", [False, True], ids=["fixed", "varying"])
def test_posterior_paths_have_the_frequencies_of_enumeration(varying):
    rng, states, frames, draws = np.random.default_rng(3), 3, 4, 20_000
    initial, transition = random_chain(rng, states)
    transition = rng.dirichlet(np.full(states, 0.5), (frames - 1, states)) if varying else transition
    log_likelihood = rng.normal(0, 1.5, (1, frames, states))
    exact = enumerated(initial, transition, log_likelihood[0])
    _, filtered, _, _, valid, _ = inferred(initial, transition, log_likelihood)
    keys = jax.random.split(KEY, draws)
    wide = [jnp.broadcast_to(each, (frames, draws, *each.shape[2:])) for each in (filtered, valid)]
    path = np.asarray(jax.jit(state_paths.sample_paths)(keys, jnp.asarray(transition, jnp.float32), *wide))
    found = np.bincount((path.T * states ** np.arange(frames)[::-1]).sum(1), minlength=states**frames) / draws
    assert np.abs(found - exact["share"]).sum() < 0.06  # total variation: about 0.03 for exact draws
    np.testing.assert_allclose(found, exact["share"], atol=5 * np.sqrt(0.25 / draws))


def textbook_em(x, lengths, initial, transition, mean, variance, iterations):
    """Baum-Welch in float64 with diagonal Gaussians: log-likelihoods before each iteration (Rabiner, section III.C)."""
    values = []
    for _ in range(iterations):
        total, first, pairs, shares = 0.0, 0, 0, []
        for row, length in zip(x, lengths):
            gap = row[:length, None] - mean
            density = np.exp(-0.5 * (gap**2 / variance + np.log(2 * np.pi * variance)).sum(-1))  # [T, K]
            alpha, beta, scale = np.zeros_like(density), np.ones_like(density), np.zeros(length)
            for t in range(length):
                alpha[t] = density[t] * (initial if t == 0 else alpha[t - 1] @ transition)
                scale[t] = alpha[t].sum()
                alpha[t] /= scale[t]
            for t in range(length - 2, -1, -1):
                beta[t] = transition @ (density[t + 1] * beta[t + 1]) / scale[t + 1]
            after = density[1:] * beta[1:] / scale[1:, None]
            shares.append(alpha * beta)
            total, first, pairs = total + np.log(scale).sum(), first + shares[-1][0], pairs + alpha[:-1].T @ after
        share, seen = np.concatenate(shares), np.concatenate([row[:length] for row, length in zip(x, lengths)])
        count = share.sum(0)[:, None]
        initial, transition = first / first.sum(), pairs * transition
        transition /= transition.sum(1, keepdims=True)
        mean = share.T @ seen / count
        variance = np.stack([s @ (seen - m) ** 2 / s.sum() for s, m in zip(share.T, mean)])
        values.append(total)
    return np.array(values)


def gaussian_problem(rows=6, frames=40, dimensions=3, states=4, seed=0):
    """Sequences of unequal lengths, and where EM begins."""
    rng = np.random.default_rng(seed)
    x = rng.normal(3.0, 1.0, (rows, frames, dimensions)) + np.repeat(rng.normal(0, 2, (rows, frames // 8, 1)), 8, 1)
    lengths = rng.integers(frames // 2, frames + 1, rows)
    lengths[0] = frames
    initial, transition = random_chain(rng, states)
    return (
        x,
        lengths,
        initial,
        transition,
        rng.normal(3.0, 2.0, (states, dimensions)),
        np.full((states, dimensions), 2.0),
    )


def gaussian_state(initial, transition, mean, variance) -> HmmState:
    return state_of(initial, transition, Gaussian(jnp.asarray(mean, jnp.float32), logs(variance)))


def series(frames=40, dimensions=3):
    return make_spec("series", (frames, dimensions))


def climbed(step, state, batch, iterations):
    """Metrics of so many steps, and the last state."""
    history = []
    for _ in range(iterations):
        state, metrics = step(KEY, state, batch)
        history.append(metrics)
    return {name: np.array([each[name] for each in history]) for name in history[0]}, state


def test_em_follows_the_textbook():
    x, lengths, *start = gaussian_problem()
    batch = {"x": x.astype(np.float32), "length": lengths.astype(np.int32)}
    metrics, _ = climbed(textbook_step(), gaussian_state(*start), batch, 20)
    exact = textbook_em(x, lengths, *start, 20)
    np.testing.assert_allclose(-metrics["nats_per_frame"] * lengths.sum(), exact, rtol=1e-6)
    assert exact[-1] - exact[0] > 100  # it went somewhere


@lru_cache
def textbook_step():
    return jax.jit(hmm(series(), 4, {"name": "gaussian", "floor": 1e-8}, **FLAT).step)


def test_em_follows_hmmlearn():
    learn = pytest.importorskip("hmmlearn.hmm")
    x, lengths, initial, transition, mean, variance = gaussian_problem(seed=1)
    flat = np.concatenate([row[:length] for row, length in zip(x, lengths)])
    peer = learn.GaussianHMM(4, "diag", n_iter=10, tol=-np.inf, init_params="", covars_prior=0.0)
    peer.startprob_, peer.transmat_, peer.means_, peer.covars_ = initial, transition, mean, variance
    peer.fit(flat, lengths)
    batch = {"x": x.astype(np.float32), "length": lengths.astype(np.int32)}
    metrics, state = climbed(textbook_step(), gaussian_state(initial, transition, mean, variance), batch, 10)
    np.testing.assert_allclose(-metrics["nats_per_frame"] * lengths.sum(), peer.monitor_.history, rtol=1e-6)
    np.testing.assert_allclose(state.emission.mean, peer.means_, atol=1e-3)
    np.testing.assert_allclose(np.exp(state.log_transition), peer.transmat_, atol=1e-3)


FAMILY_CASES = {
    "categorical": (tokens_spec(5, 30), {"name": "categorical", "strength": 0.5}),
    "bernoulli": (make_spec("roll", (30, 4)), {"name": "bernoulli", "on": 0.2, "off": 0.5}),
    "gaussian": (make_spec("series", (30, 3)), {"name": "gaussian", "strength": 3.0}),
    "full": (make_spec("series", (30, 3)), {"name": "gaussian", "covariance": "full", "strength": 3.0}),
    "waveform": (make_spec("audio", (30,)), {"name": "gaussian"}),
}
every_case = pytest.mark.parametrize("case", FAMILY_CASES)
two_cases = pytest.mark.parametrize("case", ["bernoulli", "full"])


def family_batch(case: str, rows: int = 8) -> dict:
    """Sequences with dwelling states, lengths 1 to 30; the last two rows are padding."""
    spec = FAMILY_CASES[case][0]
    rng = np.random.default_rng(5)
    level = np.repeat(rng.integers(0, 3, (rows, 6)), 5, 1)  # [B, T]
    if case == "categorical":
        x = (level + rng.integers(0, 3, level.shape)).astype(np.int32)
    elif case == "bernoulli":
        x = (rng.random((*level.shape, 4)) < 0.1 + 0.4 * level[..., None]).astype(np.float32)
    else:
        x = (
            rng.normal(0, 1, (rows, *spec.shape)) + 4 * level.reshape(*level.shape, *(1,) * (len(spec.shape) - 1))
        ).astype(np.float32)
    length = rng.integers(1, 31, rows).astype(np.int32)
    length[:2] = 1, 30
    return {"x": x, "length": length, "weight": (np.arange(rows) < rows - 2).astype(np.float32)}


@lru_cache
def prepared(case: str) -> tuple:
    """A model of three states, its batch, and where it starts."""
    spec, emission = FAMILY_CASES[case]
    model, batch = hmm(spec, 3, emission, 0.5, 0.5), family_batch(case)
    return model, batch, jax.jit(model.init)(KEY, batch), jax.jit(model.step)


@two_cases
def test_em_climbs_from_its_own_start_and_metrics_are_what_they_say(case):
    model, batch, state, step = prepared(case)
    rows = batch["weight"] > 0
    before = -model.log_prob(KEY, state, batch)[rows].sum() / batch["length"][rows].sum()
    metrics, after = climbed(step, state, batch, 15)
    np.testing.assert_allclose(metrics["nats_per_frame"][0], before, rtol=1e-6)
    objective = metrics["nats_per_frame"] + metrics["penalty"]
    assert np.all(np.diff(objective) < 2e-6 * np.abs(objective[:-1])) and objective[-1] < objective[0] - 0.01
    for leaf in jax.tree.leaves(after):
        assert np.all(np.isfinite(leaf))


@every_case
def test_the_m_step_maximises_the_expected_log_likelihood(case):
    """By the functions of the module: E[log p(x, z)] + log prior falls from the maximum in every direction."""
    spec, emission = FAMILY_CASES[case]
    density = fitting(spec, emission)
    model = HiddenMarkov(3, density, spec.shape[1:], initial_strength=0.5, transition_strength=0.5)
    _, batch, state, _ = prepared(case)
    frames = frames_of(batch, density.whole)
    expected = jax.jit(partial(expected_counts, model))(state, frames)
    statistics, dead = jax.jit(partial(blended_counts, model))(state, frames, expected)
    best = host(jax.jit(partial(maximised, model))(state, statistics, dead))
    assert not dead.any()

    @jax.jit
    def objective(state):
        chain = (expected.initial * state.log_initial).sum() + (expected.transition * state.log_transition).sum()
        emitted = (expected.shares * frame_log_likelihood(model, state, frames)).sum()
        return chain + emitted - penalty(model, state)

    def moved(leaf, way):
        """Another leaf that is as valid: rows sum to one, matrices are symmetric."""
        if leaf.shape == (3, 3, 3):
            return leaf + (way + way.swapaxes(1, 2)) / 2
        if (leaf <= 0).all() and np.allclose(np.exp(leaf).sum(-1), 1):
            return log_softmax(leaf + way, axis=-1)
        return leaf + way

    assert objective(best) > objective(state) + 1
    leaves, tree = jax.tree.flatten(best)
    for place in range(1, len(leaves)):  # behind the step
        for way in np.random.default_rng(0).normal(size=(5, *leaves[place].shape)).astype(np.float32):
            for size in (0.1, -0.1):
                others = [*leaves[:place], moved(leaves[place], size * way), *leaves[place + 1 :]]
                assert objective(jax.tree.unflatten(tree, others)) < objective(best), (place, size)


@pytest.mark.study
def test_scores_samples_and_paths_are_compiled_once(caplog):
    model, batch, state, _ = prepared("gaussian")
    compiled = []
    for _ in range(2):
        caplog.clear()
        with jax.log_compiles():
            model.log_prob(KEY, state, {"x": batch["x"][:3]})
            model.encode(KEY, state, {"x": batch["x"][:3]})
            model.sample(KEY, state, 7)
        compiled.append([each for each in caplog.messages if each.startswith("Compiling")])
    assert compiled[0] and not compiled[1]


@two_cases
def test_unequal_lengths_are_sequences_one_by_one(case):
    """Garbage beyond the end is not read; nor are rows of weight 0 while learning."""
    model, batch, state, step = prepared(case)
    dirty = batch["x"].copy()
    dirty[np.arange(30) >= batch["length"][:, None]] = 77 if case == "categorical" else np.nan
    clean = model.log_prob(KEY, state, batch)
    np.testing.assert_array_equal(clean, model.log_prob(KEY, state, {**batch, "x": dirty}))
    row, length = 4, batch["length"][4]
    alone = {"x": batch["x"][row : row + 1, :length]}
    np.testing.assert_allclose(clean[row], model.log_prob(KEY, state, alone)[0], rtol=2e-6)
    path = model.encode(KEY, state, {**batch, "x": dirty})["z"]
    assert np.array_equal(path[row, :length], model.encode(KEY, state, alone)["z"][0])
    dirty[batch["weight"] == 0] = -5 if case == "categorical" else np.inf
    other = {**batch, "x": dirty, "length": np.where(batch["weight"] > 0, batch["length"], 30).astype(np.int32)}
    chex.assert_trees_all_equal(step(KEY, state, batch), step(KEY, state, other))


@every_case
def test_missing_observations_are_marginalised(case):
    """Against enumeration of states with the density of what is left, written here with other formulas."""
    (model, batch, state, _), rng, frames = prepared(case), np.random.default_rng(7), 5
    x = batch["x"][1:3, 8 : 8 + frames]
    mask = rng.random(x.shape if case in ("bernoulli", "gaussian") else x.shape[:2]) < 0.6
    mask[0, 0], mask[1, -1] = False, True
    found = model.log_prob(KEY, state, {"x": x, "mask": mask})
    initial, transition = np.exp(np.float64(state.log_initial)), np.exp(np.float64(state.log_transition))
    for row in range(2):
        cells = mask[row] if mask.ndim == x.ndim else np.broadcast_to(mask[row][..., None], x[row].shape)
        exact = enumerated(initial, transition, log_density(case, state.emission, x[row], cells))
        np.testing.assert_allclose(found[row], exact["log_prob"], rtol=1e-5)


def log_density(case: str, params, x, observed) -> np.ndarray:
    """log p(observed cells of x_t | z_t = k) [T, K] in float64, from SciPy."""
    from scipy import linalg, stats

    states = len(jax.tree.leaves(params)[0])
    values = np.zeros((len(x), states))
    for t, k in itertools.product(range(len(x)), range(states)):
        if case == "categorical":
            values[t, k] = params.log_prob[k, x[t]] if observed[t] else 0
        elif case == "bernoulli":
            up = 1 / (1 + np.exp(-np.float64(params.logits[k])))
            values[t, k] = stats.bernoulli.logpmf(x[t], up)[observed[t]].sum()
        elif case == "full":
            normal = stats.multivariate_normal(params.mean[k], linalg.expm(np.float64(params.log_variance[k])))
            values[t, k] = normal.logpdf(x[t]) if observed[t].all() else 0
        else:
            scale = np.exp(0.5 * np.float64(params.log_variance[k]))
            seen = np.atleast_1d(observed[t])
            values[t, k] = stats.norm.logpdf(np.atleast_1d(x[t]), np.float64(params.mean[k]), scale)[seen].sum()
    return values


@pytest.mark.parametrize("size", [FEW, FEW + 1])
def test_densities_of_few_and_of_many_numbers_are_those_of_scipy(size):
    """By columns, where frames are narrow, and by products."""
    rng, family = np.random.default_rng(size), gaussian()
    x, observed = np.float32(rng.normal(2, 1, (7, 2, size))), rng.random((7, 2, size)) < 0.7
    params = Gaussian(*(jnp.asarray(rng.normal(0, 1, (3, size)), jnp.float32) for _ in range(2)))
    found = np.asarray(family.log_likelihood(params, jnp.asarray(x), jnp.asarray(observed)))
    for row in range(2):
        exact = log_density("diagonal", params, x[:, row], observed[:, row])
        np.testing.assert_allclose(found[:, row], exact, rtol=1e-4, atol=1e-4)


@both_scans
def test_a_rare_but_decisive_state_is_not_rounded_away(scan):
    """No threshold on small probabilities: dynamax's smoother answers (1, 0) here."""
    log_likelihood = np.array([[[0.0, 0.0], [-30.0, 0.0]]])
    smoothed = inferred([1 - 1e-9, 1e-9], np.eye(2), log_likelihood, parallel=scan == "associative")[3]
    exact = np.array([np.exp(-30) * (1 - 1e-9), 1e-9]) / (np.exp(-30) + 1e-9)
    np.testing.assert_allclose(smoothed[0, 0], exact, rtol=1e-4)


def test_what_float32_cannot_scale_is_scored_in_log_space():
    """State 1 is e^-150 times as likely after the first frame, and the only one that can emit the second."""
    emission = Categorical(jnp.asarray([[0.0, -jnp.inf], [-150.0, 0.0]]))
    model, state = hmm(tokens_spec(2, 2), 2), state_of([0.5, 0.5], np.eye(2), emission)
    np.testing.assert_allclose(
        model.log_prob(KEY, state, {"x": np.array([[0, 1]], np.int32)}), np.log(0.5) - 150, rtol=1e-6
    )


@both_scans
def test_impossible_rows_are_no_nan(scan):
    """States without successors, and a sequence that cannot be, beside one that can (0 / 0 in a parallel filter)."""
    initial, transition = np.array([0.5, 0.5, 0.0]), np.array([[0.0, 1, 0], [0, 0, 1], [0, 0, 1]])
    never = -np.inf
    log_likelihood = np.log(0.5) * np.ones((2, 4, 3))
    log_likelihood[0, 1] = [never, np.log(0.5), never]  # whoever began in state 1 has no way on
    log_likelihood[1, 2] = [0.0, never, never]
    log_prob, filtered, _, smoothed, valid, time_major = inferred(
        initial, transition, log_likelihood, parallel=scan == "associative"
    )
    exact = enumerated(initial, transition, log_likelihood[0])
    np.testing.assert_allclose(log_prob, [exact["log_prob"], never], rtol=1e-6)
    np.testing.assert_allclose(smoothed[:, 0], exact["smoothed"], atol=1e-6)
    assert np.all(np.isfinite(filtered)) and np.all(smoothed[:, 1] == 0)
    path, score = viterbi(logs(initial), logs(transition), time_major, valid, scan == "associative")
    assert np.array_equal(path[:, 0], exact["best"]) and score[1] == never


@pytest.mark.study
def test_a_million_steps_neither_underflow_nor_drift():
    """Against float64: a filter of two states, 600 nats below what float32 can hold after a thousand frames."""
    rng, frames = np.random.default_rng(0), 1_000_000
    initial, transition, emission = WIKIPEDIA
    x = rng.integers(0, 2, frames)
    model, state = hmm(tokens_spec(2), 2), state_of(initial, transition, Categorical(logs(emission)))
    found = float(model.log_prob(KEY, state, {"x": x[None].astype(np.int32)})[0])
    (a, b), ((stay, go), (back, rest)), exact, scales = (0.5, 0.5), transition.tolist(), 0.0, []
    columns = emission.T.tolist()
    for value in x.tolist():  # plain floats: a million steps of NumPy would take a minute
        a, b = a * columns[value][0], b * columns[value][1]
        scale = a + b
        scales.append(scale)
        a, b = (a * stay + b * back) / scale, (a * go + b * rest) / scale
    exact = np.log(scales).sum()
    np.testing.assert_allclose(found, exact, rtol=1e-6)
    step = jax.jit(model.step)(KEY, state, {"x": x[None].astype(np.int32)})
    np.testing.assert_allclose(step[1]["nats_per_frame"], -exact / frames, rtol=1e-6)
    np.testing.assert_allclose(np.exp(step[0].log_transition).sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("case", ["bernoulli", "gaussian"])
def test_dead_states_begin_anew(case):
    """Two states that nothing can reach and that explain nothing: never NaN, and alive after the next step."""
    spec, emission = FAMILY_CASES[case]
    prior = {"categorical": {"strength": 0.0}, "bernoulli": {"on": 0.0, "off": 0.0}}.get(case, {"strength": 0.0})
    model, batch = hmm(spec, 3, {**emission, **prior}, **FLAT), family_batch(case)
    state = jax.jit(model.init)(KEY, batch)
    alone = np.zeros((3, 3))
    alone[:, 0] = 1
    state = state._replace(log_initial=logs([1, 0, 0]), log_transition=logs(alone))
    metrics, after = climbed(jax.jit(model.step), state, batch, 12)
    assert list(metrics["reseeded"][:2]) == [2, 0]
    assert (
        np.all(np.isfinite(metrics["nats_per_frame"])) and metrics["nats_per_frame"][-1] < metrics["nats_per_frame"][0]
    )
    assert not any(np.isnan(leaf).any() for leaf in jax.tree.leaves(after))
    assert np.exp(after.log_transition).sum(0).min() > 1e-3


def test_revived_rows_sum_to_one():
    log_prob = logs([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    for dead in ([False, False, True], [True, False, True], [False] * 3):
        rows = np.exp(revived(log_prob, jnp.asarray(dead)))
        np.testing.assert_allclose(rows.sum(-1), 1, rtol=1e-6)
        np.testing.assert_allclose(np.exp(revived(log_prob[0], jnp.asarray(dead))).sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(rows, np.exp(log_prob), rtol=1e-6)


def test_a_batch_of_padding_teaches_nothing():
    _, batch, state, step = prepared("gaussian")
    after, metrics = step(KEY, state, {**batch, "weight": np.zeros(8, np.float32)})
    assert metrics["reseeded"] == 0 and metrics["nats_per_frame"] == 0
    chex.assert_trees_all_close(after.emission, state.emission)


@pytest.mark.study
def test_casino_is_learnt_by_vmapped_restarts_and_aligned():
    """The data and the figures of hmmlearn's examples/plot_casino.py, of 50 restarts there and 4 here."""
    source = pytest.importorskip("hmmlearn.hmm").CategoricalHMM(2, random_state=99)
    loaded, transition = np.array([[1 / 6] * 6, [0.1] * 5 + [0.5]]), np.array([[0.95, 0.05], [0.1, 0.9]])
    source.startprob_, source.transmat_, source.emissionprob_ = np.array([1.0, 0.0]), transition, loaded
    rolls = source.sample(30_000)[0].T.astype(np.int32)
    train, test = {"x": rolls[:, :15_000]}, {"x": rolls[:, 15_000:]}
    truth = state_of([1.0, 0.0], transition, Categorical(logs(loaded)))
    model, rng = (
        hmm(tokens_spec(6, 15_000), 2, {"name": "categorical", "strength": 0.0}, **FLAT),
        np.random.default_rng(13),
    )
    starts = [
        state_of([0.5, 0.5], random_chain(rng, 2)[1], Categorical(logs(rng.dirichlet([1] * 6, 2)))) for _ in range(4)
    ]
    step = jax.vmap(model.step, (None, 0, None))
    states = jax.tree.map(lambda *each: jnp.stack(each), *starts)
    states, metrics = jax.jit(lambda states: jax.lax.scan(lambda s, _: step(KEY, s, train), states, length=100))(states)
    best = jax.tree.map(lambda leaf: leaf[int(metrics["nats_per_frame"][-1].argmin())], states)
    assert model.log_prob(KEY, truth, test)[0] == pytest.approx(-26230.576, rel=1e-6)
    assert model.log_prob(KEY, best, test)[0] == pytest.approx(-26229.220, rel=1e-5)
    for start in (best, permute(best, [1, 0])):
        learnt = align(start, truth)
        np.testing.assert_allclose(np.exp(learnt.emission.log_prob), loaded, atol=0.03)
        np.testing.assert_allclose(np.exp(learnt.log_transition), transition, atol=0.03)


@pytest.mark.study
def test_bic_chooses_the_four_states_that_there_are():
    """The data and the figures of hmmlearn's examples/plot_gaussian_model_selection.py."""
    source = pytest.importorskip("hmmlearn.hmm").GaussianHMM(4, init_params="")
    source.n_features, source.startprob_ = 4, np.full(4, 0.25)
    source.transmat_ = np.array([[0.3, 0.4, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4], [0.5, 0.2, 0.1, 0.2], [0.25] * 4])
    source.means_, source.covars_ = np.array([[-2.5], [0.0], [2.5], [5.0]]), np.full((4, 1), 0.5)
    x = source.sample(1000, random_state=np.random.RandomState(546))[0].astype(np.float32)
    rng, scores = np.random.default_rng(0), {}
    for states in (3, 4, 5):
        means = np.quantile(x, (np.arange(states) + 0.5) / states)[:, None]
        start = gaussian_state(*random_chain(rng, states), means, np.full((states, 1), 0.5))
        metrics, state = climbed(jax.jit(hmm(series(1000, 1), states, **FLAT).step), start, {"x": x[None]}, 80)
        assert free_parameters(state) == states - 1 + states * (states - 1) + 2 * states
        scores[states] = bic(-1000 * float(metrics["nats_per_frame"][-1]), free_parameters(state), 1000)
    assert scores[3] == pytest.approx(4711.41, abs=20) and scores[4] == pytest.approx(4620.93, rel=1e-5)
    assert min(scores, key=scores.get) == 4, scores


def test_free_parameters_of_every_family():
    counted = {case: free_parameters(prepared(case)[2]) - 8 for case in FAMILY_CASES}
    assert counted == {"categorical": 12, "bernoulli": 12, "gaussian": 18, "full": 27, "waveform": 6}


@pytest.mark.study
def test_stepwise_em_comes_close_to_em():
    """Batches of 8 sequences out of 64, within half a per cent of all at once, from a start that is not."""
    rng, (spec, emission) = np.random.default_rng(0), FAMILY_CASES["gaussian"]
    batch, spec = {"x": family_batch("gaussian", 64)["x"]}, spec._replace(sizes={"train": 64})
    whole, parts = hmm(spec, 3, emission), hmm(spec, 3, emission, stepwise=0.7)
    state = jax.jit(parts.init)(KEY, batch)
    metrics, _ = climbed(jax.jit(whole.step), state._replace(statistics=None), batch, 60)
    expected = metrics["nats_per_frame"][-1]
    assert metrics["nats_per_frame"][0] > 1.1 * expected
    step = jax.jit(parts.step)
    for _ in range(10):
        for rows in rng.permutation(64).reshape(8, 8):
            state, _ = step(KEY, state, {"x": batch["x"][rows]})
    found = -float(np.mean(whole.log_prob(KEY, state, batch))) / 30
    assert abs(found - expected) < 0.005 * expected, (found, expected)
    np.testing.assert_allclose(state.statistics.initial.sum(), 64, rtol=1e-4)  # on the scale of the data
    other = permute(state, [2, 0, 1])  # running statistics too
    np.testing.assert_allclose(whole.log_prob(KEY, other, batch), whole.log_prob(KEY, state, batch), rtol=1e-5)
    assert not np.array_equal(other.emission.mean, state.emission.mean)
    chex.assert_trees_all_equal(align(other, state), state)


def test_the_stable_moments_do_not_cancel():
    """Values a thousand standard deviations from 0: variances to four digits, running ones too."""
    rng = np.random.default_rng(0)
    x = (1000 + rng.normal(0, 1, (4, 30, 3))).astype(np.float32)
    exact = np.float64(x).reshape(-1, 3).var(0)
    model = hmm(series(30), 1, {"name": "gaussian"}, **FLAT, stepwise=1.0)
    state, step = jax.jit(model.init)(KEY, {"x": x[:2]}), jax.jit(model.step)
    for rows in (slice(0, 2), slice(2, 4)):  # shares of 1 and 1/2: the moments of all four
        state, _ = step(KEY, state, {"x": x[rows]})
    np.testing.assert_allclose(np.exp(state.emission.log_variance[0]), exact, rtol=1e-3)
    np.testing.assert_allclose(state.emission.mean[0], np.float64(x).reshape(-1, 3).mean(0), rtol=1e-6)


def test_given_cells_stay_and_the_rest_has_its_posterior():
    """Frames after and between observed ones, against enumeration of all completions."""
    rng, draws = np.random.default_rng(4), 20_000
    initial, transition = random_chain(rng, 2)
    emission = rng.dirichlet(np.ones(2), 2)
    model, state = hmm(tokens_spec(2, 4), 2), state_of(initial, transition, Categorical(logs(emission)))
    x, mask = np.array([1, 0, 1, 0], np.int32), np.array([1, 0, 1, 0], bool)
    given = {"x": np.tile(x, (draws, 1)), "mask": np.tile(mask, (draws, 1))}
    drawn = np.asarray(model.sample(KEY, state, draws, given)["x"])
    assert np.all(drawn[:, mask] == x[mask])
    found = np.bincount(drawn[:, 1] * 2 + drawn[:, 3], minlength=4) / draws
    every = np.array([[1, b, 1, d] for b, d in itertools.product(range(2), repeat=2)], np.int32)
    exact = np.exp(np.float64(model.log_prob(KEY, state, {"x": every})))
    np.testing.assert_allclose(found, exact / exact.sum(), atol=0.02)
    again = model.sample(KEY, state, 3, {name: value[:3] for name, value in given.items()})["x"]
    assert np.array_equal(again, drawn[:3])  # a draw depends on no other row
    free = np.asarray(model.sample(KEY, state, draws)["x"])
    codes = np.bincount(free @ [8, 4, 2, 1], minlength=16) / draws
    every = np.array(list(itertools.product(range(2), repeat=4)), np.int32)
    np.testing.assert_allclose(codes, np.exp(model.log_prob(KEY, state, {"x": every})), atol=0.02)


@pytest.mark.study
@pytest.mark.parametrize("case", ["bernoulli", "full"])
def test_samples_have_the_lengths_and_cells_that_are_given(case):
    model, batch, state, _ = prepared(case)
    sample = model.sample(KEY, state, 3, {"length": np.array([2, 6, 1])})
    assert sample["x"].shape == (3, 6, *batch["x"].shape[2:]) and sample["x"].dtype == batch["x"].dtype
    assert np.array_equal(sample["length"], [2, 6, 1]) and not np.any(sample["x"][0, 2:])
    mask = np.zeros((2, 6) if case == "full" else batch["x"][1:3, :6].shape, bool)
    mask[:, :2] = True
    given = {"x": batch["x"][1:3, :6], "mask": mask}
    drawn = np.asarray(model.sample(KEY, state, 2, given)["x"])
    assert np.array_equal(drawn[mask], given["x"][mask]) and np.all(np.isfinite(drawn))


@both_scans
def test_one_frame_is_a_sequence(scan):
    spec, emission = FAMILY_CASES["gaussian"]
    model, (_, batch, state, _) = hmm(spec, 3, emission, scan=scan), prepared("gaussian")
    x = batch["x"][:2, :1]
    density = log_density("gaussian", state.emission, x[0], np.ones_like(x[0], bool))
    exact = np.logaddexp.reduce(np.float64(state.log_initial) + density[0])
    np.testing.assert_allclose(model.log_prob(KEY, state, {"x": x})[0], exact, rtol=1e-5)
    assert model.encode(KEY, state, {"x": x})["z"].shape == (2, 1)


def test_scans_are_chosen_by_platform_and_shape():
    assert not inference.parallel_pays("auto", "cpu", 100_000, 4)
    assert inference.parallel_pays("auto", "gpu", 100_000, 4) and inference.parallel_pays("auto", "tpu", 100_000, 4)
    assert not inference.parallel_pays("auto", "gpu", 100_000, 512) and not inference.parallel_pays(
        "auto", "gpu", 20, 4
    )
    assert inference.parallel_pays("associative", "cpu", 2, 4) and not inference.parallel_pays(
        "sequential", "gpu", 9999, 4
    )


def test_both_scans_learn_alike():
    _, batch, state, step = prepared("gaussian")
    spec, emission = FAMILY_CASES["gaussian"]
    other = jax.jit(hmm(spec, 3, emission, 0.5, 0.5, scan="associative").step)
    one, other = (climbed(each, state, batch, 5) for each in (step, other))
    chex.assert_trees_all_close(one, other, rtol=1e-4, atol=1e-5)


WRONG = [
    ({"states": 0}, "states is 0; expected at least 1"),
    ({"states": 31}, "states is 31.*at most 30"),
    ({"emission": {"name": "gausian"}}, "Did you mean 'gaussian'"),
    ({"emission": {"name": "categorical"}}, "emission is .*expected 'gaussian'"),
    ({"emission": {"name": "gaussian", "covariance": "tied"}}, "covariance 'tied'.*diagonal, full"),
    ({"emission": {"name": "gaussian", "flor": 1.0}}, "Did you mean 'floor'"),
    ({"emission": {"name": "gaussian", "floor": 0.0}}, "floor is 0.0.*such as 1e-4"),
    ({"emission": {"name": "gaussian", "strength": -1.0}}, "strength is -1.0"),
    ({"transition_strength": -0.1}, "transition_strength is -0.1"),
    ({"stepwise": 0.5}, "stepwise is 0.5.*such as 0.7"),
    ({"scan": "parallel"}, "unknown scan 'parallel'"),
]


@pytest.mark.parametrize("options, message", WRONG, ids=[message for _, message in WRONG])
def test_wrong_arguments_are_refused(options, message):
    spec = make_spec("series", (30, 3))._replace(sizes={"train": 1})
    with pytest.raises(UserError, match=message):
        hmm(spec, **options)


def test_wrong_data_are_refused():
    with pytest.raises(UserError, match="holds image data; expected sequences"):
        hmm(make_spec("image", (8, 8, 1)))
    with pytest.raises(UserError, match="expected 'bernoulli'"):
        hmm(make_spec("roll", (30, 4)), 3, {"name": "gaussian"})
    model, _, state, _ = prepared("full")
    x = np.zeros((2, 5, 3), np.float32)
    for change, message in (
        ({"length": np.array([0, 5])}, "length is 0; expected 2 whole numbers from 1 to 5"),
        ({"length": np.array([1, 6])}, "length is 6"),
        ({"x": np.zeros((2, 5, 4), np.float32)}, r"expected sequences \[B, T, 3\]"),
        ({"x": np.full((2, 5, 3), np.nan, np.float32)}, "x holds nan; expected a finite number"),
        ({"x": np.zeros((2, 5, 3), np.int32)}, "expected float32"),
        ({"mask": np.ones((2, 4))}, r"mask is \(2, 4\); expected one number for each frame, \(2, 5\)"),
        ({"mask": np.ones((2, 5, 3))}, "full covariances need whole frames"),
    ):
        for verb in (model.log_prob, model.encode):
            with pytest.raises(UserError, match=message):
                verb(KEY, state, {"x": x, **change})
    with pytest.raises(UserError, match="states is 6; expected at most 5, .* this batch"):
        hmm(make_spec("series", (30, 3)), 6).step(KEY, state, {"x": x[:1]})


def test_wrong_conditions_are_refused():
    model, _, state, _ = prepared("categorical")
    for given, message in (
        ({"y": np.zeros(2)}, "cannot be conditioned on 'y'; expected length, x, mask"),
        ({"x": np.zeros((2, 5), np.int32)}, "x is alone; expected x and mask"),
        ({"mask": np.ones((2, 5))}, "mask is alone"),
        ({"length": np.array([3])}, "shape of given length .*2 rows"),
        ({"length": np.array([3, 0])}, "length is 0"),
        ({"length": np.array([2.5, 2.0])}, "length is float64"),
        ({"x": np.full((2, 5), 9, np.int32), "mask": np.ones((2, 5))}, "x holds 9; expected a token from 0 to 4"),
        ({"x": np.zeros((2, 5), np.int32), "mask": np.ones((2, 4))}, "shape of mask"),
    ):
        with pytest.raises(UserError, match=message):
            model.sample(KEY, state, 2, given)
    never = state._replace(emission=Categorical(logs(np.tile([0.0, 1, 0, 0, 0], (3, 1)))))
    with pytest.raises(UserError, match="sequence 2 is impossible"):
        model.sample(KEY, never, 2, {"x": np.array([[1, 1], [1, 0]], np.int32), "mask": np.ones((2, 2))})
    with pytest.raises(UserError, match="x holds 2.0; expected 0 or 1"):
        prepared("bernoulli")[0].log_prob(KEY, prepared("bernoulli")[2], {"x": np.full((1, 2, 4), 2, np.float32)})
