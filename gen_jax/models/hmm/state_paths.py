"""Paths of hidden Markov models: the most probable path and draws from the posterior. Shapes: `forward_backward.py`."""

import jax
import jax.numpy as jnp

from gen_jax.distributions.linalg import pairwise_sum


def viterbi(
    log_initial: jax.Array,
    log_transition: jax.Array,
    log_likelihood: jax.Array,
    valid: jax.Array,
    parallel: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Computes the most probable path, and its log-probability with the observations.

    On padding frames the path stays in its last state. Rabiner 1989, eq. 32-35.

    Args:
      log_initial: log-probabilities of first states [K].
      log_transition: log-probabilities of transitions [K, K], from a row to a column.
      log_likelihood: log-likelihoods [T, B, K].
      valid: false on padding frames [T, B] bool.
      parallel: whether recursions over time run as parallel scans; by default False.

    Returns:
      The path [T, B] int32, and its log-probability [B].
    """
    log_likelihood = jnp.where(valid[..., None], log_likelihood, 0)
    first = jnp.where(valid[0, :, None], log_initial[None] + log_likelihood[0], log_initial[None])  # [B, K]
    forward, backward = (best_associative, trace_associative) if parallel else (best_sequential, trace_sequential)
    best, came = forward(first, log_transition, log_likelihood[1:], valid[1:])
    path = backward(jnp.argmax(best, -1).astype(jnp.int32), came)
    on_path = jnp.take_along_axis(log_likelihood, path[..., None], -1)[..., 0]  # [T, B]
    moves = jnp.where(valid[1:], log_transition[path[:-1], path[1:]], 0)
    return path, pairwise_sum(on_path) + log_initial[path[0]] + pairwise_sum(jnp.pad(moves, ((1, 0), (0, 0))))


def shifted(scores: jax.Array, axes: int | tuple = -1) -> jax.Array:
    """Returns scores minus their maximum, so that long sequences keep their digits. All scores may be -inf.

    Args:
      scores: array of scores.
      axes: axes of the maximum; by default the last.
    """
    return scores - jnp.maximum(scores.max(axes, keepdims=True), jnp.finfo(jnp.float32).min)


def best_sequential(first: jax.Array, log_transition: jax.Array, log_likelihood: jax.Array, valid: jax.Array) -> tuple:
    """Computes the scores of the best paths frame by frame.

    Args:
      first: scores of first states [B, K].
      log_transition: log-probabilities of transitions [K, K].
      log_likelihood: log-likelihoods of frames 2 .. T [T - 1, B, K].
      valid: false on padding frames, of frames 2 .. T [T - 1, B] bool.

    Returns:
      Scores of the best path to each last state [B, K], and the previous states [T - 1, B, K].
    """
    stay = jnp.broadcast_to(jnp.arange(first.shape[-1], dtype=jnp.int32), first.shape)

    def step(best: jax.Array, frame: tuple) -> tuple[jax.Array, jax.Array]:
        log_likelihood, valid = frame
        through = best[:, :, None] + log_transition[None]  # [B, K, K]
        new = shifted(through.max(1) + log_likelihood)
        came = jnp.where(valid[:, None], jnp.argmax(through, 1).astype(jnp.int32), stay)
        return jnp.where(valid[:, None], new, best), came

    return jax.lax.scan(step, shifted(first), (log_likelihood, valid))


def best_associative(first: jax.Array, log_transition: jax.Array, log_likelihood: jax.Array, valid: jax.Array) -> tuple:
    """Computes the results of `best_sequential` by products of matrices in the max-plus semiring.

    Args:
      first: scores of first states [B, K].
      log_transition: log-probabilities of transitions [K, K].
      log_likelihood: log-likelihoods of frames 2 .. T [T - 1, B, K].
      valid: false on padding frames, of frames 2 .. T [T - 1, B] bool.

    Returns:
      Scores of the best path to each last state [B, K], and the previous states [T - 1, B, K].
    """
    states = first.shape[-1]
    stay = jnp.where(jnp.eye(states, dtype=bool), 0, -jnp.inf).reshape(1, 1, states, states)
    moves = log_transition.reshape(1, 1, states, states) + log_likelihood[:, :, None]  # [T - 1, B, K, K]
    moves = jnp.where(valid[..., None, None], moves, stay)
    start = jnp.broadcast_to(first[None, :, None], (1, *first.shape[:1], states, states))

    def product(left: jax.Array, right: jax.Array) -> jax.Array:
        return shifted((left[..., :, :, None] + right[..., None, :, :]).max(-2), (-2, -1))

    best = jax.lax.associative_scan(product, jnp.concatenate([start, moves]))[..., 0, :]  # [T, B, K]
    came = jnp.argmax(best[:-1, ..., None] + log_transition.reshape(1, 1, states, states), axis=2)
    same = jnp.arange(states, dtype=jnp.int32).reshape(1, 1, states)
    return best[-1], jnp.where(valid[..., None], came.astype(jnp.int32), same)


def trace_sequential(last: jax.Array, came: jax.Array) -> jax.Array:
    """Returns the path [T, B] that ends in given states.

    Args:
      last: last states [B].
      came: the previous states [T - 1, B, K].
    """

    def step(state: jax.Array, came: jax.Array) -> tuple[jax.Array, jax.Array]:
        state = jnp.take_along_axis(came, state[:, None], -1)[:, 0]
        return state, state

    return jnp.concatenate([jax.lax.scan(step, last, came, reverse=True)[1], last[None]])


def trace_associative(last: jax.Array, came: jax.Array) -> jax.Array:
    """Returns the path of `trace_sequential`, computed by composing the maps from state to state.

    Args:
      last: last states [B].
      came: the previous states [T - 1, B, K].
    """
    maps = jax.lax.associative_scan(lambda late, early: jnp.take_along_axis(early, late, -1), came, reverse=True)
    rest = jnp.take_along_axis(maps, jnp.broadcast_to(last[None, :, None], (*maps.shape[:2], 1)), -1)[..., 0]
    return jnp.concatenate([rest, last[None]])


def sample_paths(keys: jax.Array, transition: jax.Array, filtered: jax.Array, valid: jax.Array) -> jax.Array:
    """Draws paths from p(z | x), backwards (Chib 1996, Journal of Econometrics 75).

    On padding frames a path stays in its last state.

    Args:
      keys: random keys [B], one for each sequence, so that a draw depends on no other row.
      transition: probabilities of transitions [K, K] or [T - 1, K, K].
      filtered: p(z_t | x_1..t) [T, B, K], from `filtering`.
      valid: false on padding frames [T, B] bool.

    Returns:
      Paths [T, B] int32.
    """
    log_transition = jnp.log(transition)
    matrices = log_transition if transition.ndim == 3 else None
    draw = jax.vmap(
        lambda key, time, logits: jax.random.categorical(jax.random.fold_in(key, time), logits), (0, None, 0)
    )

    def step(state: jax.Array, frame: tuple) -> tuple[jax.Array, jax.Array]:
        time, filtered, valid, matrix = frame
        to_state = (log_transition if matrix is None else matrix).T[state]  # [B, K]
        state = jnp.where(valid, draw(keys, time, jnp.log(filtered) + to_state).astype(jnp.int32), state)
        return state, state

    times = jnp.arange(len(filtered), dtype=jnp.int32)
    last = draw(keys, times[-1], jnp.log(filtered[-1])).astype(jnp.int32)
    rest = jax.lax.scan(step, last, (times[:-1], filtered[:-1], valid[1:], matrices), reverse=True)[1]
    return jnp.concatenate([rest, last[None]])
