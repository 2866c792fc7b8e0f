"""Nets of clips whose layers are (2+1)-dimensional: one within the frames, then one between them (Tran et al. 2018, arXiv 1711.11248).

XLA has no fast three-dimensional convolution on a CPU. Within the frames, frames are rows of a batch; between them, a
convolution is a product of neighbouring frames.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.errors import UserError, check_share, check_whole, choose
from gen_jax.nets.dcgan import NORMAL, check_kernel
from gen_jax.nets.denoisers import ZEROS, Block, Setting, patches, positions, unpatched, with_evidence
from gen_jax.nets.embedding import Embedded, Table, as_vector, with_image
from gen_jax.nets.layers import UpConv, spectrally, stage_channels, stage_sides
from gen_jax.nets.mlp import ACTIVATIONS


def neighbours(x: jax.Array, taps: int) -> jax.Array:
    """Returns each frame beside its neighbours, in the channels: [N, T, ..., taps C]. Beyond the ends are zeros.

    Args:
      x: frames [N, T, ..., C].
      taps: number of frames beside one another.
    """
    before, count = (taps - 1) // 2, x.shape[1]
    padded = jnp.pad(x, ((0, 0), (before, taps - 1 - before), *((0, 0),) * (x.ndim - 2)))
    return jnp.concatenate([padded[:, tap : tap + count] for tap in range(taps)], -1)


def vectors_of(c: Embedded | None) -> jax.Array | None:
    """Returns the conditions without their images as vectors [N, E]; None if there are none.

    Args:
      c: the conditions; None without conditions.
    """
    return None if c is None else as_vector(c._replace(image=None))


def beside_frames(x: jax.Array, c: Embedded | None) -> jax.Array:
    """Returns clips whose frames have the image of the condition as further channels, [N, T, H, W, C + E].

    Args:
      x: clips [N, T, H, W, C].
      c: the conditions; None without conditions.
    """
    if c is None or c.image is None:
        return x
    count = x.shape[1]
    planes = Embedded(image=jnp.repeat(c.image, count, 0))
    return with_image(x.reshape(-1, *x.shape[2:]), planes).reshape(*x.shape[:-1], -1)


def check_clips(shape: Sequence[int], net: str) -> None:
    """Refuses rows that are no clips.

    Args:
      shape: shape of a row.
      net: name of the net.

    Raises:
      UserError: for rows of another rank.
    """
    if len(shape) != 4:
        raise UserError(f"{net} is for clips, and a row has the shape {[*shape]}; expected clips [frames, H, W, C]")


class VideoGenerator(nn.Module):
    """A generator of clips, `z [N, Z], c -> x [N, *shape]`: transposed convolutions within the frames, and residual ones between.

    The dense layer gives each frame features of its own, because frames that are repeated in time stand still.
    An image of the condition, such as first frames, enters each stage through convolutions of its own.

    Attributes:
      shape: frames, H, W, C of a clip.
      channels: width of each stage, lowest resolution first; the last width repeats.
      base: side of the lowest resolution; by default None, the side halved down to 4..7.
      kernel: side of the kernels in pixels.
      output: activation of the last layer, a name in `ACTIVATIONS`.
    """

    shape: Sequence[int]
    channels: Sequence[int] = (128, 64, 32)
    base: int | None = None
    kernel: int = 4
    output: str = "tanh"

    @nn.compact
    def __call__(self, z: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns clips [N, *shape].

        Args:
          z: latents [N, Z].
          c: the conditions; None without conditions.
          mask: not used, because no layer reads the batch.
        """
        check_clips(self.shape, "the generator video")
        frames, *image = self.shape
        sides = stage_sides(image, self.base, "video")
        check_kernel(self.kernel, len(sides), "video")
        widths = stage_channels(self.channels, len(sides) - 1)
        vector = vectors_of(c)
        if vector is not None:
            z = jnp.concatenate([z, Table(z.shape[-1], nn.initializers.normal(1.0), name="embed")(vector)], -1)
        x = nn.Dense(frames * math.prod(sides[0]) * widths[0], use_bias=False, kernel_init=NORMAL, name="enter")(z)
        x = nn.relu(x.reshape(len(z), frames, *sides[0], widths[0]))
        pictures = self.pictures(c, sides, widths)
        for stage, width in enumerate(widths):
            if stage:
                x = nn.relu(self.within(x, width, f"up_{stage}"))
            if pictures:
                x = x + jnp.repeat(pictures[stage][:, None], x.shape[1], 1)
            between = nn.Dense(width, use_bias=False, kernel_init=NORMAL, name=f"between_{stage}")
            x = x + nn.relu(between(neighbours(x, 3)))
        x = self.within(x, self.shape[3], "last")
        bias = self.param("bias", nn.initializers.zeros, (1, 1, 1, 1, self.shape[3]), jnp.float32)
        return ACTIVATIONS[choose("activation", self.output, ACTIVATIONS)](x + bias)

    def within(self, x: jax.Array, width: int, name: str) -> jax.Array:
        """Returns clips of twice the sides [N, T, 2 H, 2 W, width].

        Args:
          x: clips [N, T, H, W, C].
          width: number of channels.
          name: name of the layer.
        """
        layer = UpConv(width, self.kernel, NORMAL, name=name)
        out = layer(x.reshape(-1, *x.shape[2:]))
        return out.reshape(*x.shape[:2], *out.shape[1:])

    def pictures(self, c: Embedded | None, sides: Sequence[tuple[int, int]], widths: Sequence[int]) -> list[jax.Array]:
        """Returns the features of the image of the condition at each stage [N, h, w, width]; none without an image.

        Args:
          c: the conditions; None without conditions.
          sides: height and width of each stage, and of the clip.
          widths: width of each stage.
        """
        if c is None or c.image is None:
            return []
        x, features = c.image, list[jax.Array]()
        for stage in reversed(range(len(widths))):
            ratio = x.shape[1] // sides[stage][0]
            x = nn.relu(nn.Conv(widths[stage], (self.kernel,) * 2, ratio, name=f"picture_{stage}")(x))
            features.insert(0, x)
        return features


class VideoDiscriminator(nn.Module):
    """A discriminator of clips, `x [N, T, H, W, C], c -> logits [N, 2]`: one logit for the frames alone, one for the clip.

    The image of a condition stands beside each frame. Both logits add the projection of their features on a linear map of
    the other conditions (Miyato & Koyama 2018, arXiv 1802.05637, eq. 3).

    Attributes:
      channels: width of each stage, lowest resolution first; the last width repeats.
      base: side of the lowest resolution; by default None, the side halved down to 4..7.
      kernel: side of the kernels in pixels.
      norm: `spectral` or `none`.
    """

    channels: Sequence[int] = (128, 64, 32)
    base: int | None = None
    kernel: int = 4
    norm: str = "spectral"

    @nn.compact
    def __call__(self, x: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns logits [N, 2].

        Args:
          x: clips [N, T, H, W, C].
          c: the conditions; None without conditions.
          mask: not used, because no layer reads the batch.
        """
        choose("norm", self.norm, ("spectral", "none"))
        check_clips(x.shape[1:], "the discriminator video")
        num, frames = x.shape[:2]
        sides = stage_sides(x.shape[2:], self.base, "video")
        check_kernel(self.kernel, len(sides), "video")
        widths = stage_channels(self.channels, len(sides) - 1)[::-1]
        x = beside_frames(x, c)
        still = x.reshape(num * frames, *x.shape[2:])
        clip = x
        for stage, width in enumerate(widths):
            still = self.halved(still, width, f"still_{stage}")
            clip = neighbours(clip, 3) if stage else clip
            if stage and clip.shape[1] > 1:
                clip = clip[:, ::2]
            halved = self.halved(clip.reshape(-1, *clip.shape[2:]), width, f"clip_{stage}")
            clip = halved.reshape(num, -1, *halved.shape[1:])
        still = still.reshape(num, frames, *still.shape[1:])
        vector = vectors_of(c)
        return jnp.stack([self.logit(still.mean(1), vector, "still"), self.logit(clip, vector, "clip")], 1)

    def halved(self, x: jax.Array, width: int, name: str) -> jax.Array:
        """Returns frames of half the sides [N, H / 2, W / 2, width].

        Args:
          x: frames [N, H, W, C].
          width: number of channels.
          name: name of the layer.
        """
        layer = nn.Conv(width, (self.kernel,) * 2, 2, kernel_init=NORMAL, name=name)
        return nn.leaky_relu(spectrally(self, self.norm, layer)(x), 0.2)

    def logit(self, x: jax.Array, vector: jax.Array | None, name: str) -> jax.Array:
        """Returns the logits of features, [N].

        Args:
          x: features [N, ...].
          vector: conditions [N, E]; None without conditions.
          name: beginning of the names of the layers.
        """
        flat = x.reshape(len(x), -1)
        logits = spectrally(self, self.norm, nn.Dense(1, kernel_init=NORMAL, name=f"{name}_output"))(flat)[:, 0]
        if vector is None:
            return logits
        embed = spectrally(self, self.norm, Table(flat.shape[-1], NORMAL, name=f"{name}_embed"))
        return logits + jnp.sum(embed(vector) * flat, -1)


class VideoTransformer(nn.Module):
    """A transformer over the patches of a clip: each layer attends within the frames, then between them.

    The blocks are those of `PatchTransformer`. Factorised attention is that of Arnab et al. 2021 (arXiv 2103.15691, model 3).

    Attributes:
      shape: frames, H, W, C of a clip.
      patch: side of a patch in pixels, which divides both sides of the frames.
      span: number of frames of a patch, which divides the number of frames.
      units: number of units of a patch.
      layers: number of layers, of two blocks each.
      heads: number of heads of attention.
      dropout: dropout rate of the output of each part. It applies if a `dropout` key is given.
    """

    shape: Sequence[int]
    patch: int = 8
    span: int = 2
    units: int = 128
    layers: int = 4
    heads: int = 4
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, z: jax.Array, c: Embedded | None, level: jax.Array, evidence: jax.Array | None = None
    ) -> jax.Array:
        """Returns the prediction [N, *shape].

        Args:
          z: noisy clips [N, *shape].
          c: the conditions; None without conditions. The layers also attend to the tokens of a text.
          level: levels of noise [N], or pairs of times [N, 2], in [-1, 1].
          evidence: observed numbers and where they are [N, *shape, 2]; by default None, nothing is observed.
        """
        self.check()
        frames, height, width, channels = self.shape
        num, steps = len(z), frames // self.span
        setting = Setting(self.units, name="setting")(level, None if c is None else c._replace(image=None))
        x = beside_frames(with_evidence(z, evidence), c)
        x = jnp.moveaxis(x.reshape(num, steps, self.span, *x.shape[2:]), 2, -2)  # [N, T, H, W, span, C]
        x = x.reshape(num * steps, height, width, -1)
        tokens = nn.Dense(self.units, name="patches")(patches(x, self.patch))  # [N T, P, units]
        places = positions(height // self.patch, width // self.patch, self.units)
        times = self.param("times", nn.initializers.normal(0.02), (steps, self.units), jnp.float32)
        count = len(places)
        tokens = tokens.reshape(num, steps, count, self.units) + places[None, None] + times[None, :, None]
        text = None if c is None or c.sequence is None else (nn.Dense(self.units, name="text")(c.sequence), c.mask)
        for layer in range(self.layers):
            for axis, name in ((2, "within"), (1, "between")):
                tokens = self.attend(tokens, axis, f"{name}_{layer}", setting, text)
        scale, shift = jnp.split(nn.Dense(2 * self.units, kernel_init=ZEROS, name="last_scale")(setting), 2, 1)
        tokens = nn.LayerNorm(use_bias=False, use_scale=False)(tokens)
        tokens = tokens * (1 + scale[:, None, None]) + shift[:, None, None]
        out = nn.Dense(self.patch**2 * self.span * channels, kernel_init=ZEROS, name="last")(tokens)
        out = unpatched(out.reshape(num * steps, count, -1), self.patch, (height, width, self.span * channels))
        return jnp.moveaxis(out.reshape(num, steps, height, width, self.span, channels), 4, 2).reshape(z.shape)

    def attend(
        self,
        tokens: jax.Array,
        axis: int,
        name: str,
        setting: jax.Array,
        text: tuple[jax.Array, jax.Array | None] | None,
    ) -> jax.Array:
        """Returns the tokens after a block that attends along one axis, [N, T, P, units].

        Args:
          tokens: the tokens.
          axis: 1 for the same place of all frames, 2 for all places of a frame.
          name: name of the block.
          setting: vector of the level and the conditions [N, units].
          text: vectors of the tokens of a text [N, L, units] and their mask [N, L]; None without a text.
        """
        rows = tokens if axis == 2 else tokens.swapaxes(1, 2)
        count = rows.shape[1]
        repeat = lambda each: None if each is None else jnp.repeat(each, count, 0)
        words = None if text is None else (jnp.repeat(text[0], count, 0), repeat(text[1]))
        block = Block(self.heads, self.dropout, name=name)
        out = block(rows.reshape(-1, *rows.shape[2:]), jnp.repeat(setting, count, 0), words).reshape(rows.shape)
        return out if axis == 2 else out.swapaxes(1, 2)

    def check(self) -> None:
        """Raises UserError for sizes that do not fit the clip or each other."""
        for name in ("patch", "span", "units", "layers", "heads"):
            check_whole(f"{name} of video", getattr(self, name))
        check_share("dropout of video", self.dropout)
        check_clips(self.shape, "the net video")
        frames, height, width, _ = self.shape
        if height % self.patch or width % self.patch:
            raise UserError(
                f"patch of video is {self.patch}; expected a divisor of both sides of frames of {width}x{height} pixels"
            )
        if frames % self.span:
            raise UserError(f"span of video is {self.span}; expected a divisor of the {frames} frames of a clip")
        if self.units % (4 * self.heads):
            raise UserError(
                f"units of video is {self.units} with {self.heads} heads; expected a multiple of {4 * self.heads}"
            )
