"""The net that gives, for each frame of a sequence, the parameters by which a head predicts it from earlier frames."""

from collections.abc import Mapping

import flax.linen as nn
import jax
from flax.linen import initializers

from gen_jax.conditions import Conditions, Given
from gen_jax.nets.embedding import Embedder
from gen_jax.nets.recurrent import Recurrent, conditioned, evened
from gen_jax.nets.transformer import Transformer


class Predictor(nn.Module):
    """Recurrent layers from the previous frame to the parameters of the next frame.

    Attributes:
      recurrent: the recurrent layers.
      width: number of outputs per frame.
      values: number of values of a token; 0 for frames of numbers.
      binary: whether the numbers of a frame are zeros and ones.
      conditions: facts of the conditions.
      weights: shapes by name of the weights that the head keeps here.
    """

    recurrent: Recurrent | Transformer
    width: int
    values: int
    binary: bool
    conditions: Conditions
    weights: Mapping[str, tuple[int, ...]]

    @nn.compact
    def unroll(
        self,
        carry: tuple,
        before: jax.Array,
        c: Given | None = None,
        length: jax.Array | None = None,
    ) -> tuple[tuple, jax.Array, dict]:
        """Unrolls the net over frames.

        Args:
          carry: the carry before the first frame.
          before: previous frames, tokens [B, T] (-1 for no frame) or numbers [B, T, D].
          c: conditions of the rows, which are concatenated with each frame; by default None.
          length: number of frames of each row [B]; by default None, all T frames.

        Returns:
          The carry after the last frame, the outputs [B, T, W], and the weights of the head.
        """
        x = jax.nn.one_hot(before, self.values) if self.values else before.reshape(*before.shape[:2], -1)
        x = evened(x) if self.values or self.binary else x
        carry, h = self.recurrent.unroll(carry, conditioned(x, Embedder(self.conditions, name="condition")(c)), length)
        own = {name: self.param(name, initializers.normal(0.01), shape) for name, shape in self.weights.items()}
        return carry, nn.Dense(self.width, name="out")(h), own
