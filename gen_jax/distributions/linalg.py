"""Products and quotients of arrays in full precision, which densities and recursions share."""

from functools import partial

import jax
import jax.numpy as jnp

matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)  # because TF32 and bfloat16 are too coarse
einsum = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
NEVER = -1e30  # stands for log 0 in a product of matrices, because 0 * -inf would be NaN
FEW = 4  # columns or fewer are computed one by one: XLA:CPU neither vectorises narrow arrays nor multiplies them fast


def quotient(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """Returns numerator / denominator, 0 where the denominator is 0.

    Args:
      numerator: array [...].
      denominator: array with the same number of axes, which broadcasts to the numerator.
    """
    positive = denominator > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1), 0)


def normalised(values: jax.Array) -> jax.Array:
    """Returns the values divided by their sum over the last axis. If the sum is 0, the values stay 0.

    Args:
      values: array [..., N], not negative.
    """
    total = values.sum(-1, keepdims=True)
    return values * quotient(jnp.ones_like(total), total)


def peak_of(logs: jax.Array) -> jax.Array:
    """Returns the largest value over the last axis, as [..., 1].

    The result is finite even if all values are -inf, so that logs - peak is never NaN.

    Args:
      logs: array [..., N].
    """
    return jnp.maximum(logs.max(-1, keepdims=True), jnp.finfo(jnp.float32).min)


def pairwise_sum(values: jax.Array) -> jax.Array:
    """Returns the sum over the first axis, computed by halves.

    The rounding error grows with log T, not with T.

    Args:
      values: array [T, ...].
    """
    while len(values) > 1:
        half = -(-len(values) // 2)
        rest = values[half:]
        values = values[:half] + jnp.concatenate([rest, jnp.zeros_like(values[: 2 * half - len(values)])])
    return values[0]
