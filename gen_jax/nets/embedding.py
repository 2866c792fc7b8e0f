"""Conditions of a model in the form that its nets read: vectors, images and sequences.

A net takes an `Embedded` and decides where the condition enters. `as_vector` and `as_image` give any condition as a
vector or as an image, so that a net that knows one of the two forms takes every condition.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gen_jax.conditions import NONE, Conditions, Given
from gen_jax.data.spec import levels


class Embedded(NamedTuple):
    """Holds the conditions of N rows. A part that the conditions lack is None.

    Attributes:
      vector: numbers [N, E]: one-hot labels, or columns of numbers.
      image: images [N, H, W, C]: the channels of an image or of several frames, or the one-hot classes of a class map.
      sequence: vectors of the tokens of a text [N, L, E].
      mask: 1 where `sequence` has a token, and 0 beyond its length [N, L].
    """

    vector: jax.Array | None = None
    image: jax.Array | None = None
    sequence: jax.Array | None = None
    mask: jax.Array | None = None


class TextEncoder(nn.Module):
    """Turns a text into a vector for each token, by a table and a convolution over neighbours.

    Attributes:
      values: number of values of a token.
      size: number of dimensions of the vector of a token.
    """

    values: int
    size: int

    @nn.compact
    def __call__(self, tokens: jax.Array, length: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """Returns vectors [N, L, E], 0 beyond the length, and the mask [N, L].

        Args:
          tokens: tokens [N, L] int32.
          length: number of tokens [N]; None if all rows are full.
        """
        place = jnp.arange(tokens.shape[1])[None]
        ends = jnp.full(len(tokens), tokens.shape[1]) if length is None else length
        mask = (place < ends[:, None]).astype(jnp.float32)  # [N, L]
        x = nn.Embed(self.values, self.size, name="table")(tokens) * mask[..., None]
        left, right = jnp.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1], jnp.pad(x, ((0, 0), (0, 1), (0, 0)))[:, 1:]
        h = nn.Dense(self.size, name="neighbours")(jnp.concatenate([left, x, right], -1))
        return (x + nn.silu(h)) * mask[..., None], mask


class Embedder(nn.Module):
    """Turns the conditions of a batch into the form that nets read. Only a text has weights here.

    Attributes:
      conditions: facts of the conditions.
    """

    conditions: Conditions

    @nn.compact
    def __call__(self, given: Given | None) -> Embedded | None:
        """Returns the conditions of N rows; None if there are none.

        Args:
          given: labels `y` [N], or [P, pack] for packs of rows; `c` [N, *shape], and `c_length` [N] if its lengths
            differ.
        """
        if not given:
            return None
        conditions, vectors = self.conditions, []
        image = sequence = mask = None
        if conditions.classes:
            y = given["y"]
            vectors.append(jax.nn.one_hot(y, conditions.classes).reshape(len(y), -1))
        if conditions.field is not None:
            values = levels(conditions.field)
            if conditions.text:
                encoder = TextEncoder(values, conditions.text_size, name="text")
                sequence, mask = encoder(given["c"], given.get("c_length"))
            else:
                c = jax.nn.one_hot(given["c"], values) if values else given["c"]
                if c.ndim == 5:  # first frames [N, T, H, W, C], one after the other in the channels
                    c = jnp.moveaxis(c, 1, 3).reshape(len(c), *c.shape[2:4], -1)
                if c.ndim == 4:
                    image = c
                else:
                    vectors.append(c.reshape(len(c), -1))
        return Embedded(jnp.concatenate(vectors, -1) if vectors else None, image, sequence, mask)


def as_vector(c: Embedded | None) -> jax.Array | None:
    """Returns all conditions as one vector [N, E]; None without conditions.

    An image is flattened. The vectors of a sequence are averaged over its tokens.

    Args:
      c: the conditions.
    """
    if c is None:
        return None
    parts = [] if c.vector is None else [c.vector]
    if c.image is not None:
        parts.append(c.image.reshape(len(c.image), -1))
    if c.sequence is not None:
        count = jnp.ones(c.sequence.shape[:2]).sum(1) if c.mask is None else c.mask.sum(1)
        parts.append(c.sequence.sum(1) / jnp.maximum(count, 1)[:, None])
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, -1)


def as_image(c: Embedded | None, height: int, width: int) -> jax.Array | None:
    """Returns all conditions as images [N, height, width, E]; None without conditions.

    Every pixel gets the same vector. Images of other sides are resized.

    Args:
      c: the conditions.
      height: height of the images in pixels.
      width: width of the images in pixels.
    """
    if c is None:
        return None
    image, vector = c.image, as_vector(c._replace(image=None))
    planes = []
    if image is not None:
        same = image.shape[1:3] == (height, width)
        planes.append(image if same else jax.image.resize(image, (len(image), height, width, image.shape[3]), "linear"))
    if vector is not None:
        planes.append(jnp.broadcast_to(vector[:, None, None], (len(vector), height, width, vector.shape[1])))
    return planes[0] if len(planes) == 1 else jnp.concatenate(planes, -1)


def with_vector(x: jax.Array, c: Embedded | None) -> jax.Array:
    """Returns rows with their conditions concatenated, [N, D + E]; unchanged without conditions.

    Args:
      x: rows [N, D].
      c: the conditions.
    """
    vector = as_vector(c)
    return x if vector is None else jnp.concatenate([x, vector], -1)


def with_image(x: jax.Array, c: Embedded | None) -> jax.Array:
    """Returns images with their conditions as further channels, [N, H, W, C + E]; unchanged without conditions.

    Args:
      x: images [N, H, W, C].
      c: the conditions.
    """
    image = as_image(c, *x.shape[1:3])
    return x if image is None else jnp.concatenate([x, image], -1)


class Table(nn.Module):
    """A linear map of a vector [N, E] without a bias. It looks up a row of the table if the vector is one-hot.

    Attributes:
      features: number of outputs F.
      initializer: initializer of the table [E, F].
    """

    features: int
    initializer: nn.initializers.Initializer

    @nn.compact
    def __call__(self, vector: jax.Array) -> jax.Array:
        """Returns [N, F] from vectors [N, E]."""
        return vector @ self.param("embedding", self.initializer, (vector.shape[-1], self.features), jnp.float32)


@dataclass(frozen=True)
class ConditionedNet:
    """A net whose second input is the conditions as in a batch. They reach the net in the form of `Embedded`.

    The weights of the vectors of a text stand beside the weights of the net, under `condition`.

    Attributes:
      net: the net, (x, conditions, *inputs) -> output.
      conditions: facts of the conditions.
    """

    net: Any
    conditions: Conditions = NONE

    def init(self, key: jax.Array, x: jax.Array, given: Given | None, *inputs: Any) -> dict[str, Any]:
        """Returns the weights.

        Args:
          key: random key.
          x: first input of the net.
          given: the conditions, or None.
          *inputs: further inputs of the net.
        """
        embedder = Embedder(self.conditions)
        if not self.conditions.text:
            return self.net.init(key, x, embedder.apply({}, given), *inputs)
        key, text_key = jax.random.split(key)
        c, weights = embedder.init_with_output(text_key, given)
        variables = self.net.init(key, x, c, *inputs)
        return {**variables, "params": {**variables["params"], "condition": weights["params"]}}

    def apply(self, weights: Any, x: Any, given: Given | None, *inputs: Any, **options: Any) -> Any:
        """Returns the output of the net.

        Args:
          weights: weights of the net.
          x: first input of the net.
          given: the conditions, or None.
          *inputs: further inputs of the net.
          **options: as those of `flax.linen.Module.apply`.
        """
        embedder = Embedder(self.conditions)
        if not self.conditions.text:
            return self.net.apply(weights, x, embedder.apply({}, given), *inputs, **options)
        params = dict(weights["params"])
        c = embedder.apply({"params": params.pop("condition")}, given)
        return self.net.apply({**weights, "params": params}, x, c, *inputs, **options)
