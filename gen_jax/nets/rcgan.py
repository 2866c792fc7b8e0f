"""Recurrent nets of a GAN over series [T, D], as generator and discriminator.

RCGAN: Esteban et al. 2017, arXiv 1706.02633.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from gen_jax.errors import UserError, choose
from gen_jax.nets.embedding import Embedded
from gen_jax.nets.mlp import ACTIVATIONS
from gen_jax.nets.recurrent import Cell, build_recurrent, conditioned

LSTM: FrozenDict[str, Any] = FrozenDict(name="lstm", units=64)


def unrolled(cell: Mapping, x: jax.Array, c: Embedded | None) -> jax.Array:
    """Returns the states of recurrent layers over the frames of a series, from a carry of zeros.

    Args:
      cell: a `name` in `CELLS` and the options of `Recurrent`.
      x: frames [N, T, D].
      c: conditions, which are concatenated with each frame; None without conditions.

    Returns:
      h [N, T, units].
    """
    layers = build_recurrent("cell", cell)
    return layers.unroll(layers.init_carry(len(x)), conditioned(x, c))[1]


class RecurrentGenerator(nn.Module):
    """A generator of series, `z [N, Z], c -> x [N, T, D]`: recurrent layers that read noise at each frame.

    Attributes:
      shape: T, D of the series.
      cell: a `name` in `CELLS` and the options of `Recurrent`.
      noise: noise that a frame reads, `frame` or `series`. With `frame`, every frame has Z / T numbers of its own
        (Esteban et al.). With `series`, every frame reads all Z numbers.
      output: activation of the frames, a name in `ACTIVATIONS`.

    Raises:
      UserError: for rows that are no series, or a latent size that is no multiple of the number of frames.
    """

    shape: Sequence[int]
    cell: Cell = LSTM
    noise: str = "frame"
    output: str = "linear"

    @nn.compact
    def __call__(self, z: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns series [N, T, D].

        Args:
          z: latents [N, Z].
          c: the conditions; None without conditions.
          mask: not read, because there is no batch normalisation.
        """
        check_series(self.shape)
        z = NOISES[choose("noise", self.noise, NOISES)](z, self.shape[0])
        h = unrolled(self.cell, z, c)
        return ACTIVATIONS[choose("activation", self.output, ACTIVATIONS)](nn.Dense(self.shape[1])(h))


class RecurrentDiscriminator(nn.Module):
    """A discriminator of series, `x [N, T, D], c -> logits [N]`: recurrent layers, and the mean of frame logits.

    Attributes:
      cell: a `name` in `CELLS` and the options of `Recurrent`.
    """

    cell: Cell = LSTM

    @nn.compact
    def __call__(self, x: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns logits [N].

        Args:
          x: series [N, T, D].
          c: the conditions; None without conditions.
          mask: not read, because there is no batch normalisation.
        """
        check_series(x.shape[1:])
        return nn.Dense(1)(unrolled(self.cell, x, c))[..., 0].mean(1)


def shared_out(z: jax.Array, frames: int) -> jax.Array:
    """Divides a latent into the noise of each frame.

    Args:
      z: latents [N, Z].
      frames: number of frames T.

    Returns:
      Noise [N, T, Z / T].

    Raises:
      UserError: if Z is no multiple of T.
    """
    if z.shape[1] % frames:
        raise UserError(
            f"latent_size is {z.shape[1]}; expected a multiple of {frames}, the number of frames of a recurrent "
            "generator"
        )
    return z.reshape(len(z), frames, -1)


def repeated(z: jax.Array, frames: int) -> jax.Array:
    """Repeats a latent at every frame.

    Args:
      z: latents [N, Z].
      frames: number of frames T.

    Returns:
      Noise [N, T, Z].
    """
    return jnp.broadcast_to(z[:, None], (len(z), frames, z.shape[1]))


NOISES = {"frame": shared_out, "series": repeated}


def check_series(shape: Sequence[int]) -> None:
    """Refuses rows that are no series.

    Args:
      shape: shape of a row.

    Raises:
      UserError: for such rows.
    """
    if len(shape) != 2:
        raise UserError(f"shape of the rows is {tuple(shape)}; expected series [T, D] for a recurrent net")
