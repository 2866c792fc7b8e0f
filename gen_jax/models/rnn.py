"""Autoregressive recurrent nets over tokens, piano rolls, sound and series. Cells and heads are arguments."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from gen_jax import optimizers
from gen_jax.conditions import (
    batch_labels,
    check_labels,
    counted_labels,
    drawn_labels,
    given_labels,
    refuse_given,
    sampler_options,
)
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.distributions import frames as heads
from gen_jax.distributions.frames import Choice
from gen_jax.errors import UserError
from gen_jax.model import Batch, Model, saturated
from gen_jax.models.sequences import asked_prefix, check_sequences, ended, refuse_other_lanes
from gen_jax.nets.predictor import Predictor
from gen_jax.nets.recurrent import RECURRENT
from gen_jax.registry import build

ADAM = {"name": "adam", "learning_rate": 2e-3, "clip_norm": 1.0}
OPTIONS = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "stream": None}  # of a sampler


class RnnState(NamedTuple):
    """The state of a recurrent net."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows learnt from
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None where none is modelled
    params: Any
    average: Any  # of params
    optimizer: Any
    lanes: Any  # ([B, ...] carry of each layer, [B, ...] the last frame) of each lane; None without lanes


def rnn(
    spec: Spec,
    cell: Mapping = {"name": "lstm"},
    head: Mapping | None = None,
    conditional: bool = False,
    optimizer: Mapping = ADAM,
    ema_half_life: float = 0.0,
) -> Model:
    """A recurrent net that predicts each token or frame from those before it.

    Args:
      cell: a `name` in `CELLS` and the options of `nets.recurrent.Recurrent`.
      head: a `name` in `distributions.frames.HEADS` and its options; where None the first that fits the data.
      conditional: the label stands beside every frame; `given={"y": labels}` asks for one, and a sample's `y` tells it.
      optimizer: see `gen_jax.optimizers.optimizer`.
      ema_half_life: of the averaged weights that sample and score, in rows; 0 averages nothing.

    One step is one gradient of the mean negative log-likelihood of the frames of a batch. With `reset` in the batch, row
    i goes on where row i of the batch before ended, unless `reset[i]`, and gradients end at the border (truncated
    backpropagation through time); without it each row is a sequence of its own. `log_prob` and `sample` start
    from nothing carried. `given` takes `length` [num], `x` with `mask` [num, T], an observed prefix to be
    continued, and `y`. `how` takes `temperature`, `top_k`, `top_p` (see `distributions.frames.Choice`), a number for all
    samples or one for each [num], and `stream`, a function that is called with each frame [num, ...] when it is drawn.

    Raises:
      UserError: for data that are no sequences, labels that they lack, a head that does not fit, an unknown name or option.
    """
    if not kind_of(spec).time:
        raise UserError(f"an rnn models sequences, not data of kind {spec.kind!r} ({spec.name})")
    check_labels("rnn", spec, conditional)
    values, classes = levels(spec), len(spec.classes) if conditional else 0
    head, tx = heads.fitting(spec, head), optimizers.optimizer(optimizer)
    layers, unit = build("cell", RECURRENT, cell), "token" if values else "frame"
    net = Predictor(layers, head.width, values, kind_of(spec).binary, classes, head.weights)
    unroll = partial(net.apply, method="unroll")

    def started(rows: int) -> tuple:
        """What lanes hold before their first frame."""
        last = jnp.full(rows, -1, jnp.int32) if values else jnp.zeros((rows, *spec.shape[1:]))
        return layers.init_carry(rows), last

    def init(key: jax.Array, batch: Batch) -> RnnState:
        carry, last = started(1)
        params = net.init(key, carry, last[:, None], jnp.zeros(1, jnp.int32), method="unroll")
        zero = jnp.zeros((), jnp.int32)
        lanes = started(len(batch["x"])) if "reset" in batch else None
        average = jax.tree.map(jnp.copy, params)
        return RnnState(
            zero, zero, jnp.zeros(classes) if classes else None, params, average, tx(zero).init(params), lanes
        )

    def predicted(params: Any, lanes: tuple, batch: Batch, length: jax.Array, key: jax.Array | None = None) -> tuple:
        """The log-probability of every frame [B, T], and the lanes behind the last."""
        x, (carry, last) = batch["x"], lanes
        before = jnp.concatenate([last[:, None], x[:, :-1]], 1)
        rngs = {} if key is None else {"dropout": key}
        carry, out, own = unroll(params, carry, before, batch.get("y"), length, rngs=rngs)
        log_prob = ended(head.log_prob(own, out, x), length)
        ends = jnp.take_along_axis(x, jnp.maximum(length - 1, 0).reshape(-1, *(1,) * (x.ndim - 1)), 1)[:, 0]
        last = jnp.where((length > 0).reshape(-1, *(1,) * (ends.ndim - 1)), ends, last)
        return log_prob, (carry, last)

    def step(key: jax.Array, state: RnnState, batch: Batch) -> tuple[RnnState, dict]:
        rows = len(batch["x"])
        weight = batch.get("weight", jnp.ones(rows))
        length = jnp.where(weight > 0, batch.get("length", jnp.full(rows, batch["x"].shape[1])), 0)
        lanes = continued(state, batch, started(rows))

        def loss(params: Any) -> tuple[jax.Array, tuple]:
            log_prob, lanes_after = predicted(params, lanes, batch, length, key)
            return -log_prob.sum() / jnp.maximum(length.sum(), 1), lanes_after

        (value, lanes), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
        seen = state.examples.astype(jnp.float32)
        updates, tx_state = tx(seen).update(gradient, state.optimizer, state.params)
        params, new = optax.apply_updates(state.params, updates), (weight > 0).sum()
        average = optimizers.moving_average(state.average, params, new, jnp.float32(ema_half_life))
        counts = state.classes
        if conditional:
            counts = counted_labels(counts, weight, batch["y"])
        lanes = None if state.lanes is None else jax.lax.stop_gradient(lanes)
        metrics = {f"nats_per_{unit}": value, "gradient_norm": optax.tree.norm(gradient)}
        state = RnnState(state.step + 1, saturated(state.examples, new), counts, params, average, tx_state, lanes)
        return state, metrics

    @jax.jit
    def score(state: RnnState, batch: Batch) -> jax.Array:
        rows, frames = batch["x"].shape[:2]
        length = jnp.asarray(batch.get("length", jnp.full(rows, frames)))
        return predicted(state.average, started(rows), batch, length)[0].sum(1)

    def log_prob(key: jax.Array, state: RnnState, batch: Batch) -> jax.Array:
        if "mask" in batch:
            raise UserError("a batch with mask: an rnn needs every frame, expected x and length only")
        batch = {**batch, **batch_labels(batch, classes)}
        check_sequences(batch, tuple(spec.shape[1:]), values, kind_of(spec).binary)
        return score(state, {name: batch[name] for name in ("x", "length", "y") if name in batch})

    @partial(jax.jit, static_argnames="stream")
    def complete(
        key: jax.Array,
        state: RnnState,
        x: jax.Array,
        prefix: jax.Array,
        y: jax.Array | None,
        choice: Choice,
        stream: Callable[[jax.Array], None] | None,
    ) -> jax.Array:
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(x)))

        def move(lanes: tuple, now: tuple) -> tuple[tuple, jax.Array]:
            (carry, last), (time, given) = lanes, now
            carry, out, own = unroll(state.average, carry, last[:, None], y)
            at = jax.vmap(jax.random.fold_in, (0, None))(keys, time)
            drawn = jax.vmap(head.draw, (0, None, 0, 0))(at, own, out[:, 0], choice)
            observed = (time < prefix).reshape(-1, *(1,) * (drawn.ndim - 1))
            frame = jnp.where(observed, given, drawn)
            if stream:
                jax.debug.callback(stream, frame, ordered=True)
            return (carry, frame), frame

        times = jnp.arange(x.shape[1]), x.swapaxes(0, 1)
        return jax.lax.scan(move, started(len(x)), times)[1].swapaxes(0, 1)

    def sample(key: jax.Array, state: RnnState, num: int, given: dict | None = None, how: dict | None = None) -> Batch:
        refuse_given(given, ("length", "x", "mask", *(("y",) if conditional else ())))
        given, own = dict(given or {}), {}
        options = sampler_options(how, OPTIONS)
        choice = heads.choice_of(options, num, values)
        y_key, key = jax.random.split(key)
        if conditional:
            labels = {"y": given.pop("y")} if "y" in given else {}
            own = {"y": drawn_labels(y_key, state.classes, num), **given_labels(labels, num, classes)}
        batch, prefix = asked_prefix(given, num, spec)
        x = complete(key, state, batch["x"], prefix, own.get("y"), choice, options["stream"])
        if "length" in batch:
            own["length"] = jnp.asarray(batch["length"])
            x = ended(x, own["length"])
        return {"x": x, **own}

    return Model(init, step, sample, log_prob, given=("y",) * conditional + ("x", "mask", "length"), options=OPTIONS)


def continued(state: RnnState, batch: Batch, fresh: tuple) -> tuple:
    """What each row of a batch goes on from: its lane, or `fresh` where it is reset or there are none.

    Raises:
      UserError: where a batch continues lanes that the state does not carry, or does not say which it continues.
    """
    if "reset" not in batch:
        if state.lanes is not None:
            raise UserError("a batch without reset: this state carries lanes, which every batch continues or resets")
        return fresh
    refuse_other_lanes(state.lanes and state.lanes[1], len(batch["x"]))

    def chosen(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(batch["reset"].reshape(-1, *(1,) * (old.ndim - 1)), new, old)

    return jax.tree.map(chosen, state.lanes, fresh)
