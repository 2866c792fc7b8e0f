"""Penalties on the critic's input gradient, per example. They are added to the losses of `adversarial.py`.

A penalty is `(key, critic, real, fake) -> (real logits [B], fake logits [B], {name: [B]})`. The critic `(x, call)` maps x
[N, ...] to logits [N], N a multiple of B with the rows of one example side by side. `call` numbers its passes, each of which
has dropout of its own: 0 is of real rows, 1 of generated ones, 2 of both or of rows between them. A penalty that is not `none` needs a critic that
treats its rows alone (no statistics across the batch), so that one reverse pass gives every row its own gradient.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Critic = Callable[[jax.Array, int], jax.Array]
Penalised = tuple[jax.Array, jax.Array, dict[str, jax.Array]]


def squared_gradient(critic: Critic, x: jax.Array, call: int) -> tuple[jax.Array, jax.Array]:
    """The critic's logits [N] at `x` [N, ...] and ||grad_x D(x_n)||^2 [N] of each row, summed over its entries."""
    logits, pullback = jax.vjp(lambda x: critic(x, call), x)
    (gradient,) = pullback(jnp.ones_like(logits))  # [N, ...]
    return logits, jnp.sum(jnp.square(gradient), axis=range(1, gradient.ndim))


def interleave(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Rows real_0, fake_0, real_1, ... [2B, ...]: unlike a concatenation, no row leaves its device."""
    return jnp.stack([real, fake], axis=1).reshape(-1, *real.shape[1:])


def interpolate(key: jax.Array, real: jax.Array, fake: jax.Array) -> jax.Array:
    """e x + (1 - e) G(z) with one e ~ U(0, 1) for each example: Gulrajani et al. 2017 (1704.00028), algorithm 1."""
    share = jax.random.uniform(key, (len(real), *(1,) * (real.ndim - 1)))
    return share * real + (1 - share) * fake


def none(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """No penalty, only the logits; real and fake examples pass apart, as batch statistics need it."""
    return critic(real, 0), critic(fake, 1), {}


def r1(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """R1 = 1/2 ||grad_x D(x)||^2 on real examples: Mescheder et al. 2018 (arXiv 1801.04406), eq. 9 without gamma."""
    logits, squared = squared_gradient(critic, real, 0)
    return logits, critic(fake, 1), {"r1": squared / 2}


def r2(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """R2 = 1/2 ||grad_x D(x)||^2 on generated examples: Mescheder et al. 2018, eq. 10 without gamma."""
    logits, squared = squared_gradient(critic, fake, 1)
    return critic(real, 0), logits, {"r2": squared / 2}


def r1_r2(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """R1 and R2 together, in one reverse pass: R3GAN (arXiv 2501.05441), section 3.1, every step."""
    logits, squared = squared_gradient(critic, interleave(real, fake), 2)
    logits, squared = logits.reshape(-1, 2), squared.reshape(-1, 2)  # [B, 2]
    return logits[:, 0], logits[:, 1], {"r1": squared[:, 0] / 2, "r2": squared[:, 1] / 2}


def gradient_penalty(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """(||grad_x D(x^)||_2 - 1)^2 between real and fake: Gulrajani et al. 2017 (1704.00028), eq. 3 without lambda.

    The root is of the square plus 1e-12, which keeps its derivative finite where the gradient vanishes.
    """
    _, squared = squared_gradient(critic, interpolate(key, real, fake), 2)
    logits = critic(interleave(real, fake), 0).reshape(-1, 2)  # [B, 2]
    return logits[:, 0], logits[:, 1], {"gradient_penalty": jnp.square(jnp.sqrt(squared + 1e-12) - 1)}


def zero_centred(key: jax.Array, critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """||grad_x D(x^)||_2^2 between real and fake: Thanh-Tung et al. 2019 (arXiv 1902.03984), eq. 7 without lambda."""
    _, squared = squared_gradient(critic, interpolate(key, real, fake), 2)
    logits = critic(interleave(real, fake), 0).reshape(-1, 2)  # [B, 2]
    return logits[:, 0], logits[:, 1], {"zero_centred": squared}


PENALTIES = {
    "none": none,
    "r1": r1,
    "r2": r2,
    "r1_r2": r1_r2,
    "gradient_penalty": gradient_penalty,
    "zero_centred": zero_centred,
}
