"""Samples of an autoregressive model: draws frame by frame, and beam search for the likeliest row."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.conditions import Given, option_numbers, refuse_given, sample_conditions, sampler_options
from gen_jax.data.spec import Spec
from gen_jax.distributions import frames
from gen_jax.distributions.frames import Choice
from gen_jax.errors import UserError, check_whole
from gen_jax.model import Batch, like_rows
from gen_jax.models.autoregressive.beam import beam_search
from gen_jax.models.autoregressive.lanes import AutoregressiveNet, Lanes, first_lanes
from gen_jax.models.sequences import asked_prefix, ended
from gen_jax.nets.predictor import Read

OPTIONS = {  # options of the sampler, with their defaults
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "stream": None,
    "beam": 0,
    "length_penalty": 0.6,
}


class Samplers(NamedTuple):
    """Holds the compiled samplers."""

    draw: Callable  # `complete` of the net: (key, params, x, prefix, asked_length, c, choice, stream) -> x
    search: Callable  # `likeliest` of the net: (params, x, prefix, length, c, penalty, beams) -> x


def samplers(net: AutoregressiveNet) -> Samplers:
    """Returns the samplers of a net, compiled.

    Args:
      net: the net.
    """
    return Samplers(
        jax.jit(partial(complete, net), static_argnames="stream"),
        jax.jit(partial(likeliest, net), static_argnames="beams"),
    )


def sample(
    net: AutoregressiveNet,
    spec: Spec,
    compiled: Samplers,
    key: jax.Array,
    state: Any,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws sequences. A conditional net draws a label for each sequence unless `given` has `y`.

    Args:
      net: the net.
      spec: facts of the data, including the number of frames of a sequence.
      compiled: the samplers of the net.
      key: random key of the draws.
      state: the state, whose averaged weights are used.
      num: number of sequences.
      given: conditions, see `autoregressive`; by default None.
      how: options of the sampler, see `autoregressive`; by default None.

    Returns:
      `x` [num, T, *frame], `length` [num] if it is given or texts end with a symbol, and `y` [num] for a conditional
      net.

    Raises:
      UserError: for a condition or an option that the net does not have, or values outside their range.
    """
    conditions = net.predictor.conditions
    refuse_given(given, (*conditions.names, "length", "x", "mask"))
    options = sampler_options(how, OPTIONS)
    choice = frames.choice_of(options, num, net.predictor.values)
    beams = beams_of(net, options)
    y_key, x_key = jax.random.split(key)
    beside = sample_conditions(y_key, given, num, conditions, state.classes)
    cells = {name: value for name, value in (given or {}).items() if name not in conditions.names}
    batch, prefix = asked_prefix(cells, num, spec)
    asked_length = jnp.asarray(batch["length"]) if "length" in batch else None
    start = state.average, batch["x"], prefix, asked_length, beside or None
    if beams:
        x = compiled.search(*start, np.float32(options["length_penalty"]), beams=beams)
    else:
        x = compiled.draw(x_key, *start, choice, stream=options["stream"])
    length = asked_length
    if net.end is not None:
        ends = x == net.end
        first = jnp.where(ends.any(1), ends.argmax(1) + 1, x.shape[1])
        length = first if asked_length is None else jnp.minimum(first, asked_length)
    if length is not None:
        beside["length"] = length.astype(jnp.int32)
        x = ended(x, beside["length"])
    return {"x": x, **beside}


def beams_of(net: AutoregressiveNet, options: dict) -> int:
    """Returns the number of hypotheses of a beam search; 0 for draws.

    Args:
      net: the net.
      options: options of the sampler.

    Raises:
      UserError: for anything but such a number, rows without an end, or an option of draws beside it.
    """
    beams, penalty = options["beam"], options["length_penalty"]
    check_whole("beam", beams, 0)
    option_numbers("length_penalty", penalty, 1, 0, 10)
    if not beams:
        if penalty != OPTIONS["length_penalty"]:
            raise UserError(f"length_penalty is {penalty} without beam; expected a beam search. Set beam to 4")
        return 0
    if net.end is None:
        raise UserError(f"beam is {beams} and the rows have no symbol that ends them; expected data with data.end=True")
    for name in ("temperature", "top_k", "top_p"):
        if np.any(np.asarray(options[name]) != OPTIONS[name]):
            raise UserError(f"beam is {beams} beside {name}; expected one of them, because a beam search draws nothing")
    if options["stream"] is not None:
        raise UserError(
            f"beam is {beams} beside stream; expected one of them, because the best text is known at the end"
        )
    return int(beams)


def complete(
    net: AutoregressiveNet,
    key: jax.Array,
    params: Any,
    x: jax.Array,
    prefix: jax.Array,
    asked_length: jax.Array | None,
    c: Given | None,
    choice: Choice,
    stream: Callable[[jax.Array], None] | None,
) -> jax.Array:
    """Returns x [num, T, *frame] in which all frames after the prefix of a row are drawn anew.

    The draws of a row depend on its number and its frames alone, not on the other rows of the batch.

    Args:
      net: the net.
      key: random key of the draws.
      params: weights of the predictor.
      x: rows [num, T, *frame], of which the first `prefix` frames are kept.
      prefix: number of frames to keep in each row [num].
      asked_length: number of frames of each row [num], before which no row ends; None for any length.
      c: conditions of the rows, or None.
      choice: options of the draw of a frame, leaves [num].
      stream: function that is called with each frame [num, *frame] when it is drawn, or None.
    """
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(x)))
    conditions = net.read(params, c)

    def move(lanes: Lanes, now: tuple) -> tuple[Lanes, jax.Array]:
        carry, last = lanes
        time, observed = now
        carry, out, weights = net.unroll(params, carry, last[:, None], conditions)
        out = without_end(net, out[:, 0], time, asked_length)
        frame_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, time)
        drawn = jax.vmap(net.head.draw, (0, None, 0, 0))(frame_keys, weights, out, choice)
        frame = jnp.where(like_rows(time < prefix, drawn), observed, drawn)
        if stream:
            jax.debug.callback(stream, frame, ordered=True)
        return (carry, frame), frame

    times = jnp.arange(x.shape[1]), x.swapaxes(0, 1)
    return jax.lax.scan(move, first_lanes(net, len(x)), times)[1].swapaxes(0, 1)


def without_end(
    net: AutoregressiveNet, logits: jax.Array, time: jax.Array, asked_length: jax.Array | None
) -> jax.Array:
    """Returns logits [num, V] that forbid the end of a row before its last frame, if its length is asked for.

    Args:
      net: the net.
      logits: logits of the tokens [num, V].
      time: number of the frame.
      asked_length: number of frames of each row [num]; None for any length.
    """
    if net.end is None or asked_length is None:
        return logits
    return logits.at[:, net.end].set(jnp.where(time < asked_length - 1, -jnp.inf, logits[:, net.end]))


def likeliest(
    net: AutoregressiveNet,
    params: Any,
    x: jax.Array,
    prefix: jax.Array,
    asked_length: jax.Array | None,
    c: Given | None,
    penalty: jax.Array,
    beams: int,
) -> jax.Array:
    """Returns x [num, T] with the tokens after the prefix of a row that a beam search finds.

    Args:
      net: the net.
      params: weights of the predictor.
      x: rows [num, T], of which the first `prefix` tokens are kept.
      prefix: number of tokens to keep in each row [num].
      asked_length: number of tokens of each row [num], before which no row ends; None for any length.
      c: conditions of the rows, or None.
      penalty: exponent of the lengths.
      beams: number of hypotheses of a row.
    """
    assert net.end is not None  # because `beams_of` refuses other nets

    def copies_of(rows: Any) -> Any:
        return jax.tree.map(lambda row: jnp.repeat(row, beams, 0), rows)

    conditions: Read = copies_of(net.read(params, c))
    asked_length = None if asked_length is None else copies_of(asked_length)

    def move(lanes: Lanes, time: jax.Array) -> tuple[Lanes, jax.Array]:
        """Returns the carry after the last tokens, and log p [num * beams, V] of the next ones."""
        carry, last = lanes
        carry, out, _ = net.unroll(params, carry, last[:, None], conditions)
        return (carry, last), jax.nn.log_softmax(without_end(net, out[:, 0], time, asked_length))

    return beam_search(move, first_lanes(net, len(x) * beams), x, prefix, net.end, beams, penalty)
