"""Residual convolutional nets of autoencoders: images to numbers or grids and back. No batch statistics.

Blocks act before they convolve (He et al. 2016, arXiv 1603.05027), and the last layer of each begins at zero.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.errors import check_whole
from gen_jax.nets.layers import UpConv, stage_channels, stage_sides

HE = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")


class Block(nn.Module):
    """x + f(x) of images [N, H, W, C]: two 3 x 3 convolutions with SiLU before them."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width = x.shape[-1]
        h = nn.Conv(width, (3, 3), kernel_init=HE)(nn.silu(x))
        return x + nn.Conv(width, (3, 3), kernel_init=nn.initializers.zeros)(nn.silu(h))


class Down(nn.Module):
    """Images [N, H, W, C] to features [N, h, w, C']: `blocks` residual blocks a stage, halved between stages."""

    channels: Sequence[int]
    blocks: int
    sides: Sequence[tuple[int, int]]  # lowest resolution first

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        widths = stage_channels(self.channels, len(self.sides))[::-1]
        x = nn.Conv(widths[0], (3, 3), kernel_init=HE)(x)
        for stage, width in enumerate(widths):
            if stage:
                x = nn.Conv(width, (4, 4), 2, kernel_init=HE)(x)
            for _ in range(self.blocks):
                x = Block()(x)
        return nn.silu(x)


class Up(nn.Module):
    """Features [N, h, w, C] to images [N, H, W, out]: the mirror of `Down`."""

    channels: Sequence[int]
    blocks: int
    sides: Sequence[tuple[int, int]]
    out: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        widths = stage_channels(self.channels, len(self.sides))
        x = nn.Conv(widths[0], (3, 3), kernel_init=HE)(x)
        for stage, width in enumerate(widths):
            if stage:
                x = UpConv(width, 4, HE)(nn.silu(x))
            for _ in range(self.blocks):
                x = Block()(x)
        return nn.Conv(self.out, (3, 3))(nn.silu(x))


class ConvEncoder(nn.Module):
    """`x [N, H, W, C], y [N] -> [N, *shape]`: residual stages and a dense layer; a label is a plane of ones among zeros.

    Options:
      channels: width of each stage, lowest resolution first; the last repeats.
      blocks: residual blocks a stage.
      base: side of the lowest resolution; where unset, the side halved down to 4..7.
    """

    shape: Sequence[int]
    classes: int = 0
    channels: Sequence[int] = (64, 32)
    blocks: int = 1
    base: int | None = None

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array | None = None) -> jax.Array:
        check_whole("blocks", self.blocks, 0)
        sides = stage_sides(x.shape[1:], self.base, "a conv net")
        if self.classes:
            planes = jnp.broadcast_to(jax.nn.one_hot(y, self.classes)[:, None, None], (*x.shape[:3], self.classes))
            x = jnp.concatenate([x, planes], -1)
        x = Down(self.channels, self.blocks, sides)(x)
        return nn.Dense(math.prod(self.shape))(x.reshape(len(x), -1)).reshape(-1, *self.shape)


class ConvDecoder(nn.Module):
    """`z [N, Z], y [N] -> [N, H, W, C, W']`: a dense layer and residual stages, the mirror of `ConvEncoder`.

    Options: as those of `ConvEncoder`.
    """

    shape: Sequence[int]  # H, W, C and the numbers of each pixel
    classes: int = 0
    channels: Sequence[int] = (64, 32)
    blocks: int = 1
    base: int | None = None

    @nn.compact
    def __call__(self, z: jax.Array, y: jax.Array | None = None) -> jax.Array:
        check_whole("blocks", self.blocks, 0)
        sides = stage_sides(self.shape[:3], self.base, "a conv net")
        if self.classes:
            z = jnp.concatenate([z, jax.nn.one_hot(y, self.classes)], -1)
        width = stage_channels(self.channels, 1)[0]
        x = nn.Dense(math.prod(sides[0]) * width, kernel_init=HE)(z).reshape(-1, *sides[0], width)
        return Up(self.channels, self.blocks, sides, math.prod(self.shape[2:]))(x).reshape(-1, *self.shape)


class GridEncoder(nn.Module):
    """`x [N, H, W, C] -> [N, h, w, D]`: residual stages, then D numbers of each place of the lowest resolution.

    Options:
      channels: width of each stage, lowest resolution first; the last repeats.
      blocks: residual blocks a stage.
    """

    size: int  # D
    base: int | None = None  # side of the grid; where unset, that of the images halved down to 4..7
    channels: Sequence[int] = (64, 32)
    blocks: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        check_whole("blocks", self.blocks, 0)
        sides = stage_sides(x.shape[1:], self.base, "a conv net")
        return nn.Conv(self.size, (1, 1))(Down(self.channels, self.blocks, sides)(x))


class GridDecoder(nn.Module):
    """`z [N, h, w, D] -> [N, H, W, C, W']`: the mirror of `GridEncoder`.

    Options: as those of `GridEncoder`.
    """

    shape: Sequence[int]  # H, W, C and the numbers of each pixel
    base: int | None = None
    channels: Sequence[int] = (64, 32)
    blocks: int = 1

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        check_whole("blocks", self.blocks, 0)
        sides = stage_sides(self.shape[:3], self.base, "a conv net")
        return Up(self.channels, self.blocks, sides, math.prod(self.shape[2:]))(z).reshape(-1, *self.shape)
