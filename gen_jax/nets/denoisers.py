"""Nets of diffusion models: from noisy or masked rows, their conditions and the level of the noise to predictions."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen import initializers

from gen_jax.errors import UserError, check_share, check_whole
from gen_jax.nets.embedding import Embedded, as_vector

WAVES = 32  # number of frequencies of the level
FASTEST = 1000.0  # largest angular frequency of the level
FASTEST_TIME = 8.0  # the same of a pair of times; slow, because the loss of mean flow differentiates the net in time
ZEROS = initializers.zeros
BASE = 100.0  # ratio of the slowest and the fastest frequency of a position


def waves(level: jax.Array) -> jax.Array:
    """Returns sines and cosines of a level of noise [N, 2 WAVES], or of two times [N, 4 WAVES].

    Args:
      level: levels [N], or pairs of times [N, 2], in [-1, 1].
    """
    fastest = FASTEST if level.ndim == 1 else FASTEST_TIME
    angles = level.reshape(len(level), -1, 1) * jnp.geomspace(1.0, fastest, WAVES)[None, None]
    angles = angles.reshape(len(level), -1)
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], 1)


class Setting(nn.Module):
    """Turns the level of the noise and the conditions into one vector [N, width].

    Attributes:
      width: number of dimensions of the vector.
    """

    width: int

    @nn.compact
    def __call__(self, level: jax.Array, c: Embedded | None) -> jax.Array:
        """Returns the vector.

        Args:
          level: levels of noise [N], or pairs of times [N, 2], in [-1, 1].
          c: the conditions; None without conditions.
        """
        h = nn.Dense(self.width, name="level")(waves(level))
        vector = as_vector(c)
        if vector is not None:
            h = h + nn.Dense(self.width, name="conditions")(vector)
        return nn.silu(nn.Dense(self.width, name="both")(nn.silu(h)))


class DenoisingMLP(nn.Module):
    """Residual dense blocks over a flat row. Norms of a block are scaled and shifted by the level and the conditions.

    The last layer and the last layer of each block start at zero, as in Peebles & Xie 2023 (arXiv 2212.09748).

    Attributes:
      shape: shape of a row.
      width: number of units.
      blocks: number of blocks.
      dropout: dropout rate inside a block. It applies if a `dropout` key is given.
    """

    shape: Sequence[int]
    width: int = 256
    blocks: int = 3
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, z: jax.Array, c: Embedded | None, level: jax.Array, evidence: jax.Array | None = None
    ) -> jax.Array:
        """Returns the prediction [N, *shape].

        Args:
          z: noisy rows [N, *shape].
          c: the conditions; None without conditions.
          level: levels of noise [N], or pairs of times [N, 2], in [-1, 1].
          evidence: observed numbers and where they are [N, *shape, 2]; by default None, nothing is observed.
        """
        check_whole("width of mlp", self.width)
        check_whole("blocks of mlp", self.blocks)
        check_share("dropout of mlp", self.dropout)
        setting = Setting(self.width, name="setting")(level, c)
        x = z.reshape(len(z), -1)
        x = x if evidence is None else jnp.concatenate([x, evidence.reshape(len(z), -1)], 1)
        h = nn.Dense(self.width, name="first")(x)
        for block in range(self.blocks):
            scale, shift = jnp.split(nn.Dense(2 * self.width, name=f"scale_{block}")(setting), 2, 1)
            y = nn.LayerNorm(use_bias=False, use_scale=False)(h) * (1 + scale) + shift
            y = nn.silu(nn.Dense(self.width, name=f"in_{block}")(y))
            y = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(y)
            h = h + nn.Dense(self.width, kernel_init=ZEROS, name=f"out_{block}")(y)
        out = nn.Dense(math.prod(self.shape), kernel_init=ZEROS, name="last")(nn.silu(nn.LayerNorm()(h)))
        return out.reshape(-1, *self.shape)


class PatchTransformer(nn.Module):
    """A transformer over the patches of an image, with adaLN-zero blocks (Peebles & Xie 2023, arXiv 2212.09748).

    Attributes:
      shape: shape of a row [H, W, C].
      patch: side of a patch in pixels, which divides both sides of the image.
      units: number of units of a patch.
      layers: number of blocks.
      heads: number of heads of attention.
      dropout: dropout rate of the output of each part. It applies if a `dropout` key is given.
    """

    shape: Sequence[int]
    patch: int = 4
    units: int = 128
    layers: int = 4
    heads: int = 4
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, z: jax.Array, c: Embedded | None, level: jax.Array, evidence: jax.Array | None = None
    ) -> jax.Array:
        """Returns the prediction [N, H, W, C].

        Args:
          z: noisy images [N, H, W, C].
          c: the conditions; None without conditions. The layers also attend to the tokens of a text.
          level: levels of noise [N], or pairs of times [N, 2], in [-1, 1].
          evidence: observed numbers and where they are [N, H, W, C, 2]; by default None, nothing is observed.
        """
        self.check()
        setting = Setting(self.units, name="setting")(level, c)
        x = with_evidence(z, evidence)
        x = (
            x
            if c is None or c.image is None or c.image.shape[1:3] != z.shape[1:3]
            else jnp.concatenate([x, c.image], -1)
        )
        tokens = nn.Dense(self.units, name="patches")(patches(x, self.patch))
        tokens = tokens + positions(self.shape[0] // self.patch, self.shape[1] // self.patch, self.units)[None]
        text = None if c is None or c.sequence is None else (nn.Dense(self.units, name="text")(c.sequence), c.mask)
        for layer in range(self.layers):
            tokens = Block(self.heads, self.dropout, name=f"block_{layer}")(tokens, setting, text)
        scale, shift = jnp.split(nn.Dense(2 * self.units, kernel_init=ZEROS, name="last_scale")(setting), 2, 1)
        tokens = nn.LayerNorm(use_bias=False, use_scale=False)(tokens) * (1 + scale[:, None]) + shift[:, None]
        out = nn.Dense(self.patch**2 * self.shape[2], kernel_init=ZEROS, name="last")(tokens)
        return unpatched(out, self.patch, tuple(self.shape))

    def check(self) -> None:
        """Raises UserError for sizes that do not fit the image or each other."""
        for name in ("patch", "units", "layers", "heads"):
            check_whole(f"{name} of transformer", getattr(self, name))
        check_share("dropout of transformer", self.dropout)
        if len(self.shape) != 3:
            raise UserError(
                f"a row has the shape {[*self.shape]}; expected images for the net transformer, or the net mlp"
            )
        height, width, _ = self.shape
        if height % self.patch or width % self.patch:
            raise UserError(
                f"patch of transformer is {self.patch}; expected a divisor of both sides of images of {width}x{height} pixels"
            )
        if self.units % (4 * self.heads):
            raise UserError(
                f"units of transformer is {self.units} with {self.heads} heads; expected a multiple of {4 * self.heads}"
            )


class Block(nn.Module):
    """Attention, attention to a text if there is one, and a dense part; gates that start at zero close them.

    Attributes:
      heads: number of heads of attention.
      dropout: dropout rate of the output of each part.
    """

    heads: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, setting: jax.Array, text: tuple[jax.Array, jax.Array | None] | None) -> jax.Array:
        """Returns the tokens after the block [N, T, units].

        Args:
          x: tokens [N, T, units].
          setting: vector of the level and the conditions [N, units].
          text: vectors of the tokens of a text [N, L, units] and their mask [N, L]; None without a text.
        """
        units, fixed = x.shape[-1], not self.has_rng("dropout")
        facts = nn.Dense(6 * units, kernel_init=ZEROS, name="facts")(setting)[:, None]
        scale_1, shift_1, gate_1, scale_2, shift_2, gate_2 = jnp.split(facts, 6, -1)
        y = nn.LayerNorm(use_bias=False, use_scale=False)(x) * (1 + scale_1) + shift_1
        y = nn.MultiHeadDotProductAttention(self.heads, normalize_qk=True, name="attention")(y)
        x = x + gate_1 * nn.Dropout(self.dropout, deterministic=fixed)(y)
        if text is not None:
            vectors, mask = text
            presence = None if mask is None else (mask > 0)[:, None, None]
            attention = nn.MultiHeadDotProductAttention(
                self.heads, normalize_qk=True, out_kernel_init=ZEROS, name="text_attention"
            )
            x = x + attention(nn.LayerNorm()(x), vectors, mask=presence)
        y = nn.LayerNorm(use_bias=False, use_scale=False)(x) * (1 + scale_2) + shift_2
        y = nn.Dense(units, name="out")(nn.gelu(nn.Dense(4 * units, name="in")(y)))
        return x + gate_2 * nn.Dropout(self.dropout, deterministic=fixed)(y)


class EntryTransformer(nn.Module):
    """A transformer whose tokens are the entries of a row of levels, with the blocks of `PatchTransformer`.

    Attributes:
      shape: number of entries of a row, and of outputs of an entry.
      units: number of units of an entry.
      layers: number of blocks.
      heads: number of heads of attention.
      dropout: dropout rate of the output of each part. It applies if a `dropout` key is given.
    """

    shape: Sequence[int]
    units: int = 64
    layers: int = 2
    heads: int = 4
    dropout: float = 0.0

    @nn.compact
    def __call__(self, z: jax.Array, c: Embedded | None, level: jax.Array, visible: jax.Array) -> jax.Array:
        """Returns the outputs [N, D, V].

        Args:
          z: one-hot levels [N, D, V], 0 for hidden entries.
          c: the conditions; None without conditions.
          level: shares of hidden entries [N].
          visible: 1 where an entry is visible [N, D].
        """
        for name in ("units", "layers", "heads"):
            check_whole(f"{name} of transformer", getattr(self, name))
        check_share("dropout of transformer", self.dropout)
        if self.units % self.heads:
            raise UserError(f"units of transformer is {self.units} with {self.heads} heads; expected a multiple")
        size = self.shape[0]
        setting = Setting(self.units, name="setting")(level, c)
        own = self.param("entries", initializers.normal(1.0), (size, z.shape[-1] + 1, self.units))
        tokens = jnp.einsum("ndv,dvu->ndu", jnp.concatenate([z, 1 - visible[..., None]], -1), own)
        text = None if c is None or c.sequence is None else (nn.Dense(self.units, name="text")(c.sequence), c.mask)
        for layer in range(self.layers):
            tokens = Block(self.heads, self.dropout, name=f"block_{layer}")(tokens, setting, text)
        tokens = nn.LayerNorm()(tokens)
        out = self.param("out", initializers.normal(0.02), (size, self.shape[1], self.units))
        return jnp.einsum("ndu,dvu->ndv", tokens, out) + self.param("bias", ZEROS, tuple(self.shape))[None]


def with_evidence(z: jax.Array, evidence: jax.Array | None) -> jax.Array:
    """Returns noisy images with observed numbers and where they are as further channels; unchanged without evidence.

    Args:
      z: noisy images [N, H, W, C].
      evidence: observed numbers and where they are [N, H, W, C, 2], or None.
    """
    return z if evidence is None else jnp.concatenate([z, *jnp.moveaxis(evidence, -1, 0)], -1)


def patches(x: jax.Array, side: int) -> jax.Array:
    """Returns images [N, H, W, C] as patches [N, T, side^2 C].

    Args:
      x: images.
      side: side of a patch.
    """
    num, height, width, channels = x.shape
    x = x.reshape(num, height // side, side, width // side, side, channels)
    return x.swapaxes(2, 3).reshape(num, -1, side * side * channels)


def unpatched(x: jax.Array, side: int, shape: tuple[int, ...]) -> jax.Array:
    """Returns patches [N, T, side^2 C] as images [N, H, W, C].

    Args:
      x: patches.
      side: side of a patch.
      shape: shape of an image.
    """
    height, width, channels = shape
    x = x.reshape(len(x), height // side, width // side, side, side, channels)
    return x.swapaxes(2, 3).reshape(len(x), *shape)


def positions(height: int, width: int, units: int) -> jax.Array:
    """Returns sines and cosines of the line and the column of each patch [T, units].

    Args:
      height: number of lines of patches.
      width: number of patches in a line.
      units: number of dimensions, a multiple of 4.
    """
    frequencies = np.geomspace(1, 1 / BASE, units // 4)
    angles = [np.arange(size)[:, None] * frequencies[None] for size in (height, width)]
    lines, columns = (np.concatenate([np.sin(angle), np.cos(angle)], 1) for angle in angles)
    both = np.concatenate([lines.repeat(width, 0), np.tile(columns, (height, 1))], 1)
    return jnp.asarray(both, jnp.float32)
