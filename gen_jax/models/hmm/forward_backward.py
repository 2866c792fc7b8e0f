"""Inference in hidden Markov models as functions of arrays. No emissions, no paths, no state.

Everything is time-major: T frames, B sequences, K states. `initial` [K] and `transition` [K, K] (row: from, column: to)
are probabilities; [T - 1, K, K] is one matrix for each transition, t to t + 1. `log_likelihood` [T, B, K] is
log p(x_t | z_t = k), 0 where nothing is observed, -inf where impossible. `valid` [T, B] is false on padding frames: they
end a sequence, and the recursions stand still there. Probabilities are rescaled at every frame and the largest
likelihood is pulled out, so no length underflows; a state that is 1e-38 times as likely as another is lost in float32.
A sequence that cannot be has log-probability -inf and posteriors of 0, never NaN. Equations: Rabiner 1989
(Proceedings of the IEEE 77), scaled as in section V.A; parallel forms: Sarkka and Garcia-Fernandez 2021 (2002.03602).
"""

from functools import reduce

import jax
import jax.numpy as jnp

from gen_jax.distributions.linalg import FEW, matmul, normalised, pairwise_sum, peak_of, quotient

SCANS = ("auto", "sequential", "associative")


def parallel_pays(scan: str, platform: str, frames: int, states: int) -> bool:
    """Whether recursions run as parallel scans: `scan` if it says so, else on accelerators, long with few states."""
    if scan != "auto":
        return scan == "associative"
    return platform != "cpu" and frames >= 256 and states <= 32  # K times the arithmetic, in log T rounds


def scaled_likelihood(log_likelihood: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Likelihoods [T, B, K] in units of the largest of their frame, and its logarithm [T, B]."""
    states = log_likelihood.shape[-1]
    if states > FEW:
        peak = peak_of(log_likelihood)
        return jnp.exp(log_likelihood - peak), peak[..., 0]
    each = [log_likelihood[..., state] for state in range(states)]
    peak = jnp.maximum(reduce(jnp.maximum, each), jnp.finfo(jnp.float32).min)
    return jnp.stack([jnp.exp(one - peak) for one in each], -1), peak


def moved(rows: jax.Array, matrix: jax.Array) -> jax.Array:
    """rows [B, K] times a matrix [K, K], within a scan."""
    return (rows[:, :, None] * matrix[None]).sum(1) if len(matrix) <= FEW else matmul(rows, matrix)


def filtering(
    initial: jax.Array, transition: jax.Array, log_likelihood: jax.Array, valid: jax.Array, parallel: bool = False
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The forward pass: p(z_t | x_1..t), p(z_t | x_1..t-1), both [T, B, K], and log p(x_t | x_1..t-1) [T, B]."""
    scaled, peak = scaled_likelihood(log_likelihood)
    forward = filter_associative if parallel else filter_sequential
    filtered, predicted, likelihood = forward(initial, transition, scaled, valid)
    return filtered, predicted, jnp.where(valid, jnp.log(likelihood) + peak, 0)


def filter_sequential(initial: jax.Array, transition: jax.Array, likelihood: jax.Array, valid: jax.Array) -> tuple:
    """What `filtering` returns, frame by frame (Rabiner, eq. 19-20 and 91-92); the last in units of `likelihood`."""
    each = jnp.concatenate([transition, transition[-1:]]) if transition.ndim == 3 else None

    def step(carry: tuple, frame: tuple) -> tuple[tuple, tuple]:
        (filtered, predicted), (likelihood, valid, matrix) = carry, frame
        joint = predicted * likelihood  # [B, K]
        filtered = jnp.where(valid[:, None], normalised(joint), filtered)
        after = moved(filtered, transition if matrix is None else matrix)
        return (filtered, after), (filtered, predicted, joint.sum(-1))

    start = jnp.broadcast_to(initial, likelihood.shape[1:])
    return jax.lax.scan(step, (start, start), (likelihood, valid, each))[1]


def filter_associative(initial: jax.Array, transition: jax.Array, likelihood: jax.Array, valid: jax.Array) -> tuple:
    """As `filter_sequential`, in log2(T) rounds of products of K x K matrices.

    A matrix is its rows, each summing to one, beside the logs of their sums: no row underflows beside another, and
    one that is impossible, 0 / 0, is uniform with a sum of 0.
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
        rows, more = split_rows(matmul(jnp.exp(logits - peak), right_rows))
        return rows, sums + peak[..., 0] + more

    rows, sums = jax.lax.associative_scan(product, split_rows(jnp.concatenate([first, moves])))
    filtered = jnp.where(sums[..., :1] > -jnp.inf, rows[..., 0, :], 0)
    start = jnp.broadcast_to(initial, (1, batch, states))
    predicted = jnp.concatenate([start, matmul(filtered[:-1], transition)])
    return filtered, predicted, (predicted * likelihood).sum(-1)


def split_rows(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The rows of a non-negative matrix [.., K, K], scaled to sum to one, and the logs of their sums [.., K]."""
    sums = matrix.sum(-1)
    uniform = jnp.full_like(matrix, 1 / matrix.shape[-1])
    return jnp.where(sums[..., None] > 0, normalised(matrix), uniform), jnp.log(sums)


def smoothing(
    transition: jax.Array, filtered: jax.Array, predicted: jax.Array, valid: jax.Array, parallel: bool = False
) -> jax.Array:
    """The backward pass: p(z_t | x_1..T) [T, B, K] from what `filtering` returns.

    The form of Rauch, Tung and Striebel, p(z_t = i | x) = f_t(i) sum_j a_ij p(z_t+1 = j | x) / p_t+1(j), whose ratios
    are finite wherever f_t is positive: no threshold on small probabilities is needed, and none is taken.
    """
    backward = smooth_associative if parallel else smooth_sequential
    rest = backward(transition, filtered, predicted[1:], valid[1:])
    return jnp.concatenate([rest, filtered[-1:]])


def smooth_sequential(transition: jax.Array, filtered: jax.Array, predicted: jax.Array, valid: jax.Array) -> jax.Array:
    """All but the last frame of `smoothing`, frame by frame."""
    each = transition if transition.ndim == 3 else None

    def step(smoothed: jax.Array, frame: tuple) -> tuple[jax.Array, jax.Array]:
        filtered, predicted, valid, matrix = frame
        matrix = transition if matrix is None else matrix
        new = filtered * moved(quotient(smoothed, predicted), matrix.T)  # [B, K]
        smoothed = jnp.where(valid[:, None], normalised(new), smoothed)
        return smoothed, smoothed

    return jax.lax.scan(step, filtered[-1], (filtered[:-1], predicted, valid, each), reverse=True)[1]


def smooth_associative(transition: jax.Array, filtered: jax.Array, predicted: jax.Array, valid: jax.Array) -> jax.Array:
    """All but the last frame of `smoothing`, as products of the reversed chain p(z_t = i | z_t+1 = j, x_1..t)."""
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
    """sum_t,b w_t,b p(z_t = i, z_t+1 = j | x) [K, K] (Rabiner, eq. 37), in one product after the scans.

    `weight` [T, B] is that of the frame a transition leads to, 0 for padding; `transition` is [K, K].
    """
    ratio = quotient(smoothed[1:], predicted[1:]) * weight[1:, :, None]
    before, after = (each.reshape(-1, len(transition)) for each in (filtered[:-1], ratio))
    return transition * matmul(before.T, after)


def log_forward(
    log_initial: jax.Array, log_transition: jax.Array, log_likelihood: jax.Array, valid: jax.Array
) -> jax.Array:
    """log p(x) [B] with every probability in log space: slower than `filtering`, and nothing is lost in it.

    For sequences that `filtering` finds impossible: a state may have been the only way on and 1e-38 times as likely.
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


def reseeded(shares: jax.Array, evidence: jax.Array, weight: jax.Array, dead: jax.Array) -> jax.Array:
    """Shares [T, B, K] in which each dead state owns a frame of those explained worst, and as much of all frames."""
    badness = jnp.where(weight > 0, -evidence, -jnp.inf).reshape(-1)
    worst = jax.lax.top_k(badness, len(dead))[1][jnp.cumsum(dead) - 1]  # [K], another for each dead state
    own = (jnp.arange(weight.size)[:, None] == worst[None]).reshape(shares.shape)
    pool = weight / jnp.maximum(weight.sum(), 1e-12)
    return jnp.where(dead.reshape(1, 1, -1), (own * (weight > 0)[..., None]) + pool[..., None], shares)


def revived(log_prob: jax.Array, dead: jax.Array) -> jax.Array:
    """Rows [.., K] in which the share 1 / K leads to each dead state; of a matrix, rows of dead states are uniform."""
    even = -jnp.log(jnp.full((), len(dead), jnp.float32))
    like = dead.reshape(*(1,) * (log_prob.ndim - 1), -1)
    alive = jnp.where(like, jnp.finfo(jnp.float32).min, log_prob)  # what the dead had goes to the others
    alive = jnp.where(dead.any(), jax.nn.log_softmax(alive), log_prob)
    log_prob = jnp.where(like, even, alive + jnp.log1p(-dead.mean()))
    return jnp.where(dead[:, None], even, log_prob) if log_prob.ndim == 2 else log_prob


def expectation(
    initial: jax.Array,
    transition: jax.Array,
    log_likelihood: jax.Array,
    valid: jax.Array,
    weight: jax.Array,
    parallel: bool = False,
) -> tuple[jax.Array, ...]:
    """Expected counts of first states [K] and of transitions [K, K], p(z_t | x) [T, B, K], log p(x_t | x_1..t-1) [T, B].

    The first three are weighted by `weight` [B]. Rabiner 1989, eq. 40a-b without their denominators.
    """
    filtered, predicted, evidence = filtering(initial, transition, log_likelihood, valid, parallel)
    smoothed = smoothing(transition, filtered, predicted, valid, parallel)
    weight = weight[None] * valid  # [T, B]
    shares = smoothed * weight[..., None]
    return shares[0].sum(0), expected_transitions(transition, filtered, predicted, smoothed, weight), shares, evidence
