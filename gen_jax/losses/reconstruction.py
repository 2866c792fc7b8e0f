"""Distances between a generated row and the true row of the same condition, per example.

A distance is a function (out, fake, real) -> [N]. `out` is the output of a net, `fake` the same output in the form that
a critic reads, and `real` the true rows in that form, [N, ...] each.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.errors import UserError
from gen_jax.registry import Choices, build

Distance = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class Reconstruction(NamedTuple):
    """Describes the reconstruction term of a generator's loss.

    Attributes:
      distance: function (out, fake, real) -> [N], see this module; None for no term.
      weight: weight of the distance beside the adversarial loss.
      name: name of the distance in the metrics.
      classes: number of classes that the distance is made for; by default None, any number.
    """

    distance: Distance | None
    weight: float
    name: str
    classes: int | None = None


def absolute_error(out: jax.Array, fake: jax.Array, real: jax.Array) -> jax.Array:
    """Computes the mean of |fake - real| of each row (Isola et al. 2017, arXiv 1611.07004, eq. 3)."""
    return jnp.abs(fake - real).reshape(len(real), -1).mean(1)


def squared_error(out: jax.Array, fake: jax.Array, real: jax.Array) -> jax.Array:
    """Computes the mean of (fake - real)^2 of each row."""
    return jnp.square(fake - real).reshape(len(real), -1).mean(1)


def class_entropy(
    out: jax.Array, fake: jax.Array, real: jax.Array, class_weights: Sequence[float] | None = None
) -> jax.Array:
    """Computes the mean of -log softmax(out) at the true class, over the pixels of a row that have a class, in nats.

    With class weights w it is the weighted mean, sum w(y) nats / sum w(y) over those pixels.

    Args:
      out: logits [N, H, W, K].
      fake: not read.
      real: true rows [N, H, W, K], largest at the true class, and 0 in pixels without a class.
      class_weights: weight of each class [K]; None: all weights are 1.
    """
    true_class = (real == real.max(-1, keepdims=True)) & (real > 0)
    of_class = jnp.ones(real.shape[-1]) if class_weights is None else jnp.asarray(class_weights, jnp.float32)
    weight = true_class * of_class[None, None, None]  # [N, H, W, K]
    nats = -jnp.sum(weight * jnp.where(true_class, jax.nn.log_softmax(out), 0), -1)  # [N, H, W]
    total = weight.reshape(len(real), -1).sum(1)
    return nats.reshape(len(real), -1).sum(1) / jnp.where(total > 0, total, 1)


def none() -> Reconstruction:
    """Returns no reconstruction term."""
    return Reconstruction(None, 0.0, "none")


def l1(weight: float = 1.0) -> Reconstruction:
    """Returns the term `weight` times `absolute_error`.

    Args:
      weight: weight of the term; by default 1.
    """
    return Reconstruction(absolute_error, weight, "l1")


def l2(weight: float = 1.0) -> Reconstruction:
    """Returns the term `weight` times `squared_error`.

    Args:
      weight: weight of the term; by default 1.
    """
    return Reconstruction(squared_error, weight, "l2")


def cross_entropy(weight: float = 1.0, class_weights: Sequence[float] | None = None) -> Reconstruction:
    """Returns the term `weight` times `class_entropy`, for class maps.

    Args:
      weight: weight of the term; by default 1.
      class_weights: weight of the pixels of each class, in the order of the classes; by default None, all are 1.
        Larger weights of rare classes raise mIoU and lower pixel accuracy (Paszke et al. 2016, arXiv 1606.02147,
        section 5.1).

    Raises:
      UserError: for weights that are not all positive numbers.
    """
    if class_weights is None:
        return Reconstruction(class_entropy, weight, "cross_entropy")
    if not all(isinstance(value, int | float) and 0 < value < float("inf") for value in class_weights):
        raise UserError(
            f"reconstruction.class_weights is {tuple(class_weights)}; expected a positive number for each class"
        )
    distance = partial(class_entropy, class_weights=tuple(class_weights))
    return Reconstruction(distance, weight, "cross_entropy", len(class_weights))


RECONSTRUCTIONS: Mapping[str, Callable[..., Reconstruction]] = {
    "none": none,
    "l1": l1,
    "l2": l2,
    "cross_entropy": cross_entropy,
}
ReconstructionChoice = Annotated[Mapping | Reconstruction, Choices(RECONSTRUCTIONS)]


def reconstruction(options: Mapping | Reconstruction) -> Reconstruction:
    """Returns the reconstruction term of its options.

    Args:
      options: a `name` in `RECONSTRUCTIONS` and its options, or the term itself.

    Raises:
      UserError: for an unknown name or option, an object of another type, or a negative weight.
    """
    term = build("reconstruction", RECONSTRUCTIONS, options)
    if not isinstance(term, Reconstruction):
        raise UserError(
            f"reconstruction is an object of type {type(term).__name__}; expected a gen_jax.losses.reconstruction."
            f"Reconstruction(distance, weight, name)"
        )
    if term.weight < 0:
        raise UserError(f"reconstruction.weight is {term.weight}; expected a number of at least 0")
    return term
