"""Adversarial losses on logits, per example. Penalties live in `penalties.py`, networks elsewhere.

A loss is a pair: `discriminator(real, fake)` and `generator(fake, real)`, logits [B] to [B], both minimised. `real` and
`fake` are D(x) and D(G(z)) before any sigmoid.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import relu, softplus


class AdversarialLoss(NamedTuple):
    """The two halves of a two-player game, and whether the generator's half looks at real examples."""

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]  # (real [B], fake [B]) -> [B]
    generator: Callable[..., jax.Array]  # (fake [B], real [B] or, unless `pairs`, None) -> [B]
    pairs: bool = False  # the generator's half reads `real`


def minimax_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """-log sigmoid(real) - log(1 - sigmoid(fake)): Goodfellow et al. 2014 (arXiv 1406.2661), eq. 1, negated."""
    return softplus(-real) + softplus(fake)


def minimax_generator(fake: jax.Array, real: jax.Array | None = None) -> jax.Array:
    """log(1 - sigmoid(fake)): Goodfellow et al. 2014, eq. 1; its gradient vanishes where the critic is sure."""
    return -softplus(fake)


def non_saturating_generator(fake: jax.Array, real: jax.Array | None = None) -> jax.Array:
    """-log sigmoid(fake): Goodfellow et al. 2014, section 3, the stronger gradient early in learning."""
    return softplus(-fake)


def least_squares_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """1/2 (real - 1)^2 + 1/2 fake^2: Mao et al. 2017 (arXiv 1611.04076), eq. 2 with a = 0, b = 1."""
    return jnp.square(real - 1) / 2 + jnp.square(fake) / 2


def least_squares_generator(fake: jax.Array, real: jax.Array | None = None) -> jax.Array:
    """1/2 (fake - 1)^2: Mao et al. 2017, eq. 2 with c = 1."""
    return jnp.square(fake - 1) / 2


def hinge_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """max(0, 1 - real) + max(0, 1 + fake): Miyato et al. 2018 (arXiv 1802.05957), eq. 16, negated."""
    return relu(1 - real) + relu(1 + fake)


def wasserstein_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """fake - real, whose negative estimates the distance: Arjovsky et al. 2017 (arXiv 1701.07875), eq. 3, negated."""
    return fake - real


def wasserstein_generator(fake: jax.Array, real: jax.Array | None = None) -> jax.Array:
    """-fake: Arjovsky et al. 2017, theorem 3; also the generator of the hinge loss (Miyato et al. 2018, eq. 17)."""
    return -fake


def relativistic_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """-log sigmoid(real - fake), paired: Jolicoeur-Martineau 2018 (arXiv 1807.00734), eq. 4; R3GAN, eq. 2."""
    return softplus(fake - real)


def relativistic_generator(fake: jax.Array, real: jax.Array) -> jax.Array:
    """-log sigmoid(fake - real), paired: Jolicoeur-Martineau 2018, eq. 5; R3GAN (arXiv 2501.05441), eq. 2."""
    return softplus(real - fake)


LOSSES = {
    "minimax": AdversarialLoss(minimax_discriminator, minimax_generator),
    "non_saturating": AdversarialLoss(minimax_discriminator, non_saturating_generator),
    "least_squares": AdversarialLoss(least_squares_discriminator, least_squares_generator),
    "hinge": AdversarialLoss(hinge_discriminator, wasserstein_generator),
    "wasserstein": AdversarialLoss(wasserstein_discriminator, wasserstein_generator),
    "relativistic": AdversarialLoss(relativistic_discriminator, relativistic_generator, pairs=True),
}
