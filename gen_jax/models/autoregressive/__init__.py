"""Autoregressive models: of sequences by a recurrent net or a transformer, of other rows by MADE."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax

from gen_jax import optimizers
from gen_jax.conditions import (
    batch_conditions,
    conditions_in,
    conditions_of,
    example_conditions,
)
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.distributions import frames, pixels
from gen_jax.errors import UserError, check_whole
from gen_jax.model import Batch, Model, family, like_rows
from gen_jax.models.autoregressive.entries import EntryNet, entries_model
from gen_jax.models.autoregressive.lanes import AutoregressiveNet, AutoregressiveState, Lanes, first_lanes, no_frame
from gen_jax.models.autoregressive.sampling import OPTIONS, sample, samplers
from gen_jax.models.sequences import check_sequences, continued_lanes, ended, frame_lengths
from gen_jax.models.updates import started, updated
from gen_jax.nets.causal_patches import CausalPatches
from gen_jax.nets.made import Made
from gen_jax.nets.predictor import Predictor
from gen_jax.nets.recurrent import RECURRENT, build_recurrent
from gen_jax.nets.transformer import Transformer
from gen_jax.registry import Choices, build

ADAM = {"name": "adam", "learning_rate": 2e-3, "clip_norm": 1.0}
NETS: dict[str, Callable[..., Any]] = {**RECURRENT, "made": Made, "patches": CausalPatches}


@family("autoregressive")
def autoregressive(
    spec: Spec,
    net: Annotated[Mapping, Choices(NETS)] = {"name": "lstm"},
    head: frames.HeadChoice = None,
    likelihood: pixels.LikelihoodChoice = None,
    conditional: bool = False,
    optimizer: optimizers.Optimizer = ADAM,
    ema_half_life: optimizers.Schedule = 0.0,
    label_smoothing: float = 0.0,
    copies: bool = False,
    accumulate: int = 1,
) -> Model:
    """Returns a model that predicts each frame of a sequence, or each entry of a row, from those before it.

    p(x) is the product of p(x_t | x_1..t-1). The net of sequences is a recurrent net or a causal transformer. Images,
    vectors and tables of levels have the net `made`. With several `orders` of the entries it is trained in one order
    after another, and p(x) is the mean over the orders. Images may have the net `patches`, a causal transformer over
    patches that ends in a `made` within a patch. `given` takes `x` and `mask`, the first entries of a row, if
    the order is that of the data. What follows is about sequences.

    A step is one update by the gradient of `next_frame_loss`. If a batch has `reset`, row i continues row i of the
    previous batch unless `reset[i]`. Gradients end at the border of the batches (truncated backpropagation through
    time). Without `reset` each row is a sequence of its own. `log_prob` and `sample` always begin before the first
    frame.

    `given` takes `length` [num] frames, and `x` with `mask` [num, T], an observed prefix that the sample continues. If
    the net is conditional, it also takes `y` [num] labels. `how` takes `temperature`, `top_k` and `top_p`, as a number
    for all samples or an array [num] (see `distributions.frames.Choice`). `how` also takes `stream`, a function that is
    called with each frame [num, *frame] when it is drawn. If the texts end with a symbol (`data.end`), a sample ends
    there, and has a `length`. For such data, `beam` takes the number of hypotheses of a beam search for the likeliest
    text, in place of draws, and `length_penalty` the exponent of its lengths (see `autoregressive.beam`).

    Args:
      spec: facts of the data.
      net: a `name` in `nets.cells.CELLS` and the options of `nets.recurrent.Recurrent`; by default one LSTM layer
        (Hochreiter & Schmidhuber 1997). Or `transformer` and the options of `nets.transformer.Transformer` (Vaswani et
        al. 2017, arXiv 1706.03762). Or `made` and the options of `nets.made.Made`
        (Germain et al. 2015, arXiv 1502.03509), or `patches` and the options of
        `nets.causal_patches.CausalPatches`.
      head: a `name` in `distributions.frames.HEADS` and its options. None, the default, takes the first head that fits
        the data.
      likelihood: density of a number of images and vectors: a `name` in `distributions.pixels.LIKELIHOODS`
        and its options. None, the default, takes the first likelihood that fits the data.
      conditional: whether the net reads the conditions of the row, labels and `c`; by default False. They are
        concatenated with every frame, but a transformer attends to a text. Likelihoods are then log p(x | conditions).
      optimizer: see `gen_jax.optimizers.optimizer`; by default Adam, with gradients clipped to a global norm of 1.
      ema_half_life: half-life, in rows, of the averaged weights that sample and score, or a schedule; by default 0, the
        newest weights.
      label_smoothing: share of the target of the loss that all tokens have alike (Szegedy et al. 2016, arXiv
        1512.00567, section 7); by default 0. Metrics are without it.
      copies: whether a transformer may copy tokens of a text that is a condition (See et al. 2017, arXiv 1704.04368); by
        default False.
      accumulate: number of parts of a batch whose gradients are added one after the other, which saves memory; by default
        1. The update is that of the whole batch, but dropout has other noise.

    Raises:
      UserError: for a net or a head that does not fit the data, missing labels, or an unknown name or option.
    """
    tx, half_life = optimizers.optimizer(optimizer), optimizers.half_life(ema_half_life)
    if not kind_of(spec).time:
        if head is not None or label_smoothing or copies or accumulate != 1:
            raise UserError(f"{spec.name} holds no sequences; expected no head, label_smoothing, copies or accumulate")
        return entries_model(spec, entry_net(spec, net), likelihood, conditional, tx, half_life)
    if likelihood is not None:
        raise UserError(f"likelihood is set and {spec.name} holds sequences; expected a head")
    check_whole("accumulate", accumulate)
    density = frames.fitting(spec, head)
    conditions = conditions_of("autoregressive model", spec, conditional)
    layers, values, text = build_recurrent("net", net), levels(spec), conditions.field
    if not 0 <= label_smoothing < 1 or (label_smoothing and density.width != values):
        raise UserError(
            f"label_smoothing is {label_smoothing}; expected a share from 0 to below 1, and 0 for frames that are no tokens"
        )
    shared = text is not None and values > 0 and list(text.vocabulary) == list(spec.vocabulary)
    if copies and not (shared and isinstance(layers, Transformer)):
        raise UserError(
            "copies is true; expected a transformer, and a text as condition with the vocabulary of the rows, such as subwords"
        )
    predictor = Predictor(
        layers,
        density.width,
        values,
        kind_of(spec).binary,
        conditions,
        density.weights,
        shared=shared,
        copies=copies,
    )
    whole = AutoregressiveNet(
        predictor=predictor,
        head=density,
        frame=tuple(spec.shape[1:]),
        end=spec.end,
        label_smoothing=label_smoothing,
        parts=accumulate,
    )
    return Model(
        partial(init, whole, tx),
        partial(step, whole, tx, half_life),
        partial(sample, whole, spec, samplers(whole)),
        partial(log_prob, whole, jax.jit(partial(score, whole))),
        given=(*conditions.names, "x", "mask", "length"),
        options=OPTIONS,
    )


def entry_net(spec: Spec, net: Any) -> EntryNet:
    """Returns the net of rows that are no sequences.

    Args:
      spec: facts of the data.
      net: the name `made` or `patches` and its options, or the net.

    Raises:
      UserError: for another net.
    """
    if isinstance(net, Mapping) and net.get("name") in RECURRENT:
        raise UserError(
            f"net is {net['name']!r} and {spec.name} holds {spec.kind} data, no sequences; expected 'made' or 'patches'"
        )
    layers = build("net", NETS, net)
    if not isinstance(layers, EntryNet):
        raise UserError(
            f"net is an object of type {type(layers).__name__}; expected a gen_jax.nets.made.Made or "
            "a gen_jax.nets.causal_patches.CausalPatches"
        )
    return layers


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
    lanes = first_lanes(net, len(batch["x"])) if "reset" in batch else None
    return AutoregressiveState(lanes=lanes, **started(tx, net.predictor.conditions.classes, params))


def step(
    net: AutoregressiveNet, tx: Callable, half_life: Callable, key: jax.Array, state: AutoregressiveState, batch: Batch
) -> tuple[AutoregressiveState, dict]:
    """Returns the state after one update by the gradient of `next_frame_loss`.

    Args:
      net: the net.
      tx: function from the number of examples to an Optax transformation.
      half_life: function from the number of examples to the half-life of the averaged weights, in rows.
      key: random key of dropout.
      state: the state before the update.
      batch: see `next_frame_loss`, and `reset` [B] if the state carries lanes.

    Returns:
      The new state, and the metrics.
    """
    lanes = continued(net, state, batch)
    value, lanes, gradient = accumulated(net, state.params, key, batch, lanes)
    lanes = None if state.lanes is None else jax.lax.stop_gradient(lanes)
    state = updated(tx, half_life, gradient, state, batch)._replace(lanes=lanes)
    unit = "frame" if net.frame or not net.predictor.values else "token"
    return state, {f"nats_per_{unit}": value, "gradient_norm": optax.tree.norm(gradient)}


def accumulated(
    net: AutoregressiveNet, params: Any, key: jax.Array, batch: Batch, lanes: Lanes | None
) -> tuple[jax.Array, Lanes, Any]:
    """Returns the metric and the lanes of `next_frame_loss`, and its gradient, which is added up over parts of the rows.

    Args:
      net: the net.
      params: weights of the predictor.
      key: random key of dropout.
      batch: see `next_frame_loss`.
      lanes: lanes from which each row continues, or None.

    Raises:
      UserError: for rows that have no such number of equal parts.
    """
    loss = jax.value_and_grad(partial(next_frame_loss, net), has_aux=True)
    rows, parts = len(batch["x"]), net.parts
    if parts == 1:
        (_, (value, lanes)), gradient = loss(params, key, batch, lanes)
        return value, lanes, gradient
    if rows % parts:
        raise UserError(f"accumulate is {parts} and a batch has {rows} rows; expected a divisor of the rows")

    def add(sums: tuple, part: tuple) -> tuple[tuple, Lanes]:
        place, rows_of_part, lanes_of_part = part
        weight = seen_length(rows_of_part).sum().astype(jnp.float32)
        (_, (value, after)), gradient = loss(params, jax.random.fold_in(key, place), rows_of_part, lanes_of_part)
        return jax.tree.map(lambda old, new: old + weight * new, sums, (1.0, value, gradient)), after

    def in_parts(leaf: jax.Array) -> jax.Array:
        """Row i is row i // parts of part i % parts, so that padding rows at the end move no row."""
        return leaf.reshape(rows // parts, parts, *leaf.shape[1:]).swapaxes(0, 1)

    split = jax.tree.map(in_parts, (batch, lanes))
    zero = jax.tree.map(jnp.zeros_like, (jnp.zeros(()), jnp.zeros(()), params))
    (total, value, gradient), after = jax.lax.scan(add, zero, (jnp.arange(parts), *split))
    value, gradient = jax.tree.map(lambda sums: sums / jnp.maximum(total, 1), (value, gradient))
    return value, jax.tree.map(lambda leaf: leaf.swapaxes(0, 1).reshape(rows, *leaf.shape[2:]), after), gradient


def seen_length(batch: Batch) -> jax.Array:
    """Returns the number of frames of each row [B] that count in the loss; 0 for padding rows.

    Args:
      batch: `x` [B, T, ...], and `length` and `weight` [B] if it has them.
    """
    length = frame_lengths(batch)
    return jnp.where(batch["weight"] > 0, length, 0) if "weight" in batch else length


def next_frame_loss(
    net: AutoregressiveNet, params: Any, key: jax.Array | None, batch: Batch, lanes: Lanes | None = None
) -> tuple[jax.Array, tuple[jax.Array, Lanes]]:
    """Returns the mean of -log p(x_t | x_1..t-1) over the frames of a batch in nats, with `label_smoothing`.

    Args:
      net: the net.
      params: weights of the predictor; differentiable.
      key: random key of dropout; None for no dropout.
      batch: `x` [B, T, *frame], the conditions that the net reads, `length` [B] frames, and `weight` [B] (0 for padding
        rows).
      lanes: lanes from which each row continues. None, the default, begins before the first frame.

    Returns:
      The loss, and with it the mean without `label_smoothing` and the lanes after the batch.
    """
    length = seen_length(batch)
    values, out, lanes = frame_log_prob(net, params, key, batch, length, lanes)
    num = jnp.maximum(length.sum(), 1)
    loss = nats = -values.sum() / num
    if net.label_smoothing:
        even = ended(out.mean(-1) - jax.nn.logsumexp(out, -1), length)  # mean of log p over all tokens
        loss = (1 - net.label_smoothing) * nats - net.label_smoothing * even.sum() / num
    return loss, (nats, lanes)


def frame_log_prob(
    net: AutoregressiveNet,
    params: Any,
    key: jax.Array | None,
    batch: Batch,
    length: jax.Array,
    lanes: Lanes | None = None,
) -> tuple[jax.Array, jax.Array, Lanes]:
    """Returns log p(x_t | x_1..t-1) [B, T] in nats, the outputs [B, T, W], and the lanes after the end of each row.

    The log-probability is 0 beyond the length of a row.

    Args:
      net: the net.
      params: weights of the predictor.
      key: random key of dropout; None for no dropout.
      batch: `x` [B, T, *frame], and the conditions that the net reads.
      length: number of frames of each row [B].
      lanes: lanes from which each row continues. None, the default, begins before the first frame.
    """
    x = batch["x"]
    carry, last = lanes or (None, no_frame(net, len(x)))
    before = jnp.concatenate([last[:, None], x[:, :-1]], 1)  # [B, T, *frame]
    rngs = {} if key is None else {"dropout": key}
    carry, out, weights = net.unroll(
        params, carry, before, conditions_in(batch, net.predictor.conditions), length, rngs=rngs
    )
    values = ended(net.head.log_prob(weights, out, x), length)
    ends = jnp.take_along_axis(x, like_rows(jnp.maximum(length - 1, 0), x), 1)[:, 0]  # [B, *frame]
    return values, out, (carry, jnp.where(like_rows(length > 0, ends), ends, last))


def continued(net: AutoregressiveNet, state: AutoregressiveState, batch: Batch) -> Lanes | None:
    """Returns the lanes that a batch continues: the lanes of the state, or fresh lanes in rows that are reset.

    If the batch has no `reset` and the state has no lanes, there are none.

    Args:
      net: the net.
      state: the state.
      batch: the batch, of which `x` and `reset` [B] are read.

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
        return None
    rows = len(batch["x"])
    continued_lanes(None if state.lanes is None else state.lanes[1], rows)
    fresh = first_lanes(net, rows)
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
    return frame_log_prob(net, params, None, batch, frame_lengths(batch))[0].sum(1)
