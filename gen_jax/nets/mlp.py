"""The fully connected net, as generator and as discriminator (Goodfellow et al. 2014, arXiv 1406.2661).

The vector of the conditions is concatenated with the input (Mirza & Osindero 2014, arXiv 1411.1784).
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.errors import UserError, choose
from gen_jax.nets.embedding import Embedded, with_vector
from gen_jax.nets.layers import NORMS, BatchNorm, spectrally

ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": nn.relu,
    "leaky_relu": lambda x: nn.leaky_relu(x, 0.2),
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
}


def uniform(scale: float) -> nn.initializers.Initializer:
    """Returns an initializer that draws from U(-scale, scale).

    Args:
      scale: half the width of the interval.
    """
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -scale, scale)


INITIALIZERS = {
    "he": lambda gain: nn.initializers.variance_scaling(gain, "fan_in", "normal"),
    "normal": nn.initializers.normal,
    "uniform": uniform,
}


class MLP(nn.Module):
    """Dense layers from `[N, ...]` and the vector of the conditions to `[N, *shape]`.

    With the default shape, `()`, the output is one logit per row.

    Attributes:
      shape: shape of one row of the output.
      hidden: width of each hidden layer.
      activation: activation of the hidden layers, a name in `ACTIVATIONS`.
      output: activation of the last layer, a name in `ACTIVATIONS`.
      pieces: number of linear maps per maxout unit; 1 for plain units. A maxout unit is the maximum of its maps
        (Goodfellow et al. 2013).
      norm: `batch` (before each activation), `spectral` (of every layer) or `none`.
      concatenate: whether a hidden layer also reads the input and all earlier hidden layers. The generator of CTGAN
        does (arXiv 1907.00503).
      dropout: dropout rates of the inputs and of the hidden units. They apply if a `dropout` key is given.
      initializer: `he`, `normal` or `uniform`.
      scale: scale of the initializer. It is the variance gain of `he`, the standard deviation of `normal`, or half the
        width of `uniform`.
      dtype: type of the activations; weights and the output stay float32.
    """

    shape: Sequence[int] = ()
    hidden: Sequence[int] = (256, 256, 256)
    activation: str = "leaky_relu"
    output: str = "linear"
    pieces: int = 1
    norm: str = "none"
    concatenate: bool = False
    dropout: Sequence[float] = (0.0, 0.0)
    initializer: str = "he"
    scale: float = 2.0
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array, c: Embedded | None = None, mask: jax.Array | None = None) -> jax.Array:
        """Returns outputs [N, *shape].

        Args:
          x: inputs [N, ...].
          c: the conditions; None without conditions.
          mask: weights of the rows [N], 0 for padding rows, which batch normalisation ignores; None if no row is
            padding.
        """
        if not all(isinstance(width, int) and width > 0 for width in (*self.hidden, self.pieces)):
            raise UserError(
                f"hidden {self.hidden} or pieces {self.pieces} of an mlp is wrong; expected whole numbers above 0"
            )
        kernel_init = INITIALIZERS[choose("initializer", self.initializer, INITIALIZERS)](self.scale)
        activation = ACTIVATIONS[choose("activation", self.activation, ACTIVATIONS)]
        output = ACTIVATIONS[choose("activation", self.output, ACTIVATIONS)]
        batch = choose("norm", self.norm, NORMS) == "batch"
        fixed = not self.has_rng("dropout")
        x = nn.Dropout(self.dropout[0], deterministic=fixed)(x.reshape(x.shape[0], -1))
        x = with_vector(x, c)
        for layer, width in enumerate(self.hidden):
            before = x
            dense = nn.Dense(width * self.pieces, not batch, self.dtype, kernel_init=kernel_init, name=f"Dense_{layer}")
            x = spectrally(self, self.norm, dense)(x)
            if self.pieces > 1:
                x = x.reshape(-1, width, self.pieces).max(-1)  # [N, width]
            x = activation(BatchNorm(dtype=self.dtype)(x, mask=mask) if batch else x)
            x = nn.Dropout(self.dropout[1], deterministic=fixed)(x)
            x = jnp.concatenate([before, x], axis=-1) if self.concatenate else x
        last = nn.Dense(math.prod(self.shape), kernel_init=kernel_init, name=f"Dense_{len(self.hidden)}")
        x = spectrally(self, self.norm, last)(x.astype("float32"))
        return output(x).reshape(-1, *self.shape)
