"""Adversarial losses on logits, per example. Penalties live in `penalties.py`, networks in other rooms.

A loss is a pair of functions, `discriminator(real, fake)` and `generator(fake, real)`. Both map logits [B] to losses
[B], and both are minimised. `real` is D(x) and `fake` is D(G(z)), before any sigmoid.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import relu, softplus

from gen_jax.errors import UserError
from gen_jax.registry import pick, refuse_other_arguments


class AdversarialLoss(NamedTuple):
    """Describes the two losses of a two-player game. Both are functions of logits, and both are minimised.

    A loss of your own returns a number for each example, not a mean, so that padding rows can be left out:

        discriminator = lambda real, fake: softplus(-real) + softplus(fake)
        loss = AdversarialLoss(discriminator, generator=lambda fake, real: softplus(-fake))

    Attributes:
      discriminator: function (real [B], fake [B]) -> losses [B].
      generator: function (fake [B], real) -> losses [B]. `real` is [B] if `pairs`, else None.
      pairs: whether the loss of the generator reads `real`; by default False.
    """

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]
    generator: Callable[..., jax.Array]
    pairs: bool = False


def adversarial_loss(options: "str | AdversarialLoss") -> "AdversarialLoss":
    """Returns the adversarial loss of a name in `LOSSES`, of a reference `module:name`, or the loss itself.

    Args:
      options: the name or the loss.

    Raises:
      UserError: for an unknown name, or an object that is no `AdversarialLoss`.
    """
    loss = pick("adversarial loss", LOSSES, options)
    if not isinstance(loss, AdversarialLoss):
        raise UserError(
            f"adversarial loss is an object of type {type(loss).__name__}; expected a gen_jax.losses.adversarial."
            f"AdversarialLoss(discriminator, generator) of functions (real [B], fake [B]) -> [B] and (fake [B], real) -> [B]"
        )
    refuse_other_arguments("loss.discriminator", loss.discriminator, "real, fake")
    refuse_other_arguments("loss.generator", loss.generator, "fake, real")
    return loss


def minimax_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Computes the minimax loss of the discriminator, -log sigmoid(real) - log(1 - sigmoid(fake)).

    Goodfellow et al. 2014 (arXiv 1406.2661), eq. 1, negated.
    """
    return softplus(-real) + softplus(fake)


def minimax_generator(fake: jax.Array, real: jax.Array | None = None) -> jax.Array:
    """Computes the minimax loss of the generator, log(1 - sigmoid(fake)).

    Goodfellow et al. 2014, eq. 1. Its gradient vanishes if the discriminator is sure that the examples are generated.
    """
    return -softplus(fake)


def non_saturating_generator(fake: jax.Array, real: jax.Array | None = None) -> jax.Array:
    """Computes the non-saturating loss of the generator, -log sigmoid(fake).

    Goodfellow et al. 2014, section 3. Early in training its gradient is stronger than the gradient of
    `minimax_generator`.
    """
    return softplus(-fake)


def least_squares_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Computes the least-squares loss of the discriminator, 1/2 (real - 1)^2 + 1/2 fake^2.

    Mao et al. 2017 (arXiv 1611.04076), eq. 2 with a = 0 and b = 1.
    """
    return jnp.square(real - 1) / 2 + jnp.square(fake) / 2


def least_squares_generator(fake: jax.Array, real: jax.Array | None = None) -> jax.Array:
    """Computes the least-squares loss of the generator, 1/2 (fake - 1)^2.

    Mao et al. 2017, eq. 2 with c = 1.
    """
    return jnp.square(fake - 1) / 2


def hinge_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Computes the hinge loss of the discriminator, max(0, 1 - real) + max(0, 1 + fake).

    Miyato et al. 2018 (arXiv 1802.05957), eq. 16, negated. The generator's loss is `wasserstein_generator`.
    """
    return relu(1 - real) + relu(1 + fake)


def wasserstein_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Computes the Wasserstein loss of the critic, fake - real.

    The mean of the loss, negated, estimates the Wasserstein distance. Arjovsky et al. 2017 (arXiv 1701.07875), eq. 3,
    negated.

    Args:
      real: outputs of the critic for real rows [B].
      fake: outputs of the critic for drawn rows [B].

    Returns:
      Losses [B].
    """
    return fake - real


def wasserstein_generator(fake: jax.Array, real: jax.Array | None = None) -> jax.Array:
    """Computes the Wasserstein loss of the generator, -fake.

    Arjovsky et al. 2017, theorem 3. The hinge loss has the same generator loss (Miyato et al. 2018, eq. 17).
    """
    return -fake


def relativistic_discriminator(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Computes the relativistic paired loss of the discriminator, -log sigmoid(real - fake).

    Jolicoeur-Martineau 2018 (arXiv 1807.00734), eq. 4; R3GAN (arXiv 2501.05441), eq. 2.
    """
    return softplus(fake - real)


def relativistic_generator(fake: jax.Array, real: jax.Array) -> jax.Array:
    """Computes the relativistic paired loss of the generator, -log sigmoid(fake - real).

    Jolicoeur-Martineau 2018, eq. 5; R3GAN (arXiv 2501.05441), eq. 2.
    """
    return softplus(real - fake)


LOSSES = {
    "minimax": AdversarialLoss(minimax_discriminator, minimax_generator),
    "non_saturating": AdversarialLoss(minimax_discriminator, non_saturating_generator),
    "least_squares": AdversarialLoss(least_squares_discriminator, least_squares_generator),
    "hinge": AdversarialLoss(hinge_discriminator, wasserstein_generator),
    "wasserstein": AdversarialLoss(wasserstein_discriminator, wasserstein_generator),
    "relativistic": AdversarialLoss(relativistic_discriminator, relativistic_generator, pairs=True),
}
