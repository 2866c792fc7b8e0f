"""The DCGAN nets (Radford et al. 2016, arXiv 1511.06434, section 3), with options for their size and condition.

The transposed convolutions of the generator have the sub-pixel form of `layers.upconvolve`.

With conditions, the batch normalisation of the generator is conditional. Without batch normalisation, a linear map of
the conditions is concatenated with the latent. The generator never has both, because the label alone can then fill the
normalised variance. On MNIST it did: the generator made one image per class.

With conditions, the discriminator adds the projection of its features on a linear map of the conditions (Miyato &
Koyama 2018, arXiv 1802.05637, eq. 3).
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.errors import UserError, choose
from gen_jax.nets.embedding import Embedded, Table, as_vector
from gen_jax.nets.layers import NORMS, BatchNorm, UpConv, spectrally, stage_channels, stage_sides, strided_product
from gen_jax.nets.mlp import ACTIVATIONS

NORMAL = nn.initializers.normal(0.02)


class DCGenerator(nn.Module):
    """A generator of images, `z [N, Z], c -> x [N, *shape]`: a dense layer, then transposed convolutions.

    Attributes:
      shape: H, W, C of the images.
      channels: width of each stage, lowest resolution first; the last width repeats. The paper: 1024 to 128 at 64x64.
      base: side of the lowest resolution; by default None, the side halved down to 4..7.
      kernel: side of the kernels in pixels.
      norm: `batch` or `none`, after every layer but the last.
      output: activation of the last layer, a name in `ACTIVATIONS`.
      dtype: type of the activations; weights and the output stay float32.
    """

    shape: Sequence[int]
    channels: Sequence[int] = (128, 64)
    base: int | None = None
    kernel: int = 4
    norm: str = "batch"
    output: str = "tanh"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, z: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns images [N, *shape].

        Args:
          z: latents [N, Z].
          c: the conditions; None without conditions.
          mask: weights of the rows [N], 0 for padding rows, which batch normalisation ignores; None if no row is
            padding.
        """
        choose("norm of a dcgan generator", self.norm, ("batch", "none"))
        sides = stage_sides(self.shape, self.base, "a dcgan")
        widths = stage_channels(self.channels, len(sides) - 1)
        check_kernel(self.kernel, len(sides))
        vector = as_vector(c)
        if vector is not None and self.norm != "batch":
            embedded = Table(z.shape[-1], nn.initializers.normal(1.0), name="Embed_0")(vector)
            z = jnp.concatenate([z, embedded], axis=-1)

        def normalised(x: jax.Array) -> jax.Array:
            batch = self.norm == "batch"
            return nn.relu(BatchNorm(self.dtype)(x, c, mask) if batch else x)

        x = nn.Dense(math.prod(sides[0]) * widths[0], use_bias=False, kernel_init=NORMAL, dtype=self.dtype)(z)
        x = normalised(x.reshape(-1, *sides[0], widths[0]))
        for width in widths[1:]:
            x = normalised(UpConv(width, self.kernel, NORMAL, self.dtype)(x))
        x = UpConv(self.shape[2], self.kernel, NORMAL)(x)
        bias = self.param("bias", nn.initializers.zeros, (1, 1, 1, self.shape[2]), jnp.float32)
        return ACTIVATIONS[choose("activation", self.output, ACTIVATIONS)](x + bias)


class DCDiscriminator(nn.Module):
    """A discriminator of images, `x [N, H, W, C], c -> logits [N]`: strided convolutions and a dense layer.

    It is the mirror of `DCGenerator`.

    Attributes:
      channels: width of each stage, lowest resolution first; the last width repeats.
      base: side of the lowest resolution; by default None, the side halved down to 4..7.
      kernel: side of the kernels in pixels.
      norm: `batch` (not after the first layer), `spectral` or `none`.
      pooled: whether the projection sums the features over all places. False gives each place weights of its own, for
        images in which a class is a matter of the place, such as the pitch of a spectrogram.
      dtype: type of the activations; weights and the output stay float32.
    """

    channels: Sequence[int] = (128, 64)
    base: int | None = None
    kernel: int = 4
    norm: str = "batch"
    pooled: bool = True
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns logits [N].

        Args:
          x: images [N, H, W, C].
          c: the conditions; None without conditions.
          mask: weights of the rows [N], 0 for padding rows, which batch normalisation ignores; None if no row is
            padding.
        """
        choose("norm", self.norm, NORMS)
        sides = stage_sides(x.shape[1:], self.base, "a dcgan")
        widths = stage_channels(self.channels, len(sides) - 1)[::-1]
        check_kernel(self.kernel, len(sides))
        x = x.astype(self.dtype)
        penalised = self.norm != "batch" and jax.default_backend() == "cpu"  # a penalty rules out batch statistics
        for stage, width in enumerate(widths):
            bare = self.norm == "batch" and stage > 0  # because batch normalisation cancels a bias
            layer = nn.Conv(
                width,
                (self.kernel,) * 2,
                2,
                use_bias=not bare,
                kernel_init=NORMAL,
                dtype=self.dtype,
                conv_general_dilated=strided_product if penalised else None,
                name=f"conv_{stage}",
            )
            x = spectrally(self, self.norm, layer)(x)
            x = nn.leaky_relu(BatchNorm(dtype=self.dtype)(x, mask=mask) if bare else x, 0.2)
        x = x.astype("float32")  # [N, h, w, C]
        logits = spectrally(self, self.norm, nn.Dense(1, kernel_init=NORMAL, name="output"))(x.reshape(len(x), -1))
        vector = as_vector(c)
        if vector is None:
            return logits[:, 0]
        features = x.sum((1, 2)) if self.pooled else x.reshape(len(x), -1)
        embed = Table(features.shape[-1], NORMAL, name="embed")
        return logits[:, 0] + jnp.sum(spectrally(self, self.norm, embed)(vector) * features, axis=-1)


def check_kernel(kernel: int, stages: int, net: str = "a dcgan") -> None:
    """Refuses a kernel that skips pixels, and images that are not larger than the base.

    Args:
      kernel: side of the kernels in pixels.
      stages: number of stages of the net.
      net: the net, for messages; by default a dcgan.

    Raises:
      UserError: for a kernel below 2, and for fewer than 2 stages.
    """
    if kernel < 2:
        raise UserError(f"kernel of {net} is {kernel}; expected at least 2, its stride")
    if stages < 2:
        raise UserError(f"images of {net} have the base size; expected at least twice the base. Choose mlp")
