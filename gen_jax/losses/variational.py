"""Bounds on the log-likelihood of latent variable models, and their gradients. Networks and likelihoods live elsewhere.

In arrays with K samples of the latent, K is the first axis: `log_w` [K, B]. Scales of Gaussians are given as
logarithms.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

STEADY = 0.01  # smallest share of the running moments of the codes that a batch renews


def free_bits(kl: jax.Array, weight: jax.Array, least: float) -> jax.Array:
    """Computes the KL summed over groups, where each group costs at least `least` nats on average over the batch.

    If the weighted mean of a group is below `least`, the group costs `least` and has no gradient (Kingma et al. 2016,
    arXiv 1606.04934, eq. 15).

    Args:
      kl: KL of each row and group [B, groups], in nats.
      weight: weights of the rows [B].
      least: smallest mean of a group, in nats.

    Returns:
      The KL [B] in nats.
    """
    mean = weight @ kl / jnp.maximum(weight.sum(), 1e-12)
    return jnp.where((mean < least)[None], least, kl).sum(-1)


def importance_bound(log_w: jax.Array) -> jax.Array:
    """Computes the bound L_K = log 1/K sum_k w_k (Burda et al. 2016, arXiv 1509.00519, eq. 8).

    Its gradient is sum_k w~_k grad log w_k with the normalised weights w~ (eq. 14), as automatic differentiation gives
    it. No `stop_gradient` is needed.

    Args:
      log_w: log-weights log w_k [K, B].

    Returns:
      The bound [B] in nats.
    """
    return jax.nn.logsumexp(log_w, axis=0) - np.log(len(log_w))


def doubly_reparameterised(
    log_w: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]],
    params: Any,
    z: jax.Array,
    weight: jax.Array,
    beta: jax.Array | float = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Computes L_K, and a number whose gradient is the doubly reparameterised gradient of the weighted sum of L_K.

    The gradients are (Tucker et al. 2019, arXiv 1810.04152, eq. 7 and 8):

      - with respect to phi, from which `z` is computed: sum_k w~_k^2 (d log w_k / d z_k) (d z_k / d phi);
      - with respect to `params`: sum_k w~_k d log w_k / d params.

    If `beta` tempers p(z) / q(z), the objective is log 1/K sum_k p(x | z_k) (p(z_k) / q(z_k))^beta. The factor w~^2
    then becomes w~ (1 - beta + beta w~). The reason is that the gradient of log q is beta times its gradient for w =
    p(x, z) / q. The same identity turns it into a gradient of z.

    Args:
      log_w: function (params, z [K, B, ...]) -> log p(x | z) and log p(z) / q(z | x), [K, B] each. The parameters of q
        must be constant in it, and a row may depend only on its own z.
      params: parameters of the model, a tree.
      z: samples of the latent [K, B, ...].
      weight: weights of the rows [B].
      beta: exponent of p(z) / q(z); by default 1.

    Returns:
      The bound L_K [B] in nats, without a gradient; and a number [] of which only the gradient has a meaning.
    """
    fixed = jax.lax.stop_gradient

    def tempered(params: Any, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        log_x, ratio = log_w(params, z)
        return log_x + beta * ratio, log_x + ratio

    values, pull, plain = jax.vjp(tempered, fixed(params), fixed(z), has_aux=True)
    share = jax.nn.softmax(values, axis=0)
    to_params, to_z = pull(share * weight[None])
    factor = 1 - beta + beta * share
    to_z = to_z * factor.reshape(*share.shape, *(1,) * (z.ndim - 2))
    return importance_bound(plain), optax.tree.vdot(to_params, params) + jnp.vdot(to_z, z)


def running_moments(
    moments: tuple[jax.Array, jax.Array], codes: jax.Array, weight: jax.Array, rate: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Updates the running mean and covariance of the codes with one batch.

    The batch renews the share `rate` of the moments, but at least the share `STEADY`. The covariance is computed from
    centred codes and stays positive; a mean square minus the square of the mean may not.

    Args:
      moments: mean [Z] and covariance [Z, Z].
      codes: codes of the batch [N, Z].
      weight: weights of the rows [N].
      rate: share that the batch renews, from 0 to 1.

    Returns:
      The new mean [Z] and covariance [Z, Z].
    """
    (mean, covariance), rate = moments, jnp.maximum(rate, STEADY)
    share = weight / jnp.maximum(weight.sum(), 1e-12)
    centred, gap = codes - (share @ codes)[None], share @ codes - mean
    new = (share[:, None] * centred).T @ centred
    return mean + rate * gap, covariance + rate * (new - covariance) + rate * (1 - rate) * jnp.outer(gap, gap)
