"""Penalties on the critic's input gradient, per example. They are added to the losses of `adversarial.py`.

A penalty is `(critic, real, fake) -> (real logits [B], fake logits [B], {name: [B]})`; the critic maps [N, ...] to
logits [N] row by row (no statistics across the batch), so that one reverse pass gives every row its own gradient.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Critic = Callable[[jax.Array], jax.Array]
Penalised = tuple[jax.Array, jax.Array, dict[str, jax.Array]]


def squared_gradient(critic: Critic, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The critic's logits [N] at `x` [N, ...] and ||grad_x D(x_n)||^2 [N] of each row, summed over its entries."""
    logits, pullback = jax.vjp(critic, x)
    (gradient,) = pullback(jnp.ones_like(logits))  # [N, ...]
    return logits, jnp.sum(jnp.square(gradient), axis=range(1, gradient.ndim))


def interleave(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Rows real_0, fake_0, real_1, ... [2B, ...]: unlike a concatenation, no row leaves its device."""
    return jnp.stack([real, fake], axis=1).reshape(-1, *real.shape[1:])


def none(critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """No penalty, only the logits."""
    logits = critic(interleave(real, fake)).reshape(-1, 2)  # [B, 2]
    return logits[:, 0], logits[:, 1], {}


def r1(critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """R1 = 1/2 ||grad_x D(x)||^2 on real examples: Mescheder et al. 2018 (arXiv 1801.04406), eq. 9 without gamma."""
    logits, squared = squared_gradient(critic, real)
    return logits, critic(fake), {"r1": squared / 2}


def r2(critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """R2 = 1/2 ||grad_x D(x)||^2 on generated examples: Mescheder et al. 2018, eq. 10 without gamma."""
    logits, squared = squared_gradient(critic, fake)
    return critic(real), logits, {"r2": squared / 2}


def r1_r2(critic: Critic, real: jax.Array, fake: jax.Array) -> Penalised:
    """R1 and R2 together, in one reverse pass: R3GAN (arXiv 2501.05441), section 3.1, every step."""
    logits, squared = squared_gradient(critic, interleave(real, fake))
    logits, squared = logits.reshape(-1, 2), squared.reshape(-1, 2)  # [B, 2]
    return logits[:, 0], logits[:, 1], {"r1": squared[:, 0] / 2, "r2": squared[:, 1] / 2}


PENALTIES = {"none": none, "r1": r1, "r2": r2, "r1_r2": r1_r2}
