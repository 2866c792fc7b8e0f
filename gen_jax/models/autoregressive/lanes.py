"""The net and the state of an autoregressive model, and the lanes on which its rows continue."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gen_jax.distributions.frames import Head
from gen_jax.nets.predictor import Predictor

# Carry of each layer, leaves [B, ...], and the last frame [B, *frame]. The token -1 stands for no frame.
Lanes = tuple[tuple, jax.Array]


class AutoregressiveState(NamedTuple):
    """Holds the state of an autoregressive model."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows trained on
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None without labels
    params: Any  # weights of the predictor
    average: Any  # moving average of params
    optimizer: Any
    lanes: Lanes | None  # carries and last frames at the end of the previous batch; None without lanes


class AutoregressiveNet(NamedTuple):
    """Describes an autoregressive model without its weights."""

    predictor: Predictor
    head: Head  # density of a frame, given the output of the predictor
    frame: tuple[int, ...]  # shape of a frame; () for tokens and for samples of sound, (V,) for voices
    end: int | None = None  # token that ends a row; None if rows have no such token
    label_smoothing: float = 0.0  # share of the target of the loss that all tokens have alike
    parts: int = 1  # parts of a batch whose gradients are added one after the other

    @property
    def unroll(self) -> Callable:
        """Returns (params, carry, previous frames, c, length) -> carry, outputs [B, T, W], weights of the head."""
        return partial(self.predictor.apply, method="unroll")

    @property
    def read(self) -> Callable:
        """Returns (params, conditions) -> the c of `unroll`. A sampler reads the conditions once."""
        return partial(self.predictor.apply, method="read")


def no_frame(net: AutoregressiveNet, rows: int) -> jax.Array:
    """Returns what stands for the frame before the first one, [rows, *frame].

    Args:
      net: the net.
      rows: number of rows.
    """
    shape = (rows, *net.frame)
    return jnp.full(shape, -1, jnp.int32) if net.predictor.values else jnp.zeros(shape)


def first_lanes(net: AutoregressiveNet, rows: int) -> Lanes:
    """Returns lanes before their first frame.

    Args:
      net: the net.
      rows: number of rows.
    """
    return net.predictor.recurrent.init_carry(rows), no_frame(net, rows)
