"""The fully connected net, as generator and as discriminator (Goodfellow et al. 2014, arXiv 1406.2661)."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax

from gen_jax.errors import UserError, choose

ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": nn.relu,
    "leaky_relu": lambda x: nn.leaky_relu(x, 0.2),
    "sigmoid": nn.sigmoid,
    "tanh": nn.tanh,
}


def uniform(scale: float) -> nn.initializers.Initializer:
    """U(-scale, scale)."""
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -scale, scale)


INITIALIZERS = {
    "he": lambda gain: nn.initializers.variance_scaling(gain, "fan_in", "normal"),
    "normal": nn.initializers.normal,
    "uniform": uniform,
}


class MLP(nn.Module):
    """Dense layers from `[N, ...]` to `[N, *shape]`; the default shape, `()`, is one logit a row.

    Options:
      hidden: width of each hidden layer.
      activation, output: names in `ACTIVATIONS`, after each hidden layer and after the last.
      pieces: more than 1 makes the hidden layers maxout, the largest of that many maps (Goodfellow et al. 2013).
      dropout: share of the inputs and of the hidden units dropped where a `dropout` key is given.
      initializer, scale: `he` (variance gain), `normal` (deviation) or `uniform` (half width).
      dtype: of the activations; weights and the output stay float32.
    """

    shape: Sequence[int] = ()
    hidden: Sequence[int] = (256, 256, 256)
    activation: str = "leaky_relu"
    output: str = "linear"
    pieces: int = 1
    dropout: Sequence[float] = (0.0, 0.0)
    initializer: str = "he"
    scale: float = 2.0
    dtype: str = "float32"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if not all(isinstance(width, int) and width > 0 for width in (*self.hidden, self.pieces)):
            raise UserError(
                f"an mlp with hidden {self.hidden} and pieces {self.pieces}: expected whole numbers above 0"
            )
        kernel_init = INITIALIZERS[choose("initializer", self.initializer, INITIALIZERS)](self.scale)
        activation = ACTIVATIONS[choose("activation", self.activation, ACTIVATIONS)]
        output = ACTIVATIONS[choose("activation", self.output, ACTIVATIONS)]
        fixed = not self.has_rng("dropout")
        x = nn.Dropout(self.dropout[0], deterministic=fixed)(x.reshape(x.shape[0], -1))
        for width in self.hidden:
            x = nn.Dense(width * self.pieces, kernel_init=kernel_init, dtype=self.dtype)(x)
            if self.pieces > 1:
                x = x.reshape(-1, width, self.pieces).max(-1)  # [N, width]
            x = nn.Dropout(self.dropout[1], deterministic=fixed)(activation(x))
        x = nn.Dense(math.prod(self.shape), kernel_init=kernel_init)(x.astype("float32"))
        return output(x).reshape(-1, *self.shape)
