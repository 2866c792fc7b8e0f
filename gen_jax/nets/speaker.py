"""A net that speaks: it reads the symbols of a text, and says the frames that the symbols of a path stand for."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import initializers

from gen_jax.conditions import Conditions, Given
from gen_jax.errors import UserError, check_share, check_whole
from gen_jax.nets.embedding import Embedder

TIMES = 16  # numbers in the embedding of a time


class Symbols(NamedTuple):
    """Holds what the net reads from texts.

    Attributes:
      states: vector of each symbol [B, S, units].
      mean: mean of the frames of each symbol [B, S, D].
      stay: logit of the probability that the next frame belongs to the same symbol [B, S].
      length: number of symbols of each row [B].
    """

    states: jax.Array
    mean: jax.Array
    stay: jax.Array
    length: jax.Array


class Tower(nn.Module):
    """Residual blocks of convolutions over a sequence. What is beyond the end of a row changes nothing.

    Attributes:
      units: number of units.
      layers: number of blocks.
      kernel: number of neighbours of a convolution.
      dropout: dropout rate of the channels of each block, which are dropped for a whole row.
      whole: whether nothing is dropped.
    """

    units: int
    layers: int
    kernel: int
    dropout: float
    whole: bool

    @nn.compact
    def __call__(self, x: jax.Array, inside: jax.Array) -> jax.Array:
        """Returns [B, T, units].

        Args:
          x: sequence [B, T, C].
          inside: 1 for what is not beyond the end of a row [B, T].
        """
        valid = inside[..., None].astype(x.dtype)
        h = nn.Dense(self.units)(x) * valid
        for _ in range(self.layers):
            out = nn.silu(nn.Conv(self.units, (self.kernel,))(nn.RMSNorm()(h) * valid))
            out = nn.Dropout(self.dropout, broadcast_dims=(1,), deterministic=self.whole)(out)
            h = h + nn.Dense(self.units, kernel_init=initializers.zeros)(out) * valid
        return nn.RMSNorm()(h) * valid


class Speaker(nn.Module):
    """Reads symbols and says frames.

    Attributes:
      size: numbers of a frame D.
      conditions: facts of the conditions, among them a text.
      deviation: standard deviation of the frames at the beginning.
      units: number of units.
      layers: number of blocks that read the text.
      decoder_layers: number of blocks that say the frames.
      kernel: number of neighbours of a convolution, an odd number.
      dropout: dropout rate. It applies if a `dropout` key is given.

    Raises:
      UserError: for an option out of its range.
    """

    size: int
    conditions: Conditions
    deviation: float
    units: int = 128
    layers: int = 3
    decoder_layers: int = 5
    kernel: int = 5
    dropout: float = 0.1

    def setup(self) -> None:
        """Makes the inner nets."""
        for name in ("units", "layers", "decoder_layers", "kernel"):
            check_whole(name, getattr(self, name))
        check_share("dropout", self.dropout)
        if self.kernel % 2 == 0:
            raise UserError(f"kernel is {self.kernel}; expected an odd number")
        self.condition = Embedder(self.conditions._replace(text_size=self.units))
        options: dict[str, Any] = {"kernel": self.kernel, "dropout": self.dropout}
        options["whole"] = not self.has_rng("dropout")
        self.reader = Tower(self.units, self.layers, **options)
        self.mean = nn.Dense(self.size)
        self.pace = Tower(self.units, 1, **options)
        self.stay = nn.Dense(1, kernel_init=initializers.zeros, bias_init=initializers.constant(jnp.log(4.0)))
        self.decoder = Tower(self.units, self.decoder_layers, **options)
        self.out = nn.Dense(self.size)
        begin = initializers.constant(jnp.log(self.deviation))
        self.log_deviations = self.param("log_deviations", begin, (2, self.size))

    def read(self, c: Given) -> Symbols:
        """Returns what the net reads from texts.

        Args:
          c: the conditions: `c` [B, S], `c_length` [B], and labels `y` [B] if the data have them.
        """
        embedded: Any = self.condition(c)
        x, mask = embedded.sequence, embedded.mask
        if embedded.vector is not None:
            beside = jnp.broadcast_to(embedded.vector[:, None], (*x.shape[:2], embedded.vector.shape[-1]))
            x = jnp.concatenate([x, beside], -1)
        states = self.reader(x, mask)
        stay = self.stay(self.pace(states, mask))[..., 0]
        return Symbols(states, self.mean(states), stay, mask.sum(1).astype(jnp.int32))

    def deviations(self) -> jax.Array:
        """Returns the logarithms of the standard deviations of the frames of symbols and of said frames, [2, D]."""
        return self.log_deviations

    def say(
        self,
        states: jax.Array,
        place: jax.Array,
        inside: jax.Array,
        noisy: jax.Array | None = None,
        time: jax.Array | None = None,
    ) -> jax.Array:
        """Returns frames [B, T, D]: their means, or with noisy frames the velocity from noise to frames.

        Args:
          states: states of the symbols of the frames [B, T, units].
          place: where each frame stands in its symbol [B, T, P].
          inside: 1 for frames that are not beyond the end of a row [B, T].
          noisy: noisy frames [B, T, D]; by default None.
          time: share of the frames in `noisy` [B]; by default None.
        """
        parts = [states, place]
        if noisy is not None and time is not None:
            waves = time[:, None] * jnp.pi * 2.0 ** (jnp.arange(TIMES // 2) / 2)[None]
            embedded = jnp.concatenate([jnp.sin(waves), jnp.cos(waves)], -1)
            parts += [noisy, jnp.broadcast_to(embedded[:, None], (*noisy.shape[:2], TIMES))]
        return self.out(self.decoder(jnp.concatenate(parts, -1), inside))
