"""NumPy functions inside compiled steps: what JAX cannot do. The functions themselves live elsewhere."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PIECE = 100_000  # bytes


def on_host(function: Callable[..., Any], outcome: Any, *arguments: jax.Array) -> Any:
    """What a function of NumPy arrays returns, called once, with whole arrays, wherever these lie.

    On a CPU, JAX copies an argument of more than 100 KB in a thread of a pool, all of which may wait for the callback: one
    core, or devices that have come to a collective, are enough for a deadlock. Smaller pieces are copied at once.

    Args:
      outcome: shapes and types of what is returned, a tree.
    """
    arrays = [jnp.asarray(argument) for argument in arguments]
    shapes = [array.shape for array in arrays]
    steps = [max(1, PIECE // array.dtype.itemsize) for array in arrays]
    pieces = [
        [array.reshape(-1)[start : start + step] for start in range(0, max(array.size, 1), step)]
        for array, step in zip(arrays, steps)
    ]

    def whole(*pieces: Any) -> Any:
        return function(
            *(np.concatenate([*map(np.asarray, each)]).reshape(shape) for each, shape in zip(pieces, shapes))
        )

    return jax.pure_callback(whole, outcome, *pieces, vmap_method="sequential")
