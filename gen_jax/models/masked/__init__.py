"""Masked diffusion of levels: a net that finds the hidden levels of a row given any of the others, in any order."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import optimizers
from gen_jax.conditions import (
    Conditions,
    Given,
    conditions_in,
    conditions_of,
    counted_labels,
    example_conditions,
    given_cells,
    option_numbers,
    refuse_given,
    sample_conditions,
    sampler_options,
)
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.data.spec import levels as num_levels
from gen_jax.distributions import categorical
from gen_jax.distributions.level_tables import levels_of
from gen_jax.distributions.pixels import whole
from gen_jax.errors import UserError, check_whole
from gen_jax.model import Batch, Model, family, weighted_mean
from gen_jax.models import host_checks
from gen_jax.models.masked.lengths import (
    Entries,
    check_ends,
    checked_lengths,
    drawn_lengths,
    entries_of,
    length_bounds,
    length_log_prob,
    padded_texts,
)
from gen_jax.models.sequences import check_sequences, frame_lengths, inside
from gen_jax.models.updates import GradientState, gradient_step, started
from gen_jax.nets import INFILLERS, Infiller
from gen_jax.nets.embedding import ConditionedNet
from gen_jax.nets.net import build_net

ADAM = {"name": "adam", "learning_rate": 1e-3}
OPTIONS: Mapping[str, Any] = {"steps": 0, "temperature": 1.0}  # options of the sampler, with their defaults
NEVER = -1e9  # the logit of a level that an entry lacks
HIDDEN = -1  # the code of a hidden entry


class Codes(NamedTuple):
    """Holds the conversion of rows [N, *shape] to the levels of their D entries, whole numbers from 0 up, and back."""

    shape: tuple[int, ...]  # shape of a row
    sizes: np.ndarray  # [D] number of levels of each entry
    of: Callable[[jax.Array], jax.Array]  # x -> [N, D] int32
    back: Callable[[jax.Array], jax.Array]  # codes -> x [N, *shape]
    ragged: bool = False  # whether each row has its own length
    end: int | None = None  # level of the last entry of every ragged row; None if rows end without a mark

    @property
    def possible(self) -> np.ndarray:
        """Returns which levels an entry may draw [D, V]."""
        level = np.arange(self.sizes.max())[None]
        return (level < self.sizes[:, None]) & (level != (HIDDEN if self.end is None else self.end))


class MaskedNet(NamedTuple):
    """Describes a masked diffusion model without its weights."""

    net: ConditionedNet  # (weights, one-hot levels, c, visible) -> logits [N, D, V]
    codes: Codes
    conditions: Conditions
    levels: categorical.Levels | None  # levels of the columns of a table; None for other rows


class RaggedState(NamedTuple):
    """Holds the state of a model of rows of different lengths: that of a gradient-trained model, and their lengths."""

    step: jax.Array  # [] int32
    examples: jax.Array  # [] int32, rows trained on
    classes: jax.Array | None  # [K] float32, rows of each label in the batches so far; None without labels
    params: Any  # weights of the net
    average: Any  # moving average of params
    optimizer: Any
    lengths: jax.Array  # [D] float32, rows of each length in the batches so far


@family("masked")
def masked(
    spec: Spec,
    net: Infiller = {"name": "mlp"},
    conditional: bool = False,
    optimizer: optimizers.Optimizer = ADAM,
    ema_half_life: optimizers.Schedule = 10_000.0,
) -> Model:
    """Returns a masked diffusion model of rows of levels: tables, bits, images of few levels, texts.

    The net finds hidden entries given the others. Rows are drawn entry by entry in a random order, so that p(x) is the mean
    over all orders (Uria et al. 2014, arXiv 1310.1757; Shi et al. 2024, arXiv 2406.04329). Missing cells of a table stay
    hidden. `log_prob_bound` takes `num_samples`, a number of orders: it is the log of the mean of p(x) over random orders,
    so that it is tighter with more of them.

    Rows with lengths of their own have the probability of their length times that of their entries given the length. The
    probability of a length is its share of the training rows, each length counted once more than it occurs.

    `given` takes the conditions, and `x` with `mask`, any entries that a sample keeps, and `length` for such rows. `how` takes `steps`, the number of
    steps in which entries are drawn, several in each (0, the default, draws them one by one, which is exact), and
    `temperature`.

    Args:
      spec: facts of the data, all of whose entries have levels.
      net: a `name` in `INFILLERS` and the options of that net, or a net (z, c, level, visible) -> logits. z [N, D, V] are
        the one-hot levels, 0 for hidden entries, level [N] is the share of hidden entries, and visible is [N, D].
      conditional: whether the net reads the conditions of the data; by default False.
      optimizer: see `gen_jax.optimizers.optimizer`; by default Adam.
      ema_half_life: half-life, in rows, of the averaged weights that sample and score, or a schedule; by default 10,000.

    Raises:
      UserError: for data with numbers, missing conditions, or an unknown name or option.
    """
    codes, levels = codes_of(spec)
    conditions = conditions_of("masked diffusion model", spec, conditional)
    shape = (len(codes.sizes), int(codes.sizes.max()))
    built = build_net("net", INFILLERS, net, shape, inputs="z, c, level, visible", shape=shape)
    model = MaskedNet(ConditionedNet(built, conditions), codes, conditions, levels)
    tx = optimizers.optimizer(optimizer)
    honoured = (*conditions.names, "x", "mask", *(("length",) if codes.ragged else ()))
    step = partial(gradient_step, partial(masked_loss, model), "nats_per_row", tx, optimizers.half_life(ema_half_life))
    return Model(
        partial(init, model, tx),
        partial(ragged_step, step) if codes.ragged else step,
        partial(sample, model, honoured, jax.jit(partial(complete, model), static_argnames="steps")),
        log_prob_bound=partial(log_prob_bound, model, jax.jit(partial(bound, model), static_argnames="num")),
        given=honoured,
        options=OPTIONS,
    )


def codes_of(spec: Spec) -> tuple[Codes, categorical.Levels | None]:
    """Returns the conversion of rows to levels, and the levels of the columns of a table.

    Args:
      spec: facts of the data.

    Raises:
      UserError: for data with numbers, or frames of several entries whose rows have lengths of their own.
    """
    shape = tuple(spec.shape)
    size, numbers = math.prod(shape), whole(spec)
    if spec.tabular:
        levels = levels_of(spec, "masked diffusion model", may_miss=True)
        return Codes(shape, levels.sizes, lambda x: x.astype(jnp.int32), lambda code: code.astype(jnp.float32)), levels
    ragged = spec.ragged
    if ragged and not (len(shape) == 1 and num_levels(spec)):
        raise UserError(
            f"rows of {spec.name} have lengths of their own; expected texts, or rows of one length, for a masked "
            "diffusion model"
        )
    if num_levels(spec) and not kind_of(spec).class_map:
        sizes = np.full(size, num_levels(spec))

        def of(x: jax.Array) -> jax.Array:
            code = x.astype(jnp.int32).reshape(len(x), -1)
            return jnp.pad(code, ((0, 0), (0, size - code.shape[1])))  # a batch may have the frames of its longest row

        return Codes(
            shape, sizes, of, lambda code: code.reshape(-1, *shape), ragged, spec.end if ragged else None
        ), None
    if numbers is None or kind_of(spec).class_map:
        raise UserError(f"{spec.name} holds {spec.kind} data; expected rows of levels for a masked diffusion model")
    return (
        Codes(
            shape,
            np.full(size, numbers.top + 1),
            lambda x: jnp.clip(numbers.of(x), 0, numbers.top).astype(jnp.int32).reshape(len(x), -1),
            lambda code: numbers.back(code.astype(jnp.float32)).reshape(-1, *shape),
        ),
        None,
    )


def init(model: MaskedNet, tx: Callable, key: jax.Array, batch: Batch) -> GradientState | RaggedState:
    """Returns the state before the first step.

    Args:
      model: the model.
      tx: function from the number of examples to an Optax transformation.
      key: random key of the weights.
      batch: not used, because `model` gives the shapes.
    """
    size, most = model.codes.possible.shape
    inputs = jnp.zeros(1), jnp.zeros((1, size))
    params = model.net.init(key, jnp.zeros((1, size, most)), example_conditions(model.conditions, 1), *inputs)
    fields = started(tx, model.conditions.classes, params)
    return RaggedState(**fields, lengths=jnp.zeros(size)) if model.codes.ragged else GradientState(**fields)


def ragged_step(step: Callable, key: jax.Array, state: RaggedState, batch: Batch) -> tuple[RaggedState, dict]:
    """Returns the state after an update that counts the lengths of the rows too, and the metrics.

    Args:
      step: the update by the gradient, function (key, state, batch) -> (state, metrics).
      key: random key of the loss.
      state: the state before the update.
      batch: the batch, with `length` [N].
    """
    new, metrics = step(key, state, batch)
    weight = batch.get("weight", jnp.ones(len(batch["x"])))
    return new._replace(lengths=counted_labels(state.lengths, weight, batch["length"] - 1)), metrics


def entries_in(model: MaskedNet, batch: Batch) -> tuple[jax.Array, Entries]:
    """Returns the levels of rows [N, D], `HIDDEN` beyond their lengths, and their entries.

    Args:
      model: the model.
      batch: `x` [N, *shape]; `mask` if cells are missing, and `length` [N] if rows have lengths of their own.
    """
    code, codes = model.codes.of(batch["x"]), model.codes
    if not codes.ragged:
        mask = batch.get("mask", jnp.ones(batch["x"].shape, bool)).reshape(len(code), -1) > 0
        return code, Entries(mask, jnp.zeros(mask.shape, bool))
    entries = entries_of(batch["length"], code.shape[1], codes.end)
    level = jnp.where(inside(code, batch["length"]), codes.end or 0, HIDDEN)  # of an entry that follows from the length
    return jnp.where(entries.fixed, level, code), entries


def order_of(key: jax.Array, entries: jax.Array) -> jax.Array:
    """Returns a random order of some entries of each row: their ranks [N, D] int32, D for all others.

    Args:
      key: random key.
      entries: the entries to be ordered [N, D] bool.
    """
    noise = jnp.where(entries, jax.random.uniform(key, entries.shape), 2.0)
    ranks = jnp.argsort(jnp.argsort(noise, 1), 1).astype(jnp.int32)
    return jnp.where(entries, ranks, entries.shape[1])


def logits_of(
    model: MaskedNet, params: Any, code: jax.Array, visible: jax.Array, c: Given | None, rngs: Mapping | None = None
) -> jax.Array:
    """Returns the logits of the levels of all entries [N, D, V], given the visible ones.

    Args:
      model: the model.
      params: weights of the net.
      code: levels [N, D].
      visible: entries that the net may see [N, D] bool.
      c: conditions of the rows, or None.
      rngs: random keys of dropout; by default none.
    """
    z = jax.nn.one_hot(jnp.where(visible, code, HIDDEN), model.codes.possible.shape[1])
    shown = visible.astype(jnp.float32)
    out = model.net.apply(params, z, c, 1 - shown.mean(1), shown, rngs=rngs or {})
    return jnp.where(model.codes.possible[None], out, NEVER)


def level_nats(logits: jax.Array, code: jax.Array) -> jax.Array:
    """Returns the log-probability of each level [N, D].

    Args:
      logits: logits of the levels [N, D, V].
      code: levels [N, D].
    """
    chances = jax.nn.log_softmax(logits)
    return jnp.take_along_axis(chances, jnp.maximum(code, 0)[..., None], -1)[..., 0]


def masked_loss(model: MaskedNet, params: Any, key: jax.Array, batch: Batch) -> jax.Array:
    """Returns an unbiased estimate of the mean of the bound of -log p(x) over rows, in nats.

    Rows with lengths of their own are those given their lengths. Of D observed entries, K are hidden at random, K uniform from 1 to D. The estimate is D / K times the sum of -log p of
    the hidden entries (Uria et al. 2014, eq. 9, which is that of Shi et al. 2024 without the variance of the number K).

    Args:
      model: the model.
      params: weights of the net; differentiable.
      key: random key of what is hidden, and of dropout.
      batch: `x` [N, *shape], `mask` if cells are missing, `length` [N] if rows have lengths of their own, the conditions
        that the net reads, and `weight` [N].
    """
    order_key, count_key, dropout_key = jax.random.split(key, 3)
    code, (observed, fixed) = entries_in(model, batch)
    size = observed.sum(1)
    count = 1 + jnp.floor(jax.random.uniform(count_key, (len(code),)) * size)
    hidden = order_of(order_key, observed) < count[:, None]
    c = conditions_in(batch, model.conditions)
    nats = level_nats(logits_of(model, params, code, fixed | (observed & ~hidden), c, {"dropout": dropout_key}), code)
    row = jnp.where(hidden, nats, 0).sum(1) * size / count
    return -weighted_mean(row, batch.get("weight", jnp.ones(len(code))))


def order_log_prob(model: MaskedNet, params: Any, rank: jax.Array, batch: Batch) -> jax.Array:
    """Returns log p(x) [N] of the ordered entries of rows, drawn one by one in an order, in nats.

    Args:
      model: the model.
      params: weights of the net.
      rank: place of each entry in the order of its row [N, D]; D for entries that stay hidden.
      batch: `x` [N, *shape], `length` [N] if rows have lengths of their own, and the conditions that the net reads.
    """
    (code, (_, fixed)), c = entries_in(model, batch), conditions_in(batch, model.conditions)

    def move(total: jax.Array, place: jax.Array) -> tuple[jax.Array, None]:
        nats = level_nats(logits_of(model, params, code, fixed | (rank < place), c), code)
        return total + jnp.where(rank == place, nats, 0).sum(1), None

    return jax.lax.scan(move, jnp.zeros(len(code)), jnp.arange(code.shape[1]))[0]


def bound(model: MaskedNet, key: jax.Array, params: Any, batch: Batch, num: int) -> jax.Array:
    """Returns a lower bound of log p(x) [N] of the observed entries, in nats: log of the mean of p(x) over random orders.

    Rows with lengths of their own are those given their lengths.

    Args:
      model: the model.
      key: random key of the orders.
      params: weights of the net.
      batch: `x` [N, *shape], `mask` if cells are missing, and the conditions that the net reads.
      num: number of orders of a row.
    """
    entries = entries_in(model, batch)[1].drawn
    nats = jax.lax.map(
        lambda key: order_log_prob(model, params, order_of(key, entries), batch), jax.random.split(key, num)
    )
    return jax.nn.logsumexp(nats, 0) - np.log(num)


def log_prob_bound(
    model: MaskedNet,
    compiled: Callable,
    key: jax.Array,
    state: GradientState | RaggedState,
    batch: Batch,
    num_samples: int = 1,
) -> jax.Array:
    """Returns a lower bound of log p(x) [N] of the observed entries of rows, in nats, with their lengths; see `bound`.

    Args:
      model: the model.
      compiled: `bound` of the model, compiled.
      key: random key of the orders.
      state: the state, whose averaged weights are used.
      batch: `x` [N, *shape], `mask` if cells are missing, and the conditions that the net reads.
      num_samples: number of orders; by default 1.

    Raises:
      UserError: for a level that a column lacks, a text without its end, wrong conditions, or a number of orders below 1.
    """
    if model.levels is not None:
        categorical.check_levels(model.levels, batch["x"], batch.get("mask"))
    if not isinstance(state, RaggedState):
        return host_checks.log_prob_bound(model.conditions, compiled, key, state, batch, num_samples)
    check_sequences(batch, (), len(model.codes.possible[0]))
    batch = {**batch, "length": jnp.asarray(frame_lengths(batch))}
    check_ends(batch["x"], batch["length"], model.codes.end)
    nats = host_checks.log_prob_bound(model.conditions, compiled, key, state, batch, num_samples)
    return nats + length_log_prob(state.lengths)[batch["length"] - 1]


def sample(
    model: MaskedNet,
    honoured: tuple[str, ...],
    compiled: Callable,
    key: jax.Array,
    state: GradientState | RaggedState,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws rows. A conditional model draws a label for each row unless `given` has `y`.

    Args:
      model: the model.
      honoured: names of the conditions that `given` may hold.
      compiled: `complete` of the model, compiled.
      key: random key.
      state: the state, whose averaged weights are used.
      num: number of rows.
      given: conditions; `x` and `mask` [num, *shape], entries that stay; `length` [num] if rows have lengths of their own;
        by default None.
      how: options of the sampler, see `masked`; by default None.

    Raises:
      UserError: for a condition or an option that the model does not have, or a value out of its range.
    """
    refuse_given(given, honoured)
    options = sampler_options(how, OPTIONS)
    check_whole("steps", options["steps"], 0)
    temperature = option_numbers("temperature", options["temperature"], num, 0, 100)
    y_key, x_key = jax.random.split(key)
    beside = sample_conditions(y_key, given, num, model.conditions, state.classes)
    length: dict[str, jax.Array] = {}
    if isinstance(state, RaggedState):
        given = padded_texts(given, model.codes.shape[0])
        x_key, length_key = jax.random.split(x_key)
        length = {"length": asked_lengths(model.codes, length_key, state, num, given)}
    x, mask = given_cells(given, num, model.codes.shape)
    if model.levels is not None:
        categorical.check_levels(model.levels, x, mask)
    else:
        refuse_others(model.codes, x, mask)
    steps = min(options["steps"] or len(model.codes.sizes), len(model.codes.sizes))
    rows = compiled(
        x_key,
        state.average,
        {"x": x, "mask": mask, **length, **beside},
        jnp.asarray(temperature, jnp.float32),
        steps=int(steps),
    )
    return {"x": rows, **length, **beside}


def refuse_others(codes: Codes, x: np.ndarray, mask: np.ndarray) -> None:
    """Refuses observed numbers that are no levels of the data.

    Args:
      codes: conversion of rows to levels.
      x: rows [N, *shape].
      mask: observed entries [N, *shape].

    Raises:
      UserError: for the first such number.
    """
    with jax.ensure_compile_time_eval():
        code = codes.of(jnp.where(mask, x, 0)).clip(0, codes.sizes.max() - 1)
        wrong = mask & (abs(np.asarray(codes.back(code)) - x) > 1e-3)
    if wrong.any():
        raise UserError(f"given x holds {float(x[wrong][0]):g}; expected levels of the data")


def asked_lengths(codes: Codes, key: jax.Array, state: RaggedState, num: int, given: dict | None) -> jax.Array:
    """Returns the lengths of samples [num] int32: those that are given, or draws that leave room for what is observed.

    Args:
      codes: conversion of rows to levels.
      key: random key of the draws.
      state: the state, which has counted the lengths of training rows.
      num: number of rows.
      given: conditions, or None.

    Raises:
      UserError: as `given_cells`, `length_bounds` and `checked_lengths`.
    """
    bounds = length_bounds(*given_cells(given, num, codes.shape), codes.end)
    if given is None or "length" not in given:
        return drawn_lengths(key, state.lengths, bounds)
    return checked_lengths(np.asarray(given["length"]), bounds)


def complete(
    model: MaskedNet, key: jax.Array, params: Any, given: Batch, temperature: jax.Array, steps: int
) -> jax.Array:
    """Returns rows [N, *shape] whose hidden entries are drawn. The draws of a row depend on its number alone.

    Args:
      model: the model.
      key: random key.
      params: weights of the net.
      given: rows `x` [N, *shape] and `mask`, their observed entries; `length` [N] if rows have lengths of their own; and
        the conditions that the net reads.
      temperature: divisor of the logits of each row [N]; 0 takes the likeliest level.
      steps: number of steps.
    """
    x, mask, c = given["x"], given["mask"], conditions_in(given, model.conditions)
    rows = jnp.arange(len(x))
    order_keys, draw_keys = (jax.vmap(partial(jax.random.fold_in, each))(rows) for each in jax.random.split(key))
    code, (_, fixed) = entries_in(model, {**given, "x": jnp.where(mask, x, 0)})
    visible = fixed | mask.reshape(len(x), -1)
    code = jnp.where(visible, code, 0)
    order = jax.vmap(lambda key, entries: order_of(key, entries[None])[0])(order_keys, ~visible)
    count = (~visible).sum(1, keepdims=True)
    when = jnp.where(count > steps, order * steps // jnp.maximum(count, 1), order)  # step at which an entry is drawn

    def draw(key: jax.Array, logits: jax.Array, temperature: jax.Array) -> jax.Array:
        noise = jax.random.gumbel(key, logits.shape, mode="high")
        return jnp.where(temperature > 0, logits + temperature * noise, logits).argmax(-1)

    def move(code: jax.Array, place: jax.Array) -> tuple[jax.Array, None]:
        logits = logits_of(model, params, code, visible | (when < place), c)
        keys = jax.vmap(jax.random.fold_in, (0, None))(draw_keys, place)
        new = jax.vmap(draw)(keys, logits, temperature)
        return jnp.where(~visible & (when == place), new, code).astype(jnp.int32), None

    code = jax.lax.scan(move, code.astype(jnp.int32), jnp.arange(steps))[0]
    drawn = model.codes.back(jnp.maximum(code, 0))
    return jnp.where(mask, x, drawn).astype(drawn.dtype)
