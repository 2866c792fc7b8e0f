"""What several nets share: batch and spectral normalisation, the transposed convolution, sizes of stages, packing."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import UserError

NORMS = ("none", "batch", "spectral")


class BatchNorm(nn.Module):
    """Batch normalisation of `[N, ..., C]` (Ioffe & Szegedy 2015, arXiv 1502.03167), conditional where classes are given.

    Statistics are those of the batch, over the rows where `mask` [N] is not 0, wherever the collection `batch_stats`
    may be written, and the running averages kept there elsewhere. With classes, scale and shift are looked up by
    the label (de Vries et al. 2017, arXiv 1707.00683, section 4.1).
    """

    classes: int = 0
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array | None = None, mask: jax.Array | None = None) -> jax.Array:
        fixed = not self.is_mutable_collection("batch_stats")
        plain = not self.classes
        norm = nn.BatchNorm(
            fixed, momentum=0.9, dtype=self.dtype, use_bias=plain, use_scale=plain, use_fast_variance=False
        )
        if mask is not None:  # rows that are all padding have no mean, and count for nothing
            mask = ((mask > 0) | (jnp.max(mask) == 0)).reshape(x.shape[0], *(1,) * (x.ndim - 1))
        x = norm(x, mask=mask)
        if plain:
            return x
        shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
        scale = nn.Embed(self.classes, x.shape[-1], embedding_init=nn.initializers.ones, name="scale")(y)
        shift = nn.Embed(self.classes, x.shape[-1], embedding_init=nn.initializers.zeros, name="shift")(y)
        return x * scale.reshape(shape).astype(x.dtype) + shift.reshape(shape).astype(x.dtype)


def spectrally(module: nn.Module, norm: str, layer: nn.Module) -> Callable[..., jax.Array]:
    """`layer`, divided by its largest singular value where `norm` is spectral (Miyato et al. 2018, arXiv 1802.05957).

    One power iteration a call, from the vectors in the collection `spectral`, which it renews where that may be written.
    """
    if norm != "spectral":
        return layer
    wrapped = nn.SpectralNorm(layer, collection_name="spectral")
    return lambda x: wrapped(x, update_stats=module.is_mutable_collection("spectral"))


def stage_sides(shape: Sequence[int], base: int | None = None, net: str = "an r3 net") -> list[tuple[int, int]]:
    """Sides of the stages of images [H, W, C], lowest resolution first, each the double of the one before.

    The lowest is `base` x `base`; where unset, images are halved while both sides are even and at least 8.

    Raises:
      UserError: for rows that are no images, for images that are not `base` times a power of two, or where the lowest
        resolution would exceed 7 pixels both ways, because a dense layer there grows with its square.
    """
    if base is not None and base < 1:
        raise UserError(f"{net} with base {base}: expected at least 1")
    if len(shape) != 3:
        raise UserError(f"{net} is for images [H, W, C], these data have rows of shape {tuple(shape)}; choose mlp")
    sides = [(shape[0], shape[1])]
    while all(side % 2 == 0 and side >= (2 * base if base else 8) for side in sides[0]):
        sides.insert(0, (sides[0][0] // 2, sides[0][1] // 2))
    wrong = sides[0] != (base, base) if base else min(sides[0]) > 7
    if wrong:
        side = 2 ** max(2, round(np.log2(max(shape[:2]))))
        if base:
            side = base * 2 ** max(1, round(np.log2(max(shape[:2]) / base)))
        raise UserError(
            f"{net} cannot halve {shape[0]}x{shape[1]} down to {base or '4..7'} pixels a side; "
            f"resize the images, for example --config.data.resize={side}"
        )
    return sides


def stage_channels(channels: Sequence[int], stages: int) -> list[int]:
    """One width per stage, lowest resolution first; the last of `channels` repeats.

    Raises:
      UserError: for no width at all, or one that is no whole number above 0.
    """
    if not channels or not all(isinstance(width, int) and width > 0 for width in channels):
        raise UserError(f"channels {tuple(channels)}: expected whole numbers above 0, one or more")
    return [channels[min(stage, len(channels) - 1)] for stage in range(stages)]


def strided_product(x: jax.Array, kernel: jax.Array, *_: object, **__: object) -> jax.Array:
    """Stride-2 "same" convolution of [N, H, W, C], of even sides, with [K, K, C, F], as one matrix product: [N, H/2, W/2, F].

    In the place of `jax.lax.conv_general_dilated`, which takes twice as long on a CPU where it is differentiated twice.
    """
    size, (height, width) = kernel.shape[0], x.shape[1:3]
    border = (size - 2) // 2, (size - 1) // 2
    x = jnp.pad(x, ((0, 0), border, border, (0, 0)))
    steps = [slice(tap, tap + side - 1, 2) for side in (height, width) for tap in range(size)]
    taps = [x[:, a, b] for a in steps[:size] for b in steps[size:]]  # of [N, H/2, W/2, C]
    return jnp.concatenate(taps, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def upconvolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Stride-2 "same" transposed convolution of [N, H, W, C] with [K, K, C, F]: [N, 2H, 2W, F].

    The sub-pixel form: one stride-1 convolution to 4F channels whose taps are those of the four phases of the output.
    It equals `jax.lax.conv_transpose`, the gradient of which takes XLA seven times as long on a CPU.
    """
    size, (num, height, width, channels) = kernel.shape[0], x.shape
    taps = before = -(-size // 2)
    first = [(phase + before) % 2 for phase in (0, 1)]  # every second tap from here reaches the pixels 2 i + phase
    starts = [(phase + tap - before) // 2 for phase, tap in enumerate(first)]  # and reads the inputs from i + start
    low, high = min(starts), max(starts) + taps - 1

    def phase_kernel(p: int, q: int) -> jax.Array:
        part = kernel[first[p] :: 2, first[q] :: 2]  # slices: the gradient of a gather is a slow scatter
        return jnp.pad(part, [*((0, taps - side) for side in part.shape[:2]), (0, 0), (0, 0)])

    kernels = jnp.stack([phase_kernel(p, q) for p in (0, 1) for q in (0, 1)], axis=3)  # [taps, taps, C, 4, F]
    kernels = kernels.reshape(taps, taps, channels, -1)
    x = jnp.pad(x, ((0, 0), (-low, high), (-low, high), (0, 0)))  # by the convolution itself: 10 times slower on a CPU
    out = jax.lax.conv_general_dilated(x, kernels, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    out = out.reshape(*out.shape[:3], 2, 2, -1)  # [N, H', W', 2, 2, F]
    places = list(enumerate(start - low for start in starts))
    pixels = [[out[:, a : a + height, b : b + width, p, q] for q, b in places] for p, a in places]  # of [N, H, W, F]
    stacked = jnp.stack([jnp.stack(each, 3) for each in pixels], 2)  # [N, H, 2, W, 2, F]
    return stacked.reshape(num, 2 * height, 2 * width, -1)


class UpConv(nn.Module):
    """`upconvolve` with a learned kernel [K, K, C, F] and no bias."""

    features: int
    kernel: int
    initializer: nn.initializers.Initializer
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", self.initializer, shape, jnp.float32)
        return upconvolve(x.astype(self.dtype), kernel.astype(self.dtype))


def packed(x: jax.Array, pack: int) -> jax.Array:
    """Rows [N, ..., C] side by side in their last axis, `pack` at a time: [N / pack, ..., pack C]."""
    if pack == 1:
        return x
    x = jnp.moveaxis(x.reshape(-1, pack, *x.shape[1:]), 1, -2)  # [N / pack, ..., pack, C]
    return x.reshape(*x.shape[:-2], -1)
