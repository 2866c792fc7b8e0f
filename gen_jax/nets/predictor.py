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

NEVER = -1e9  # score of a place without a token
TINY = 1e-30  # share of a token that a text lacks, so that its logarithm has a gradient


class Read(NamedTuple):
    """Holds the conditions of rows as a predictor reads them.

    Attributes:
      beside: what is concatenated with each frame; None for nothing.
      memory: the text to which the layers attend; None without attention.
      tokens: tokens of this text [B, L], which may be copied; None without copies.
    """

    beside: Embedded | None
    memory: Memory | None
    tokens: jax.Array | None = None


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
      shared: whether a text that is a condition has the same vocabulary, so that a `tied` transformer looks it up in the
        same table; by default False.
      copies: whether tokens of the text may be copied; by default False.
    """

    recurrent: Recurrent | Transformer
    width: int
    values: int
    binary: bool
    conditions: Conditions
    weights: Mapping[str, tuple[int, ...]]
    shared: bool = False
    copies: bool = False

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
        if self.copies:
            self.pointer = nn.Dense(self.recurrent.units)
            self.gate = nn.Dense(1)
        self.own = {name: self.param(name, initializers.normal(0.01), shape) for name, shape in self.weights.items()}

    def read(self, c: Given | None) -> Read:
        """Returns the conditions as `unroll` reads them. A sampler reads them once.

        Args:
          c: conditions of the rows; None without conditions.
        """
        if c is None or not self.conditions.text or not isinstance(self.recurrent, Transformer):
            return Read(self.condition(c), None)
        tokens = c["c"] if self.copies else None
        if not (self.tied and self.shared):
            embedded: Any = self.condition(c)
            memory = self.recurrent.remember(embedded.sequence, embedded.mask)
            return Read(embedded._replace(sequence=None), memory, tokens)
        length = c["c_length"] if "c_length" in c else jnp.full(len(c["c"]), c["c"].shape[1])
        mask = jnp.arange(c["c"].shape[1])[None] < length[:, None]
        return Read(self.labels(c), self.recurrent.remember(self.vectors(c["c"]), mask), tokens)

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
          before: previous frames, tokens [B, T] or [B, T, V] (-1 for no frame) or numbers [B, T, D].
          c: conditions of the rows, or what `read` returned for them; by default None.
          length: number of frames of each row [B]; by default None, all T frames.

        Returns:
          The carry after the last frame, the outputs [B, T, W], and the weights of the head.
        """
        beside, memory, tokens = c if isinstance(c, Read) else self.read(c)
        if self.tied:
            x = self.vectors(before)
        else:
            x = jax.nn.one_hot(before, self.values) if self.values else before
            x = x.reshape(*before.shape[:2], -1)
            x = evened(x) if self.values or self.binary else x
        x = conditioned(x, beside)
        if isinstance(self.recurrent, Transformer):
            carry, h = self.recurrent.unroll(carry, x, length, memory=memory)
        else:
            carry, h = self.recurrent.unroll(self.recurrent.init_carry(len(x)) if carry is None else carry, x, length)
        out = self.table.attend(h) + self.bias[None, None] if self.tied else self.out(h)
        if tokens is not None and memory is not None:
            out = self.with_copies(h, out, memory, tokens)
        return carry, out, self.own

    def with_copies(self, h: jax.Array, logits: jax.Array, memory: Memory, tokens: jax.Array) -> jax.Array:
        """Returns log p = log(g softmax(logits) + (1 - g) a) [B, T, V], where a are the shares of the tokens of a text.

        The shares are those of attention to the text, and g depends on the frame (See et al. 2017, arXiv 1704.04368,
        equations 8 and 9).

        Args:
          h: outputs of the layers [B, T, units].
          logits: logits of the tokens [B, T, V].
          memory: the text, whose keys of the last layer are read.
          tokens: tokens of the text [B, L].
        """
        keys = memory.keys[:, :, -1].reshape(*tokens.shape, -1)
        scores = jnp.einsum("btu,blu->btl", self.pointer(h), keys) / math.sqrt(keys.shape[-1])
        shares = jax.nn.softmax(jnp.where(memory.mask[:, None], scores, NEVER))
        copied = jax.vmap(lambda share, token: jax.ops.segment_sum(share.T, token, self.values).T)(shares, tokens)
        gate = self.gate(h)
        written = jax.nn.log_sigmoid(gate) + jax.nn.log_softmax(logits)
        return jnp.logaddexp(written, jax.nn.log_sigmoid(-gate) + jnp.log(jnp.maximum(copied, TINY)))

    def vectors(self, tokens: jax.Array) -> jax.Array:
        """Returns the rows of the table, with a mean square of about 1; zeros for the token -1.

        Args:
          tokens: tokens [B, T].
        """
        x = self.table(jnp.maximum(tokens, 0)) * math.sqrt(self.table.features)
        return jnp.where((tokens >= 0)[..., None], x, 0)
