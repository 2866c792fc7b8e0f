"""Products and quotients of arrays that densities and recursions share, in full precision."""

from functools import partial

import jax
import jax.numpy as jnp

matmul = partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)  # neither TF32 nor bfloat16 will do
einsum = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)
NEVER = -1e30  # stands in for log 0 inside a product of matrices, where 0 * -inf would be NaN
FEW = 4  # columns, which are taken one by one: XLA:CPU makes no vectors of so narrow arrays and slow products


def quotient(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """numerator / denominator, 0 where the denominator is 0; the shapes have as many axes."""
    positive = denominator > 0
    return jnp.where(positive, numerator / jnp.where(positive, denominator, 1), 0)


def normalised(values: jax.Array) -> jax.Array:
    """Values that sum to one over the last axis, or stay 0."""
    total = values.sum(-1, keepdims=True)
    return values * quotient(jnp.ones_like(total), total)


def peak_of(logs: jax.Array) -> jax.Array:
    """The largest over the last axis, kept; finite even where all are -inf, so that logs - peak is never NaN."""
    return jnp.maximum(logs.max(-1, keepdims=True), jnp.finfo(jnp.float32).min)


def pairwise_sum(values: jax.Array) -> jax.Array:
    """Sum over the first axis, by halves: the rounding error grows with log T, not with T."""
    while len(values) > 1:
        half = -(-len(values) // 2)
        rest = values[half:]
        values = values[:half] + jnp.concatenate([rest, jnp.zeros_like(values[: 2 * half - len(values)])])
    return values[0]
