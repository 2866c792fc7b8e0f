"""The U-Net of diffusion models of images (Ho et al. 2020, arXiv 2006.11239, appendix B; Dhariwal & Nichol 2021, arXiv 2105.05233)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import initializers

from gen_jax.errors import UserError, check_share, check_whole, choose
from gen_jax.nets.denoisers import Setting, with_evidence
from gen_jax.nets.embedding import Embedded, with_image
from gen_jax.nets.transformer import DTYPES

ZEROS = initializers.zeros


class DenoisingUNet(nn.Module):
    """Maps a noisy image to a prediction of the same shape, by residual blocks at falling and then rising resolutions.

    The level of the noise and the conditions scale and shift the features of each block. At the lowest resolution pixels
    attend to each other, and to the tokens of a text. No layer reads the batch.

    Attributes:
      shape: shape of a row [H, W, C]; H and W are multiples of 2^(number of widths - 1).
      channels: width of the first resolution.
      multiples: width of each resolution, as a multiple of `channels`, highest resolution first.
      blocks: number of blocks at each resolution on the way down; there is one more on the way up.
      heads: number of heads of attention.
      groups: number of groups of the normalisation, a divisor of `channels`.
      dropout: dropout rate inside a block. It applies if a `dropout` key is given.
      dtype: type of the activations; weights and the output stay float32.
    """

    shape: Sequence[int]
    channels: int = 64
    multiples: Sequence[int] = (1, 2, 2)
    blocks: int = 2
    heads: int = 4
    groups: int = 8
    dropout: float = 0.0
    dtype: str = "float32"

    @nn.compact
    def __call__(
        self, z: jax.Array, c: Embedded | None, level: jax.Array, evidence: jax.Array | None = None
    ) -> jax.Array:
        """Returns the prediction [N, H, W, C].

        Args:
          z: noisy images [N, H, W, C].
          c: the conditions; None without conditions.
          level: levels of noise [N], or pairs of times [N, 2], in [-1, 1].
          evidence: observed numbers and where they are [N, H, W, C, 2]; by default None, nothing is observed.
        """
        self.check()
        vectors = None if c is None else c._replace(image=None)
        setting = Setting(4 * self.channels, name="setting")(level, vectors)
        x = with_evidence(z, evidence)
        if c is not None and c.image is not None:
            x = with_image(x, Embedded(image=c.image))
        widths = [self.channels * multiple for multiple in self.multiples]
        block = lambda width, name: ResidualBlock(width, self.groups, self.dropout, self.dtype, name=name)
        h = nn.Conv(widths[0], (3, 3), dtype=self.dtype, name="enter")(x.astype(self.dtype))
        skips = [h]
        for stage, width in enumerate(widths):
            if stage:
                h = nn.Conv(width, (3, 3), 2, dtype=self.dtype, name=f"down_{stage}")(h)
                skips.append(h)
            for number in range(self.blocks):
                h = block(width, f"down_{stage}_{number}")(h, setting)
                skips.append(h)
        h = block(widths[-1], "middle_0")(h, setting)
        h = PixelAttention(self.heads, self.groups, self.dtype, name="attention")(h, c)
        h = block(widths[-1], "middle_1")(h, setting)
        for stage, width in reversed([*enumerate(widths)]):
            for number in range(self.blocks + 1):
                h = block(width, f"up_{stage}_{number}")(jnp.concatenate([h, skips.pop()], -1), setting)
            if stage:
                twice = (len(h), 2 * h.shape[1], 2 * h.shape[2], h.shape[3])
                h = nn.Conv(width, (3, 3), dtype=self.dtype, name=f"up_{stage}")(jax.image.resize(h, twice, "nearest"))
        h = nn.silu(nn.GroupNorm(self.groups, dtype="float32", name="last_norm")(h)).astype(jnp.float32)
        return nn.Conv(self.shape[2], (3, 3), kernel_init=ZEROS, name="last")(h)

    def check(self) -> None:
        """Raises UserError for sizes that do not fit the image or each other."""
        for name in ("channels", "blocks", "heads", "groups"):
            check_whole(f"{name} of unet", getattr(self, name))
        choose("dtype", self.dtype, DTYPES)
        for multiple in self.multiples:
            check_whole("multiples of unet", multiple)
        if not self.multiples:
            raise UserError("multiples of unet is empty; expected a width for each resolution")
        check_share("dropout of unet", self.dropout)
        if len(self.shape) != 3:
            raise UserError(f"a row has the shape {[*self.shape]}; expected images for the net unet, or the net mlp")
        factor = 2 ** (len(self.multiples) - 1)
        height, width, _ = self.shape
        if height % factor or width % factor:
            raise UserError(
                f"unet has {len(self.multiples)} resolutions; expected sides that are multiples of {factor}, and images "
                f"have {width}x{height} pixels"
            )
        for name in ("groups", "heads"):
            if self.channels % getattr(self, name):
                raise UserError(
                    f"{name} of unet is {getattr(self, name)}; expected a divisor of channels {self.channels}"
                )


class ResidualBlock(nn.Module):
    """Two convolutions; the second starts at zero. The setting scales and shifts the features between them.

    Attributes:
      width: number of channels of the output.
      groups: number of groups of the normalisation.
      dropout: dropout rate before the second convolution.
      dtype: type of the activations.
    """

    width: int
    groups: int
    dropout: float
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, setting: jax.Array) -> jax.Array:
        """Returns images [N, H, W, width].

        Args:
          x: images [N, H, W, C].
          setting: vector of the level and the conditions [N, E].
        """
        h = nn.silu(nn.GroupNorm(self.groups, dtype="float32", name="norm_0")(x)).astype(self.dtype)
        h = nn.Conv(self.width, (3, 3), dtype=self.dtype, name="conv_0")(h)
        scale, shift = jnp.split(
            nn.Dense(2 * self.width, kernel_init=ZEROS, name="scale")(setting)[:, None, None], 2, -1
        )
        norm = nn.GroupNorm(self.groups, use_bias=False, use_scale=False, dtype="float32", name="norm_1")
        h = nn.silu(norm(h) * (1 + scale) + shift)
        h = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(h).astype(self.dtype)
        h = nn.Conv(self.width, (3, 3), kernel_init=ZEROS, dtype=self.dtype, name="conv_1")(h)
        if x.shape[-1] != self.width:
            x = nn.Conv(self.width, (1, 1), dtype=self.dtype, name="skip")(x)
        return x + h


class PixelAttention(nn.Module):
    """Attention of the pixels of an image to each other and to the tokens of a text; it starts at zero.

    Attributes:
      heads: number of heads.
      groups: number of groups of the normalisation.
      dtype: type of the activations.
    """

    heads: int
    groups: int
    dtype: str

    @nn.compact
    def __call__(self, x: jax.Array, c: Embedded | None) -> jax.Array:
        """Returns images [N, H, W, C].

        Args:
          x: images.
          c: the conditions; None without conditions.
        """
        options: dict[str, Any] = {"normalize_qk": True, "out_kernel_init": ZEROS, "dtype": self.dtype}
        pixels = nn.GroupNorm(self.groups, dtype="float32", name="norm")(x).reshape(len(x), -1, x.shape[-1])
        pixels = pixels.astype(self.dtype)
        out = nn.MultiHeadDotProductAttention(self.heads, name="pixels", **options)(pixels)
        if c is not None and c.sequence is not None:
            text = nn.Dense(x.shape[-1], name="text")(c.sequence)
            presence = None if c.mask is None else (c.mask > 0)[:, None, None]
            attention = nn.MultiHeadDotProductAttention(self.heads, name="tokens", **options)
            out = out + attention(pixels, text, mask=presence)
        return x + out.reshape(x.shape)
