"""Monotone rational-quadratic splines (Durkan et al. 2019, arXiv 1906.04032, section 3.1), the identity outside of a box."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LEAST = 1e-3  # smallest width and height of a bin, as a share of the box, and smallest slope
IDENTITY = float(np.log(np.expm1(1 - LEAST)))  # what gives a slope of 1
TINY = 1e-12


class Spline(NamedTuple):
    """Holds the knots of splines [..., K + 1]: places x and y, and the slopes there."""

    x: jax.Array
    y: jax.Array
    slope: jax.Array


def width(bins: int) -> int:
    """Returns the number of parameters of a spline.

    Args:
      bins: number of bins K.
    """
    return 3 * bins - 1


def spline_of(params: jax.Array, bins: int, box: float) -> Spline:
    """Returns splines from unconstrained parameters; zeros give the identity.

    Args:
      params: widths, heights and inner slopes [..., 3 K - 1].
      bins: number of bins K.
      box: the splines bend in [-box, box].
    """
    widths, heights, slopes = jnp.split(params, (bins, 2 * bins), -1)

    def knots(logits: jax.Array) -> jax.Array:
        share = LEAST + (1 - LEAST * bins) * jax.nn.softmax(logits)
        inner = 2 * box * jnp.cumsum(share, -1)[..., :-1] - box
        ends = jnp.full((*inner.shape[:-1], 1), box, inner.dtype)
        return jnp.concatenate([-ends, inner, ends], -1)

    inner = LEAST + jax.nn.softplus(slopes + IDENTITY)
    ones = jnp.ones((*inner.shape[:-1], 1), inner.dtype)
    return Spline(knots(widths), knots(heights), jnp.concatenate([ones, inner, ones], -1))


class Bin(NamedTuple):
    """Holds the bin of each number: its left knot, width, height and slopes at both ends, all [...]."""

    x: jax.Array
    y: jax.Array
    width: jax.Array
    height: jax.Array
    left: jax.Array
    right: jax.Array


def bin_of(spline: Spline, edges: jax.Array, values: jax.Array) -> Bin:
    """Returns the bin in which each number lies.

    Args:
      spline: the splines.
      edges: the knots, of x or of y, in which the numbers lie [..., K + 1].
      values: the numbers [...], inside of the box.
    """
    place = (values[..., None] >= edges[..., 1:-1]).sum(-1)

    def at(array: jax.Array, by: int = 0) -> jax.Array:
        return jnp.take_along_axis(array, place[..., None] + by, -1)[..., 0]

    x, y = at(spline.x), at(spline.y)
    return Bin(x, y, at(spline.x, 1) - x, at(spline.y, 1) - y, at(spline.slope), at(spline.slope, 1))


def forward(spline: Spline, x: jax.Array, box: float) -> tuple[jax.Array, jax.Array]:
    """Returns y [...] and log dy/dx [...] (equations 4 and 5).

    Args:
      spline: the splines.
      x: the numbers [...].
      box: the splines bend in [-box, box].
    """
    inside = abs(x) < box
    clipped = jnp.where(inside, x, 0.0)  # because gradients of the branch that is not taken must be finite too
    at = bin_of(spline, spline.x, clipped)
    slope, way = at.height / at.width, (clipped - at.x) / at.width
    rest = way * (1 - way)
    below = slope + (at.left + at.right - 2 * slope) * rest
    y = at.y + at.height * (slope * jnp.square(way) + at.left * rest) / below
    above = at.right * jnp.square(way) + 2 * slope * rest + at.left * jnp.square(1 - way)
    log_slope = 2 * jnp.log(slope) + jnp.log(above) - 2 * jnp.log(below)
    return jnp.where(inside, y, x), jnp.where(inside, log_slope, 0.0)


def inverse(spline: Spline, y: jax.Array, box: float) -> jax.Array:
    """Returns x [...] with `forward` y, by the root of a quadratic equation (equations 6 to 8).

    Args:
      spline: the splines.
      y: the numbers [...].
      box: the splines bend in [-box, box].
    """
    inside = abs(y) < box
    clipped = jnp.where(inside, y, 0.0)
    at = bin_of(spline, spline.y, clipped)
    slope, way = at.height / at.width, clipped - at.y
    bend = at.left + at.right - 2 * slope
    a, b, c = at.height * (slope - at.left) + way * bend, at.height * at.left - way * bend, -slope * way
    root = jnp.sqrt(jnp.maximum(jnp.square(b) - 4 * a * c, 0))
    share = 2 * c / jnp.minimum(-b - root, -TINY)
    return jnp.where(inside, at.x + share * at.width, y)
