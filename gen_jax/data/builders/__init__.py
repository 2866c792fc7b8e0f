"""TFDS builders of the sets that TFDS lacks; they write array_record and need no TensorFlow."""

from typing import Any

from gen_jax.errors import choose


def _digits() -> type[Any]:
    from gen_jax.data.builders.digits import Digits

    return Digits


def _gaussians() -> type[Any]:
    from gen_jax.data.builders.gaussians import Gaussians

    return Gaussians


def _rounds() -> type[Any]:
    from gen_jax.data.builders.rounds import Rounds

    return Rounds


def _sines() -> type[Any]:
    from gen_jax.data.builders.sines import Sines

    return Sines


def _tiny_shakespeare() -> type[Any]:
    from gen_jax.data.builders.tiny_shakespeare import TinyShakespeare

    return TinyShakespeare


BUILDERS = {  # imported on use: TFDS is slow to start
    "digits": _digits,
    "gaussians": _gaussians,
    "rounds": _rounds,
    "sines": _sines,
    "tiny_shakespeare": _tiny_shakespeare,
}


def find(name: str) -> type[Any]:
    """Returns the builder class of one of our own sets.

    Raises:
      UserError: for an unknown name.
    """
    return BUILDERS[choose("built-in data set", name, BUILDERS)]()
