"""A net of super-resolution after FSRCNN (Dong et al. 2016, arXiv 1608.00367, section 3), with a sub-pixel output.

The output of the net is added to the bicubic enlargement of the condition (Kim et al. 2016, arXiv 1511.04587), and comes
from a convolution at low resolution (Shi et al. 2016, arXiv 1609.05158) instead of a transposed convolution.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.data.resizing import bicubic_matrix
from gen_jax.errors import UserError, check_whole
from gen_jax.nets.conv import HE
from gen_jax.nets.embedding import Embedded
from gen_jax.nets.r3 import resample

SLOPE = 0.25  # first slope of a parametric ReLU for negative numbers (He et al. 2015, arXiv 1502.01852)


def enlarge(x: jax.Array, scale: int) -> jax.Array:
    """Returns images [N, scale H, scale W, C], enlarged by the bicubic filter of `gen_jax.data.resizing`.

    Args:
      x: images [N, H, W, C].
      scale: ratio of the sides.
    """
    rows, columns = (bicubic_matrix(side, scale * side) for side in x.shape[1:3])
    return resample(x, rows, columns)


def depth_to_space(x: jax.Array, scale: int) -> jax.Array:
    """Returns images [N, scale H, scale W, C]: the channels of a pixel become a square of pixels.

    Args:
      x: images [N, H, W, scale scale C].
      scale: ratio of the sides.
    """
    num, height, width, channels = x.shape
    x = x.reshape(num, height, width, scale, scale, channels // scale**2).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(num, scale * height, scale * width, channels // scale**2)


class ParametricReLU(nn.Module):
    """The function max(x, 0) + a min(x, 0), with a trained slope a for each channel (arXiv 1502.01852, eq. 1)."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns images [N, H, W, C] from images x of the same shape."""
        slope = self.param("slope", nn.initializers.constant(SLOPE), x.shape[-1:], jnp.float32).astype(x.dtype)
        return jnp.maximum(x, 0) + slope[None, None, None] * jnp.minimum(x, 0)


class SuperResolver(nn.Module):
    """A generator `z [N, Z], c -> x [N, scale H, scale W, C]` of images from images c [N, H, W, C] of any sides.

    Before training, x is the bicubic enlargement of c. Both have the domain [-1, 1]. A latent enters as a further term
    of the inner channels, the same for all pixels.

    Attributes:
      shape: H, W, C of the rows; only C is read, because the sides follow from the condition.
      scale: ratio of the sides, as `data.shrink`.
      width: number of channels of the first and of the last feature map; d in the paper.
      inner: number of channels between them; s in the paper.
      layers: number of 3 x 3 convolutions of the inner channels; m in the paper.
      dtype: type of the activations; weights and the output stay float32.

    Raises:
      UserError: for a number that is out of range, or without an image as condition with the channels of the rows.
    """

    shape: Sequence[int]
    scale: int = 2
    width: int = 48
    inner: int = 24
    layers: int = 4
    dtype: str = "float32"

    @nn.compact
    def __call__(self, z: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns images [N, scale H, scale W, C].

        Args:
          z: latents [N, Z]; Z may be 0.
          c: the conditions, of which the image is read.
          mask: not read, because no layer reads the batch.
        """
        for name, value in (("scale", self.scale), ("width", self.width), ("inner", self.inner)):
            check_whole(f"{name} of an sr net", value)
        check_whole("layers of an sr net", self.layers, 0)
        image, channels = None if c is None else c.image, self.shape[-1]
        if image is None or image.shape[-1] != channels:
            raise UserError(
                f"condition of an sr net has no image of {channels} channels; expected conditional=True and data with such a "
                f"condition, for example --config.data.shrink={self.scale}"
            )
        h = nn.Conv(self.width, (5, 5), kernel_init=HE, dtype=self.dtype, name="enter")(image.astype(self.dtype))
        h = nn.Dense(self.inner, kernel_init=HE, dtype=self.dtype, name="shrink")(ParametricReLU()(h))
        if z.shape[-1]:
            h = h + nn.Dense(self.inner, use_bias=False, dtype=self.dtype, name="latent")(z)[:, None, None]
        for layer in range(self.layers):
            h = nn.Conv(self.inner, (3, 3), kernel_init=HE, dtype=self.dtype, name=f"map_{layer}")(ParametricReLU()(h))
        h = nn.Dense(self.width, kernel_init=HE, dtype=self.dtype, name="expand")(ParametricReLU()(h))
        h = ParametricReLU()(h).astype("float32")
        leave = nn.Conv(self.scale**2 * channels, (3, 3), kernel_init=nn.initializers.zeros, name="leave")
        return enlarge(image, self.scale) + depth_to_space(leave(h), self.scale)
