"""A causal transformer over frames, with the functions of recurrent layers: its carry is the cache of keys and values.

The block is that of recent language models: RMS norms before each part (Zhang & Sennrich 2019, arXiv 1910.07467), rotary
positions (Su et al. 2021, arXiv 2104.09864), normalised queries and keys (Henry et al. 2020, arXiv 2010.04245), SwiGLU
(Shazeer 2020, arXiv 2002.05202), and projections to the residual stream that begin at zero. A text that is a condition
is read by layers of its own, and each layer attends to it (Vaswani et al. 2017, arXiv 1706.03762).
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import initializers

from gen_jax.errors import UserError, check_share, check_whole, choose

BASE = 10_000.0  # ratio of the slowest and the fastest rotation
DTYPES = ("float32", "bfloat16")
LONG = 4  # sequences of more contexts are read one context after another, because attention grows with the square
Cache = tuple[jax.Array, jax.Array]  # keys and values [B, context, heads, size] float32, as a ring over the places


class Memory(NamedTuple):
    """Holds what the layers attend to: keys and values of the tokens of a text, for each layer.

    Attributes:
      keys: normalised keys [B, L, layers, heads, size].
      values: values of the same shape.
      mask: whether there is a token [B, L] bool.
    """

    keys: jax.Array
    values: jax.Array
    mask: jax.Array


class Transformer(nn.Module):
    """Layers of causal attention. A frame sees itself and the `context - 1` frames before it.

    The carry holds the number of frames so far [B], and the keys and values of the last `context` frames of each layer.
    So a row may go on from batch to batch, and frames may be drawn one by one without end.

    Attributes:
      units: number of units of the residual stream.
      layers: number of layers.
      heads: number of heads of attention.
      context: number of frames that a layer sees.
      encoder: number of layers that read a text that is a condition, without a causal mask.
      tied: whether a token is looked up in the matrix of the logits, and so is a token of a condition with the same
        vocabulary.
      dropout: dropout rate of the projected frames and of the output of each part. It applies if a `dropout` key is
        given.
      remat: whether the activations of a layer are computed again for its gradient, which saves memory.
      dtype: type of the activations; weights, angles, attention weights and the cache stay float32.

    Raises:
      UserError: for sizes below 1, heads that do not divide the units into even parts, or a rate out of range.
    """

    units: int = 128
    layers: int = 4
    heads: int = 4
    context: int = 64
    encoder: int = 2
    tied: bool = False
    dropout: float = 0.0
    remat: bool = False
    dtype: str = "float32"

    def setup(self) -> None:
        """Makes the layers. Weights of layers that are not used are not made."""
        options: dict[str, Any] = {"heads": self.heads, "dropout": self.dropout, "dtype": self.dtype}
        options |= {"units": self.units, "remat": self.remat, "whole": not self.has_rng("dropout")}
        self.stack = Stack(**options, layers=self.layers)
        self.reader = Stack(**options, layers=self.encoder, causal=False)
        self.memory = nn.Dense(2 * self.layers * self.units, use_bias=False, dtype=self.dtype)
        self.memory_norm = nn.RMSNorm()

    def init_carry(self, rows: int) -> tuple[jax.Array, tuple[Cache, ...]]:
        """Returns the carry before the first frame: no frames, and caches of zeros.

        Args:
          rows: number of rows.
        """
        self.check()
        shape = (rows, self.context, self.heads, self.units // self.heads)
        caches = tuple((jnp.zeros(shape), jnp.zeros(shape)) for _ in range(self.layers))
        return jnp.zeros(rows, jnp.int32), caches

    def remember(self, sequence: jax.Array, mask: jax.Array) -> Memory:
        """Reads a text, to which the layers then attend.

        Args:
          sequence: vectors of the tokens [B, L, E].
          mask: 1 where there is a token [B, L].
        """
        rows, tokens = mask.shape
        h = self.reader(None, (sequence, mask.sum(1).astype(jnp.int32)))[1]
        parts = self.memory(h).reshape(rows, tokens, 2, self.layers, self.heads, self.units // self.heads)
        return Memory(self.memory_norm(parts[:, :, 0]), parts[:, :, 1], mask > 0)

    def unroll(
        self,
        carry: tuple | None,
        x: jax.Array,
        length: jax.Array | None = None,
        reset: jax.Array | None = None,
        memory: Memory | None = None,
    ) -> tuple[tuple | None, jax.Array]:
        """Computes the output of each frame, given the frames before it.

        Args:
          carry: the carry before the first frame. None begins without earlier frames, and keeps no cache.
          x: frames [B, T, D].
          length: number of frames of each row [B]; beyond it the carry stays and the output is 0. By default None, all T
            frames.
          reset: rows that begin with an empty carry [B] bool; by default None.
          memory: the text to which the layers attend, see `remember`; by default None.

        Returns:
          The carry after the last frame, and the outputs [B, T, units].
        """
        self.check()
        rows, frames = x.shape[:2]
        length = jnp.full(rows, frames) if length is None else length
        pieces = -(-frames // self.context)
        if carry is None and pieces > 1:  # because a frame sees `context` frames alone
            carry = self.init_carry(rows)
        if carry is not None and reset is not None:
            carry = jnp.where(reset, 0, carry[0]), carry[1]  # no slot of the cache is then read
        if pieces <= LONG:
            return self.stack(carry, (x, length), memory)
        ends = pieces * self.context - frames
        parts = jnp.pad(x, ((0, 0), (0, ends), (0, 0))).reshape(rows, pieces, self.context, -1).swapaxes(0, 1)
        lengths = (length[None] - self.context * jnp.arange(pieces)[:, None]).clip(0, self.context)
        scan = nn.scan(
            lambda stack, carry, piece, memory: stack(carry, piece, memory),
            variable_broadcast="params",
            split_rngs={"params": False, "dropout": True},
            in_axes=(0, nn.broadcast),
        )
        carry, h = scan(self.stack, carry, (parts, lengths), memory)
        return carry, h.swapaxes(0, 1).reshape(rows, pieces * self.context, -1)[:, :frames]

    def step(self, carry: tuple, x: jax.Array) -> tuple[tuple | None, jax.Array]:
        """Computes the output [B, units] of one frame.

        Args:
          carry: the carry before the frame.
          x: one frame [B, D].

        Returns:
          The new carry, and the output.
        """
        after, h = self.unroll(carry, x[:, None])
        return after, h[:, 0]

    def check(self) -> None:
        """Refuses options that no net can have.

        Raises:
          UserError: for such an option.
        """
        for name, least in {"units": 1, "layers": 1, "heads": 1, "context": 1, "encoder": 0}.items():
            check_whole(name, getattr(self, name), least)
        choose("dtype", self.dtype, DTYPES)
        check_share("dropout", self.dropout)
        if self.units % (2 * self.heads):
            raise UserError(
                f"units is {self.units} for {self.heads} heads; expected a multiple of {2 * self.heads}, because a head "
                "rotates pairs of numbers"
            )


class Stack(nn.Module):
    """The layers over a piece of frames.

    Attributes:
      units: number of units.
      layers: number of layers.
      heads: number of heads.
      dropout: dropout rate.
      whole: whether nothing is dropped.
      remat: whether the activations of a layer are computed again for its gradient.
      dtype: type of the activations.
      causal: whether a frame sees no later frames; by default True.
    """

    units: int
    layers: int
    heads: int
    dropout: float
    whole: bool
    remat: bool
    dtype: str
    causal: bool = True

    @nn.compact
    def __call__(
        self, carry: tuple | None, piece: tuple[jax.Array, jax.Array], memory: Memory | None = None
    ) -> tuple[tuple | None, jax.Array]:
        """Returns the carry after the piece, and its outputs [B, T, units], 0 beyond the length.

        Args:
          carry: number of earlier frames [B], and the caches; None without earlier frames.
          piece: frames [B, T, D], and their number in each row [B].
          memory: the text to which the layers attend; by default None.
        """
        x, length = piece
        rows, frames = x.shape[:2]
        before, caches = (jnp.zeros(rows, jnp.int32), (None,) * self.layers) if carry is None else carry
        inside = jnp.arange(frames)[None] < length[:, None]  # [B, T]
        if not self.causal:
            mask = jnp.broadcast_to(inside[:, None], (rows, frames, frames))
        elif carry is None:
            mask = jnp.broadcast_to(jnp.tri(frames, dtype=bool), (rows, frames, frames))
        elif frames == 1:
            mask = (jnp.arange(caches[0][0].shape[1])[None] <= before[:, None])[:, None]
        else:
            mask = visible(before, frames, caches[0][0].shape[1])
        block = nn.remat(Block) if self.remat else Block
        h = nn.Dense(self.units, bias_init=initializers.normal(0.1), name="project")(x)
        h = nn.Dropout(self.dropout, deterministic=self.whole)(h)
        after: list[Cache | None] = []
        for layer, each in enumerate(caches):
            layer_block = block(self.heads, self.dropout, self.whole, self.dtype, name=f"layer_{layer}")
            attended = None if memory is None else (memory.keys[:, :, layer], memory.values[:, :, layer], memory.mask)
            h, cache = layer_block(h, mask, each, before, length, attended)
            after.append(cache)
        h = jnp.where(inside[..., None], nn.RMSNorm(name="norm")(h), 0)
        return None if carry is None else (before + length.astype(jnp.int32), tuple(after)), h


class Block(nn.Module):
    """One layer: attention, attention to a text if there is one, and SwiGLU, each added to its input.

    Attributes:
      heads: number of heads.
      dropout: dropout rate of the output of each part.
      whole: whether nothing is dropped.
      dtype: type of the activations.
    """

    heads: int
    dropout: float
    whole: bool
    dtype: str

    @nn.compact
    def __call__(
        self,
        h: jax.Array,
        mask: jax.Array,
        cache: Cache | None,
        before: jax.Array,
        length: jax.Array,
        memory: tuple[jax.Array, jax.Array, jax.Array] | None,
    ) -> tuple[jax.Array, Cache | None]:
        """Returns the new residual stream [B, T, units] and the new cache.

        Args:
          h: residual stream [B, T, units].
          mask: which slots of the cache and which frames a frame sees, [B, T, context + T] bool; without a cache
            [B, T, T]; for one frame [B, 1, context], the slots after the frame is written.
          cache: keys and values of earlier frames; None without earlier frames.
          before: number of earlier frames [B].
          length: number of frames of each row [B].
          memory: keys and values [B, L, heads, size] of a text, and its mask [B, L]; None without a text.
        """
        rows, frames, units = h.shape
        size = units // self.heads
        drop = nn.Dropout(self.dropout, deterministic=self.whole)
        places = before[:, None] + jnp.arange(frames)[None]  # [B, T]

        def dense(width: int, name: str, **options: Any) -> nn.Dense:
            return nn.Dense(width, use_bias=False, dtype=self.dtype, name=name, **options)

        def attention(query: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array) -> jax.Array:
            query, keys, values = (part.astype(self.dtype) for part in (query, keys, values))
            attend = one_query_attention if frames == 1 else jax.nn.dot_product_attention
            return attend(query, keys, values, mask=mask[:, None]).reshape(rows, frames, units)

        def added(out: jax.Array, name: str) -> jax.Array:
            return drop(dense(units, name, kernel_init=initializers.zeros)(out).astype(jnp.float32))

        x = nn.RMSNorm(name="attention_norm")(h)
        parts = jnp.split(dense(3 * units, "attention")(x), 3, -1)
        query, key, value = (part.reshape(rows, frames, self.heads, size) for part in parts)
        query = rotated(nn.RMSNorm(name="query_norm")(query), places)
        key = rotated(nn.RMSNorm(name="key_norm")(key), places)
        keys, values = key, value
        if cache is not None:
            after = updated_cache(cache[0], key, before, length), updated_cache(cache[1], value, before, length)
            if frames == 1:  # its own slot held the frame that it no longer sees
                keys, values = after
            else:
                keys, values = (jnp.concatenate(pair, 1) for pair in zip(cache, (key, value.astype(jnp.float32))))
            cache = after
        h = h + added(attention(query, keys, values, mask), "attention_out")

        if memory is not None:
            keys, values, tokens = memory
            query = dense(units, "text")(nn.RMSNorm(name="text_norm")(h)).reshape(rows, frames, self.heads, size)
            query = nn.RMSNorm(name="text_query_norm")(query)
            mask = jnp.broadcast_to(tokens[:, None], (rows, frames, tokens.shape[1]))
            h = h + added(attention(query, keys, values, mask), "text_out")

        x = nn.RMSNorm(name="feedforward_norm")(h)
        wide = 8 * math.ceil(units / 3)  # 8/3 of the units, so that the three matrices have the weights of two of 4
        gate, up = jnp.split(dense(2 * wide, "feedforward")(x), 2, -1)
        return h + added(nn.silu(gate) * up, "feedforward_out"), cache


def one_query_attention(query: jax.Array, keys: jax.Array, values: jax.Array, mask: jax.Array) -> jax.Array:
    """Returns `jax.nn.dot_product_attention` [B, 1, heads, size] of one query, by sums in the place of small products.

    Args:
      query: queries [B, 1, heads, size].
      keys: keys [B, L, heads, size].
      values: values [B, L, heads, size].
      mask: which keys a query sees [B, 1, 1, L] bool.
    """
    logits = jnp.sum(keys * query, -1, dtype=jnp.float32) / math.sqrt(query.shape[-1])  # [B, L, heads]
    weights = jax.nn.softmax(jnp.where(mask[:, 0, 0, :, None], logits, -jnp.inf), 1)
    return jnp.sum(weights[..., None] * values, 1, keepdims=True, dtype=jnp.float32).astype(values.dtype)


def rotated(x: jax.Array, places: jax.Array) -> jax.Array:
    """Returns vectors whose pairs of numbers are rotated by angles in proportion to their place, float32.

    A pair is a number of the first half and the number of the second half at the same index (arXiv 2104.09864, eq. 15).

    Args:
      x: vectors [B, T, heads, size].
      places: place of each frame [B, T].
    """
    half = x.shape[-1] // 2
    speed = BASE ** (-jnp.arange(half) / half)
    angle = (places[..., None] * speed[None, None])[:, :, None]  # [B, T, 1, half]
    first, second = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], -1)


def visible(before: jax.Array, frames: int, context: int) -> jax.Array:
    """Returns which slots of the cache and which new frames each new frame sees, [B, T, context + T] bool.

    Args:
      before: number of earlier frames of each row [B].
      frames: T, number of new frames.
      context: number of frames that a frame sees, and of the slots of the cache.
    """
    last = before[:, None] - 1  # place of the newest frame in the cache
    slot = last - (last - jnp.arange(context)[None]) % context  # [B, context], place of the frame in each slot
    new = jnp.arange(frames)
    place = before[:, None, None] + new[None, :, None]  # [B, T, 1]
    old = (slot[:, None] >= 0) & (slot[:, None] > place - context)
    gap = new[:, None] - new[None]
    causal = jnp.broadcast_to(((gap >= 0) & (gap < context))[None], (len(before), frames, frames))
    return jnp.concatenate([old, causal], -1)


def updated_cache(cache: jax.Array, new: jax.Array, before: jax.Array, length: jax.Array) -> jax.Array:
    """Returns a cache [B, context, heads, size] with the last frames of each row at the slots of their places.

    Args:
      cache: the old cache.
      new: keys or values of the new frames [B, T, heads, size].
      before: number of earlier frames of each row [B].
      length: number of new frames of each row [B].
    """
    context, frame = cache.shape[1], jnp.arange(new.shape[1])[None]
    kept = (frame < length[:, None]) & (frame >= length[:, None] - context)
    slot = jnp.where(kept, (before[:, None] + frame) % context, context)  # a slot beyond the end is dropped
    return cache.at[jnp.arange(len(cache))[:, None], slot].set(new.astype(cache.dtype), mode="drop")
