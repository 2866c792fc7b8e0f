"""Penalties on the gradient of the critic at its input, per example. They are added to the losses of `adversarial.py`.

A penalty is `(key, critic, real, fake) -> (real logits [B], fake logits [B], {name: penalties [B]})`. The critic `(x,
call)` maps x [N, ...] to logits [N], where N is a multiple of B; rows that belong to one example are adjacent.

`call` is the number of the pass, and every number has dropout of its own. Pass 0 reads real rows, pass 1 generated
rows, and pass 2 both of them or rows between them.

A penalty other than `none` needs a critic that treats every row alone, without statistics across the batch. One reverse
pass then gives every row its own gradient.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Critic = Callable[[jax.Array, int], jax.Array]
Penalised = tuple[jax.Array, jax.Array, dict[str, jax.Array]]


def squared_gradient(critic: Critic, x: jax.Array, call: int) -> tuple[jax.Array, jax.Array]:
    """Computes the logits of the critic, and the squared norm of their gradient at every row.

    Args:
      critic: the critic (x [N, ...], call) -> logits [N], or [N, P] for P patches of a row.
      x: rows [N, ...].
      call: number of the pass.

    Returns:
      The logits [N], and ||grad_x D(x_n)||^2 [N], summed over the entries of a row; of P logits, D is their mean.
    """
    logits, pullback = jax.vjp(lambda x: critic(x, call), x)
    share = len(x) / logits.size  # 1, or 1 / P for the mean of P logits of a row
    (gradient,) = pullback(jnp.full_like(logits, share))  # [N, ...]
    return logits, jnp.sum(jnp.square(gradient), axis=range(1, gradient.ndim))


def interleave(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Returns the rows real_0, fake_0, real_1, ... [2B, ...].

    Unlike in a concatenation, no row leaves its device.

    Args:
      real: real rows [B, ...].
      fake: generated rows [B, ...].
    """
    return jnp.stack([real, fake], axis=1).reshape(-1, *real.shape[1:])


def apart(logits: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the logits of real and of generated rows, [B, ...] each, for the rows that `interleave` returns.

    Args:
      logits: logits [2B, ...].
    """
    pairs = logits.reshape(-1, 2, *logits.shape[1:])
    return pairs[:, 0], pairs[:, 1]


def interpolate(key: jax.Array, real: jax.Array, fake: jax.Array) -> jax.Array:
    """Returns random rows between real and generated rows, e x + (1 - e) G(z) with one e ~ U(0, 1) per example.

    Gulrajani et al. 2017 (arXiv 1704.00028), algorithm 1.

    Args:
      key: random key.
      real: real rows x [B, ...].
      fake: generated rows G(z) [B, ...].
    """
    share = jax.random.uniform(key, (len(real), *(1,) * (real.ndim - 1)))
    return share * real + (1 - share) * fake


def none(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """Computes the logits without a penalty.

    Real and generated rows pass through the critic separately, as batch statistics need it.
    """
    return critic(real, 0), critic(fake, 1), {}


def r1(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """Computes R1 = 1/2 ||grad_x D(x)||^2 at real rows.

    Mescheder et al. 2018 (arXiv 1801.04406), eq. 9 without gamma.
    """
    logits, squared = squared_gradient(critic, real, 0)
    return logits, critic(fake, 1), {"r1": squared / 2}


def r2(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """Computes R2 = 1/2 ||grad_x D(x)||^2 at generated rows.

    Mescheder et al. 2018 (arXiv 1801.04406), eq. 10 without gamma.
    """
    logits, squared = squared_gradient(critic, fake, 1)
    return critic(real, 0), logits, {"r2": squared / 2}


def r1_r2(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """Computes R1 and R2 together in one reverse pass.

    R3GAN (arXiv 2501.05441), section 3.1, which applies both at every step.
    """
    logits, squared = squared_gradient(critic, interleave(real, fake), 2)
    (real_logits, fake_logits), squared = apart(logits), squared.reshape(-1, 2)
    return real_logits, fake_logits, {"r1": squared[:, 0] / 2, "r2": squared[:, 1] / 2}


def gradient_penalty(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """Computes (||grad_x D(x^)||_2 - 1)^2 at random rows x^ between real and generated rows.

    Gulrajani et al. 2017 (arXiv 1704.00028), eq. 3 without lambda. The norm is the root of the square plus 1e-12. The
    added number keeps the derivative finite where the gradient vanishes.
    """
    _, squared = squared_gradient(critic, interpolate(key, real, fake), 2)
    real_logits, fake_logits = apart(critic(interleave(real, fake), 0))
    return real_logits, fake_logits, {"gradient_penalty": jnp.square(jnp.sqrt(squared + 1e-12) - 1)}


def zero_centred(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """Computes ||grad_x D(x^)||_2^2 at random rows x^ between real and generated rows.

    Thanh-Tung et al. 2019 (arXiv 1902.03984), eq. 7 without lambda.
    """
    _, squared = squared_gradient(critic, interpolate(key, real, fake), 2)
    real_logits, fake_logits = apart(critic(interleave(real, fake), 0))
    return real_logits, fake_logits, {"zero_centred": squared}


PENALTIES = {
    "none": none,
    "r1": r1,
    "r2": r2,
    "r1_r2": r1_r2,
    "gradient_penalty": gradient_penalty,
    "zero_centred": zero_centred,
}
