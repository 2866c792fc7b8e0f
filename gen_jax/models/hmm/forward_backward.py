"""Inference in hidden Markov models as functions of arrays. No emissions, no paths, no state.

Arrays are time-major: T frames, B sequences, K states. `initial` [K] and `transition` [K, K] (row: from, column: to)
are probabilities. A `transition` [T - 1, K, K] holds one matrix for each step from t to t + 1. `log_likelihood` [T, B,
K] is log p(x_t | z_t = k): 0 for a missing frame, -inf if impossible. `valid` [T, B] is false on padding frames, which
come after the end of a sequence; the recursions do not move there.

Probabilities are rescaled at every frame and divided by the largest likelihood, so that sequences of any length do not
underflow. A state that is 1e-38 times as likely as another is lost in float32. An impossible sequence has
log-probability -inf and posteriors of 0, never NaN.

Equations: Rabiner 1989 (Proceedings of the IEEE 77), scaled as in section V.A. Parallel forms: Sarkka and
Garcia-Fernandez 2021 (arXiv 2002.03602).
"""

from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.distributions.linalg import FEW, matmul, normalised, pairwise_sum, peak_of, quotient

SCANS = ("auto", "sequential", "associative")


class Expectation(NamedTuple):
    """Expected counts over hidden paths given the frames."""

    initial: jax.Array  # [K], number of sequences that begin in a state
    transition: jax.Array  # [K, K], number of steps from a row to a column
    shares: jax.Array  # [T, B, K], p(z_t | x_1..T)
    evidence: jax.Array  # [T, B], log p(x_t | x_1..t-1), without weights


def parallel_pays(scan: str, platform: str, frames: int, states: int) -> bool:
    """Returns whether recursions run as parallel scans.

    Args:
      scan: `sequential`, `associative`, or `auto`: parallel on accelerators if sequences are long and states are few.
      platform: the backend of JAX.
      frames: number of frames of a sequence.
      states: number of states.
    """
    if scan != "auto":
        return scan == "associative"
    return platform != "cpu" and frames >= 256 and states <= 32  # K times the arithmetic, in log T rounds


def scaled_likelihood(log_likelihood: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns likelihoods relative to the largest likelihood of their frame.

    Args:
      log_likelihood: log-likelihoods [T, B, K].

    Returns:
      Relative likelihoods [T, B, K], and the logarithm of the largest likelihood [T, B].
    """
    states = log_likelihood.shape[-1]
    if states > FEW:
        peak = peak_of(log_likelihood)
        return jnp.exp(log_likelihood - peak), peak[..., 0]
    columns = [log_likelihood[..., state] for state in range(states)]  # K arrays [T, B]
    peak = jnp.maximum(reduce(jnp.maximum, columns), jnp.finfo(jnp.float32).min)
    return jnp.stack([jnp.exp(column - peak) for column in columns], -1), peak


def moved(rows: jax.Array, matrix: jax.Array) -> jax.Array:
    """Returns the product of rows and a matrix [B, K], in a form for scans.

    Args:
      rows: rows [B, K].
      matrix: matrix [K, K].
    """
    return (rows[:, :, None] * matrix[None]).sum(1) if len(matrix) <= FEW else matmul(rows, matrix)


def filtering(
    initial: jax.Array, transition: jax.Array, log_likelihood: jax.Array, valid: jax.Array, parallel: bool = False
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Computes the forward pass.

    Args:
      initial: probabilities of first states [K].
      transition: probabilities of transitions [K, K] or [T - 1, K, K].
      log_likelihood: log-likelihoods [T, B, K].
      valid: false on padding frames [T, B] bool.
      parallel: whether to use a parallel scan; by default False.

    Returns:
      p(z_t | x_1..t) and p(z_t | x_1..t-1), [T, B, K] each, and log p(x_t | x_1..t-1) [T, B].
    """
    scaled, peak = scaled_likelihood(log_likelihood)
    forward = filter_associative if parallel else filter_sequential
    filtered, predicted, likelihood = forward(initial, transition, scaled, valid)
    return filtered, predicted, jnp.where(valid, jnp.log(likelihood) + peak, 0)


def filter_sequential(initial: jax.Array, transition: jax.Array, likelihood: jax.Array, valid: jax.Array) -> tuple:
    """Computes the forward pass frame by frame (Rabiner, eq. 19-20 and 91-92).

    Args:
      initial: probabilities of first states [K].
      transition: probabilities of transitions [K, K] or [T - 1, K, K].
      likelihood: relative likelihoods [T, B, K].
      valid: false on padding frames [T, B] bool.

    Returns:
      The results of `filtering`, with p(x_t | x_1..t-1) in units of `likelihood` instead of its logarithm.
    """
    matrices = jnp.concatenate([transition, transition[-1:]]) if transition.ndim == 3 else None

    def step(carry: tuple, frame: tuple) -> tuple[tuple, tuple]:
        (filtered, predicted), (likelihood, valid, matrix) = carry, frame
        joint = predicted * likelihood  # [B, K]
        filtered = jnp.where(valid[:, None], normalised(joint), filtered)
        after = moved(filtered, transition if matrix is None else matrix)
        return (filtered, after), (filtered, predicted, joint.sum(-1))

    start = jnp.broadcast_to(initial, likelihood.shape[1:])
    return jax.lax.scan(step, (start, start), (likelihood, valid, matrices))[1]


def filter_associative(initial: jax.Array, transition: jax.Array, likelihood: jax.Array, valid: jax.Array) -> tuple:
    """Computes the forward pass in log2(T) rounds of products of K x K matrices.

    A matrix is stored as rows that sum to one, with the logarithms of their sums, so that small rows do not underflow.
    An impossible row is uniform, with a sum of 0.

    Args:
      initial: probabilities of first states [K].
      transition: probabilities of transitions [K, K] or [T - 1, K, K].
      likelihood: relative likelihoods [T, B, K].
      valid: false on padding frames [T, B] bool.

    Returns:
      The results of `filter_sequential`.
    """
    batch, states = likelihood.shape[1:]
    moves = transition.reshape(-1, 1, states, states) * likelihood[1:, :, None]  # [T - 1, B, K, K]
    moves = jnp.where(valid[1:, :, None, None], moves, jnp.eye(states).reshape(1, 1, states, states))
    first = jnp.where(valid[0, :, None], initial[None] * likelihood[0], initial[None])
    first = jnp.broadcast_to(first[None, :, None], (1, batch, states, states))

    def product(left: tuple, right: tuple) -> tuple:
        (rows, sums), (right_rows, right_sums) = left, right
        logits = jnp.log(rows) + right_sums[..., None, :]  # [.., K, K]
        peak = peak_of(logits)
        rows, growth = split_rows(matmul(jnp.exp(logits - peak), right_rows))
        return rows, sums + peak[..., 0] + growth

    rows, sums = jax.lax.associative_scan(product, split_rows(jnp.concatenate([first, moves])))
    filtered = jnp.where(sums[..., :1] > -jnp.inf, rows[..., 0, :], 0)
    start = jnp.broadcast_to(initial, (1, batch, states))
    predicted = jnp.concatenate([start, matmul(filtered[:-1], transition)])
    return filtered, predicted, (predicted * likelihood).sum(-1)


def split_rows(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the rows of a non-negative matrix scaled to sum to one, and the logarithms of their sums.

    Args:
      matrix: matrices [.., K, K].

    Returns:
      Rows [.., K, K], and logarithms [.., K].
    """
    sums = matrix.sum(-1)
    uniform = jnp.full_like(matrix, 1 / matrix.shape[-1])
    return jnp.where(sums[..., None] > 0, normalised(matrix), uniform), jnp.log(sums)


def smoothing(
    transition: jax.Array, filtered: jax.Array, predicted: jax.Array, valid: jax.Array, parallel: bool = False
) -> jax.Array:
    """Computes the backward pass from the results of `filtering`.

    It uses the form of Rauch, Tung and Striebel, p(z_t = i | x) = f_t(i) sum_j a_ij p(z_t+1 = j | x) / p_t+1(j). Its
    ratios are finite where f_t is positive, so that it needs no threshold on small probabilities.

    Args:
      transition: probabilities of transitions [K, K] or [T - 1, K, K].
      filtered: p(z_t | x_1..t) [T, B, K].
      predicted: p(z_t | x_1..t-1) [T, B, K].
      valid: false on padding frames [T, B] bool.
      parallel: whether to use a parallel scan; by default False.

    Returns:
      p(z_t | x_1..T) [T, B, K].
    """
    backward = smooth_associative if parallel else smooth_sequential
    rest = backward(transition, filtered, predicted[1:], valid[1:])
    return jnp.concatenate([rest, filtered[-1:]])


def smooth_sequential(transition: jax.Array, filtered: jax.Array, predicted: jax.Array, valid: jax.Array) -> jax.Array:
    """Computes all frames of `smoothing` except the last, frame by frame.

    Args:
      transition: probabilities of transitions [K, K] or [T - 1, K, K].
      filtered: p(z_t | x_1..t) [T, B, K].
      predicted: p(z_t | x_1..t-1) of frames 2 .. T [T - 1, B, K].
      valid: false on padding frames, of frames 2 .. T [T - 1, B] bool.

    Returns:
      [T - 1, B, K].
    """
    matrices = transition if transition.ndim == 3 else None

    def step(smoothed: jax.Array, frame: tuple) -> tuple[jax.Array, jax.Array]:
        filtered, predicted, valid, matrix = frame
        matrix = transition if matrix is None else matrix
        new = filtered * moved(quotient(smoothed, predicted), matrix.T)  # [B, K]
        smoothed = jnp.where(valid[:, None], normalised(new), smoothed)
        return smoothed, smoothed

    return jax.lax.scan(step, filtered[-1], (filtered[:-1], predicted, valid, matrices), reverse=True)[1]


def smooth_associative(transition: jax.Array, filtered: jax.Array, predicted: jax.Array, valid: jax.Array) -> jax.Array:
    """Computes all frames of `smoothing` except the last, by products of the reversed chain p(z_t | z_t+1, x_1..t).

    Args:
      transition: probabilities of transitions [K, K] or [T - 1, K, K].
      filtered: p(z_t | x_1..t) [T, B, K].
      predicted: p(z_t | x_1..t-1) of frames 2 .. T [T - 1, B, K].
      valid: false on padding frames, of frames 2 .. T [T - 1, B] bool.

    Returns:
      [T - 1, B, K].
    """
    states = filtered.shape[-1]
    transition = transition.reshape(-1, 1, states, states).mT
    back = quotient(
        filtered[:-1, :, None] * transition, jnp.broadcast_to(predicted[..., None], (*predicted.shape, states))
    )
    back = jnp.where(valid[..., None, None], back, jnp.eye(states).reshape(1, 1, states, states))
    products = jax.lax.associative_scan(lambda late, early: normalised(matmul(late, early)), back, reverse=True)
    return normalised(matmul(filtered[-1][None, :, None], products)[:, :, 0])


def expected_transitions(
    transition: jax.Array, filtered: jax.Array, predicted: jax.Array, smoothed: jax.Array, weight: jax.Array
) -> jax.Array:
    """Computes sum_t,b w_tb p(z_t-1 = i, z_t = j | x) (Rabiner, eq. 37) in one product after the scans.

    Args:
      transition: probabilities of transitions [K, K].
      filtered: p(z_t | x_1..t) [T, B, K], from `filtering`.
      predicted: p(z_t | x_1..t-1) [T, B, K], from `filtering`.
      smoothed: p(z_t | x_1..T) [T, B, K], from `smoothing`.
      weight: weights w of the frames that transitions lead to [T, B]; 0 for padding.

    Returns:
      Expected counts [K, K].
    """
    ratio = quotient(smoothed[1:], predicted[1:]) * weight[1:, :, None]
    before = filtered[:-1].reshape(-1, len(transition))
    after = ratio.reshape(-1, len(transition))
    return transition * matmul(before.T, after)


def log_forward(
    log_initial: jax.Array, log_transition: jax.Array, log_likelihood: jax.Array, valid: jax.Array
) -> jax.Array:
    """Computes log p(x) [B] with every probability in log space. It is slower than `filtering`, but loses no state.

    It is for sequences that `filtering` finds impossible, because the only possible state was 1e-38 times as likely as
    another.

    Args:
      log_initial: log-probabilities of first states [K].
      log_transition: log-probabilities of transitions [K, K].
      log_likelihood: log-likelihoods [T, B, K].
      valid: false on padding frames [T, B] bool.
    """

    def step(carry: tuple, frame: tuple) -> tuple[tuple, jax.Array]:
        log_likelihood, valid = frame
        scores, log_predicted = carry
        joint = jnp.where(valid[:, None], log_predicted + log_likelihood, scores)  # [B, K]
        peak = peak_of(joint)
        scores = joint - peak
        return (scores, jax.nn.logsumexp(scores[:, :, None] + log_transition[None], 1)), peak[:, 0]

    start = jnp.broadcast_to(log_initial, log_likelihood.shape[1:])
    (scores, _), peaks = jax.lax.scan(step, (start, start), (jnp.where(valid[..., None], log_likelihood, 0), valid))
    return pairwise_sum(peaks) + jax.nn.logsumexp(scores, -1)


def expectation(
    initial: jax.Array,
    transition: jax.Array,
    log_likelihood: jax.Array,
    valid: jax.Array,
    weight: jax.Array,
    parallel: bool = False,
) -> Expectation:
    """Computes weighted expected counts (Rabiner 1989, eq. 40a-b without their denominators).

    Args:
      initial: probabilities of first states [K].
      transition: probabilities of transitions [K, K].
      log_likelihood: log-likelihoods [T, B, K].
      valid: false on padding frames [T, B] bool.
      weight: weights of the sequences [B].
      parallel: whether to use parallel scans; by default False.
    """
    filtered, predicted, evidence = filtering(initial, transition, log_likelihood, valid, parallel)
    smoothed = smoothing(transition, filtered, predicted, valid, parallel)
    weight = weight[None] * valid  # [T, B]
    shares = smoothed * weight[..., None]
    counts = expected_transitions(transition, filtered, predicted, smoothed, weight)
    return Expectation(shares[0].sum(0), counts, shares, evidence)
