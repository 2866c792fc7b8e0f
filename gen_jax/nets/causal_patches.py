"""A causal transformer over the patches of an image, and MADE over the entries of a patch: exact likelihoods of images."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen import initializers

from gen_jax.errors import UserError, check_whole
from gen_jax.nets.denoisers import patches
from gen_jax.nets.embedding import Embedded, as_vector
from gen_jax.nets.made import Layout, Made, Sums
from gen_jax.nets.transformer import Transformer


class Progress(NamedTuple):
    """Holds the entries of rows that are drawn so far.

    Attributes:
      carry: the carry of the transformer after the patches before the current one.
      state: output of the transformer for these patches [N, units].
      sums: the entries of the current patch, see `nets.made.Sums`.
    """

    carry: tuple
    state: jax.Array
    sums: Sums


class Parts(NamedTuple):
    """Holds the parts of the net.

    Attributes:
      frames: from a patch to an input of the transformer.
      positions: a vector for each patch [T, units].
      conditions: from the conditions to their share of each input.
      transformer: over the patches.
      within: over the entries of a patch.
    """

    frames: nn.Dense
    positions: jax.Array
    conditions: nn.Dense
    transformer: Transformer
    within: Made


class CausalPatches(nn.Module):
    """The net of an order in which an image is drawn patch by patch, from left to right and from top to bottom.

    A transformer reads the patches before a patch. MADE reads the state of the transformer, and the entries of the patch before an entry.

    Attributes:
      patch: side of a patch in pixels, which divides both sides of the image.
      hidden: width of the hidden layer of MADE.
      units: number of units of the transformer.
      layers: number of layers of the transformer.
      heads: number of heads of attention.
      dropout: dropout rate of both. It applies if a `dropout` key is given.
      remat: whether the activations of a layer are computed again for its gradient, which saves memory.
      dtype: type of the activations of the transformer.
    """

    patch: int = 4
    hidden: int = 256
    units: int = 128
    layers: int = 4
    heads: int = 4
    dropout: float = 0.0
    remat: bool = False
    dtype: str = "float32"
    orders = 1

    def check(self) -> None:
        """Raises UserError for sizes below 1."""
        for name in ("patch", "hidden", "units", "layers", "heads"):
            check_whole(f"{name} of patches", getattr(self, name))

    def places(self, layout: Layout) -> np.ndarray:
        """Returns the place of each entry in the order, [1, D] int32.

        Args:
          layout: the entries of a row.

        Raises:
          UserError: for rows that are no images, or a patch that does not divide a side.
        """
        shape = layout.shape
        if len(shape) != 3 or shape[0] % self.patch or shape[1] % self.patch:
            raise UserError(
                f"patch of patches is {self.patch} and a row has the shape {[*shape]}; expected images, and a divisor of "
                "both sides"
            )
        height, width, channels = shape
        cut = (height // self.patch, self.patch, width // self.patch, self.patch, channels)
        order = np.arange(layout.entries, dtype=np.int32).reshape(cut).swapaxes(1, 2).ravel()
        return np.argsort(order)[None].astype(np.int32)

    def inner(self, layout: Layout) -> Layout:
        """Returns the entries of one patch.

        Args:
          layout: the entries of the image.
        """
        size = self.patch**2 * layout.shape[2]
        return Layout(np.arange(size), size, layout.width, layout.shape)

    @nn.compact
    def parts(self, layout: Layout) -> Parts:
        """Returns the parts of the net.

        Args:
          layout: the entries of the image.
        """
        count = layout.entries // self.inner(layout).entries
        transformer = Transformer(
            units=self.units,
            layers=self.layers,
            heads=self.heads,
            context=count,
            dropout=self.dropout,
            remat=self.remat,
            dtype=self.dtype,
            name="transformer",
        )
        return Parts(
            nn.Dense(self.units, name="frames"),
            self.param("positions", initializers.normal(0.02), (count, self.units)),
            nn.Dense(self.units, use_bias=False, name="conditions"),
            transformer,
            Made((self.hidden,), dropout=self.dropout, name="within"),
        )

    def __call__(self, x: jax.Array, c: Embedded | None, layout: Layout, place: jax.Array) -> jax.Array:
        """Returns the outputs [N, D, W]. The outputs of an entry depend on the entries at earlier places.

        Args:
          x: inputs [N, D].
          c: the conditions; None without conditions.
          layout: the inputs and outputs.
          place: place of each entry in the order [D].
        """
        num, inner, parts = len(x), self.inner(layout), self.parts(layout)
        cut = patches(x.reshape(num, *layout.shape), self.patch)  # [N, T, P]
        before = jnp.pad(cut[:, :-1], ((0, 0), (1, 0), (0, 0)))
        frames = parts.frames(before) + parts.positions[None]
        vector = as_vector(c)
        frames = frames if vector is None else frames + parts.conditions(vector)[:, None]
        _, states = parts.transformer.unroll(None, frames)
        facts = Embedded(states.reshape(-1, self.units))
        out = parts.within(cut.reshape(-1, inner.entries), facts, inner, jnp.arange(inner.entries))
        return out.reshape(num, layout.entries, layout.width)[:, place]

    def begin(self, x: jax.Array, c: Embedded | None, layout: Layout) -> Progress:
        """Returns the progress of rows without an entry.

        Args:
          x: anything [N, ...] with the number of the rows.
          c: the conditions; None without conditions.
          layout: the inputs and outputs.
        """
        num, inner = len(x), self.inner(layout)
        return self.read(
            self.parts(layout).transformer.init_carry(num), jnp.zeros((num, inner.entries)), c, layout, jnp.int32(0)
        )

    def read(self, carry: Any, cut: jax.Array, c: Embedded | None, layout: Layout, number: jax.Array) -> Progress:
        """Returns the progress at the beginning of a patch.

        Args:
          carry: the carry of the transformer.
          cut: the patch before [N, P].
          c: the conditions; None without conditions.
          layout: the inputs and outputs.
          number: number of the patch that begins [].
        """
        parts, vector = self.parts(layout), as_vector(c)
        frame = parts.frames(cut) + parts.positions[number][None]
        frame = frame if vector is None else frame + parts.conditions(vector)
        carry, state = parts.transformer.step(carry, frame)
        return Progress(carry, state, parts.within.begin(cut, Embedded(state), self.inner(layout)))

    def at(
        self, progress: Progress, c: Embedded | None, layout: Layout, entry: jax.Array, time: jax.Array
    ) -> jax.Array:
        """Returns the outputs [N, W] of one entry of each row, the next one in the order.

        Args:
          progress: the entries so far.
          c: the conditions; None without conditions.
          layout: the inputs and outputs.
          entry: not used, because all rows have one order.
          time: place of the entry in the order [].
        """
        inner = self.inner(layout)
        place = time % inner.entries
        at = jnp.broadcast_to(place, (len(progress.state),))
        return self.parts(layout).within.at(progress.sums, Embedded(progress.state), inner, at, place)

    def add(
        self, progress: Progress, c: Embedded | None, layout: Layout, entry: jax.Array, time: jax.Array, x: jax.Array
    ) -> Progress:
        """Returns the progress with one more entry of each row.

        Args:
          progress: the entries so far.
          c: the conditions; None without conditions.
          layout: the inputs and outputs.
          entry: the entry of each row [N].
          time: its place in the order [].
          x: inputs [N, D], of which the entry is read.
        """
        inner = self.inner(layout)
        number, place = time // inner.entries, time % inner.entries
        cut = patches(x.reshape(len(x), *layout.shape), self.patch)
        cut = jax.lax.dynamic_index_in_dim(cut, number, 1, keepdims=False)
        at = jnp.broadcast_to(place, (len(x),))
        sums = self.parts(layout).within.add(progress.sums, Embedded(progress.state), inner, at, place, cut)
        following = jnp.minimum(number + 1, layout.entries // inner.entries - 1)

        def next_patch(net: "CausalPatches", carry: Any) -> Progress:
            return net.read(carry, cut, c, layout, following)

        def same_patch(net: "CausalPatches", carry: Any) -> Progress:
            return Progress(carry, progress.state, sums)

        return nn.cond(place == inner.entries - 1, next_patch, same_patch, self, progress.carry)
