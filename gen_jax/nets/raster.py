"""The autoregressive net over a grid of codes: the logits of each code given the earlier codes, row by row."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.conditions import Conditions, Given
from gen_jax.nets.predictor import Predictor, Read
from gen_jax.nets.recurrent import Recurrent
from gen_jax.nets.transformer import Transformer


class Raster(nn.Module):
    """Recurrent layers that read the code to the left, the code above and the position of the next code.

    Attributes:
      recurrent: the recurrent layers.
      size: number of codes K in the codebook.
      height: height of the grid.
      width: width of the grid.
      conditions: facts of the conditions.
    """

    recurrent: Recurrent | Transformer
    size: int
    height: int
    width: int
    conditions: Conditions

    def setup(self) -> None:
        """Makes the inner net."""
        self.predictor = Predictor(self.recurrent, self.size, 0, True, self.conditions, {})

    def read(self, c: Given | None) -> Read:
        """Returns the conditions as `move` reads them. A sampler reads them once.

        Args:
          c: conditions of the grids; None without conditions.
        """
        return self.predictor.read(c)

    def move(
        self,
        carry: tuple | None,
        left_codes: jax.Array,
        above: jax.Array,
        place: jax.Array,
        c: Given | Read | None = None,
    ) -> tuple[tuple | None, jax.Array]:
        """Computes the logits of the codes at several places.

        Args:
          carry: the carry before the first place; None at the beginning of grids that are known.
          left_codes: codes to the left [N, T]; -1 for no code.
          above: codes above [N, T]; -1 for no code.
          place: indices of the places in the grid [T].
          c: conditions, or what `read` returned for them; by default None.

        Returns:
          The carry after the last place, and logits [N, T, K].
        """
        at = jax.nn.one_hot(place, self.height * self.width)
        at = jnp.broadcast_to(at, (*left_codes.shape, at.shape[-1]))
        frames = jnp.concatenate([jax.nn.one_hot(left_codes, self.size), jax.nn.one_hot(above, self.size), at], -1)
        return self.predictor.unroll(carry, frames, c)[:2]

    def __call__(self, codes: jax.Array, c: Given | None = None) -> jax.Array:
        """Returns the logits [N, h, w, K] of codes, each from the earlier codes alone.

        Args:
          codes: codes [N, h, w].
          c: conditions; by default None.
        """
        padded = jnp.pad(codes.reshape(len(codes), -1), ((0, 0), (self.width, 0)), constant_values=-1)
        left, above = padded[:, self.width - 1 : -1], padded[:, : -self.width]
        return self.move(None, left, above, jnp.arange(left.shape[1]), c)[1].reshape(*codes.shape, self.size)


def draw_codes(net: Raster, key: jax.Array, params: Any, c: Given | None, num: int) -> jax.Array:
    """Draws codes one after another.

    Args:
      net: the net.
      key: random key.
      params: weights of the net.
      c: conditions of the grids; None without conditions.
      num: number of grids.

    Returns:
      Codes [num, h, w] int32.
    """
    move: Callable[..., Any] = partial(net.apply, params, method="move")  # (carry, logits)

    def draw(lanes: tuple, place: jax.Array) -> tuple[tuple, jax.Array]:
        carry, last = lanes  # the last w codes [num, w]; the first is above the next code
        carry, logits = move(carry, last[:, -1:], last[:, :1], place[None], conditions)
        code = jax.random.categorical(jax.random.fold_in(key, place), logits[:, 0]).astype(jnp.int32)
        return (carry, jnp.concatenate([last[:, 1:], code[:, None]], 1)), code

    conditions = net.apply(params, c, method="read")
    lanes = net.recurrent.init_carry(num), jnp.full((num, net.width), -1, jnp.int32)
    codes = jax.lax.scan(draw, lanes, jnp.arange(net.height * net.width))[1]  # [T, num]
    return codes.T.reshape(num, net.height, net.width)
