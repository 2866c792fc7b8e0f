"""Recurrent nets of a GAN over series [T, D], as generator and as discriminator (RCGAN: Esteban et al. 2017, arXiv 1706.02633)."""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
from flax.core import FrozenDict

from gen_jax.errors import UserError, build, choose
from gen_jax.nets.mlp import ACTIVATIONS
from gen_jax.nets.recurrent import RECURRENT, labelled

LSTM = FrozenDict(name="lstm", units=64)


def unrolled(cell: Mapping, x: jax.Array, y: jax.Array | None, classes: int) -> jax.Array:
    """h [N, T, units] of the frames x [N, T, D], each beside its label, from nothing carried."""
    layers = build("cell", RECURRENT, cell)
    return layers.unroll(layers.init_carry(len(x)), labelled(x, y, classes))[1]


class RecurrentGenerator(nn.Module):
    """Recurrent layers from noise of each frame to that frame: [N, Z] (and labels [N]) to [N, T, D].

    Options:
      cell: a `name` in `CELLS` and the options of `Recurrent`.
      output: a name in `ACTIVATIONS`, of the frames.

    Raises:
      UserError: for rows that are no series, or a latent that cannot be shared out among the frames.
    """

    shape: Sequence[int]
    classes: int = 0
    cell: Mapping = LSTM
    output: str = "linear"

    @nn.compact
    def __call__(self, z: jax.Array, y: jax.Array | None = None, mask: jax.Array | None = None) -> jax.Array:
        check_series(self.shape)
        if z.shape[1] % self.shape[0]:
            raise UserError(
                f"latent_size {z.shape[1]}: a recurrent generator of {self.shape[0]} frames needs a multiple of that"
            )
        h = unrolled(self.cell, z.reshape(len(z), self.shape[0], -1), y, self.classes)
        return ACTIVATIONS[choose("activation", self.output, ACTIVATIONS)](nn.Dense(self.shape[1])(h))


class RecurrentDiscriminator(nn.Module):
    """Recurrent layers over [N, T, D] (and labels [N]); the logit [N] is the mean of those of the frames.

    Options: `cell` as of the generator.
    """

    classes: int = 0
    cell: Mapping = LSTM

    @nn.compact
    def __call__(self, x: jax.Array, y: jax.Array | None = None, mask: jax.Array | None = None) -> jax.Array:
        check_series(x.shape[1:])
        return nn.Dense(1)(unrolled(self.cell, x, y, self.classes))[..., 0].mean(1)


def check_series(shape: Sequence[int]) -> None:
    """Raises UserError for rows that are no series."""
    if len(shape) != 2:
        raise UserError(f"a recurrent net is for series [T, D], these data have rows of shape {tuple(shape)}")
