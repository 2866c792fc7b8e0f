"""TFDS builders of the data sets that TFDS lacks. They write array_record and do not need TensorFlow."""

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


BUILDERS = {  # functions, because TFDS is slow to import
    "digits": _digits,
    "gaussians": _gaussians,
    "rounds": _rounds,
    "sines": _sines,
    "tiny_shakespeare": _tiny_shakespeare,
}


def find(name: str) -> type[Any]:
    """Returns the builder class of a built-in data set.

    Args:
      name: name of the data set.

    Raises:
      UserError: for an unknown name.
    """
    return BUILDERS[choose("built-in data set", name, BUILDERS)]()
