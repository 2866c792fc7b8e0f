"""Autoregressive models of tokens, piano rolls, sound and series. The net and the head are arguments."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax import optimizers
from gen_jax.conditions import (
    Given,
    batch_conditions,
    conditions_in,
    conditions_of,
    counted_labels,
    drawn_labels,
    example_conditions,
    given_conditions,
    refuse_given,
    sampler_options,
)
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.distributions import frames
from gen_jax.distributions.frames import Choice, Head
from gen_jax.errors import UserError
from gen_jax.model import Batch, Model, family, saturated
from gen_jax.models.sequences import asked_prefix, check_sequences, continued_lanes, ended, frame_lengths, like_rows
from gen_jax.nets.predictor import Predictor
from gen_jax.nets.recurrent import Cell, build_recurrent

ADAM = {"name": "adam", "learning_rate": 2e-3, "clip_norm": 1.0}
OPTIONS = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "stream": None}  # options of the sampler, with their defaults
# Carry of each layer, leaves [B, ...], and the last frame [B, *frame]. The token -1 stands for no frame.
Lanes = tuple[tuple, jax.Array]


class AutoregressiveState(NamedTuple):
    """Holds the state of an autoregressive model."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows trained on
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None without labels
    params: Any  # weights of the predictor
    average: Any  # moving average of params
    optimizer: Any
    lanes: Lanes | None  # carries and last frames at the end of the previous batch; None without lanes


class AutoregressiveNet(NamedTuple):
    """Describes an autoregressive model without its weights."""

    predictor: Predictor
    unroll: Callable  # (params, carry, previous frames, y, length) -> carry, outputs [B, T, W], weights of the head
    head: Head  # density of a frame, given the output of the predictor
    frame: tuple[int, ...]  # shape of a frame; () for tokens and for samples of sound


@family("autoregressive")
def autoregressive(
    spec: Spec,
    net: Cell = {"name": "lstm"},
    head: frames.HeadChoice = None,
    conditional: bool = False,
    optimizer: optimizers.Optimizer = ADAM,
    ema_half_life: float = 0.0,
) -> Model:
    """Returns a model of sequences that predicts each frame from the frames before it, p(x) = prod p(x_t | x_1..t-1).

    Its net is a recurrent net or a causal transformer.

    A step is one update by the gradient of `next_frame_loss`. If a batch has `reset`, row i continues row i of the
    previous batch unless `reset[i]`. Gradients end at the border of the batches (truncated backpropagation through
    time). Without `reset` each row is a sequence of its own. `log_prob` and `sample` always begin before the first
    frame.

    `given` takes `length` [num] frames, and `x` with `mask` [num, T], an observed prefix that the sample continues. If
    the net is conditional, it also takes `y` [num] labels. `how` takes `temperature`, `top_k` and `top_p`, as a number
    for all samples or an array [num] (see `distributions.frames.Choice`). `how` also takes `stream`, a function that is
    called with each frame [num, *frame] when it is drawn.

    Args:
      spec: facts of the data, which are tokens, rolls, sound or series.
      net: a `name` in `nets.cells.CELLS` and the options of `nets.recurrent.Recurrent`; by default one LSTM layer
        (Hochreiter & Schmidhuber 1997). Or `transformer` and the options of `nets.transformer.Transformer` (Vaswani et
        al. 2017, arXiv 1706.03762).
      head: a `name` in `distributions.frames.HEADS` and its options. None, the default, takes the first head that fits
        the data.
      conditional: whether the net reads the conditions of the row, labels and `c`, together with every frame; by default
        False. Likelihoods are then log p(x | conditions).
      optimizer: see `gen_jax.optimizers.optimizer`; by default Adam, with gradients clipped to a global norm of 1.
      ema_half_life: half-life, in rows, of the averaged weights that sample and score; by default 0, the newest
        weights.

    Raises:
      UserError: for data that are not sequences, missing labels, a head that does not fit, or an unknown name or
        option.
    """
    check_data(spec)
    density = frames.fitting(spec, head)
    conditions = conditions_of("autoregressive model", spec, conditional)
    layers = build_recurrent("net", net)
    predictor = Predictor(layers, density.width, levels(spec), kind_of(spec).binary, conditions, density.weights)
    whole = AutoregressiveNet(predictor, partial(predictor.apply, method="unroll"), density, tuple(spec.shape[1:]))
    tx = optimizers.optimizer(optimizer)
    return Model(
        partial(init, whole, tx),
        partial(step, whole, tx, ema_half_life),
        partial(sample, whole, spec, jax.jit(partial(complete, whole), static_argnames="stream")),
        partial(log_prob, whole, jax.jit(partial(score, whole))),
        given=(*conditions.names, "x", "mask", "length"),
        options=OPTIONS,
    )


def check_data(spec: Spec) -> None:
    """Refuses data that are not sequences.

    Args:
      spec: facts of the data.

    Raises:
      UserError: with the kind of the data.
    """
    if not kind_of(spec).time:
        raise UserError(f"{spec.name} holds {spec.kind} data; expected sequences for an autoregressive model")


def init(net: AutoregressiveNet, tx: Callable, key: jax.Array, batch: Batch) -> AutoregressiveState:
    """Returns the state before the first step. It carries lanes if the batch has `reset`.

    Args:
      net: the net.
      tx: function from the number of examples to an Optax transformation.
      key: random key of the weights.
      batch: `x` [B, T, *frame], of which only the number of rows is read.
    """
    carry, last = first_lanes(net, 1)
    params = net.predictor.init(
        key, carry, last[:, None], example_conditions(net.predictor.conditions, 1), method="unroll"
    )
    zero = jnp.zeros((), jnp.int32)
    classes = net.predictor.conditions.classes
    return AutoregressiveState(
        step=zero,
        examples=zero,
        classes=jnp.zeros(classes) if classes else None,
        params=params,
        average=jax.tree.map(jnp.copy, params),
        optimizer=tx(zero).init(params),
        lanes=first_lanes(net, len(batch["x"])) if "reset" in batch else None,
    )


def step(
    net: AutoregressiveNet, tx: Callable, ema_half_life: float, key: jax.Array, state: AutoregressiveState, batch: Batch
) -> tuple[AutoregressiveState, dict]:
    """Returns the state after one update by the gradient of `next_frame_loss`.

    Args:
      net: the net.
      tx: function from the number of examples to an Optax transformation.
      ema_half_life: half-life of the averaged weights, in rows.
      key: random key of dropout.
      state: the state before the update.
      batch: see `next_frame_loss`, and `reset` [B] if the state carries lanes.

    Returns:
      The new state, and the metrics.
    """
    rows = len(batch["x"])
    lanes = continued(state, batch, first_lanes(net, rows))
    loss = partial(next_frame_loss, net)
    (value, lanes), gradient = jax.value_and_grad(loss, has_aux=True)(state.params, key, batch, lanes)
    examples = state.examples.astype(jnp.float32)
    updates, tx_state = tx(examples).update(gradient, state.optimizer, state.params)
    params = optax.apply_updates(state.params, updates)
    weight = batch.get("weight", jnp.ones(rows))
    new = (weight > 0).sum()
    counts = state.classes
    if counts is not None:
        counts = counted_labels(counts, weight, batch["y"])
    state = AutoregressiveState(
        step=state.step + 1,
        examples=saturated(state.examples, new),
        classes=counts,
        params=params,
        average=optimizers.moving_average(state.average, params, new, jnp.float32(ema_half_life)),
        optimizer=tx_state,
        lanes=None if state.lanes is None else jax.lax.stop_gradient(lanes),
    )
    unit = "token" if net.predictor.values else "frame"
    return state, {f"nats_per_{unit}": value, "gradient_norm": optax.tree.norm(gradient)}


def next_frame_loss(
    net: AutoregressiveNet, params: Any, key: jax.Array | None, batch: Batch, lanes: Lanes | None = None
) -> tuple[jax.Array, Lanes]:
    """Returns the mean of -log p(x_t | x_1..t-1) over the frames of a batch in nats, and the lanes after it.

    Args:
      net: the net.
      params: weights of the predictor; differentiable.
      key: random key of dropout; None for no dropout.
      batch: `x` [B, T, *frame], the conditions that the net reads, `length` [B] frames, and `weight` [B] (0 for padding
        rows).
      lanes: lanes from which each row continues. None, the default, begins before the first frame.
    """
    lanes = first_lanes(net, len(batch["x"])) if lanes is None else lanes
    length = frame_lengths(batch)
    if "weight" in batch:
        length = jnp.where(batch["weight"] > 0, length, 0)
    values, lanes = frame_log_prob(net, params, key, batch, length, lanes)
    return -values.sum() / jnp.maximum(length.sum(), 1), lanes


def frame_log_prob(
    net: AutoregressiveNet, params: Any, key: jax.Array | None, batch: Batch, length: jax.Array, lanes: Lanes
) -> tuple[jax.Array, Lanes]:
    """Returns log p(x_t | x_1..t-1) [B, T] in nats, and the lanes after the end of each row.

    The log-probability is 0 beyond the length of a row.

    Args:
      net: the net.
      params: weights of the predictor.
      key: random key of dropout; None for no dropout.
      batch: `x` [B, T, *frame], and the conditions that the net reads.
      length: number of frames of each row [B].
      lanes: lanes from which each row continues.
    """
    x = batch["x"]
    carry, last = lanes
    before = jnp.concatenate([last[:, None], x[:, :-1]], 1)  # [B, T, *frame]
    rngs = {} if key is None else {"dropout": key}
    carry, out, weights = net.unroll(
        params, carry, before, conditions_in(batch, net.predictor.conditions), length, rngs=rngs
    )
    values = ended(net.head.log_prob(weights, out, x), length)
    ends = jnp.take_along_axis(x, like_rows(jnp.maximum(length - 1, 0), x), 1)[:, 0]  # [B, *frame]
    return values, (carry, jnp.where(like_rows(length > 0, ends), ends, last))


def first_lanes(net: AutoregressiveNet, rows: int) -> Lanes:
    """Returns lanes before their first frame.

    Args:
      net: the net.
      rows: number of rows.
    """
    if net.predictor.values:
        last = jnp.full(rows, -1, jnp.int32)
    else:
        last = jnp.zeros((rows, *net.frame))
    return net.predictor.recurrent.init_carry(rows), last


def continued(state: AutoregressiveState, batch: Batch, fresh: Lanes) -> Lanes:
    """Returns the lanes that a batch continues: the lanes of the state, or `fresh` lanes in rows that are reset.

    If the batch has no `reset` and the state has no lanes, all rows are fresh.

    Args:
      state: the state.
      batch: the batch, of which `reset` [B] is read.
      fresh: lanes before their first frame.

    Raises:
      UserError: if a batch continues lanes that the state does not carry, or lacks `reset` although the state has
        lanes.
    """
    if "reset" not in batch:
        if state.lanes is not None:
            raise UserError(
                "reset of the batch is missing; expected it, because the state carries lanes, which every batch "
                "continues or resets"
            )
        return fresh
    continued_lanes(None if state.lanes is None else state.lanes[1], len(batch["x"]))
    return jax.tree.map(lambda old, new: jnp.where(like_rows(batch["reset"], old), new, old), state.lanes, fresh)


def log_prob(
    net: AutoregressiveNet, compiled: Callable, key: jax.Array, state: AutoregressiveState, batch: Batch
) -> jax.Array:
    """Returns log p(x) [B] of each sequence in nats, or log p(x | y) for a conditional net.

    Args:
      net: the net.
      compiled: `score` of the net, compiled: (params, batch) -> [B].
      key: not used.
      state: the state, whose averaged weights are used.
      batch: `x` [B, T, *frame], `length` [B] frames, and the conditions that the net reads.

    Raises:
      UserError: for a batch that the net cannot read, or a batch with `mask`.
    """
    if "mask" in batch:
        raise UserError(
            "the batch holds mask; expected x and length only, because an autoregressive model needs every frame"
        )
    predictor = net.predictor
    batch = {**batch, **(batch_conditions(batch, predictor.conditions) or {})}
    check_sequences(batch, net.frame, predictor.values, predictor.binary)
    return compiled(
        state.average, {name: batch[name] for name in ("x", "length", *predictor.conditions.names) if name in batch}
    )


def score(net: AutoregressiveNet, params: Any, batch: Batch) -> jax.Array:
    """Returns the log-probability [B] of each sequence of a batch, in nats.

    Args:
      net: the net.
      params: weights of the predictor.
      batch: `x` [B, T, *frame], `length` [B] frames, and the conditions that the net reads.
    """
    lanes = first_lanes(net, len(batch["x"]))
    return frame_log_prob(net, params, None, batch, frame_lengths(batch), lanes)[0].sum(1)


def sample(
    net: AutoregressiveNet,
    spec: Spec,
    compiled: Callable,
    key: jax.Array,
    state: AutoregressiveState,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws sequences. A conditional net draws a label for each sequence unless `given` has `y`.

    Args:
      net: the net.
      spec: facts of the data, including the number of frames of a sequence.
      compiled: `complete` of the net, compiled: (key, params, x, prefix, c, choice, stream) -> x.
      key: random key of the draws.
      state: the state, whose averaged weights are used.
      num: number of sequences.
      given: conditions, see `autoregressive`; by default None.
      how: options of the sampler, see `autoregressive`; by default None.

    Returns:
      `x` [num, T, *frame], `length` [num] if it is given, and `y` [num] for a conditional net.

    Raises:
      UserError: for a condition or an option that the net does not have, or values outside their range.
    """
    conditions = net.predictor.conditions
    refuse_given(given, (*conditions.names, "length", "x", "mask"))
    options = sampler_options(how, OPTIONS)
    choice = frames.choice_of(options, num, net.predictor.values)
    y_key, x_key = jax.random.split(key)
    beside = given_conditions(given, num, conditions)
    if state.classes is not None and "y" not in beside:
        beside["y"] = drawn_labels(y_key, state.classes, num)
    cells = {name: value for name, value in (given or {}).items() if name not in conditions.names}
    batch, prefix = asked_prefix(cells, num, spec)
    x = compiled(x_key, state.average, batch["x"], prefix, beside or None, choice, options["stream"])
    if "length" in batch:
        beside["length"] = jnp.asarray(batch["length"])
        x = ended(x, beside["length"])
    return {"x": x, **beside}


def complete(
    net: AutoregressiveNet,
    key: jax.Array,
    params: Any,
    x: jax.Array,
    prefix: jax.Array,
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
      c: conditions of the rows, or None.
      choice: options of the draw of a frame, leaves [num].
      stream: function that is called with each frame [num, *frame] when it is drawn, or None.
    """
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(x)))

    def move(lanes: Lanes, now: tuple) -> tuple[Lanes, jax.Array]:
        carry, last = lanes
        time, observed = now
        carry, out, weights = net.unroll(params, carry, last[:, None], c)
        frame_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, time)
        drawn = jax.vmap(net.head.draw, (0, None, 0, 0))(frame_keys, weights, out[:, 0], choice)
        frame = jnp.where(like_rows(time < prefix, drawn), observed, drawn)
        if stream:
            jax.debug.callback(stream, frame, ordered=True)
        return (carry, frame), frame

    times = jnp.arange(x.shape[1]), x.swapaxes(0, 1)
    return jax.lax.scan(move, first_lanes(net, len(x)), times)[1].swapaxes(0, 1)
