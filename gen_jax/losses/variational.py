"""Bounds on the log-likelihood of latent variable models, and their gradients. No networks and no likelihoods live here.

Arrays of K samples of the latent lead with them: `log_w` [K, B]. Scales of Gaussians are given as their logarithms.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

STEADY = 0.01  # share of the codes' running moments that a batch renews, at least


def free_bits(kl: jax.Array, weight: jax.Array, least: float) -> jax.Array:
    """The KL [B, groups] summed over groups, each of them at least `least` nats on average over the batch: [B].

    A group whose mean over the rows, by their `weight` [B], is below costs just that and has no gradient (Kingma et al.
    2016, arXiv 1606.04934, eq. 15).
    """
    mean = weight @ kl / jnp.maximum(weight.sum(), 1e-12)
    return jnp.where((mean < least)[None], least, kl).sum(-1)


def importance_bound(log_w: jax.Array) -> jax.Array:
    """L_K = log 1/K sum_k w_k of log_w [K, B]: [B] (Burda et al. 2016, arXiv 1509.00519, eq. 8).

    Its own gradient is sum_k w~_k grad log w_k with w~ the normalised weights (eq. 14): there is nothing to stop.
    """
    return jax.nn.logsumexp(log_w, axis=0) - np.log(len(log_w))


def doubly_reparameterised(
    log_w: Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]],
    params: Any,
    z: jax.Array,
    weight: jax.Array,
    beta: jax.Array | float = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """L_K [B] without a gradient, and a number whose gradient is the doubly reparameterised one of its weighted sum.

    With respect to what `z` is made of it is sum_k w~_k^2 (d log w_k / d z_k) (d z_k / d phi), and with respect to `params`
    sum_k w~_k d log w_k / d params (Tucker et al. 2019, arXiv 1810.04152, eq. 7 and 8). Where `beta` tempers p(z) / q(z),
    what is learnt is log 1/K sum_k p(x | z_k) (p(z_k) / q(z_k))^beta, and w~^2 becomes w~ (1 - beta + beta w~): the
    gradient of log q is beta times that of w = p(x, z) / q, and goes over into one of z in the same way.

    Args:
      log_w: (params, z [K, B, ...]) -> log p(x | z) and log p(z) / q(z | x), each [K, B], in which the parameters of q
        stand still and each row depends on its own z.
      weight: [B], of the rows.
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
    """Mean [Z] and covariance [Z, Z] of codes, of which a batch [N, Z] renews the share `rate`, or `STEADY` where that is more.

    The covariance stays positive, which a mean square less that of the mean may not.
    """
    (mean, covariance), rate = moments, jnp.maximum(rate, STEADY)
    share = weight / jnp.maximum(weight.sum(), 1e-12)
    centred, gap = codes - (share @ codes)[None], share @ codes - mean
    new = (share[:, None] * centred).T @ centred
    return mean + rate * gap, covariance + rate * (new - covariance) + rate * (1 - rate) * jnp.outer(gap, gap)
