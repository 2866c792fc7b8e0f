"""Recurrent nets of a GAN over series [T, D], as generator and as discriminator (RCGAN: Esteban et al. 2017, arXiv 1706.02633)."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from gen_jax.errors import UserError, choose
from gen_jax.nets.mlp import ACTIVATIONS
from gen_jax.nets.recurrent import RECURRENT, Cell, labelled
from gen_jax.registry import build

LSTM: FrozenDict[str, Any] = FrozenDict(name="lstm", units=64)


def unrolled(cell: Mapping, x: jax.Array, y: jax.Array | None, classes: int) -> jax.Array:
    """h [N, T, units] of the frames x [N, T, D], each beside its label, from nothing carried."""
    layers = build("cell", RECURRENT, cell)
    return layers.unroll(layers.init_carry(len(x)), labelled(x, y, classes))[1]


class RecurrentGenerator(nn.Module):
    """Recurrent layers from noise beside each frame to that frame: [N, Z] (and labels [N]) to [N, T, D].

    Options:
      cell: a `name` in `CELLS` and the options of `Recurrent`.
      noise: `frame`, every frame has its own Z / T numbers (Esteban et al.), or `series`, all Z stand beside every frame.
      output: a name in `ACTIVATIONS`, of the frames.

    Raises:
      UserError: for rows that are no series, or a latent that cannot be shared out among the frames.
    """

    shape: Sequence[int]
    classes: int = 0
    cell: Cell = LSTM
    noise: str = "frame"
    output: str = "linear"

    @nn.compact
    def __call__(self, z: jax.Array, y: jax.Array | None = None, mask: jax.Array | None = None) -> jax.Array:
        check_series(self.shape)
        z = NOISES[choose("noise", self.noise, NOISES)](z, self.shape[0])
        h = unrolled(self.cell, z, y, self.classes)
        return ACTIVATIONS[choose("activation", self.output, ACTIVATIONS)](nn.Dense(self.shape[1])(h))


class RecurrentDiscriminator(nn.Module):
    """Recurrent layers over [N, T, D] (and labels [N]); the logit [N] is the mean of those of the frames.

    Options: `cell` as of the generator.
    """

    classes: int = 0
    cell: Cell = LSTM

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array | None = None, mask: jax.Array | None = None) -> jax.Array:
        check_series(x.shape[1:])
        return nn.Dense(1)(unrolled(self.cell, x, y, self.classes))[..., 0].mean(1)


def shared_out(z: jax.Array, frames: int) -> jax.Array:
    """z [N, Z] cut into the noise [N, T, Z / T] of each frame."""
    if z.shape[1] % frames:
        raise UserError(f"latent_size {z.shape[1]}: a recurrent generator of {frames} frames needs a multiple of that")
    return z.reshape(len(z), frames, -1)


def repeated(z: jax.Array, frames: int) -> jax.Array:
    """z [N, Z] beside every frame [N, T, Z]."""
    return jnp.broadcast_to(z[:, None], (len(z), frames, z.shape[1]))


NOISES = {"frame": shared_out, "series": repeated}


def check_series(shape: Sequence[int]) -> None:
    """Raises UserError for rows that are no series."""
    if len(shape) != 2:
        raise UserError(f"a recurrent net is for series [T, D], these data have rows of shape {tuple(shape)}")
