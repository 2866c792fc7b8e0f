"""The tree of pairwise dependence that explains a table best (Chow and Liu 1968), traced: counts of pairs, then Prim."""

import jax
import jax.numpy as jnp

from gen_jax.distributions.linalg import matmul


def pair_counts(x: jax.Array, observed: jax.Array, weight: jax.Array, most: int) -> jax.Array:
    """How often two levels occur together [D, R, D, R], over the rows of x [B, D] in which both are observed."""
    held = (x[..., None] == jnp.arange(most, dtype=x.dtype)[None, None]) & observed[..., None]  # [B, D, R]
    held = held.reshape(len(x), -1).astype(jnp.float32)
    return matmul(held.T, held * weight[:, None]).reshape(x.shape[1], most, x.shape[1], most)


def mutual_information(counts: jax.Array, valid: jax.Array, pseudo_count: float) -> jax.Array:
    """Mutual information of every two variables [D, D], nats, with `pseudo_count` added to each cell of their table.

    Args:
      counts: of `pair_counts`.
      valid: which levels a variable has [D, R].
    """
    cells = valid[:, :, None, None] & valid[None, None]  # [D, R, D, R]
    counts = jnp.where(cells, counts + pseudo_count, 0)
    joint = counts / jnp.maximum(counts.sum((1, 3), keepdims=True), 1e-30)
    row, column = joint.sum(3, keepdims=True), joint.sum(1, keepdims=True)
    ratio = jnp.where(joint > 0, joint, 1) / jnp.where(joint > 0, row * column, 1)
    return (joint * jnp.log(ratio)).sum((1, 3))


def chow_liu(information: jax.Array) -> jax.Array:
    """The parents [D] int32, -1 of the root, variable 0, in the spanning tree with the largest sum of `information` [D, D].

    By Prim's algorithm; ties go to the lower number.
    """
    size = len(information)

    def grow(number: int, tree: tuple) -> tuple:
        inside, parent, best, near = tree  # best: [D] the strongest bond to what is inside, near: [D] whose it is
        new = jnp.argmax(jnp.where(inside, -jnp.inf, best))
        parent = parent.at[new].set(near[new])
        closer = information[new] > best
        return inside.at[new].set(True), parent, jnp.maximum(best, information[new]), jnp.where(closer, new, near)

    inside, parent = jnp.arange(size) == 0, jnp.full(size, -1, jnp.int32)
    start = inside, parent, information[0], jnp.zeros_like(parent)
    return jax.lax.fori_loop(1, size, grow, start)[1]
