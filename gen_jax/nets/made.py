"""MADE, a fully connected net whose masks make each output depend on earlier entries alone (arXiv 1502.03509)."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen import initializers

from gen_jax.errors import UserError, check_share, check_whole
from gen_jax.nets.embedding import Embedded, as_vector

HE = initializers.variance_scaling(2.0, "fan_in", "normal")
SMALL = initializers.normal(0.01)


class Layout(NamedTuple):
    """Describes which inputs tell the net about which entry of a row."""

    owner: np.ndarray  # [L] entry of each input
    entries: int  # D
    width: int  # W, number of outputs of an entry
    shape: tuple[int, ...] = ()  # of a row of D entries; not needed by a net that reads rows as vectors

    @property
    def inputs(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the indices of the inputs of each entry [D, M], padded to the largest number, and which of them exist."""
        owned = [np.flatnonzero(self.owner == entry) for entry in range(self.entries)]
        most = max(map(len, owned))
        indices = np.stack([np.pad(each, (0, most - len(each))) for each in owned])
        return indices, np.arange(most)[None] < np.array([[len(each)] for each in owned])


class Weights(NamedTuple):
    """Holds the weights. H1 and H are the widths of the first and the last hidden layer."""

    condition: jax.Array | None  # [E, H1]; None without conditions
    first: jax.Array  # [L, H1]
    hidden: tuple[jax.Array, ...]  # from each hidden layer to the next one
    biases: tuple[jax.Array, ...]  # of the hidden layers
    out: jax.Array  # [D, W, H]
    direct: jax.Array | None  # [D, W, L] from the inputs to the outputs; None without such connections
    bias: jax.Array  # [D, W]


class Sums(NamedTuple):
    """Holds the entries of rows that are drawn so far: what is added up before the first activation, and the inputs."""

    total: jax.Array  # [N, H1]
    inputs: jax.Array  # [N, L], 0 for the inputs of entries that are not drawn yet


class Made(nn.Module):
    """Dense layers with masks, for several orders of the entries.

    An order is given by the place of each entry, from 0 to D - 1. A hidden unit has a fixed degree d. It reads the
    entries at places below d and units of at most its own degree. The output of the entry at place p reads units of at
    most degree p. Only the masks of the first and the last layer therefore depend on the order.

    Attributes:
      hidden: width of each hidden layer.
      orders: number of orders; by default 1, the entries as they stand. With more, the orders are random and fixed.
      direct: whether the outputs also read the earlier entries directly.
      dropout: dropout rate of the hidden units. It applies if a `dropout` key is given.
    """

    hidden: Sequence[int] = (1000,)
    orders: int = 1
    direct: bool = True
    dropout: float = 0.0

    def check(self) -> None:
        """Raises UserError for sizes below 1, or a dropout that is no share below 1."""
        check_whole("orders of made", self.orders)
        if not self.hidden:
            raise UserError("hidden of made is empty; expected the width of at least one hidden layer")
        for width in self.hidden:
            check_whole("a width in hidden of made", width)
        check_share("dropout of made", self.dropout)

    def places(self, layout: Layout) -> np.ndarray:
        """Returns the place of each entry in each order, [K, D] int32.

        Args:
          layout: the entries of a row.
        """
        if self.orders == 1:
            return np.arange(layout.entries, dtype=np.int32)[None]
        shuffled = np.random.default_rng(0)
        return np.stack([shuffled.permutation(layout.entries) for _ in range(self.orders)]).astype(np.int32)

    def degrees(self, layout: Layout, conditional: bool) -> list[np.ndarray]:
        """Returns the degrees of the units of each hidden layer, evenly spread from 0 to D - 1.

        Units of degree 0 read conditions alone. They are left out if there are no conditions.

        Args:
          layout: the inputs.
          conditional: whether the net reads conditions.
        """
        least = 0 if conditional or layout.entries == 1 else 1
        return [least + np.arange(width) * (layout.entries - least) // width for width in self.hidden]

    @nn.compact
    def weights(self, layout: Layout, condition_size: int) -> Weights:
        """Returns the weights.

        Args:
          layout: the inputs and outputs.
          condition_size: number of dimensions of the condition; 0 without conditions.
        """
        inputs, first, last = len(layout.owner), self.hidden[0], self.hidden[-1]
        sizes = [*zip(self.hidden[:-1], self.hidden[1:], strict=True)]
        out = (layout.entries, layout.width)
        return Weights(
            condition=self.param("condition_kernel", HE, (condition_size, first)) if condition_size else None,
            first=self.param("first", HE, (inputs, first)),
            hidden=tuple(self.param(f"hidden_{at}", HE, size) for at, size in enumerate(sizes)),
            biases=tuple(
                self.param(f"bias_{at}", initializers.zeros, (width,)) for at, width in enumerate(self.hidden)
            ),
            out=self.param("out", SMALL, (*out, last)),
            direct=self.param("direct", initializers.zeros, (*out, inputs)) if self.direct else None,
            bias=self.param("bias", initializers.zeros, out),
        )

    def __call__(self, x: jax.Array, c: Embedded | None, layout: Layout, place: jax.Array) -> jax.Array:
        """Returns the outputs [N, D, W] in one order. The outputs of an entry depend on the entries at earlier places.

        Args:
          x: inputs [N, L].
          c: the conditions; None without conditions.
          layout: the inputs and outputs.
          place: place of each entry in the order [D].
        """
        weights = self.weights(layout, condition_size(c))
        degrees = self.degrees(layout, c is not None)
        rank = place[layout.owner]  # [L]
        mask = rank[:, None] < jnp.asarray(degrees[0])[None]
        total = x @ (weights.first * mask) + bias_of(weights, c)
        h = self.last_hidden(weights, degrees, total)
        mask = jnp.asarray(degrees[-1])[None] <= place[:, None]
        out = jnp.einsum("nh,dwh->ndw", h, weights.out * mask[:, None]) + weights.bias[None]
        if weights.direct is None:
            return out
        return out + jnp.einsum("nl,dwl->ndw", x, weights.direct * (rank[None] < place[:, None])[:, None])

    def last_hidden(self, weights: Weights, degrees: list[np.ndarray], total: jax.Array) -> jax.Array:
        """Returns the units of the last hidden layer [N, H].

        Args:
          weights: the weights.
          degrees: degrees of the units of each hidden layer.
          total: sums before the first activation [N, H1].
        """
        h = self.dropped(nn.relu(total))
        for kernel, bias, low, high in zip(weights.hidden, weights.biases[1:], degrees[:-1], degrees[1:], strict=True):
            h = self.dropped(nn.relu(h @ (kernel * (low[:, None] <= high[None])) + bias[None]))
        return h

    def dropped(self, h: jax.Array) -> jax.Array:
        """Returns hidden units after dropout, if a `dropout` key is given.

        Args:
          h: hidden units [N, H].
        """
        if not self.dropout or not self.has_rng("dropout"):
            return h
        share = 1 - self.dropout
        return jnp.where(jax.random.bernoulli(self.make_rng("dropout"), share, h.shape), h / share, 0)

    def begin(self, x: jax.Array, c: Embedded | None, layout: Layout) -> Sums:
        """Returns the sums of rows without an entry.

        Args:
          x: anything [N, ...] with the number of the rows.
          c: the conditions; None without conditions.
          layout: the inputs and outputs.
        """
        bias = bias_of(self.weights(layout, condition_size(c)), c)
        total = jnp.broadcast_to(bias, (len(x), self.hidden[0]))
        return Sums(total, jnp.zeros((len(x), len(layout.owner))))

    def at(self, sums: Sums, c: Embedded | None, layout: Layout, entry: jax.Array, time: jax.Array) -> jax.Array:
        """Returns the outputs [N, W] of one entry of each row, the next one in its order.

        Args:
          sums: the entries so far.
          c: the conditions; None without conditions.
          layout: the inputs and outputs.
          entry: the entry of each row [N].
          time: its place in the order of the row [].
        """
        weights = self.weights(layout, condition_size(c))
        degrees = self.degrees(layout, c is not None)
        h = self.last_hidden(weights, degrees, sums.total) * (jnp.asarray(degrees[-1]) <= time)[None]
        out = jnp.einsum("nh,nwh->nw", h, weights.out[entry]) + weights.bias[entry]
        if weights.direct is None:
            return out
        return out + jnp.einsum("nl,nwl->nw", sums.inputs, weights.direct[entry])

    def add(
        self, sums: Sums, c: Embedded | None, layout: Layout, entry: jax.Array, time: jax.Array, x: jax.Array
    ) -> Sums:
        """Returns the sums with one more entry of each row.

        Args:
          sums: the entries so far.
          c: the conditions; None without conditions.
          layout: the inputs and outputs.
          entry: the entry of each row [N].
          time: its place in the order of the row [].
          x: inputs [N, L], of which those of the entry are read.
        """
        weights = self.weights(layout, condition_size(c))
        indices, exist = (jnp.asarray(each)[entry] for each in layout.inputs)  # [N, M]
        values = jnp.where(exist, jnp.take_along_axis(x, indices, 1), 0)
        readers = (time < jnp.asarray(self.degrees(layout, c is not None)[0]))[None]
        total = sums.total + jnp.einsum("nm,nmh->nh", values, weights.first[indices]) * readers
        rows = jnp.arange(len(x))[:, None]
        return Sums(total, sums.inputs.at[rows, indices].add(values))


def condition_size(c: Embedded | None) -> int:
    """Returns the number of dimensions of the conditions as one vector; 0 without conditions.

    Args:
      c: the conditions.
    """
    vector = as_vector(c)
    return 0 if vector is None else vector.shape[1]


def bias_of(weights: Weights, c: Embedded | None) -> jax.Array:
    """Returns the bias of the first hidden layer with the share of the conditions, [1, H1] or [N, H1].

    Args:
      weights: the weights.
      c: the conditions; None without conditions.
    """
    bias, vector = weights.biases[0][None], as_vector(c)
    return bias if vector is None or weights.condition is None else bias + vector @ weights.condition
