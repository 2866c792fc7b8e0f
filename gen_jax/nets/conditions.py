"""Conditions of a model in the form that its nets read."""

from typing import NamedTuple

import jax


class Embedded(NamedTuple):
    """Holds the conditions of N rows. A part that the conditions lack is None.

    Attributes:
      vector: numbers [N, E].
      image: images [N, H, W, C].
      sequence: vectors of the tokens of a text [N, L, E].
      mask: 1 where `sequence` has a token, and 0 beyond its length [N, L].
    """

    vector: jax.Array | None = None
    image: jax.Array | None = None
    sequence: jax.Array | None = None
    mask: jax.Array | None = None
