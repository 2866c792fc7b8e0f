"""TFDS builders of the sets that TFDS lacks; they write array_record and need no TensorFlow."""

from collections.abc import Callable

from gen_jax.errors import choose


def _digits() -> Callable:
    from gen_jax.data.builders.digits import Digits

    return Digits


def _gaussians() -> Callable:
    from gen_jax.data.builders.gaussians import Gaussians

    return Gaussians


BUILDERS = {"digits": _digits, "gaussians": _gaussians}  # imported on use: TFDS is slow to start


def find(name: str) -> Callable:
    """The builder class of one of our own sets.

    Raises:
      UserError: for an unknown name.
    """
    return BUILDERS[choose("built-in data set", name, BUILDERS)]()
