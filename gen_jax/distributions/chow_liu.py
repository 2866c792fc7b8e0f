"""The tree of pairwise dependence that fits a table best (Chow and Liu 1968), under jit: counts of pairs, then Prim."""

import jax
import jax.numpy as jnp

from gen_jax.distributions.linalg import matmul


def pair_counts(x: jax.Array, observed: jax.Array, weight: jax.Array, max_levels: int) -> jax.Array:
    """Counts the rows in which two levels occur together, among the rows in which both cells are observed.

    Args:
      x: indices of levels [B, D].
      observed: which cells are observed [B, D] bool.
      weight: weights of the rows [B].
      max_levels: largest number of levels of a column, R.

    Returns:
      Counts [D, R, D, R] float32.
    """
    held = (x[..., None] == jnp.arange(max_levels, dtype=x.dtype)[None, None]) & observed[..., None]  # [B, D, R]
    held = held.reshape(len(x), -1).astype(jnp.float32)
    return matmul(held.T, held * weight[:, None]).reshape(x.shape[1], max_levels, x.shape[1], max_levels)


def mutual_information(counts: jax.Array, valid: jax.Array, pseudo_count: float) -> jax.Array:
    """Returns the mutual information of all pairs of variables.

    Args:
      counts: counts of `pair_counts` [D, R, D, R].
      valid: which levels a variable has [D, R] bool.
      pseudo_count: number that is added to each cell of the joint tables.

    Returns:
      Mutual information [D, D] in nats.
    """
    cells = valid[:, :, None, None] & valid[None, None]  # [D, R, D, R]
    counts = jnp.where(cells, counts + pseudo_count, 0)
    joint = counts / jnp.maximum(counts.sum((1, 3), keepdims=True), 1e-30)
    row, column = joint.sum(3, keepdims=True), joint.sum(1, keepdims=True)
    ratio = jnp.where(joint > 0, joint, 1) / jnp.where(joint > 0, row * column, 1)
    return (joint * jnp.log(ratio)).sum((1, 3))


def chow_liu(information: jax.Array) -> jax.Array:
    """Returns the parents of all variables in the spanning tree with the largest sum of `information`.

    The tree is grown by Prim's algorithm; ties go to the lower index.

    Args:
      information: mutual information of all pairs [D, D].

    Returns:
      Parents [D] int32; the root, variable 0, has -1.
    """
    size = len(information)

    def grow(number: int, tree: tuple) -> tuple:
        inside, parent, best, near = tree  # best [D]: the strongest bond to the tree; near [D]: its end in the tree
        new = jnp.argmax(jnp.where(inside, -jnp.inf, best))
        parent = parent.at[new].set(near[new])
        closer = information[new] > best
        return inside.at[new].set(True), parent, jnp.maximum(best, information[new]), jnp.where(closer, new, near)

    inside, parent = jnp.arange(size) == 0, jnp.full(size, -1, jnp.int32)
    start = inside, parent, information[0], jnp.zeros_like(parent)
    return jax.lax.fori_loop(1, size, grow, start)[1]
