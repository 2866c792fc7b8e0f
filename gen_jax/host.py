"""Runs NumPy functions inside compiled steps, for computations that JAX cannot do."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PIECE = 100_000  # bytes of a piece of an argument


def on_host(function: Callable[..., Any], outcome: Any, *arguments: jax.Array) -> Any:
    """Returns the result of a function of NumPy arrays, which is called once with whole arrays.

    The arrays may be on any devices. On a CPU, JAX copies arguments larger than 100 KB on its thread pool. If all
    threads of the pool wait for the callback, that is a deadlock. It occurs with one core, or if devices wait at a
    collective. Smaller pieces are copied at once.

    Args:
      function: the function.
      outcome: shapes and types of the result, as a tree.
      *arguments: the arrays.
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
