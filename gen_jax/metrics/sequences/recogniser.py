"""A small recogniser of speech: the judge of what recordings say, without downloaded weights.

It is trained once per data set, on the real recordings of the training split and on these recordings after a way through
their log-mel spectrogram and back, so that it does not mind the sound of this inversion. It never hears a sample in
training. Its weights are kept in the cache of the user, as those of `gen_jax.metrics.images.classifier` are.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.data.kinds.mel import log_mel, mel_of
from gen_jax.data.kinds.mel_series import sounds_of_series
from gen_jax.data.spec import Spec, levels, sequences
from gen_jax.metrics.images.classifier import cached_weights, signed, weights_hash
from gen_jax.metrics.progress import progress
from gen_jax.nets.speaker import Tower

GRID = 32  # widths of batches are multiples of it, so that few shapes are compiled
BATCH = 50  # recordings that are read together


class Recipe(NamedTuple):
    """The training of a recogniser. The hash of the recipe names the file in the cache.

    `speed` is the largest relative change of the speed, and `copies` the seconds of recordings that are also heard after
    their spectrogram.
    """

    version: int = 1
    batch: int = 16
    steps: int = 3000
    learning_rate: float = 2e-3
    units: int = 96
    layers: int = 5
    kernel: int = 5
    dropout: float = 0.1
    speed: float = 0.15
    copies: float = 240.0
    seed: int = 0


RECIPE = Recipe()


class Recogniser(NamedTuple):
    """A trained recogniser.

    Attributes:
      read: function of recordings, log-mel series [T, mels] in the domain of the data -> tokens of each, a list.
      protocol: hash of the weights, and the share of wrong words of real test recordings.
    """

    read: Callable[[Sequence[np.ndarray]], list[list[int]]]
    protocol: dict[str, Any]


class Net(nn.Module):
    """Convolutions over frames, and logits of the tokens and of a blank, number 0.

    Attributes:
      values: number of tokens.
      whole: whether nothing is dropped.
    """

    values: int
    whole: bool

    @nn.compact
    def __call__(self, x: jax.Array, inside: jax.Array) -> jax.Array:
        """Returns logits [B, T, 1 + values].

        Args:
          x: frames [B, T, mels].
          inside: 1 for frames that are not beyond the end of a row [B, T].
        """
        h = Tower(RECIPE.units, RECIPE.layers, RECIPE.kernel, RECIPE.dropout, self.whole)(x, inside)
        return nn.Dense(1 + self.values)(h)


class Functions(NamedTuple):
    """The compiled functions of recognisers of frames of one size."""

    init: Callable[[], Any]  # () -> (params, state of the optimizer)
    step: Callable[..., Any]  # ((params, state), number, x, length, c, c_length) -> (params, state)
    best: Callable[..., jax.Array]  # (params, x, length) -> likeliest token of each frame [B, T], 0 for none


@lru_cache(maxsize=4)
def functions(size: int, values: int, recipe: Recipe) -> Functions:
    """Returns the functions of recognisers, compiled once for each width of a batch.

    Args:
      size: numbers of a frame.
      values: number of tokens.
      recipe: the training.
    """
    seed = jax.random.key(recipe.seed)
    rate = optax.cosine_decay_schedule(recipe.learning_rate, recipe.steps, 0.01)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=1e-2))

    def inside_of(x: jax.Array, length: jax.Array) -> jax.Array:
        return (jnp.arange(x.shape[1])[None] < length[:, None]).astype(jnp.float32)

    @jax.jit
    def init() -> Any:
        params = Net(values, True).init(seed, jnp.zeros((1, 1, size)), jnp.ones((1, 1)))
        return params, tx.init(params)

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, number: jax.Array, x: jax.Array, length: jax.Array, c: jax.Array, c_length: jax.Array) -> Any:
        params, optimizer = state
        inside, within = inside_of(x, length), inside_of(c, c_length)

        def loss(params: Any) -> jax.Array:
            logits = Net(values, False).apply(params, x, inside, rngs={"dropout": jax.random.fold_in(seed, number)})
            nats = optax.ctc_loss(jnp.asarray(logits), 1 - inside, c + 1, 1 - within, blank_id=0)
            fits = c_length <= length
            return jnp.sum(jnp.where(fits, nats / jnp.maximum(c_length, 1), 0)) / jnp.maximum(fits.sum(), 1)

        updates, optimizer = tx.update(jax.grad(loss)(params), optimizer, params)
        return optax.apply_updates(params, updates), optimizer

    @jax.jit
    def best(params: Any, x: jax.Array, length: jax.Array) -> jax.Array:
        inside = inside_of(x, length)
        logits = jnp.asarray(Net(values, True).apply(params, x, inside))
        return jnp.where(inside > 0, logits.argmax(-1), 0)

    return Functions(init, step, best)


def heard(spec: Spec, series: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Returns series after a way through the sound: the log-mel frames of the recordings that one would hear.

    Args:
      spec: facts of the series.
      series: log-mel series [T, mels] in the domain of the data.
    """
    settings = mel_of(spec.info)
    least = settings.window // 2 + 1
    series_heard = []
    for x in progress(series, "sounds of spectrograms", "sound"):
        sound = sounds_of_series({"x": x[None]}, spec)[0]
        series_heard.append(log_mel(np.pad(sound, (0, max(0, least - len(sound)))), settings)[: len(x)])
    return series_heard


def together(spec: Spec, series: Sequence[np.ndarray], rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns series as one batch in [-1, 1]: x [rows, T, mels], and the number of frames of each [rows].

    Args:
      spec: facts of the series.
      series: log-mel series [T, mels] in the domain of the data.
      rows: number of rows; rows without a series have one frame.
    """
    width = -(-max(map(len, series)) // GRID) * GRID
    x, length = np.full((rows, width, spec.shape[1]), -1, np.float32), np.ones(rows, np.int32)
    for row, each in enumerate(series):
        x[row, : len(each)], length[row] = signed(spec, each), len(each)
    return x, length


def stretched(x: np.ndarray, ratio: float) -> np.ndarray:
    """Returns a series of `ratio` times as many frames, by linear interpolation.

    Args:
      x: series [T, D].
      ratio: ratio of the numbers of frames.
    """
    at = np.linspace(0, len(x) - 1, max(1, round(len(x) * ratio)))
    low = np.floor(at).astype(int)
    share = (at - low)[:, None]
    return ((1 - share) * x[low] + share * x[np.minimum(low + 1, len(x) - 1)]).astype(np.float32)


def fit(spec: Spec, series: Sequence[np.ndarray], tokens: Sequence[np.ndarray]) -> Any:
    """Trains a recogniser by `RECIPE`, and returns its weights.

    Recordings of similar lengths are in a batch. They are changed in speed and in loudness, and some of their frames and
    filters are hidden (Park et al. 2019, arXiv 1904.08779).

    Args:
      spec: facts of the data.
      series: log-mel series [T, mels] in the domain of the data.
      tokens: tokens [S] of their texts.
    """
    compiled, random = functions(spec.shape[1], values_of(spec), RECIPE), np.random.default_rng(RECIPE.seed)
    longest = max(map(len, tokens))
    order, batches = np.argsort([len(each) for each in series], kind="stable"), len(series) // RECIPE.batch
    state = compiled.init()
    for number in progress(range(RECIPE.steps), f"training a recogniser of {spec.name}", "step"):
        start = int(random.integers(0, max(batches, 1))) * RECIPE.batch
        near = order[max(0, start - RECIPE.batch // 2) : start + RECIPE.batch + RECIPE.batch // 2]
        rows = random.choice(near, RECIPE.batch)
        changed = [altered(spec, random, series[row]) for row in rows]
        c = np.zeros((RECIPE.batch, longest), np.int32)
        for place, row in enumerate(rows):
            c[place, : len(tokens[row])] = tokens[row]
        c_length = np.array([len(tokens[row]) for row in rows], np.int32)
        state = compiled.step(state, np.int32(number), *together(spec, changed, RECIPE.batch), c, c_length)
    return state[0]


def altered(spec: Spec, random: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Returns a recording at another speed and loudness, with some frames and filters hidden.

    Args:
      spec: facts of the data.
      random: source of the changes.
      x: log-mel series [T, mels].
    """
    low = float(np.min(spec.low))
    x = stretched(x, random.uniform(1 - RECIPE.speed, 1 + RECIPE.speed)) + np.float32(random.normal(0, 0.3))
    for axis, most in ((0, 6), (1, 8)):
        size = int(random.integers(0, min(most, x.shape[axis] // 4) + 1))
        begin = int(random.integers(0, x.shape[axis] - size + 1))
        x[(slice(None),) * axis + (slice(begin, begin + size),)] = low
    return np.maximum(x, low)


def values_of(spec: Spec) -> int:
    """Returns the number of tokens of the texts of recordings."""
    assert spec.condition is not None
    return levels(spec.condition)


def read(spec: Spec, params: Any, series: Sequence[np.ndarray]) -> list[list[int]]:
    """Returns the tokens that recordings say: the likeliest token of each frame, without blanks and repeats.

    Args:
      spec: facts of the data.
      params: weights.
      series: log-mel series [T, mels] in the domain of the data.
    """
    compiled, tokens = functions(spec.shape[1], values_of(spec), RECIPE), []
    for start in range(0, len(series), BATCH):
        part = series[start : start + BATCH]
        best = np.asarray(compiled.best(params, *together(spec, part, BATCH)))[: len(part)]
        for row in best:
            changes = row[np.flatnonzero(np.diff(row, prepend=0))]
            tokens.append((changes[changes > 0] - 1).tolist())
    return tokens


def trained(
    spec: Spec,
    rows: Callable[[str], dict[str, np.ndarray]],
    splits: tuple[str, str],
    wrong: Callable[[list[list[int]], dict[str, np.ndarray]], float],
) -> Recogniser:
    """Returns the recogniser of a data set from the cache; trains and keeps it if the file is missing or damaged.

    Args:
      spec: facts of the data.
      rows: (split) -> raw recordings `x` with their texts `c`.
      splits: names of the training and of the test split.
      wrong: function (read tokens, rows) -> share of wrong words.

    Raises:
      UserError: if the cache cannot be written.
    """
    facts = [spec.content, spec.name, list(spec.shape), values_of(spec), *splits]
    shapes = jax.eval_shape(functions(spec.shape[1], values_of(spec), RECIPE).init)[0]

    def learn() -> tuple[Any, float | None]:
        real, test = rows(splits[0]), rows(splits[1])
        series, tokens = sequences(real), sequences(real, "c")
        frames = RECIPE.copies * spec.info["rate"] / spec.info["hop"]
        order = np.random.default_rng(RECIPE.seed).permutation(len(series))
        fits = order[np.cumsum([len(series[row]) for row in order]) <= frames]
        copies = heard(spec, [series[row] for row in fits])
        params = fit(spec, [*series, *copies], [*tokens, *(tokens[row] for row in fits)])
        params = jax.device_get(params)
        return params, wrong(read(spec, params, sequences(test)), test)

    params, share = cached_weights("recognisers", [facts, RECIPE._asdict()], shapes, learn)
    return Recogniser(partial(read, spec, params), {"recogniser": weights_hash(params), "recogniser_error": share})
