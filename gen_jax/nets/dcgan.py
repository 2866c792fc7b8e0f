"""The DCGAN nets (Radford et al. 2016, arXiv 1511.06434, section 3), sized and conditioned by option.

The generator's transposed convolutions have the sub-pixel form of `layers.upconvolve`. With classes, the generator's
batch normalisation is conditional, or where it has none an embedding of the label stands beside the latent; never both,
because then the label alone can fill the normalised variance, and on MNIST it did: one image a class. The discriminator
adds the projection of its features on the label's embedding (Miyato & Koyama 2018, arXiv 1802.05637, eq. 3).
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.errors import UserError, choose
from gen_jax.nets.layers import NORMS, BatchNorm, UpConv, spectrally, stage_channels, stage_sides, strided_product
from gen_jax.nets.mlp import ACTIVATIONS

NORMAL = nn.initializers.normal(0.02)


class DCGenerator(nn.Module):
    """`z [N, Z], y [N] -> x [N, *shape]`: a dense layer to the lowest resolution, then transposed convolutions.

    Options:
      channels: width of each stage, lowest resolution first; the last repeats (the paper at 64x64: 1024 to 128).
      base: side of the lowest resolution; where unset, the side halved down to 4..7.
      kernel: side of the kernels.
      norm: `batch` or `none`, after every layer but the last.
      output: a name in `ACTIVATIONS`.
      dtype: of the activations; weights and the output stay float32.
    """

    shape: Sequence[int]
    classes: int = 0
    channels: Sequence[int] = (128, 64)
    base: int | None = None
    kernel: int = 4
    norm: str = "batch"
    output: str = "tanh"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, z: jax.Array, y: jax.Array | None = None, mask: jax.Array | None = None) -> jax.Array:
        choose("norm of a dcgan generator", self.norm, ("batch", "none"))
        sides = stage_sides(self.shape, self.base, "a dcgan")
        widths = stage_channels(self.channels, len(sides) - 1)
        check_kernel(self.kernel, len(sides))
        if self.classes and self.norm != "batch":
            embedded = nn.Embed(self.classes, z.shape[-1], embedding_init=nn.initializers.normal(1.0))(y)
            z = jnp.concatenate([z, embedded], axis=-1)

        def normalised(x: jax.Array) -> jax.Array:
            batch = self.norm == "batch"
            return nn.relu(BatchNorm(self.classes, self.dtype)(x, y, mask) if batch else x)

        x = nn.Dense(math.prod(sides[0]) * widths[0], use_bias=False, kernel_init=NORMAL, dtype=self.dtype)(z)
        x = normalised(x.reshape(-1, *sides[0], widths[0]))
        for width in widths[1:]:
            x = normalised(UpConv(width, self.kernel, NORMAL, self.dtype)(x))
        x = UpConv(self.shape[2], self.kernel, NORMAL)(x)
        bias = self.param("bias", nn.initializers.zeros, (1, 1, 1, self.shape[2]), jnp.float32)
        return ACTIVATIONS[choose("activation", self.output, ACTIVATIONS)](x + bias)


class DCDiscriminator(nn.Module):
    """`x [N, H, W, C], y [N] -> logits [N]`: strided convolutions and a dense layer, the mirror of `DCGenerator`.

    Options: as those of `DCGenerator`; `norm` is `batch` (not after the first layer), `spectral` or `none`.
    """

    classes: int = 0
    channels: Sequence[int] = (128, 64)
    base: int | None = None
    kernel: int = 4
    norm: str = "batch"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array | None = None, mask: jax.Array | None = None) -> jax.Array:
        choose("norm", self.norm, NORMS)
        sides = stage_sides(x.shape[1:], self.base, "a dcgan")
        widths = stage_channels(self.channels, len(sides) - 1)[::-1]
        check_kernel(self.kernel, len(sides))
        x = x.astype(self.dtype)
        penalised = self.norm != "batch" and jax.default_backend() == "cpu"  # a penalty needs rows that do not mix
        for stage, width in enumerate(widths):
            bare = self.norm == "batch" and stage > 0  # a bias before batch normalisation does nothing
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
        if not self.classes:
            return logits[:, 0]
        embed = nn.Embed(self.classes, x.shape[-1], embedding_init=NORMAL, name="embed")
        return logits[:, 0] + jnp.sum(spectrally(self, self.norm, embed)(y) * x.sum((1, 2)), axis=-1)


def check_kernel(kernel: int, stages: int) -> None:
    """Refuses a kernel that leaves out pixels, and images that are not larger than the base.

    Raises:
      UserError: naming what was expected.
    """
    if kernel < 2:
        raise UserError(f"a dcgan with kernel {kernel}: expected at least 2, its stride")
    if stages < 2:
        raise UserError("a dcgan for images of the base size: expected at least twice the base; choose mlp")
