"""The net that puts out, for each frame of a sequence, what a head needs to predict it from the frames before."""

from collections.abc import Mapping

import flax.linen as nn
import jax
from flax.linen import initializers

from gen_jax.nets.recurrent import Recurrent, evened, labelled


class Predictor(nn.Module):
    """Recurrent layers between what the frame before was and what the next may be.

    Options:
      recurrent: the layers.
      width: numbers put out for a frame.
      values: of a token, 0 for frames that are numbers.
      binary: whether these numbers are zeros and ones.
      classes: of the label that stands beside each frame, 0 for none.
      weights: name -> shape of weights that the head keeps here.
    """

    recurrent: Recurrent
    width: int
    values: int
    binary: bool
    classes: int
    weights: Mapping[str, tuple[int, ...]]

    @nn.compact
    def unroll(
        self,
        carry: tuple,
        before: jax.Array,
        y: jax.Array | None = None,
        length: jax.Array | None = None,
    ) -> tuple[tuple, jax.Array, dict]:
        """What is carried on, what is put out [B, T, W], and the weights of the head.

        Args:
          before: the frames one earlier, tokens [B, T] (-1: none) or numbers [B, T, D].
        """
        x = jax.nn.one_hot(before, self.values) if self.values else before.reshape(*before.shape[:2], -1)
        x = evened(x) if self.values or self.binary else x
        carry, h = self.recurrent.unroll(carry, labelled(x, y, self.classes), length)
        own = {name: self.param(name, initializers.normal(0.01), shape) for name, shape in self.weights.items()}
        return carry, nn.Dense(self.width, name="out")(h), own
