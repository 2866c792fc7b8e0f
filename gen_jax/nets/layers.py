"""Parts that several nets share: batch and spectral normalisation, transposed convolution, sizes of stages, packing."""

from collections.abc import Callable, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import UserError
from gen_jax.nets.embedding import Embedded, Table, as_vector

NORMS = ("none", "batch", "spectral")


class BatchNorm(nn.Module):
    """Batch normalisation of `[N, ..., C]` (Ioffe & Szegedy 2015, arXiv 1502.03167), with a scale and a shift by the condition.

    If the collection `batch_stats` may be written, the statistics are computed from the batch, over rows where `mask`
    [N] is not 0. Otherwise they are the running averages in that collection. With a
    condition, scale and shift are linear in its vector; a label looks them up (de Vries et al. 2017, arXiv 1707.00683,
    section 4.1).

    Attributes:
      dtype: type of the activations.
    """

    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns x after normalisation.

        Args:
          x: activations [N, ..., C].
          c: the conditions; None without conditions.
          mask: weights of the rows [N], 0 for padding rows; None if no row is padding.
        """
        fixed = not self.is_mutable_collection("batch_stats")
        vector = as_vector(c)
        plain = vector is None
        norm = nn.BatchNorm(
            fixed, momentum=0.9, dtype=self.dtype, use_bias=plain, use_scale=plain, use_fast_variance=False
        )
        if mask is not None:  # if all rows are padding, use them all: an empty batch has no mean
            mask = ((mask > 0) | (jnp.max(mask) == 0)).reshape(x.shape[0], *(1,) * (x.ndim - 1))
        x = norm(x, mask=mask)
        if vector is None:
            return x
        shape = (x.shape[0], *(1,) * (x.ndim - 2), x.shape[-1])
        scale = Table(x.shape[-1], nn.initializers.ones, name="scale")(vector) + (1 - vector.sum(-1, keepdims=True))
        shift = Table(x.shape[-1], nn.initializers.zeros, name="shift")(vector)  # scale is 1 and shift is 0 at first
        return x * scale.reshape(shape).astype(x.dtype) + shift.reshape(shape).astype(x.dtype)


def spectrally(module: nn.Module, norm: str, layer: nn.Module) -> Callable[..., jax.Array]:
    """Returns a layer, divided by its largest singular value if `norm` is spectral.

    Miyato et al. 2018, arXiv 1802.05957. A call makes one power iteration from the vectors in the collection
    `spectral`. It updates these vectors if the collection may be written.

    Args:
      module: the net that the layer belongs to.
      norm: `spectral`, or another name, which leaves the layer unchanged.
      layer: the layer.
    """
    if norm != "spectral":
        return layer
    wrapped = nn.SpectralNorm(layer, collection_name="spectral")
    return lambda x: wrapped(x, update_stats=module.is_mutable_collection("spectral"))


def stage_sides(shape: Sequence[int], base: int | None = None, net: str = "an r3 net") -> list[tuple[int, int]]:
    """Returns the sides of the stages of an image net, lowest resolution first; a stage doubles the previous one.

    Args:
      shape: H, W, C of the images.
      base: side of the lowest resolution. By default None: images are halved while both sides are even and at least 8.
      net: the net, for messages.

    Returns:
      Height and width of each stage.

    Raises:
      UserError: for rows that are no images, and for images that are not `base` times a power of two. Also for a lowest
        resolution above 7 pixels both ways, because a dense layer there grows with its square.
    """
    if base is not None and base < 1:
        raise UserError(f"base of {net} is {base}; expected at least 1")
    if len(shape) != 3:
        raise UserError(
            f"{net} is for images, and the shape of the rows is {tuple(shape)}; expected images [H, W, C]. Choose mlp"
        )
    sides = [(shape[0], shape[1])]
    while all(side % 2 == 0 and side >= (2 * base if base else 8) for side in sides[0]):
        sides.insert(0, (sides[0][0] // 2, sides[0][1] // 2))
    wrong = sides[0] != (base, base) if base else min(sides[0]) > 7
    if wrong:
        side = 2 ** max(2, round(np.log2(max(shape[:2]))))
        if base:
            side = base * 2 ** max(1, round(np.log2(max(shape[:2]) / base)))
        raise UserError(
            f"{net} cannot halve {shape[0]}x{shape[1]} down to {base or '4..7'} pixels a side; expected a size that "
            f"halves. Resize the images, for example --config.data.resize={side}"
        )
    return sides


def stage_channels(channels: Sequence[int], stages: int) -> list[int]:
    """Returns one width per stage, lowest resolution first; the last of `channels` repeats.

    Args:
      channels: widths, lowest resolution first.
      stages: number of stages.

    Raises:
      UserError: for no width, or a width that is no whole number above 0.
    """
    if not channels or not all(isinstance(width, int) and width > 0 for width in channels):
        raise UserError(f"channels is {tuple(channels)}; expected whole numbers above 0, one or more")
    return [channels[min(stage, len(channels) - 1)] for stage in range(stages)]


def strided_product(x: jax.Array, kernel: jax.Array, *_: object, **__: object) -> jax.Array:
    """Returns a stride-2 "same" convolution, computed as one matrix product.

    It replaces `jax.lax.conv_general_dilated`, which takes twice as long on a CPU if it is differentiated twice.

    Args:
      x: images [N, H, W, C] of even sides.
      kernel: kernel [K, K, C, F].
      *_: further arguments of the convolution, which are ignored.
      **__: further options of the convolution, which are ignored.

    Returns:
      [N, H/2, W/2, F].
    """
    size, (height, width) = kernel.shape[0], x.shape[1:3]
    border = (size - 2) // 2, (size - 1) // 2
    x = jnp.pad(x, ((0, 0), border, border, (0, 0)))
    steps = [slice(tap, tap + side - 1, 2) for side in (height, width) for tap in range(size)]
    taps = [x[:, a, b] for a in steps[:size] for b in steps[size:]]  # K^2 arrays [N, H/2, W/2, C]
    return jnp.concatenate(taps, axis=-1) @ kernel.reshape(-1, kernel.shape[-1])


def upconvolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Returns a stride-2 "same" transposed convolution in its sub-pixel form.

    One stride-1 convolution with 4F channels has the taps of the four phases of the output. The result equals
    `jax.lax.conv_transpose`, whose gradient takes XLA seven times as long on a CPU.

    Args:
      x: images [N, H, W, C].
      kernel: kernel [K, K, C, F].

    Returns:
      [N, 2H, 2W, F].
    """
    size, (num, height, width, channels) = kernel.shape[0], x.shape
    taps = before = -(-size // 2)
    first = [(phase + before) % 2 for phase in (0, 1)]  # every second tap from `first` reaches the pixels 2 i + phase
    # These taps read the inputs from i + start.
    starts = [(phase + tap - before) // 2 for phase, tap in enumerate(first)]
    low, high = min(starts), max(starts) + taps - 1

    def phase_kernel(p: int, q: int) -> jax.Array:
        part = kernel[first[p] :: 2, first[q] :: 2]  # slices, because the gradient of a gather is a slow scatter
        return jnp.pad(part, [*((0, taps - side) for side in part.shape[:2]), (0, 0), (0, 0)])

    kernels = jnp.stack([phase_kernel(p, q) for p in (0, 1) for q in (0, 1)], axis=3)  # [taps, taps, C, 4, F]
    kernels = kernels.reshape(taps, taps, channels, -1)
    # Because padding in the convolution is 10 times slower on a CPU.
    x = jnp.pad(x, ((0, 0), (-low, high), (-low, high), (0, 0)))
    out = jax.lax.conv_general_dilated(x, kernels, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    out = out.reshape(*out.shape[:3], 2, 2, -1)  # [N, H', W', 2, 2, F]
    places = list(enumerate(start - low for start in starts))
    # 2 x 2 arrays [N, H, W, F]
    pixels = [[out[:, a : a + height, b : b + width, p, q] for q, b in places] for p, a in places]
    stacked = jnp.stack([jnp.stack(each, 3) for each in pixels], 2)  # [N, H, 2, W, 2, F]
    return stacked.reshape(num, 2 * height, 2 * width, -1)


class UpConv(nn.Module):
    """The layer `upconvolve` with a trained kernel [K, K, C, F] and no bias.

    Attributes:
      features: number of output channels F.
      kernel: side of the kernel K.
      initializer: initializer of the kernel.
      dtype: type of the activations.
    """

    features: int
    kernel: int
    initializer: nn.initializers.Initializer
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images [N, 2H, 2W, F] from images x [N, H, W, C]."""
        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernel = self.param("kernel", self.initializer, shape, jnp.float32)
        return upconvolve(x.astype(self.dtype), kernel.astype(self.dtype))


def packed(x: jax.Array, pack: int) -> jax.Array:
    """Returns rows [N / pack, ..., pack C], `pack` rows concatenated in their last axis.

    Args:
      x: rows [N, ..., C].
      pack: number of rows to concatenate.
    """
    if pack == 1:
        return x
    x = jnp.moveaxis(x.reshape(-1, pack, *x.shape[1:]), 1, -2)  # [N / pack, ..., pack, C]
    return x.reshape(*x.shape[:-2], -1)
