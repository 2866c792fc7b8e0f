"""The net that puts out, for each code of a grid, the logits of what it may be given those before it, row by row."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.nets.predictor import Predictor
from gen_jax.nets.recurrent import Recurrent


class Raster(nn.Module):
    """Recurrent layers that read the code to the left, the code above and the place of the next one.

    Options:
      recurrent: the layers.
      size: of the codebook.
      height, width: of the grid.
      classes: of the label that stands beside each code, 0 for none.
    """

    recurrent: Recurrent
    size: int
    height: int
    width: int
    classes: int

    def setup(self) -> None:
        self.predictor = Predictor(self.recurrent, self.size, 0, True, self.classes, {})

    def move(
        self, carry: tuple, left: jax.Array, above: jax.Array, place: jax.Array, y: jax.Array | None = None
    ) -> tuple[tuple, jax.Array]:
        """What is carried on, and logits [N, T, K], of the codes before and above [N, T] (-1: none) of places [T]."""
        at = jax.nn.one_hot(place, self.height * self.width)
        at = jnp.broadcast_to(at, (*left.shape, at.shape[-1]))
        frames = jnp.concatenate([jax.nn.one_hot(left, self.size), jax.nn.one_hot(above, self.size), at], -1)
        return self.predictor.unroll(carry, frames, y)[:2]

    def __call__(self, codes: jax.Array, y: jax.Array | None = None) -> jax.Array:
        """Logits [N, h, w, K] of codes [N, h, w], each from those before it alone."""
        padded = jnp.pad(codes.reshape(len(codes), -1), ((0, 0), (self.width, 0)), constant_values=-1)
        left, above = padded[:, self.width - 1 : -1], padded[:, : -self.width]
        carry = self.recurrent.init_carry(len(codes))
        return self.move(carry, left, above, jnp.arange(left.shape[1]), y)[1].reshape(*codes.shape, self.size)


def draw_codes(net: Raster, key: jax.Array, params: Any, y: jax.Array | None, num: int) -> jax.Array:
    """Codes [num, h, w] int32, drawn one after the other; `y` [num] where there are classes."""
    move: Callable[..., Any] = partial(net.apply, params, method="move")  # (carry, logits)

    def draw(lanes: tuple, place: jax.Array) -> tuple[tuple, jax.Array]:
        carry, last = lanes  # the last w codes [num, w]: the first of them stands above the next one
        carry, logits = move(carry, last[:, -1:], last[:, :1], place[None], y)
        code = jax.random.categorical(jax.random.fold_in(key, place), logits[:, 0]).astype(jnp.int32)
        return (carry, jnp.concatenate([last[:, 1:], code[:, None]], 1)), code

    lanes = net.recurrent.init_carry(num), jnp.full((num, net.width), -1, jnp.int32)
    codes = jax.lax.scan(draw, lanes, jnp.arange(net.height * net.width))[1]  # [T, num]
    return codes.T.reshape(num, net.height, net.width)
