"""Which noise stands beside which row of a batch in training."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from optax.assignment import hungarian_algorithm

from gen_jax.distributions.linalg import matmul
from gen_jax.model import row_sum

GROUP = 64  # rows; the time of a group grows with its cube
# (rows [N, ...], noise [N, ...], labels [N] or None, weight [N]) -> noise of each row [N, ...]
Pairing = Callable[[jax.Array, jax.Array, jax.Array | None, jax.Array], jax.Array]


def independent(x: jax.Array, e: jax.Array, y: jax.Array | None, weight: jax.Array) -> jax.Array:
    """Returns the noise as it was drawn.

    Args:
      x: rows [N, ...].
      e: noise [N, ...].
      y: not used.
      weight: not used.
    """
    return e


def transported(x: jax.Array, e: jax.Array, y: jax.Array | None, weight: jax.Array) -> jax.Array:
    """Returns the noise in the order that minimises the sum of the squared distances to the rows, in groups of rows.

    This is the optimal transport between the rows and the noise of a group of `GROUP` neighbours in a batch (Tong et al.
    2024, arXiv 2302.00482, section 3.2.2; Pooladian et al. 2023, arXiv 2304.14772). Its time grows with the cube of the
    group. Rows of a class share the noise that was drawn for them, so that the noise of a class remains N(0, I). A
    padding row keeps its noise.

    Args:
      x: rows [N, ...].
      e: noise [N, ...].
      y: labels of the rows [N]; None without labels.
      weight: weights of the rows [N], 0 for padding rows.
    """
    num = len(x)
    classes = jnp.zeros(num, jnp.int32) if y is None else y
    arrays = (x.reshape(num, -1), e.reshape(num, -1), classes, weight)
    groups = -(-num // GROUP)
    padded = [jnp.pad(array, ((0, groups * GROUP - num), *((0, 0),) * (array.ndim - 1))) for array in arrays]
    split = [array.reshape(groups, GROUP, *array.shape[1:]) for array in padded]
    noise = jax.lax.map(lambda group: transported_group(*group), split)
    return noise.reshape(groups * GROUP, -1)[:num].reshape(e.shape)


def transported_group(x: jax.Array, e: jax.Array, y: jax.Array, weight: jax.Array) -> jax.Array:
    """Returns the noise of a group in the order of the least cost, see `transported`.

    Args:
      x: rows [G, D].
      e: noise [G, D].
      y: classes of the rows [G].
      weight: weights of the rows [G], 0 for padding rows.
    """
    cost = row_sum(jnp.square(x))[:, None] + row_sum(jnp.square(e))[None] - 2 * matmul(x, e.T)  # [G, G]
    classes = jnp.where(weight > 0, y, -1 - jnp.arange(len(x)))  # each padding row has a class of its own
    same = classes[:, None] == classes[None]
    forbidden = 1 + len(x) * jnp.where(same, cost, 0).max()  # more than the sum of any pairs that are allowed
    places, partners = hungarian_algorithm(jnp.where(same, cost, forbidden))
    return e[jnp.zeros(len(x), jnp.int32).at[places].set(partners)]


PAIRINGS: dict[str, Pairing] = {"independent": independent, "transport": transported}
