"""The Markov-chain loss of tokens from a generator. The model that fits a chain to text lives in `models.markov`."""

import jax
import jax.numpy as jnp


def markov_chain_loss(
    x: jax.Array, log_transition: jax.Array, log_initial: jax.Array | None = None, length: jax.Array | None = None
) -> jax.Array:
    """Computes the mean cross-entropy of N sequences under a chain of order 1, -(1/N) sum_i sum_t log p(x_t | x_{t-1}).

    If x holds probabilities, the tokens are independent given them. The loss is then the expected one, and
    differentiable in x.

    Args:
      x: tokens [N, T], whole numbers; or probabilities of the tokens [N, T, V] (softmax, Gumbel-softmax).
      log_transition: log p(column | row) [V, V] in nats; -inf for an impossible transition.
      log_initial: log p(x_1) [V] in nats; by default None, and the first token costs nothing.
      length: number of tokens of each sequence [N]; by default None, all T tokens.

    Returns:
      The loss [] in nats per sequence. It is inf if an impossible step has a weight above 0; with weight 0 such a step
      costs nothing.
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
    """Computes the expected log-probability sum_jk before_j after_k log_prob_jk, where 0 times -inf is 0.

    Args:
      log_prob: log-probabilities [J, K], which may be -inf.
      before: probabilities of j [..., J].
      after: probabilities of k [..., K].

    Returns:
      The expectation [...]; -inf if an impossible pair has a weight above 0.
    """
    possible = log_prob > -jnp.inf
    never = jnp.einsum("...j,...k,jk->...", before, after, (~possible).astype(before.dtype))
    mean = jnp.einsum("...j,...k,jk->...", before, after, jnp.where(possible, log_prob, 0))
    return jnp.where(never > 0, -jnp.inf, mean)
