"""Layers of recurrent cells; every cell has the same `init_carry`, `unroll` and `step`. Equations are in `cells`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import initializers

from gen_jax.errors import UserError, check_share, check_whole, choose
from gen_jax.nets.cells import CELLS, Carry, Linear, unroll_cudnn, unroll_gated, unroll_linear
from gen_jax.nets.embedding import Embedded, as_vector
from gen_jax.nets.transformer import Transformer
from gen_jax.registry import Choices, build

SCANS = ("auto", "sequential", "associative", "cudnn")
NORMS = {"none": lambda: lambda x: x, "rms": nn.RMSNorm, "layer": nn.LayerNorm}


class Recurrent(nn.Module):
    """Layers of one recurrent cell, with norms, residual connections, dense layers and dropout around them.

    Attributes:
      cell: a name in `CELLS`.
      units: number of units of a layer.
      layers: number of layers.
      residual: whether a layer adds its output to its input. If so, the frames are first projected to `units` numbers.
      norm: `rms` or `layer` before every layer and after the last layer, or `none`. Unless it is `none`, the frames are
        first projected to `units` numbers.
      feedforward: width of two dense layers after each cell, as a multiple of `units`; 0 for none.
      dropout: dropout rate of the output of a layer. It applies if a `dropout` key is given.
      locked: whether dropout uses one mask for all frames. If not, each frame has its own. Source: Gal & Ghahramani
        2016, arXiv 1512.05287.
      input_dropout: dropout rate of the numbers of each frame before the first layer. Every frame has a new mask.
      scan: how a cell is unrolled: `auto`, `sequential`, `associative` or `cudnn`. `associative` is parallel in time
        and needs a linear cell. `cudnn` is for LSTMs on an NVIDIA GPU: it uses the same weights, but allows no replicas
        and no penalty on the gradient of a critic. `auto` is `sequential` or `associative`, the faster one on this
        platform.

    Raises:
      UserError: for an unknown name, sizes below 1, or a scan that the cell or the platform does not have.
    """

    cell: str = "lstm"
    units: int = 256
    layers: int = 1
    residual: bool = False
    norm: str = "none"
    feedforward: int = 0
    dropout: float = 0.0
    locked: bool = True
    input_dropout: float = 0.0
    scan: str = "auto"

    def init_carry(self, rows: int) -> tuple[Carry, ...]:
        """Returns the carry of every layer before the first frame, zeros [rows, units].

        Args:
          rows: number of rows.
        """
        self.check()
        arrays = CELLS[self.cell].arrays
        return tuple(tuple(jnp.zeros((rows, self.units)) for _ in range(arrays)) for _ in range(self.layers))

    @nn.compact
    def unroll(
        self, carry: tuple, x: jax.Array, length: jax.Array | None = None, reset: jax.Array | None = None
    ) -> tuple[tuple[Carry, ...], jax.Array]:
        """Unrolls the layers over frames.

        Args:
          carry: the carry of every layer before the first frame.
          x: frames [B, T, D].
          length: number of frames of each row [B]; beyond it the carry stays and h is 0. By default None, all T frames.
          reset: rows that begin with a carry of zeros [B] bool; by default None.

        Returns:
          The carry after the last frame, and h [B, T, units].
        """
        layer = partial(Layer, self.cell, self.units, self.how())
        norm = NORMS[self.norm]
        whole = not self.has_rng("dropout")
        dropout = nn.Dropout(self.dropout, broadcast_dims=(1,) if self.locked else (), deterministic=whole)

        def drop(h: jax.Array) -> jax.Array:
            """Applies dropout with rows as the first axis, so that their number does not change the noise of a row."""
            return dropout(h.swapaxes(0, 1)).swapaxes(0, 1)

        valid = None if length is None else (jnp.arange(x.shape[1])[:, None] < length[None])[..., None]  # [T, B, 1]
        if reset is not None:
            carry = jax.tree.map(lambda each: jnp.where(reset[:, None], 0, each), carry)
        x, after = nn.Dropout(self.input_dropout, deterministic=whole)(x).swapaxes(0, 1), []
        if self.residual or self.norm != "none":  # with a bias, because a frame of zeros (silence) has no norm
            x = nn.Dense(self.units, bias_init=initializers.normal(0.1), name="project")(x)
        for each, old in enumerate(carry):
            new, h = layer(name=f"layer_{each}")(old, norm()(x), valid)
            x = x + drop(h) if self.residual else drop(h)
            if self.feedforward:
                wide = nn.gelu(nn.Dense(self.feedforward * self.units)(norm()(x)))
                x = x + drop(nn.Dense(self.units)(wide))
            after.append(new)
        x = norm()(x)
        return tuple(after), (x if valid is None else jnp.where(valid, x, 0)).swapaxes(0, 1)

    def step(self, carry: tuple[Carry, ...], x: jax.Array) -> tuple[tuple[Carry, ...], jax.Array]:
        """Computes h [B, units] of one frame.

        Args:
          carry: the carry of every layer.
          x: one frame [B, D].

        Returns:
          The new carry, and h.
        """
        carry, h = self.unroll(carry, x[:, None])
        return carry, h[:, 0]

    def how(self) -> str:
        """Returns how the layers are unrolled: `scan`, or for `auto` the faster way."""
        if self.scan != "auto":
            return self.scan
        linear = isinstance(CELLS[self.cell], Linear)
        return "associative" if linear and jax.default_backend() != "cpu" else "sequential"

    def check(self) -> None:
        """Refuses options that no net can have.

        Raises:
          UserError: for such an option.
        """
        choose("cell", self.cell, CELLS)
        choose("scan", self.scan, SCANS)
        choose("norm", self.norm, NORMS)
        for name, least in {"units": 1, "layers": 1, "feedforward": 0}.items():
            check_whole(name, getattr(self, name), least)
        for name in ("dropout", "input_dropout"):
            check_share(name, getattr(self, name))
        if self.scan == "associative" and not isinstance(CELLS[self.cell], Linear):
            linear = ", ".join(name for name, cell in CELLS.items() if isinstance(cell, Linear))
            raise UserError(
                f"scan is 'associative' and cell is {self.cell}; expected a cell that is linear in h: {linear}"
            )
        if self.scan == "cudnn" and (self.cell != "lstm" or jax.default_backend() != "gpu"):
            raise UserError(
                f"scan is 'cudnn' with {self.cell} on {jax.default_backend()}; expected lstm on an NVIDIA GPU"
            )


def conditioned(x: jax.Array, c: Embedded | None) -> jax.Array:
    """Concatenates frames with the `evened` vector of the conditions of their row.

    Args:
      x: frames [N, T, D].
      c: the conditions; None without conditions.

    Returns:
      Frames [N, T, D + E]; without conditions, x.
    """
    vector = as_vector(c)
    if vector is None:
        return x
    return jnp.concatenate([x, jnp.broadcast_to(evened(vector)[:, None], (*x.shape[:2], vector.shape[-1]))], -1)


def evened(x: jax.Array) -> jax.Array:
    """Scales rows to a mean square of 1, as the initial weights expect it. Rows of zeros stay 0.

    Args:
      x: rows [..., D], such as zeros and ones.
    """
    return x * jnp.sqrt(x.shape[-1] / jnp.maximum(jnp.square(x).sum(-1, keepdims=True), 1))


class Layer(nn.Module):
    """One layer of cells, `carry, x [T, B, D], valid [T, B, 1] or None -> carry, h [T, B, units]`.

    Attributes:
      cell: a name in `CELLS`.
      units: number of units.
      how: how the cell is unrolled: `sequential`, `associative` or `cudnn`.
    """

    cell: str
    units: int
    how: str

    @nn.compact
    def __call__(self, carry: Carry, x: jax.Array, valid: jax.Array | None) -> tuple[Carry, jax.Array]:
        """Returns the new carry, and h [T, B, units].

        Args:
          carry: the carry before the first frame.
          x: frames [T, B, D].
          valid: [T, B, 1] bool, false beyond the end of a row; None if no row ends.
        """
        cell, units = CELLS[self.cell], self.units

        def each_gate(init: nn.initializers.Initializer, key: jax.Array, rows: int) -> jax.Array:
            return jnp.concatenate([init(gate, (rows, units)) for gate in jax.random.split(key, cell.width)], -1)

        weights = {
            "input": self.param("input", partial(each_gate, initializers.glorot_uniform()), x.shape[-1]),
            "bias": self.param("bias", lambda key: cell.bias(jnp.zeros((cell.width, units))).ravel()),
        }
        if isinstance(cell, Linear):
            own = self.param("own", cell.weights, units)
            return unroll_linear(cell, {**weights, **own}, carry, x, valid, self.how == "associative")
        weights["recurrent"] = self.param("recurrent", partial(each_gate, initializers.orthogonal()), units)
        if cell.hidden_bias:
            weights["hidden_bias"] = self.param("hidden_bias", initializers.zeros, (cell.width * units,))
        if self.how == "cudnn":
            return unroll_cudnn(weights, carry, x, valid)
        return unroll_gated(cell, weights, carry, x, valid)


RECURRENT: dict[str, Callable[..., Any]] = {
    **{cell: partial(Recurrent, cell) for cell in CELLS},
    "transformer": Transformer,
}
Cell = Annotated[Mapping, Choices(RECURRENT)]


def build_recurrent(place: str, options: Any) -> Recurrent | Transformer:
    """Builds recurrent layers, or a transformer with the functions of recurrent layers.

    Args:
      place: name of their place in a model, for the errors.
      options: a `name` in `RECURRENT` and the options of `Recurrent` or `Transformer`; or an object with the methods of
        `Recurrent`.

    Raises:
      UserError: for an unknown name or option, or another object.
    """
    layers = build(place, RECURRENT, options)
    if not hasattr(layers, "init_carry"):
        raise UserError(
            f"{place} is an object of type {type(layers).__name__}; expected a gen_jax.nets.recurrent.Recurrent, or a section with "
            f"a name: {', '.join(RECURRENT)}"
        )
    return layers
