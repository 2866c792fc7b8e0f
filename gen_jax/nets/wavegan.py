"""The WaveGAN nets of sounds (Donahue et al. 2019, arXiv 1802.04208, section 3 and appendix D), for a GPU.

They are the DCGAN nets with kernels of 25 samples and strides of 4 in the place of 5x5 pixels and strides of 2.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.errors import UserError, check_whole
from gen_jax.nets.embedding import Embedded, Table, as_vector
from gen_jax.nets.layers import stage_channels

KERNEL, STRIDE = 25, 4


def stage_lengths(shape: Sequence[int], stages: int) -> list[int]:
    """Returns the length of a sound at each stage, the shortest first.

    Args:
      shape: samples and channels of a sound.
      stages: number of stages, each of which multiplies the length by `STRIDE`.

    Raises:
      UserError: for rows that are no sounds, or a length that the stages do not divide.
    """
    if len(shape) != 2:
        raise UserError(
            f"wavegan is for sounds, and a row has the shape {[*shape]}; expected sounds [samples, channels]"
        )
    if shape[0] % STRIDE**stages:
        near = max(1, round(shape[0] / STRIDE**stages)) * STRIDE**stages
        raise UserError(
            f"sounds have {shape[0]} samples; expected a multiple of {STRIDE**stages} for a net wavegan of {stages} widths. "
            f"Set --config.data.frames={near}"
        )
    return [shape[0] // STRIDE**stage for stage in range(stages, -1, -1)]


class WaveGenerator(nn.Module):
    """A generator of sounds, `z [N, Z], c -> x [N, samples, channels]`: a dense layer, then transposed convolutions.

    Attributes:
      shape: samples and channels of a sound; the samples are a multiple of 4^(number of widths).
      channels: width of each stage, shortest first.
    """

    shape: Sequence[int]
    channels: Sequence[int] = (512, 256, 128, 64)

    @nn.compact
    def __call__(self, z: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns sounds [N, *shape] in [-1, 1].

        Args:
          z: latents [N, Z].
          c: the conditions; None without conditions.
          mask: not used, because no layer reads the batch.
        """
        widths = stage_channels(self.channels, len(self.channels))
        lengths = stage_lengths(self.shape, len(widths))
        vector = as_vector(c)
        if vector is not None:
            z = jnp.concatenate([z, Table(z.shape[-1], nn.initializers.normal(1.0), name="embed")(vector)], -1)
        x = nn.relu(nn.Dense(math.prod((lengths[0], widths[0])), name="enter")(z))
        x = x.reshape(len(z), lengths[0], widths[0])
        for stage, width in enumerate([*widths[1:], self.shape[1]]):
            x = nn.ConvTranspose(width, (KERNEL,), (STRIDE,), name=f"up_{stage}")(x)
            x = jnp.tanh(x) if stage == len(widths) - 1 else nn.relu(x)
        return x


class WaveDiscriminator(nn.Module):
    """A discriminator of sounds, `x [N, samples, channels], c -> logits [N]`: strided convolutions and a dense layer.

    Between the layers each sound is shifted by a random number of places, so that a regular hum of the generator is no
    mark (phase shuffle, section 3.3). The logit adds the projection of the features on a linear map of the conditions.

    Attributes:
      channels: width of each stage, shortest first.
      shuffle: largest shift between two layers. It applies if a `dropout` key is given.
    """

    channels: Sequence[int] = (512, 256, 128, 64)
    shuffle: int = 2

    @nn.compact
    def __call__(self, x: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns logits [N].

        Args:
          x: sounds [N, samples, channels].
          c: the conditions; None without conditions.
          mask: not used, because no layer reads the batch.
        """
        check_whole("shuffle of wavegan", self.shuffle, 0)
        widths = stage_channels(self.channels, len(self.channels))[::-1]
        stage_lengths(x.shape[1:], len(widths))
        for stage, width in enumerate(widths):
            x = nn.leaky_relu(nn.Conv(width, (KERNEL,), STRIDE, name=f"down_{stage}")(x), 0.2)
            if stage < len(widths) - 1 and self.shuffle and self.has_rng("dropout"):
                x = shifted(self.make_rng("dropout"), x, self.shuffle)
        flat = x.reshape(len(x), -1)
        logits = nn.Dense(1, name="output")(flat)[:, 0]
        vector = as_vector(c)
        if vector is None:
            return logits
        features = x.sum(1)
        return logits + jnp.sum(
            Table(features.shape[-1], nn.initializers.normal(0.02), name="embed")(vector) * features, -1
        )


def shifted(key: jax.Array, x: jax.Array, reach: int) -> jax.Array:
    """Returns sounds [N, T, C], each shifted by a random number of places; the border is reflected.

    Args:
      key: random key of the shifts.
      x: sounds.
      reach: largest shift in places, T - 1 or less.
    """
    reach = min(reach, x.shape[1] - 1)
    shifts = jax.random.randint(key, (len(x),), 0, 2 * reach + 1)
    padded = jnp.pad(x, ((0, 0), (reach, reach), (0, 0)), mode="reflect")
    return jax.vmap(lambda row, shift: jax.lax.dynamic_slice_in_dim(row, shift, x.shape[1]))(padded, shifts)
