"""The R3GAN residual nets (Huang et al. 2024, arXiv 2501.05441, section 4 and appendix D), with options for their size.

There is no normalisation layer. Fix-up initialisation (Zhang et al. 2019, arXiv 1901.09321) keeps the scale of the
signal, and low-pass resampling avoids aliasing.

The operations have forms that are fast on a CPU and on an accelerator. On a CPU, a grouped convolution runs as one
dense convolution per group. Resampling is a product with a small matrix.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.errors import UserError
from gen_jax.nets.embedding import Embedded, Table, as_vector
from gen_jax.nets.layers import stage_channels, stage_sides

LOW_PASS = np.array([1.0, 3.0, 3.0, 1.0]) / 8  # [1, 2, 1] * [1, 1]


def upsample_matrix(side: int) -> np.ndarray:
    """Returns the matrix [2 side, side] that doubles the number of pixels.

    It puts zeros between the pixels and applies the low-pass filter with gain 2. The border is padded with zeros.

    Args:
      side: number of pixels.
    """
    matrix = np.zeros((2 * side + 2, side), np.float32)
    for pixel in range(side):
        matrix[2 * pixel : 2 * pixel + 4, pixel] = 2 * LOW_PASS
    return matrix[1:-1]


def resample(x: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    """Applies one matrix to the rows and another to the columns of images.

    Args:
      x: images [N, H, W, C].
      rows: matrix [H', H].
      columns: matrix [W', W].

    Returns:
      Images [N, H', W', C].
    """
    x = jnp.einsum("hr,nrwc->nhwc", rows.astype(x.dtype), x)
    return jnp.einsum("wr,nhrc->nhwc", columns.astype(x.dtype), x)


def upsample(x: jax.Array) -> jax.Array:
    """Doubles the sides of images with the filter [1, 3, 3, 1].

    Args:
      x: images [N, H, W, C].
    """
    return resample(x, upsample_matrix(x.shape[1]), upsample_matrix(x.shape[2]))


def downsample(x: jax.Array) -> jax.Array:
    """Halves the sides of images with the filter [1, 3, 3, 1], by the transpose of `upsample` with gain 1.

    Args:
      x: images [N, H, W, C].
    """
    return resample(x, upsample_matrix(x.shape[1] // 2).T / 2, upsample_matrix(x.shape[2] // 2).T / 2)


def convolve(x: jax.Array, kernel: jax.Array, groups: int = 1) -> jax.Array:
    """Returns a stride-1 "same" convolution [N, H, W, F].

    Args:
      x: images [N, H, W, C].
      kernel: kernel [K, K, C / groups, F].
      groups: number of groups; by default 1.
    """
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups
    )


def convolve_by_group(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """Returns the results of `convolve`, computed by one dense convolution per group.

    Args:
      x: images [N, H, W, C].
      kernel: kernel [K, K, C / groups, F].
      groups: number of groups.
    """
    parts = zip(jnp.split(x, groups, axis=-1), jnp.split(kernel, groups, axis=-1))
    return jnp.concatenate([convolve(part, weights) for part, weights in parts], axis=-1)


def grouped_convolve(x: jax.Array, kernel: jax.Array, groups: int) -> jax.Array:
    """Returns the results of `convolve`, computed in the fastest form for the backend.

    XLA's own form is 15 to 40 times slower on a CPU.

    Args:
      x: images [N, H, W, C].
      kernel: kernel [K, K, C / groups, F].
      groups: number of groups.
    """
    if jax.default_backend() == "cpu":  # XLA:CPU runs a branch of lax.platform_dependent ten times slower
        return convolve_by_group(x, kernel, groups)
    return convolve(x, kernel, groups)


class Block(nn.Module):
    """A residual block x + W3 act(W2 act(W1 x)) of a 1x1, a grouped 3x3 and a 1x1 convolution.

    W1 widens the C channels to `expansion` C channels. W3 restores C channels, and is initialised with zeros.

    Attributes:
      expansion: ratio of the inner channels to C.
      group_width: number of channels per group of the 3x3 convolution; None for one group.
      blocks: number of blocks in the whole net; fix-up scales the first two kernels by blocks^(-1/4).
      dtype: type of the activations.
    """

    expansion: int
    group_width: int | None
    blocks: int
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images [N, H, W, C] from images x of the same shape."""
        channels = x.shape[-1]
        if self.expansion < 1:
            raise UserError(f"expansion of an r3 net is {self.expansion}; expected at least 1")
        hidden = channels * self.expansion
        groups = hidden // self.group_width if self.group_width else 1
        if self.group_width and hidden % self.group_width:
            raise UserError(
                f"group_width is {self.group_width}; expected a divisor of the {hidden} channels of an r3 block"
            )
        gain = 2 / (1 + 0.2**2) / np.sqrt(self.blocks)
        scaled = nn.initializers.variance_scaling(gain, "fan_in", "normal")
        expand = self.param("expand", scaled, (channels, hidden), jnp.float32)
        spatial = self.param("spatial", scaled, (3, 3, hidden // groups, hidden), jnp.float32)
        project = self.param("project", nn.initializers.zeros, (hidden, channels), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (2, 1, 1, 1, hidden), jnp.float32).astype(self.dtype)
        h = nn.leaky_relu(x @ expand.astype(self.dtype) + bias[0], 0.2)
        h = nn.leaky_relu(grouped_convolve(h, spatial.astype(self.dtype), groups) + bias[1], 0.2)
        return x + h @ project.astype(self.dtype)


def linear(features: int, dtype: str, name: str) -> nn.Dense:
    """Returns a linear map over channels (a 1x1 convolution) without bias, initialised by N(0, 1 / fan_in).

    Args:
      features: number of output channels.
      dtype: type of the activations.
      name: name of the layer.
    """
    initializer = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
    return nn.Dense(features, use_bias=False, kernel_init=initializer, dtype=dtype, name=name)


class R3Generator(nn.Module):
    """A generator of images, `z [N, Z], c -> x [N, *shape]`: a trained basis weighted by z, then stages of blocks.

    Sides double between stages. With conditions, a linear map of them with the size of z is concatenated with z.

    Attributes:
      shape: H, W, C of the images.
      channels: width of each stage, lowest resolution first; the last width repeats. The paper has 768 everywhere.
      blocks: number of residual blocks per stage.
      expansion: ratio of the channels inside a block to the channels of the stage.
      group_width: number of channels per group of the 3x3 convolution; None for one group. The paper has 16.
      dtype: type of the activations; weights and the output stay float32.
    """

    shape: Sequence[int]
    channels: Sequence[int] = (256, 128, 64)
    blocks: int = 2
    expansion: int = 2
    group_width: int | None = 16
    dtype: str = "float32"

    @nn.compact
    def __call__(self, z: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns images [N, *shape].

        Args:
          z: latents [N, Z].
          c: the conditions; None without conditions.
          mask: not read, because there is no batch normalisation.
        """
        sides = stage_sides(self.shape)
        channels = stage_channels(self.channels, len(sides))
        basis = self.param("basis", nn.initializers.normal(1.0), (*sides[0], channels[0]), jnp.float32)
        vector = as_vector(c)
        if vector is not None:
            embed = Table(z.shape[-1], nn.initializers.normal(1.0), name="embed")
            z = jnp.concatenate([z, embed(vector)], axis=-1)
        x = linear(channels[0], self.dtype, "weigh")(z)[:, None, None] * basis[None].astype(self.dtype)  # [N, h, w, C]
        for stage, features in enumerate(channels):
            if x.shape[-1] != features:
                x = linear(features, self.dtype, f"transition_{stage}")(x)
            if stage:
                x = upsample(x)
            for block in range(self.blocks):
                name = f"stage_{stage}_block_{block}"
                x = Block(self.expansion, self.group_width, len(sides) * self.blocks, self.dtype, name=name)(x)
        return linear(self.shape[2], "float32", "output")(x.astype("float32"))


class R3Discriminator(nn.Module):
    """A discriminator of images, `x [N, H, W, C], c -> logits [N]`, the mirror of `R3Generator`.

    With conditions, the features are as long as a linear map of the conditions. The logit is their inner product,
    divided by the root of this length.

    Attributes:
      channels: width of each stage, lowest resolution first; the last width repeats. The paper has 768 everywhere.
      blocks: number of residual blocks per stage.
      expansion: ratio of the channels inside a block to the channels of the stage.
      group_width: number of channels per group of the 3x3 convolution; None for one group. The paper has 16.
      dtype: type of the activations; weights and the output stay float32.
    """

    channels: Sequence[int] = (256, 128, 64)
    blocks: int = 2
    expansion: int = 2
    group_width: int | None = 16
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns logits [N].

        Args:
          x: images [N, H, W, C].
          c: the conditions; None without conditions.
          mask: not read, because there is no batch normalisation.
        """
        sides = stage_sides(x.shape[1:])
        channels = stage_channels(self.channels, len(sides))
        x = linear(channels[-1], self.dtype, "input")(x.astype(self.dtype))
        for stage in reversed(range(len(sides))):
            for block in range(self.blocks):
                name = f"stage_{stage}_block_{block}"
                x = Block(self.expansion, self.group_width, len(sides) * self.blocks, self.dtype, name=name)(x)
            if stage:
                x = downsample(x)
                if channels[stage] != channels[stage - 1]:
                    x = linear(channels[stage - 1], self.dtype, f"transition_{stage}")(x)
        initializer = nn.initializers.normal(1 / np.sqrt(np.prod(sides[0])))
        pool = self.param("pool", initializer, x.shape[1:], jnp.float32)  # a global depthwise convolution
        x = jnp.einsum("nhwc,hwc->nc", x.astype("float32"), pool)
        vector = as_vector(c)
        if vector is None:
            return linear(1, "float32", "output")(x)[:, 0]
        features = linear(x.shape[-1], "float32", "output")(x)
        embed = Table(x.shape[-1], nn.initializers.normal(1.0), name="embed")
        return jnp.sum(features * embed(vector), axis=-1) / np.sqrt(x.shape[-1])
