"""The net that gives, for each frame of a sequence, the parameters by which a head predicts it from earlier frames."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import initializers

from gen_jax.conditions import Conditions, Given
from gen_jax.errors import UserError
from gen_jax.nets.embedding import Embedded, Embedder
from gen_jax.nets.recurrent import Recurrent, conditioned, evened
from gen_jax.nets.transformer import Memory, Transformer


class Read(NamedTuple):
    """Holds the conditions of rows as a predictor reads them.

    Attributes:
      beside: what is concatenated with each frame; None for nothing.
      memory: the text to which the layers attend; None without attention.
    """

    beside: Embedded | None
    memory: Memory | None


class Predictor(nn.Module):
    """Recurrent layers from the previous frame to the parameters of the next frame.

    A transformer attends to a text that is a condition. Any other condition is concatenated with each frame.

    Attributes:
      recurrent: the recurrent layers.
      width: number of outputs per frame.
      values: number of values of a token; 0 for frames of numbers.
      binary: whether the numbers of a frame are zeros and ones.
      conditions: facts of the conditions.
      weights: shapes by name of the weights that the head keeps here.
      shared: whether the tokens of a text that is a condition are looked up in the table of a `tied` transformer; by
        default False.
    """

    recurrent: Recurrent | Transformer
    width: int
    values: int
    binary: bool
    conditions: Conditions
    weights: Mapping[str, tuple[int, ...]]
    shared: bool = False

    def setup(self) -> None:
        """Makes the inner nets.

        Raises:
          UserError: for a tied table of a head whose outputs are not the logits of the tokens.
        """
        self.condition = Embedder(self.conditions)
        self.labels = Embedder(self.conditions._replace(field=None))
        self.tied = getattr(self.recurrent, "tied", False)
        if self.tied:
            if self.width != self.values:
                raise UserError("tied is true for a head without logits of tokens; expected the head categorical")
            units = self.recurrent.units
            self.table = nn.Embed(self.values, units, embedding_init=initializers.normal(units**-0.5))
            self.bias = self.param("bias", initializers.zeros, (self.values,))
        else:
            self.out = nn.Dense(self.width)
        self.own = {name: self.param(name, initializers.normal(0.01), shape) for name, shape in self.weights.items()}

    def read(self, c: Given | None) -> Read:
        """Returns the conditions as `unroll` reads them. A sampler reads them once.

        Args:
          c: conditions of the rows; None without conditions.
        """
        if c is None or not self.conditions.text or not isinstance(self.recurrent, Transformer):
            return Read(self.condition(c), None)
        if not self.shared:
            embedded: Any = self.condition(c)
            return Read(embedded._replace(sequence=None), self.recurrent.remember(embedded.sequence, embedded.mask))
        tokens = c["c"]
        length = c["c_length"] if "c_length" in c else jnp.full(len(tokens), tokens.shape[1])
        mask = jnp.arange(tokens.shape[1])[None] < length[:, None]
        return Read(self.labels(c), self.recurrent.remember(self.vectors(tokens), mask))

    def unroll(
        self,
        carry: tuple | None,
        before: jax.Array,
        c: Given | Read | None = None,
        length: jax.Array | None = None,
    ) -> tuple[tuple | None, jax.Array, dict]:
        """Unrolls the net over frames.

        Args:
          carry: the carry before the first frame; None begins anew, and a transformer then keeps no cache.
          before: previous frames, tokens [B, T] (-1 for no frame) or numbers [B, T, D].
          c: conditions of the rows, or what `read` returned for them; by default None.
          length: number of frames of each row [B]; by default None, all T frames.

        Returns:
          The carry after the last frame, the outputs [B, T, W], and the weights of the head.
        """
        beside, memory = c if isinstance(c, Read) else self.read(c)
        if self.tied:
            x = self.vectors(before)
        else:
            x = jax.nn.one_hot(before, self.values) if self.values else before.reshape(*before.shape[:2], -1)
            x = evened(x) if self.values or self.binary else x
        x = conditioned(x, beside)
        if isinstance(self.recurrent, Transformer):
            carry, h = self.recurrent.unroll(carry, x, length, memory=memory)
        else:
            carry, h = self.recurrent.unroll(self.recurrent.init_carry(len(x)) if carry is None else carry, x, length)
        return carry, self.table.attend(h) + self.bias[None, None] if self.tied else self.out(h), self.own

    def vectors(self, tokens: jax.Array) -> jax.Array:
        """Returns the rows of the table, with a mean square of about 1; zeros for the token -1.

        Args:
          tokens: tokens [B, T].
        """
        x = self.table(jnp.maximum(tokens, 0)) * math.sqrt(self.table.features)
        return jnp.where((tokens >= 0)[..., None], x, 0)
