"""Speech: frames of sound from a text, by monotonic alignment of the frames to the symbols of the text."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax import optimizers
from gen_jax.conditions import (
    Conditions,
    batch_conditions,
    conditions_in,
    conditions_of,
    example_conditions,
    option_numbers,
    refuse_given,
    sample_conditions,
    sampler_options,
)
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.distributions.multivariate_normal import gaussian_log_prob
from gen_jax.errors import UserError, check_whole, choose
from gen_jax.model import Batch, Model, family
from gen_jax.models.sequences import check_sequences, frame_lengths
from gen_jax.models.speech.alignment import Lattice, best_path, path_sum, path_worth, symbol_of_frames
from gen_jax.models.updates import GradientState, gradient_step, started
from gen_jax.nets.speaker import Speaker, Symbols
from gen_jax.registry import Choices, build

ADAM = {"name": "adam", "learning_rate": 1e-3, "clip_norm": 1.0}
NETS: Mapping[str, Callable[..., Any]] = {"conv": Speaker}
ALIGNMENTS = ("sum", "max")
DECODERS = ("gaussian", "flow", "none")
PLACES = 3  # numbers that say where a frame stands in its symbol


class Speech(NamedTuple):
    """Holds what is static of a model.

    Attributes:
      spec: facts of the data.
      net: the net, a `Speaker`.
      conditions: facts of the conditions.
      alignment: a name in `ALIGNMENTS`.
      decoder: a name in `DECODERS`.
      deviation: standard deviation of the frames in model space.
    """

    spec: Spec
    net: Speaker
    conditions: Conditions
    alignment: str
    decoder: str
    deviation: float

    def apply(self, params: Any, method: str, *inputs: Any, **options: Any) -> Any:
        """Returns what a method of the net returns.

        Args:
          params: weights.
          method: name of the method.
          *inputs: its inputs.
          **options: as those of `flax.linen.Module.apply`.
        """
        return self.net.apply(params, *inputs, method=method, **options)


@family("speech")
def speech(
    spec: Spec,
    net: Annotated[Mapping | Any, Choices(NETS, 3)] = {"name": "conv"},
    alignment: str = "sum",
    decoder: str = "gaussian",
    deviation: float = 0.4,
    optimizer: optimizers.Optimizer = ADAM,
    ema_half_life: optimizers.Schedule = 0.0,
) -> Model:
    """Returns a model that speaks a text: frames of sound x given the symbols c of a text.

    Each symbol of the text stands for one or more frames that follow each other, and the number of these frames is a
    geometric random number whose mean depends on the text. So the frames are those of a hidden Markov model from left to
    right, and no symbol can be left out or said twice (Kim et al. 2020, arXiv 2005.11129; Mehta et al. 2022, arXiv
    2108.13320). Two losses are added. The first fits the model in which a frame is Gaussian around a mean of its symbol,
    which finds the alignment. The second fits a decoder to the best alignment: a net that reads the states of the
    neighbouring frames.

    `log_prob` is exact without a decoder, a sum over all alignments. With a Gaussian decoder, `log_prob_bound` is the
    log-density of the frames and of their best alignment, which is a lower bound. Flow matching has neither.

    `given` takes the text `c` with `c_length`, and labels `y` if the data have them. `how` takes `speed`, by which the
    mean numbers of frames are divided; `temperature`, the factor of the noise of the frames (0 for the mean of a Gaussian,
    because its noise is hiss); and `frames`, the largest number of frames of a sample, by default that of the data. A text
    that needs more frames is spoken faster. With flow matching, `how` also takes `steps` of Euler's method. A sample has the
    mean number of frames of each symbol. `encode` returns as `z` the number of frames of each symbol in the best alignment [B, S].

    Args:
      spec: facts of the data: sequences of numbers, with a text as condition.
      net: `conv` and the options of `nets.speaker.Speaker`; or such a net.
      alignment: what the first loss adds up: `sum`, the default, all alignments by the forward algorithm, or `max`, the
        best one.
      decoder: `gaussian`, the default; `flow`, by flow matching (Lipman et al. 2023, arXiv 2210.02747; Mehta et al. 2024,
        arXiv 2309.03199); or `none`.
      deviation: standard deviation of the frames in model space; by default 0.4.
      optimizer: see `gen_jax.optimizers.optimizer`; by default Adam, with gradients clipped to a global norm of 1.
      ema_half_life: half-life, in rows, of the averaged weights that sample and score, or a schedule; by default 0, the
        newest weights.

    Raises:
      UserError: for data that are no sequences of numbers or have no text, or an unknown name or option.
    """
    kind = kind_of(spec)
    if not (kind.time and kind.columns and len(spec.shape) == 2) or levels(spec):
        raise UserError(
            f"{spec.name} holds {spec.kind} data; expected series of numbers, such as recordings with data.encoding=log_mel"
        )
    conditions = conditions_of("speech", spec, True)
    if not conditions.text:
        raise UserError(
            f"{spec.name} has no text as condition; expected the text of each recording, such as data.condition=text"
        )
    choose("alignment", alignment, ALIGNMENTS)
    choose("decoder", decoder, DECODERS)
    if not (np.isfinite(deviation) and deviation > 0):
        raise UserError(f"deviation is {deviation}; expected a number above 0")
    layers = build("net", NETS, net, spec.shape[1], conditions, deviation)
    model = Speech(spec, layers, conditions, alignment, decoder, deviation)
    tx, half_life = optimizers.optimizer(optimizer), optimizers.half_life(ema_half_life)
    alignment_function = partial(alignment_of, model, jax.jit(partial(aligned, model)))
    record = Model(
        partial(init, model, tx),
        partial(gradient_step, partial(speech_loss, model), "nats_per_number", tx, half_life),
        partial(sample, model, jax.jit(partial(draw, model), static_argnames=("frames", "steps"))),
        encode=partial(encode, model, alignment_function),
        given=conditions.names,
        options=options_of(model),
        extras={"alignment": alignment_function},
    )
    if decoder == "none":
        return record._replace(log_prob=partial(log_prob, model, jax.jit(partial(exact, model))))
    if decoder == "gaussian":
        return record._replace(log_prob_bound=partial(log_prob_bound, model, jax.jit(partial(bound, model))))
    return record


def options_of(model: Speech) -> dict[str, Any]:
    """Returns the options of the sampler with their defaults.

    Args:
      model: the model.
    """
    options = {"speed": 1.0, "temperature": 1.0, "frames": model.spec.shape[0]}
    return {**options, "steps": 10} if model.decoder == "flow" else options


def init(model: Speech, tx: Callable, key: jax.Array, batch: Batch) -> GradientState:
    """Returns the state before the first step.

    Args:
      model: the model.
      tx: function from the number of examples to an Optax transformation.
      key: random key of the weights.
      batch: not used, because `model` gives the shapes.
    """
    c = example_conditions(model.conditions, 1) or {}

    def both(net: Speaker) -> jax.Array:
        symbols = net.read(c)
        frame = jnp.zeros((1, 1, model.spec.shape[1])) if model.decoder == "flow" else None
        time = None if frame is None else jnp.zeros(1)
        return net.say(symbols.states[:, :1], jnp.zeros((1, 1, PLACES)), jnp.ones((1, 1)), frame, time)

    return GradientState(**started(tx, model.conditions.classes, model.net.init(key, method=both)))


def lattice_of(model: Speech, params: Any, symbols: Symbols, batch: Batch) -> Lattice:
    """Returns what alignments of the frames of a batch to the symbols of their texts are worth.

    Args:
      model: the model.
      params: weights.
      symbols: what the net reads from the texts.
      batch: `x` [B, T, D], and `length` [B] if it has it.
    """
    deviation = jnp.exp(model.apply(params, "deviations")[0])[None, None]
    x, mean = batch["x"] / deviation, symbols.mean / deviation
    squares = jnp.square(x).sum(-1)[:, :, None] + jnp.square(mean).sum(-1)[:, None]
    products = jnp.einsum("btd,bsd->bts", x, mean)  # no array [B, T, S, D]
    constant = jnp.log(deviation).sum() + 0.5 * x.shape[-1] * jnp.log(2 * jnp.pi)
    return Lattice(
        frame=products - 0.5 * squares - constant,
        stay=jax.nn.log_sigmoid(symbols.stay),
        go=jax.nn.log_sigmoid(-symbols.stay),
        length=frame_lengths(batch),
        symbols=symbols.length,
    )


def speech_loss(model: Speech, params: Any, key: jax.Array, batch: Batch) -> jax.Array:
    """Returns the loss of the alignment and that of the decoder, in nats for each number of the frames.

    Args:
      model: the model.
      params: weights; differentiable.
      key: random key of dropout, and of the noise of flow matching.
      batch: `x` [B, T, D], the conditions, and if the batch has them, `length` [B] and `weight` [B] (0 for padding rows).
        A row with more symbols than frames counts as padding.
    """
    read_key, say_key, noise_key = jax.random.split(key, 3)
    symbols = model.apply(params, "read", conditions_in(batch, model.conditions), rngs={"dropout": read_key})
    lattice = lattice_of(model, params, symbols, batch)
    weight = batch.get("weight", jnp.ones(len(batch["x"]))) * (lattice.symbols <= lattice.length)
    lattice = lattice._replace(symbols=jnp.minimum(lattice.symbols, lattice.length))
    durations = best_path(jax.lax.stop_gradient(lattice))
    if model.alignment == "sum":
        nats = -path_sum(lattice)
    else:
        nats = -worth_of(lattice, durations)
    if model.decoder != "none":
        nats = nats + said_loss(model, params, (say_key, noise_key), symbols, durations, batch)
    numbers = jnp.sum(weight * lattice.length) * model.spec.shape[1]
    return jnp.sum(weight * nats) / jnp.maximum(numbers, 1)


def worth_of(lattice: Lattice, durations: jax.Array) -> jax.Array:
    """Returns the log-density [B] of frames and of a path, if a frame depends on its symbol alone.

    Args:
      lattice: what paths are worth.
      durations: number of frames of each symbol in the path [B, S].
    """
    symbol = symbol_of_frames(durations, lattice.frame.shape[1])
    frame = jnp.take_along_axis(lattice.frame, symbol[..., None], 2)[..., 0]
    valid = jnp.arange(frame.shape[1])[None] < lattice.length[:, None]
    return jnp.where(valid, frame, 0).sum(1) + path_worth(lattice, durations)


def frames_of(states: jax.Array, durations: jax.Array, frames: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Returns the state and the place of each frame: states [B, T, units], places [B, T, PLACES], inside [B, T].

    The place of a frame is its share of its symbol from the left and from the right, and the logarithm of the duration.

    Args:
      states: states of the symbols [B, S, units].
      durations: number of frames of each symbol [B, S].
      frames: T, the number of frames.
    """
    symbol = symbol_of_frames(durations, frames)
    ends = jnp.cumsum(durations, 1)
    time = jnp.arange(frames)[None]
    duration, end = (jnp.take_along_axis(each, symbol, 1) for each in (durations, ends))
    size = jnp.maximum(duration, 1).astype(jnp.float32)
    left = (time - (end - duration) + 0.5) / size
    valid = (time < ends[:, -1:]).astype(jnp.float32)
    place = jnp.stack([left, 1 - left, jnp.log(size)], -1) * valid[..., None]
    return jnp.take_along_axis(states, symbol[..., None], 1), place, valid


def said_loss(
    model: Speech, params: Any, keys: tuple[jax.Array, jax.Array], symbols: Symbols, durations: jax.Array, batch: Batch
) -> jax.Array:
    """Returns the loss of the decoder [B], a sum over the numbers of the frames.

    It is -log p(x | path) of a Gaussian decoder, and half of the squared error of the velocity of flow matching.

    Args:
      model: the model.
      params: weights.
      keys: random keys of dropout and of the noise.
      symbols: what the net reads from the texts.
      durations: number of frames of each symbol [B, S].
      batch: `x` [B, T, D].
    """
    x = batch["x"]
    parts = frames_of(symbols.states, durations, x.shape[1])
    if model.decoder == "gaussian":
        return -said_log_prob(model, params, parts, x, {"dropout": keys[0]})
    time_key, noise_key = jax.random.split(keys[1])
    time = jax.random.uniform(time_key, (len(x),))
    noise, frames = jax.random.normal(noise_key, x.shape), x / model.deviation
    share = time[:, None, None]
    velocity = model.apply(params, "say", *parts, share * frames + (1 - share) * noise, time, rngs={"dropout": keys[0]})
    return 0.5 * (jnp.square(velocity - (frames - noise)).sum(-1) * parts[2]).sum(1)


def said_log_prob(model: Speech, params: Any, parts: tuple, x: jax.Array, rngs: Mapping[str, jax.Array]) -> jax.Array:
    """Returns log p(x | path) [B] of a Gaussian decoder in nats.

    Args:
      model: the model.
      params: weights.
      parts: what `frames_of` returns.
      x: frames [B, T, D].
      rngs: random keys by name; empty for no dropout.
    """
    mean = model.apply(params, "say", *parts, rngs=rngs)
    log_deviation = model.apply(params, "deviations")[1]
    return (gaussian_log_prob(x, mean, log_deviation[None, None]).sum(-1) * parts[2]).sum(1)


def read_lattice(model: Speech, params: Any, batch: Batch) -> tuple[Symbols, Lattice]:
    """Returns what the net reads from the texts of a batch without dropout, and the lattice of its frames.

    Args:
      model: the model.
      params: weights.
      batch: `x` [B, T, D], the conditions, and `length` [B] if it has it.
    """
    symbols = model.apply(params, "read", conditions_in(batch, model.conditions))
    return symbols, lattice_of(model, params, symbols, batch)


def aligned(model: Speech, params: Any, batch: Batch) -> jax.Array:
    """Returns the number of frames of each symbol in the best alignment [B, S] int32.

    Args:
      model: the model.
      params: weights.
      batch: `x` [B, T, D], the conditions, and `length` [B] if it has it.
    """
    return best_path(read_lattice(model, params, batch)[1])


def exact(model: Speech, params: Any, batch: Batch) -> jax.Array:
    """Returns log p(x | text) [B] of a model without a decoder in nats: the sum over all alignments.

    Args:
      model: the model.
      params: weights.
      batch: as that of `aligned`.
    """
    return path_sum(read_lattice(model, params, batch)[1])


def bound(model: Speech, params: Any, batch: Batch) -> jax.Array:
    """Returns log p(x, best alignment | text) [B] of a Gaussian decoder in nats, a lower bound of log p(x | text).

    Args:
      model: the model.
      params: weights.
      batch: as that of `aligned`.
    """
    symbols, lattice = read_lattice(model, params, batch)
    durations = best_path(lattice)
    parts = frames_of(symbols.states, durations, batch["x"].shape[1])
    return said_log_prob(model, params, parts, batch["x"], {}) + path_worth(lattice, durations)


def checked(model: Speech, batch: Batch) -> Batch:
    """Returns the arrays of a batch that a model reads, after a check on the host.

    Args:
      model: the model.
      batch: `x` [B, T, D], `length` [B] if it has it, and the conditions.

    Raises:
      UserError: for frames or conditions that the model cannot read, or a text with more symbols than frames.
    """
    if "mask" in batch:
        raise UserError("the batch holds mask; expected x and length only, because this model needs every frame")
    check_sequences(batch, tuple(model.spec.shape[1:]), 0)
    rows: Batch = {name: batch[name] for name in ("x", "length") if name in batch}
    rows |= batch_conditions(batch, model.conditions) or {}
    length = np.asarray(frame_lengths(rows))
    symbols = np.asarray(rows["c_length"]) if "c_length" in rows else np.full(len(length), rows["c"].shape[1])
    short = np.flatnonzero(symbols > length)
    if short.size:
        row = short[0]
        raise UserError(
            f"row {row + 1} has {length[row]} frames for {symbols[row]} symbols; expected as many frames as symbols, or more"
        )
    return rows


def log_prob(model: Speech, compiled: Callable, key: jax.Array, state: GradientState, batch: Batch) -> jax.Array:
    """Returns log p(x | text) [B] in nats.

    Args:
      model: the model.
      compiled: `exact` of the model, compiled: (params, batch) -> [B].
      key: not used.
      state: the state, whose averaged weights are used.
      batch: as that of `checked`.

    Raises:
      UserError: as `checked`.
    """
    return compiled(state.average, checked(model, batch))


def log_prob_bound(
    model: Speech, compiled: Callable, key: jax.Array, state: GradientState, batch: Batch, num_samples: int = 1
) -> jax.Array:
    """Returns a lower bound of log p(x | text) [B] in nats.

    Args:
      model: the model.
      compiled: `bound` of the model, compiled: (params, batch) -> [B].
      key: not used.
      state: the state, whose averaged weights are used.
      batch: as that of `checked`.
      num_samples: not used, because the bound draws nothing; by default 1.

    Raises:
      UserError: as `checked`, or for a number of draws below 1.
    """
    check_whole("num_samples", num_samples)
    return compiled(state.average, checked(model, batch))


def encode(model: Speech, alignment_function: Callable, key: jax.Array, state: GradientState, batch: Batch) -> dict:
    """Returns the best alignment of rows as `z`, the number of frames of each symbol [B, S] int32, and the conditions.

    Args:
      model: the model.
      alignment_function: `alignment_of` of the model, (key, state, batch) -> [B, S].
      key: not used.
      state: the state, whose averaged weights are used.
      batch: as that of `checked`.

    Raises:
      UserError: as `checked`.
    """
    return {"z": alignment_function(key, state, batch), **(conditions_in(batch, model.conditions) or {})}


def alignment_of(model: Speech, compiled: Callable, key: jax.Array, state: GradientState, batch: Batch) -> jax.Array:
    """Returns the number of frames of each symbol in the best alignment [B, S] int32.

    Args:
      model: the model.
      compiled: `aligned` of the model, compiled: (params, batch) -> [B, S].
      key: not used.
      state: the state, whose averaged weights are used.
      batch: as that of `checked`.

    Raises:
      UserError: as `checked`.
    """
    return compiled(state.average, checked(model, batch))


def pace(model: Speech, params: Any, c: Any, speed: jax.Array, limit: int) -> jax.Array:
    """Returns the number of frames of each symbol [num, S] int32: the mean numbers, rounded along the text.

    A text that needs too many frames is spoken faster.

    Args:
      model: the model.
      params: weights.
      c: the conditions.
      speed: number by which the means are divided [num].
      limit: largest number of frames of a text, at least its symbols.
    """
    symbols = model.apply(params, "read", c)
    mean = jnp.maximum(1, (1 + jnp.exp(symbols.stay)) / speed[:, None])
    valid = jnp.arange(mean.shape[1])[None] < symbols.length[:, None]
    more = jnp.where(valid, mean - 1, 0)  # than the one frame that a symbol needs
    share = jnp.minimum(1, (limit - symbols.length) / jnp.maximum(more.sum(1), 1e-6))
    ends = jnp.round(
        jnp.cumsum(jnp.where(valid, 1 + share[:, None] * more, 0), 1) - 1e-3
    )  # no sum is rounded up beyond it
    return jnp.diff(ends, axis=1, prepend=0).astype(jnp.int32)


def say(
    model: Speech,
    params: Any,
    c: Any,
    durations: jax.Array,
    noise: jax.Array,
    steps: int,
) -> jax.Array:
    """Returns frames [num, T, D] of texts.

    Args:
      model: the model.
      params: weights.
      c: the conditions.
      durations: number of frames of each symbol [num, S].
      noise: noise [num, T, D], times its temperature.
      steps: number of steps of flow matching.
    """
    symbols = model.apply(params, "read", c)
    parts = frames_of(symbols.states, durations, noise.shape[1])
    deviations = jnp.exp(model.apply(params, "deviations"))[:, None, None]
    valid = parts[2][..., None]
    if model.decoder == "none":
        means = jnp.take_along_axis(symbols.mean, symbol_of_frames(durations, noise.shape[1])[..., None], 1)
        return (means + deviations[0] * noise) * valid
    if model.decoder == "gaussian":
        return (model.apply(params, "say", *parts) + deviations[1] * noise) * valid

    def move(z: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
        time = jnp.full(len(z), number / steps)
        return z + model.apply(params, "say", *parts, z, time) / steps, None

    frames, _ = jax.lax.scan(move, noise, jnp.arange(steps, dtype=jnp.float32))
    return model.deviation * frames * valid


def draw(
    model: Speech,
    key: jax.Array,
    params: Any,
    c: Mapping[str, jax.Array],
    speed: jax.Array,
    temperature: jax.Array,
    frames: int,
    steps: int,
) -> Batch:
    """Returns frames `x` [num, frames, D] of texts, and their number `length` [num].

    Args:
      model: the model.
      key: random key of the noise.
      params: weights.
      c: the conditions.
      speed: number by which the means of the durations are divided [num].
      temperature: factor of the noise [num].
      frames: largest number of frames of a text.
      steps: number of steps of flow matching.
    """
    durations = pace(model, params, c, speed, frames)
    keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.arange(len(speed)))
    noise = jax.vmap(lambda each: jax.random.normal(each, (frames, model.spec.shape[1])))(keys)
    noise = jax.lax.optimization_barrier(temperature[:, None, None] * noise)  # so that it has one rounding everywhere
    return {
        "x": say(model, params, c, durations, noise, steps),
        "length": durations.sum(1),
    }


def refuse_long(c: Mapping[str, jax.Array], frames: int) -> None:
    """Refuses a text with more symbols than frames. The values of arrays that are traced are not checked.

    Args:
      c: the conditions.
      frames: largest number of frames.

    Raises:
      UserError: for the first such text.
    """
    symbols = c.get("c_length", np.full(len(c["c"]), c["c"].shape[1]))
    if isinstance(symbols, jax.core.Tracer):
        return
    long = np.flatnonzero(np.asarray(symbols) > frames)
    if long.size:
        raise UserError(
            f"text {long[0] + 1} has {symbols[long[0]]} symbols; expected at most {frames}, the number of frames. Set "
            f"--how=frames={symbols[long[0]]}"
        )


def sample(
    model: Speech,
    drawer: Callable,
    key: jax.Array,
    state: GradientState,
    num: int,
    given: dict | None = None,
    how: dict | None = None,
) -> Batch:
    """Draws frames of texts. The draws of a row depend on its number and its conditions alone.

    Args:
      model: the model.
      drawer: `draw` of the model, compiled.
      key: random key of the draws.
      state: the state, whose averaged weights are used.
      num: number of samples.
      given: conditions, see `speech`.
      how: options of the sampler, see `speech`; by default None.

    Returns:
      `x` [num, frames, D], `length` [num], and the conditions.

    Raises:
      UserError: for a missing condition, an option out of its range, or a text with more symbols than `frames`.
    """
    refuse_given(given, model.conditions.names)
    options = sampler_options(how, options_of(model))
    speed = option_numbers("speed", options["speed"], num, 0.1, 10)
    temperature = option_numbers("temperature", options["temperature"], num, 0, 100)
    frames, steps = options["frames"], options.get("steps", 1)
    check_whole("frames", frames)
    check_whole("steps", steps)
    label_key, noise_key = jax.random.split(key)
    c = sample_conditions(label_key, given, num, model.conditions, state.classes)
    refuse_long(c, frames)
    numbers = (jnp.asarray(each, jnp.float32) for each in (speed, temperature))
    return {**drawer(noise_key, state.average, c, *numbers, frames=frames, steps=steps), **c}
