"""Residual convolutional nets of autoencoders: images to vectors or grids and back. No batch statistics.

In a block the activation comes before the convolution (He et al. 2016, arXiv 1603.05027). The last layer of a block is
initialised with zeros.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax

from gen_jax.errors import check_whole
from gen_jax.nets.embedding import Embedded, with_image, with_vector
from gen_jax.nets.layers import UpConv, stage_channels, stage_sides

HE = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


class Block(nn.Module):
    """A residual block x + f(x) for images [N, H, W, C]: two 3 x 3 convolutions, each after SiLU."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images [N, H, W, C] from images x of the same shape."""
        width = x.shape[-1]
        h = nn.Conv(width, (3, 3), kernel_init=HE)(nn.silu(x))
        return x + nn.Conv(width, (3, 3), kernel_init=nn.initializers.zeros)(nn.silu(h))


class Down(nn.Module):
    """Residual stages from images [N, H, W, C] to features [N, h, w, C'], with half the resolution after each stage.

    Attributes:
      channels: width of each stage, lowest resolution first; the last width repeats.
      blocks: number of residual blocks per stage.
      sides: height and width of each stage, lowest resolution first.
    """

    channels: Sequence[int]
    blocks: int
    sides: Sequence[tuple[int, int]]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns features [N, h, w, C'] of images x [N, H, W, C]."""
        widths = stage_channels(self.channels, len(self.sides))[::-1]
        x = nn.Conv(widths[0], (3, 3), kernel_init=HE)(x)
        for stage, width in enumerate(widths):
            if stage:
                x = nn.Conv(width, (4, 4), 2, kernel_init=HE)(x)
            for _ in range(self.blocks):
                x = Block()(x)
        return nn.silu(x)


class Up(nn.Module):
    """Residual stages from features [N, h, w, C] to images [N, H, W, out], the mirror of `Down`.

    Attributes:
      channels: width of each stage, lowest resolution first; the last width repeats.
      blocks: number of residual blocks per stage.
      sides: height and width of each stage, lowest resolution first.
      out: number of output channels.
    """

    channels: Sequence[int]
    blocks: int
    sides: Sequence[tuple[int, int]]
    out: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images [N, H, W, out] from features x [N, h, w, C]."""
        widths = stage_channels(self.channels, len(self.sides))
        x = nn.Conv(widths[0], (3, 3), kernel_init=HE)(x)
        for stage, width in enumerate(widths):
            if stage:
                x = UpConv(width, 4, HE)(nn.silu(x))
            for _ in range(self.blocks):
                x = Block()(x)
        return nn.Conv(self.out, (3, 3))(nn.silu(x))


class ConvEncoder(nn.Module):
    """An encoder of images, `x [N, H, W, C], c -> [N, *shape]`: residual stages and a dense layer.

    The conditions enter as extra channels: a vector is the same in every pixel, and an image is resized.

    Attributes:
      shape: shape of one row of the output.
      channels: width of each stage, lowest resolution first; the last width repeats.
      blocks: number of residual blocks per stage.
      base: side of the lowest resolution; by default None, the side halved down to 4..7.
    """

    shape: Sequence[int]
    channels: Sequence[int] = (64, 32)
    blocks: int = 1
    base: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array, c: Embedded | None = None) -> jax.Array:
        """Returns [N, *shape] from images x [N, H, W, C] and their conditions."""
        check_whole("blocks", self.blocks, 0)
        sides = stage_sides(x.shape[1:], self.base, "a conv net")
        x = Down(self.channels, self.blocks, sides)(with_image(x, c))
        return nn.Dense(math.prod(self.shape))(x.reshape(len(x), -1)).reshape(-1, *self.shape)


class ConvDecoder(nn.Module):
    """A decoder of images, `z [N, Z], c -> [N, H, W, C, W']`: a dense layer and residual stages.

    It is the mirror of `ConvEncoder`.

    Attributes:
      shape: H, W, C, and the number of outputs of each pixel.
      channels: width of each stage, lowest resolution first; the last width repeats.
      blocks: number of residual blocks per stage.
      base: side of the lowest resolution; by default None, the side halved down to 4..7.
    """

    shape: Sequence[int]
    channels: Sequence[int] = (64, 32)
    blocks: int = 1
    base: int | None = None

    @nn.compact
    def __call__(self, z: jax.Array, c: Embedded | None = None) -> jax.Array:
        """Returns [N, *shape] from latents z [N, Z] and their conditions."""
        check_whole("blocks", self.blocks, 0)
        sides = stage_sides(self.shape[:3], self.base, "a conv net")
        width = stage_channels(self.channels, 1)[0]
        x = nn.Dense(math.prod(sides[0]) * width, kernel_init=HE)(with_vector(z, c)).reshape(-1, *sides[0], width)
        return Up(self.channels, self.blocks, sides, math.prod(self.shape[2:]))(x).reshape(-1, *self.shape)


class GridEncoder(nn.Module):
    """An encoder of images to grids, `x [N, H, W, C] -> [N, h, w, D]`: residual stages and a 1 x 1 convolution.

    Attributes:
      size: number of outputs D at each place of the grid.
      base: side of the grid; by default None, the side of the images halved down to 4..7.
      channels: width of each stage, lowest resolution first; the last width repeats.
      blocks: number of residual blocks per stage.
    """

    size: int
    base: int | None = None
    channels: Sequence[int] = (64, 32)
    blocks: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns grids [N, h, w, D] of images x [N, H, W, C]."""
        check_whole("blocks", self.blocks, 0)
        sides = stage_sides(x.shape[1:], self.base, "a conv net")
        return nn.Conv(self.size, (1, 1))(Down(self.channels, self.blocks, sides)(x))


class GridDecoder(nn.Module):
    """A decoder of grids to images, `z [N, h, w, D] -> [N, H, W, C, W']`, the mirror of `GridEncoder`.

    Attributes:
      shape: H, W, C, and the number of outputs of each pixel.
      base: side of the grid; by default None, the side of the images halved down to 4..7.
      channels: width of each stage, lowest resolution first; the last width repeats.
      blocks: number of residual blocks per stage.
    """

    shape: Sequence[int]
    base: int | None = None
    channels: Sequence[int] = (64, 32)
    blocks: int = 1

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Returns [N, *shape] from grids z [N, h, w, D]."""
        check_whole("blocks", self.blocks, 0)
        sides = stage_sides(self.shape[:3], self.base, "a conv net")
        return Up(self.channels, self.blocks, sides, math.prod(self.shape[2:]))(z).reshape(-1, *self.shape)
