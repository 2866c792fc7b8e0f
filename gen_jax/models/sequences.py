"""Batches of sequences in the form that inference reads, and checks of them. No model lives here."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import refuse_given
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.errors import UserError
from gen_jax.model import Array, Batch


class Frames(NamedTuple):
    """Sequences of unequal lengths, time-major: T frames, B sequences."""

    x: jax.Array  # [T, B] int32 or [T, B, D] float32, 0 where missing
    observed: jax.Array  # bool, with the shape of `x`
    seen: jax.Array  # [T, B] bool, frames with at least one observed cell
    valid: jax.Array  # [T, B] bool, false beyond the end
    weight: jax.Array  # [B] float32


def frames_of(batch: Batch, whole: bool = False) -> Frames:
    """Returns the sequences of a batch. Frames beyond the end, and rows of weight 0, count as missing.

    Args:
      batch: `x` [B, T] or [B, T, D]. If the batch has them, also `length` [B] in frames, `weight` [B], and `mask` of
        the observed frames [B, T] or cells [B, T, D].
      whole: whether a frame must be observed completely or not at all, so that a mask of cells is refused; by default
        False.

    Raises:
      UserError: for a mask of another shape.
    """
    x = jnp.asarray(batch["x"])
    if x.ndim == 2 and jnp.issubdtype(x.dtype, jnp.floating):
        x = x[..., None]
    shape = x.shape[:2]
    weight = jnp.asarray(batch["weight"]) if "weight" in batch else jnp.ones(shape[0])
    length = jnp.asarray(frame_lengths(batch))
    valid = jnp.arange(shape[1])[None] < length[:, None]
    mask = jnp.asarray(batch["mask"]).astype(bool) if "mask" in batch else jnp.ones(shape, bool)
    if mask.shape not in (shape, shape if whole else x.shape):
        cells = ": full covariances need whole frames" if whole else f", or for cells, {x.shape}"
        raise UserError(f"shape of mask is {mask.shape}; expected one number for each frame, {shape}{cells}")
    frame = valid & (weight > 0)[:, None]
    if frame.ndim < x.ndim:
        frame = frame[..., None]
    if mask.ndim < x.ndim:
        mask = mask[..., None]
    observed = jnp.broadcast_to(mask & frame, x.shape)
    x = jnp.where(observed, x, 0).swapaxes(0, 1)
    observed = observed.swapaxes(0, 1)
    seen = observed.any(-1) if observed.ndim == 3 else observed
    return Frames(x, observed, seen, valid.T, weight)


def frame_lengths(batch: Batch) -> jax.Array:
    """Returns the number of frames of each sequence [B]: `length`, or all frames if the batch has none.

    Args:
      batch: `x` [B, T, ...], and `length` [B] if the batch has it.
    """
    rows, frames = batch["x"].shape[:2]
    return batch["length"] if "length" in batch else jnp.full(rows, frames)


def inside(x: Array, length: Array) -> Array:
    """Returns which frames are among the first `length` of their row, [B, T] bool.

    Args:
      x: rows of frames [B, T, ...].
      length: number of frames [B].
    """
    return np.arange(x.shape[1])[None] < length[:, None]


def ended(x: jax.Array, length: jax.Array) -> jax.Array:
    """Returns rows with 0 beyond their first `length` frames.

    Args:
      x: rows of frames [B, T, ...].
      length: number of frames [B].
    """
    return jnp.where(inside(x, length).reshape(*x.shape[:2], *(1,) * (x.ndim - 2)), x, 0)


def continued_lanes(carried: jax.Array | None, rows: int) -> jax.Array:
    """Returns what the lanes of a state carry into a batch with `reset`.

    Args:
      carried: values of the state [B, ...]; None without lanes.
      rows: number of rows of the batch.

    Raises:
      UserError: if the state has no lanes, or another number of lanes.
    """
    if carried is None or len(carried) != rows:
        raise UserError(
            "the batch has reset, and the state has no such lanes; expected reset and the same number of rows in "
            "every batch"
        )
    return carried


def check_sequences(batch: Batch, shape: tuple[int, ...], values: int, binary: bool = False) -> None:
    """Refuses sequences that a model of rows [T, *shape] cannot read. The check runs on the host.

    Args:
      batch: `x` [B, T, *shape], and `length` and `mask` if the batch has them.
      shape: shape of a frame, () or (D,).
      values: number of values of a token; 0 for frames that are no tokens.
      binary: whether the numbers of a frame must be 0 or 1; by default False.

    Raises:
      UserError: naming the first value that is wrong, and what was expected.
    """
    x = np.asarray(batch["x"])
    if x.ndim != 2 + len(shape) or x.shape[2:] != shape or x.shape[1] == 0:
        raise UserError(f"shape of x is {x.shape}; expected sequences [B, T{''.join(f', {size}' for size in shape)}]")
    if (x.dtype.kind in "iu") != bool(values):
        raise UserError(f"type of x is {x.dtype}; expected {'whole numbers' if values else 'float32'}")
    length = np.asarray(batch.get("length", np.full(len(x), x.shape[1])))
    expected = f"{len(x)} whole numbers from 1 to {x.shape[1]}, one for each sequence"
    if length.shape != x.shape[:1] or length.dtype.kind not in "iu":
        raise UserError(f"length is {length.dtype} of shape {length.shape}; expected {expected}")
    wrong = length[(length < 1) | (length > x.shape[1])]
    if wrong.size:
        raise UserError(f"length is {wrong[0]}; expected {expected}")
    mask = np.asarray(batch["mask"]).astype(bool) if "mask" in batch else np.ones(x.shape[:2], bool)
    if mask.shape in (x.shape[:2], x.shape):  # because `frames_of` refuses other masks
        x = x[mask & inside(x, length).reshape(*x.shape[:2], *(1,) * (mask.ndim - 2))]
    if values:
        right = (x >= 0) & (x < values)
        expected = f"a token from 0 to {values - 1}"
    elif binary:
        right = (x == 0) | (x == 1)
        expected = "0 or 1"
    else:
        right = np.isfinite(x)
        expected = "a finite number"
    if not right.all():
        raise UserError(f"x holds {x[~right][0]}; expected {expected}")


def asked_for(given: dict | None, num: int, spec: Spec) -> Batch:
    """Returns the batch whose missing cells a sample fills. All cells are missing unless `given` has `x` and `mask`.

    Args:
      given: conditions, or None. `length` [num] is the number of frames of each sequence; `x` comes with `mask`, and
        may hold only the first frames.
      num: number of sequences.
      spec: facts of the data; without `length` and `x` a sequence has the frames of `spec.shape`.

    Raises:
      UserError: for another condition, `x` without `mask`, or arrays without `num` rows.
    """
    refuse_given(given, ("length", "x", "mask"))
    given = {name: np.asarray(value) for name, value in (given or {}).items()}
    if ("x" in given) != ("mask" in given):
        raise UserError(f"given {'x' if 'x' in given else 'mask'} is alone; expected x and mask, 1 where x is observed")
    for name, value in given.items():
        if value.shape[:1] != (num,):
            raise UserError(f"shape of given {name} is {value.shape}; expected {num} rows, one for each sample")
    whole = "length" in given and given["length"].dtype.kind in "iu"  # `check_sequences` refuses other lengths
    if whole:
        given["length"] = given["length"].astype(np.int32)
    if "x" not in given:
        frames = max(1, int(given["length"].max(initial=0))) if "length" in given else spec.shape[0]
        shape = (num, frames, *spec.shape[1:])
        given["x"] = np.zeros(shape, np.int32 if levels(spec) else np.float32)
        given["mask"] = np.zeros(shape[:2], bool)
    elif whole:
        missing = max(0, int(given["length"].max(initial=0)) - given["x"].shape[1])  # number of frames after x
        for name in ("x", "mask"):
            given[name] = np.pad(given[name], ((0, 0), (0, missing), *((0, 0),) * (given[name].ndim - 2)))
    return given


def asked_prefix(given: dict | None, num: int, spec: Spec) -> tuple[Batch, Array]:
    """Returns the batch of `asked_for`, in which only a prefix may be observed.

    Args:
      given: conditions, as in `asked_for`.
      num: number of sequences.
      spec: facts of the data.

    Returns:
      The batch, and the number of frames of each prefix [num].

    Raises:
      UserError: as `asked_for` and `check_sequences`; for a mask that is no prefix, or a length below its prefix.
    """
    batch = asked_for(given, num, spec)
    check_sequences(batch, tuple(spec.shape[1:]), levels(spec), kind_of(spec).binary)
    mask, shape = batch["mask"] > 0, batch["x"].shape[:2]
    if mask.shape != shape:
        raise UserError(f"shape of given mask is {mask.shape}; expected one number for each frame, {shape}")
    prefix = mask.sum(1, dtype=np.int32)
    if (mask != inside(mask, prefix)).any():
        raise UserError(
            "given mask has gaps; expected the observed frames first, because this model continues a prefix"
        )
    short = np.flatnonzero(batch.get("length", prefix) < prefix)
    if short.size:
        row = short[0]
        raise UserError(
            f"given length is {batch['length'][row]}; expected {prefix[row]} or more, the length of its prefix"
        )
    return {**batch, "x": batch["x"].astype(np.int32 if levels(spec) else np.float32)}, prefix


def refuse_few_frames(states: int, frames: int, source: str) -> None:
    """Refuses more states than there are frames to fit them to.

    Args:
      states: number of states.
      frames: number of frames.
      source: the data or batch that has the frames, for the message.

    Raises:
      UserError: if there are more states than frames.
    """
    if states > frames:
        raise UserError(f"number of states is {states}; expected at most {frames}, the number of frames of {source}")
