"""The U-Net from an image to an image, and the patch critic of such pairs (Isola et al. 2017, arXiv 1611.07004).

No layer normalises over the batch, so that the output of a row depends on that row alone.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.errors import UserError, check_whole, choose
from gen_jax.nets.conv import HE
from gen_jax.nets.embedding import Embedded, as_image, with_image
from gen_jax.nets.layers import UpConv, spectrally
from gen_jax.nets.mlp import ACTIVATIONS

NORMS = ("none", "instance")
NARROWEST = 8  # least number of channels of a stage


def normalised(x: jax.Array, norm: str) -> jax.Array:
    """Returns images with mean 0 and deviation 1 in each row and channel if `norm` is instance; else unchanged.

    Ulyanov et al. 2016, arXiv 1607.08022.

    Args:
      x: images [N, H, W, C].
      norm: `instance` or `none`.
    """
    if norm == "none":
        return x
    mean, variance = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5)


class UNet(nn.Module):
    """Maps a condition that is an image, and a latent, to an image: `z [N, Z], c -> x [N, *shape]`.

    The net halves the sides of the output `depth` times, and then doubles them as often (Isola et al. 2017, arXiv
    1611.07004). A condition with 2, 4, ... times the sides of the output is halved before, by stages of fewer channels. A
    stage on the way up also reads the features of the same sides from the way down. At the smallest
    sides a vector made of the latent is added to every pixel.

    Attributes:
      shape: H, W, C of the output; for class maps C is the number of classes.
      channels: width of the first stage; the width doubles from stage to stage, up to 8 times.
      depth: number of halvings.
      norm: `instance` or `none`. The first and the last layer are not normalised, and no features with a side of fewer
        than 4 pixels.
      output: activation of the last layer, a name in `ACTIVATIONS`.
      dtype: type of the activations; weights and the output stay float32.

    Raises:
      UserError: for a model without conditions, rows that are not images, or sides that are not multiples of 2^depth.
    """

    shape: Sequence[int]
    channels: int = 32
    depth: int = 4
    norm: str = "instance"
    output: str = "linear"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, z: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns images [N, *shape].

        Args:
          z: latents [N, Z]; Z may be 0.
          c: the conditions.
          mask: not read, because no layer reads the batch.
        """
        choose("norm of a unet", self.norm, NORMS)
        check_sides(self.shape, self.depth)
        halvings = halvings_to(self.shape, c)
        image = as_image(c, *(side * 2**halvings for side in self.shape[:2]))
        if image is None:
            raise UserError("condition of a unet is missing; expected conditional=True and data with a condition")
        widths = [self.channels * 2 ** min(stage, 3) for stage in range(self.depth + 1)]
        h = image.astype(self.dtype)
        for above in reversed(range(halvings)):
            width = max(self.channels // 2**above, NARROWEST)
            conv = nn.Conv(width, (4, 4), 2, kernel_init=HE, dtype=self.dtype, name=f"above_{above}")
            h = nn.leaky_relu(conv(h), 0.2)
        h = nn.Conv(widths[0], (3, 3), kernel_init=HE, dtype=self.dtype, name="enter")(h)
        skips = []
        for stage, channels in enumerate(widths[1:], 1):
            skips.append(h)
            h = nn.leaky_relu(h, 0.2)
            h = nn.Conv(channels, (4, 4), 2, kernel_init=HE, dtype=self.dtype, name=f"down_{stage}")(h)
            h = self.normalise(h)
        if z.shape[-1]:
            planes = nn.Dense(widths[-1], kernel_init=HE, dtype=self.dtype, name="latent")(z)
            h = h + planes[:, None, None]
        for stage in range(self.depth, 0, -1):
            h = UpConv(widths[stage - 1], 4, HE, self.dtype, name=f"up_{stage}")(nn.relu(h))
            h = jnp.concatenate([self.normalise(h), skips[stage - 1]], -1)
        out = nn.Conv(self.shape[2], (3, 3), name="leave")(nn.relu(h).astype("float32"))
        return ACTIVATIONS[choose("activation", self.output, ACTIVATIONS)](out)

    def normalise(self, x: jax.Array) -> jax.Array:
        """Returns images after `norm`, which needs enough pixels for a deviation."""
        return normalised(x, self.norm if min(x.shape[1:3]) >= 4 else "none")


class PatchDiscriminator(nn.Module):
    """A critic `x [N, H, W, C], c -> logits [N, P]` with a logit for each patch of a row and its condition.

    Attributes:
      channels: width of the first layer; the width doubles from layer to layer, up to 8 times.
      layers: number of layers that halve the sides. Patches have 16, 34 or 70 pixels a side for 1, 2 or 3 layers.
      norm: `instance`, `spectral` or `none`.
      dtype: type of the activations; weights and the output stay float32.
    """

    channels: int = 32
    layers: int = 2
    norm: str = "none"
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns logits [N, P].

        Args:
          x: images [N, H, W, C].
          c: the conditions, which are concatenated with x.
          mask: not read, because no layer reads the batch.
        """
        choose("norm of a patch critic", self.norm, (*NORMS, "spectral"))
        check_whole("layers", self.layers)
        h = with_image(x, c).astype(self.dtype)
        for layer in range(self.layers + 1):
            stride = 2 if layer < self.layers else 1
            width = self.channels * 2 ** min(layer, 3)
            conv = nn.Conv(width, (4, 4), stride, kernel_init=HE, dtype=self.dtype, name=f"conv_{layer}")
            h = spectrally(self, self.norm, conv)(h)
            h = nn.leaky_relu(normalised(h, self.norm) if layer and self.norm == "instance" else h, 0.2)
        last = nn.Conv(1, (4, 4), name="output")
        return spectrally(self, self.norm, last)(h.astype("float32")).reshape(len(x), -1)


def halvings_to(shape: Sequence[int], c: Embedded | None) -> int:
    """Returns how often the image of a condition is halved to have the sides of the output; 0 if it never has them.

    Args:
      shape: H, W, C of the output.
      c: the conditions.
    """
    if c is None or c.image is None:
        return 0
    scale = c.image.shape[1] // shape[0]
    halvings = max(scale, 1).bit_length() - 1
    return halvings if c.image.shape[1:3] == tuple(side * 2**halvings for side in shape[:2]) else 0


def check_sides(shape: Sequence[int], depth: int) -> None:
    """Refuses rows that a U-Net cannot halve.

    Args:
      shape: shape of a row.
      depth: number of halvings.

    Raises:
      UserError: for rows that are no images, or sides that are no multiple of 2^depth.
    """
    check_whole("depth", depth)
    if len(shape) != 3:
        raise UserError(
            f"rows of a unet have the shape {tuple(shape)}; expected images [H, W, C]. Choose generator mlp"
        )
    if shape[0] % 2**depth or shape[1] % 2**depth:
        raise UserError(
            f"a unet of depth {depth} cannot halve {shape[0]}x{shape[1]} pixels; expected sides that are multiples of "
            f"{2**depth}. Set a smaller generator.depth, or --config.data.resize"
        )
