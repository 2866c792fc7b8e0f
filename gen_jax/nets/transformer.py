"""A causal transformer over frames, with the functions of recurrent layers: its carry is the cache of keys and values.

The block is that of recent language models: RMS norms before each part (Zhang & Sennrich 2019, arXiv 1910.07467), rotary
positions (Su et al. 2021, arXiv 2104.09864), normalised queries and keys (Henry et al. 2020, arXiv 2010.04245), SwiGLU
(Shazeer 2020, arXiv 2002.05202), and projections to the residual stream that begin at zero.
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import initializers

from gen_jax.errors import UserError, check_whole, choose

BASE = 10_000.0  # ratio of the slowest and the fastest rotation
DTYPES = ("float32", "bfloat16")
LONG = 4  # sequences of more contexts are read one context after another, because attention grows with the square
Cache = tuple[jax.Array, jax.Array]  # keys and values [B, context, heads, size] float32, as a ring over the places


class Transformer(nn.Module):
    """Layers of causal attention. A frame sees itself and the `context - 1` frames before it.

    The carry holds the number of frames so far [B], and the keys and values of the last `context` frames of each layer.
    So a row may go on from batch to batch, and frames may be drawn one by one without end.

    Attributes:
      units: number of units of the residual stream.
      layers: number of layers.
      heads: number of heads of attention.
      context: number of frames that a layer sees.
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
    dropout: float = 0.0
    remat: bool = False
    dtype: str = "float32"

    def init_carry(self, rows: int) -> tuple[jax.Array, tuple[Cache, ...]]:
        """Returns the carry before the first frame: no frames, and caches of zeros.

        Args:
          rows: number of rows.
        """
        self.check()
        shape = (rows, self.context, self.heads, self.units // self.heads)
        caches = tuple((jnp.zeros(shape), jnp.zeros(shape)) for _ in range(self.layers))
        return jnp.zeros(rows, jnp.int32), caches

    @nn.compact
    def unroll(
        self,
        carry: tuple,
        x: jax.Array,
        length: jax.Array | None = None,
        reset: jax.Array | None = None,
    ) -> tuple[tuple, jax.Array]:
        """Computes the output of each frame, given the frames before it.

        Args:
          carry: the carry before the first frame.
          x: frames [B, T, D].
          length: number of frames of each row [B]; beyond it the carry stays and the output is 0. By default None, all T
            frames.
          reset: rows that begin with an empty carry [B] bool; by default None.

        Returns:
          The carry after the last frame, and the outputs [B, T, units].
        """
        before, caches = carry
        if reset is not None:
            before = jnp.where(reset, 0, before)  # no slot of the cache is then read
        rows, frames = x.shape[:2]
        length = jnp.full(rows, frames) if length is None else length
        whole = not self.has_rng("dropout")
        options: dict[str, Any] = {"units": self.units, "heads": self.heads, "dropout": self.dropout, "whole": whole}
        options |= {"remat": self.remat, "dtype": self.dtype, "name": "stack"}
        pieces = -(-frames // self.context)
        if pieces <= LONG:
            return Stack(**options)((before, caches), (x, length))
        ends = pieces * self.context - frames
        parts = jnp.pad(x, ((0, 0), (0, ends), (0, 0))).reshape(rows, pieces, self.context, -1).swapaxes(0, 1)
        lengths = (length[None] - self.context * jnp.arange(pieces)[:, None]).clip(0, self.context)
        stack = nn.scan(Stack, variable_broadcast="params", split_rngs={"params": False, "dropout": True})
        carry, h = stack(**options)((before, caches), (parts, lengths))
        return carry, h.swapaxes(0, 1).reshape(rows, pieces * self.context, -1)[:, :frames]

    def step(self, carry: tuple, x: jax.Array) -> tuple[tuple, jax.Array]:
        """Computes the output [B, units] of one frame.

        Args:
          carry: the carry before the frame.
          x: one frame [B, D].

        Returns:
          The new carry, and the output.
        """
        carry, h = self.unroll(carry, x[:, None])
        return carry, h[:, 0]

    def check(self) -> None:
        """Refuses options that no net can have.

        Raises:
          UserError: for such an option.
        """
        for name in ("units", "layers", "heads", "context"):
            check_whole(name, getattr(self, name))
        choose("dtype", self.dtype, DTYPES)
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}; expected a share from 0 to below 1")
        if self.units % (2 * self.heads):
            raise UserError(
                f"units is {self.units} for {self.heads} heads; expected a multiple of {2 * self.heads}, because a head "
                "rotates pairs of numbers"
            )


class Stack(nn.Module):
    """The layers over a piece of frames, `carry, (x [B, T, D], length [B]) -> carry, outputs [B, T, units]`.

    Attributes:
      units: number of units.
      heads: number of heads.
      dropout: dropout rate.
      whole: whether nothing is dropped.
      remat: whether the activations of a layer are computed again for its gradient.
      dtype: type of the activations.
    """

    units: int
    heads: int
    dropout: float
    whole: bool
    remat: bool
    dtype: str

    @nn.compact
    def __call__(self, carry: tuple, piece: tuple[jax.Array, jax.Array]) -> tuple[tuple, jax.Array]:
        """Returns the carry after the piece, and its outputs, 0 beyond the length.

        Args:
          carry: number of earlier frames [B], and the caches.
          piece: frames, and their number in each row.
        """
        (before, caches), (x, length) = carry, piece
        block = nn.remat(Block) if self.remat else Block
        h = nn.Dense(self.units, bias_init=initializers.normal(0.1), name="project")(x)
        h = nn.Dropout(self.dropout, deterministic=self.whole)(h)
        after = []
        for layer, cache in enumerate(caches):
            layer_block = block(self.heads, self.dropout, self.whole, self.dtype, name=f"layer_{layer}")
            h, cache = layer_block(h, cache, before, length)
            after.append(cache)
        seen = jnp.arange(x.shape[1])[None] < length[:, None]
        h = jnp.where(seen[..., None], nn.RMSNorm(name="norm")(h), 0)
        return (before + length.astype(jnp.int32), tuple(after)), h


class Block(nn.Module):
    """One layer: attention and SwiGLU, each added to its input.

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
    def __call__(self, h: jax.Array, cache: Cache, before: jax.Array, length: jax.Array) -> tuple[jax.Array, Cache]:
        """Returns the new residual stream [B, T, units] and the new cache.

        Args:
          h: residual stream [B, T, units].
          cache: keys and values of earlier frames.
          before: number of earlier frames [B].
          length: number of frames of each row [B].
        """
        rows, frames, units = h.shape
        size, context = units // self.heads, cache[0].shape[1]
        drop = nn.Dropout(self.dropout, deterministic=self.whole)
        places = before[:, None] + jnp.arange(frames)[None]  # [B, T]

        x = nn.RMSNorm(name="attention_norm")(h)
        parts = nn.Dense(3 * units, use_bias=False, dtype=self.dtype, name="attention")(x)
        query, key, value = (part.reshape(rows, frames, self.heads, size) for part in jnp.split(parts, 3, -1))
        query = rotated(nn.RMSNorm(name="query_norm")(query), places)
        key = rotated(nn.RMSNorm(name="key_norm")(key), places)
        seen = visible(before, frames, context)
        keys, values = (jnp.concatenate(pair, 1) for pair in zip(cache, (key, value.astype(jnp.float32))))
        query, keys, values = (part.astype(self.dtype) for part in (query, keys, values))
        out = jax.nn.dot_product_attention(query, keys, values, mask=seen[:, None])
        out = nn.Dense(units, use_bias=False, kernel_init=initializers.zeros, dtype=self.dtype, name="attention_out")(
            out.reshape(rows, frames, units)
        )
        h = h + drop(out.astype(jnp.float32))

        x = nn.RMSNorm(name="feedforward_norm")(h)
        wide = 8 * math.ceil(units / 3)  # 8/3 of the units, so that the three matrices have the weights of two of 4
        gate, up = jnp.split(nn.Dense(2 * wide, use_bias=False, dtype=self.dtype, name="feedforward")(x), 2, -1)
        out = nn.Dense(units, use_bias=False, kernel_init=initializers.zeros, dtype=self.dtype, name="feedforward_out")(
            nn.silu(gate) * up
        )
        cache = updated_cache(cache[0], key, before, length), updated_cache(cache[1], value, before, length)
        return h + drop(out.astype(jnp.float32)), cache


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
