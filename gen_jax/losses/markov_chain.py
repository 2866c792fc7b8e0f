"""The Markov-chain loss of a generator's tokens. The model that learns a chain from text lives in `models.markov`."""

import jax
import jax.numpy as jnp


def markov_chain_loss(
    x: jax.Array, log_transition: jax.Array, log_initial: jax.Array | None = None, length: jax.Array | None = None
) -> jax.Array:
    """-(1/N) sum_i sum_t log p(x_t | x_{t-1}): the mean cross-entropy of N sequences under a chain of order 1.

    Args:
      x: tokens [N, T], whole numbers, or their probabilities [N, T, V] (softmax, Gumbel-softmax), the tokens being
        independent given those: then the loss is the expected one, and differentiable in x.
      log_transition: [V, V], log p(column | row) in nats; -inf is never.
      log_initial: [V], log p(x_1); None: the first token costs nothing.
      length: [N], tokens of each sequence; None: all.

    Returns:
      [] nats per sequence; inf where a step that can never happen has weight. A weight of 0 costs nothing there.
    """
    relaxed = x.ndim == 3
    length = jnp.full(len(x), x.shape[1]) if length is None else length
    inside = jnp.arange(x.shape[1])[None] < length[:, None]  # [N, T]
    before, after = x[:, :-1], x[:, 1:]
    steps = expected(log_transition, before, after) if relaxed else log_transition[before, after]  # [N, T - 1]
    total = jnp.where(inside[:, 1:], steps, 0).sum()
    if log_initial is not None:
        first = expected(log_initial[None], jnp.ones((len(x), 1)), x[:, 0]) if relaxed else log_initial[x[:, 0]]  # [N]
        total += jnp.where(inside[:, 0], first, 0).sum()
    return -total / len(x)


def expected(log_prob: jax.Array, before: jax.Array, after: jax.Array) -> jax.Array:
    """sum_jk before_j after_k log_prob_jk of [..., J] and [..., K], where 0 times -inf is 0."""
    possible = log_prob > -jnp.inf
    never = jnp.einsum("...j,...k,jk->...", before, after, (~possible).astype(before.dtype))
    mean = jnp.einsum("...j,...k,jk->...", before, after, jnp.where(possible, log_prob, 0))
    return jnp.where(never > 0, -jnp.inf, mean)
