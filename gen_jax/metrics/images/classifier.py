"""A small classifier trained on the labels of the data: the judge of the measures, without downloaded weights.

It is trained once per data set, with a fixed seed, and kept in the cache of the user. The protocol of a figure holds
the hash of the weights, because figures by different classifiers do not compare. The same machine gives the same
weights to the bit. Another number of cores gives other weights, because it sums in another order.
"""

import io
import zipfile
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.data.cache import cache_folder, content_hash, make_folder
from gen_jax.data.spec import Spec, to_model
from gen_jax.files import write
from gen_jax.metrics.progress import progress

LARGEST_SIDE = 32  # pixels; larger images are scaled down to it
CHUNK = 500  # rows per compiled call of a trained classifier


class Recipe(NamedTuple):
    """The training of a classifier. The hash of the recipe names the file in the cache."""

    version: int = 1
    batch: int = 128
    epochs: int = 8
    least_steps: int = 1000
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    dropout: float = 0.4
    features: int = 64
    seed: int = 0


RECIPE = Recipe()


class Classifier(NamedTuple):
    """A trained classifier of raw rows."""

    describe: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # raw x -> features [N, F], log p(y|x) [N, K]
    protocol: dict[str, Any]  # hash of the weights and accuracy on the test split


class Net(nn.Module):
    """Three convolutions for images or two dense layers for vectors, a layer of features, and a layer of logits.

    The frames of a clip are the channels of one image.
    """

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Returns the features [N, F] and the logits [N, num_classes] of images [N, H, W, C], clips or vectors [N, D].

        Args:
          x: the rows.
          train: whether dropout is on; by default False.
        """
        if x.ndim == 5:
            x = jnp.moveaxis(x, 1, 3).reshape(len(x), *x.shape[2:4], -1)
        if x.ndim == 4:
            if max(x.shape[1:3]) > LARGEST_SIDE:
                sides = [max(1, round(side * LARGEST_SIDE / max(x.shape[1:3]))) for side in x.shape[1:3]]
                x = jax.image.resize(x, (len(x), *sides, x.shape[3]), "linear")
            small_image = min(x.shape[1:3]) <= 16
            kernel, stride = ((3, 3), 1) if small_image else ((5, 5), 2)  # strided, because that is fast on a CPU
            x = nn.relu(nn.Conv(16, kernel, stride)(x))
            for width in (32, 64):
                x = nn.relu(nn.Conv(width, (3, 3), 2)(x))  # [N, H', W', width]
            x = x.reshape(len(x), -1)
        else:
            for width in (256, 256):
                x = nn.relu(nn.Dense(width)(x))  # [N, width]
        x = nn.Dropout(RECIPE.dropout, deterministic=not train)(x)
        features = nn.relu(nn.Dense(RECIPE.features)(x))  # [N, F]
        return features, nn.Dense(self.num_classes)(features)  # [N, K]


class State(NamedTuple):
    """The weights of a classifier that is trained, and the state of its optimizer."""

    params: Any
    optimizer: Any


class Functions(NamedTuple):
    """The compiled functions of classifiers of rows of one shape."""

    init: Callable[[], State]
    step: Callable[..., State]  # (state, x [B, *shape], y [B], number, rate, shift [2])
    # (params, x) -> features [B, F], log p(y|x) [B, K]
    describe: Callable[[Any, np.ndarray], tuple[jax.Array, jax.Array]]


@lru_cache(maxsize=8)
def functions(shape: tuple[int, ...], num_classes: int) -> Functions:
    """Returns the functions of classifiers of rows in [-1, 1], compiled once for any number of classifiers.

    Args:
      shape: of a row.
      num_classes: number of classes.
    """
    net = Net(num_classes)
    apply: Callable[..., Any] = net.apply  # features [N, F], logits [N, K]
    tx = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(RECIPE.weight_decay))
    seed = jax.random.key(RECIPE.seed)

    @jax.jit
    def init() -> State:
        params = net.init(seed, jnp.zeros((1, *shape)))
        return State(params, tx.init(params))

    @partial(jax.jit, donate_argnums=0)
    def step(state: State, x: jax.Array, y: jax.Array, number: jax.Array, rate: jax.Array, shift: jax.Array) -> State:
        if len(shape) in (3, 4):  # all images or clips of a batch are shifted by the same few pixels
            most, frames = largest_shift(shape), (0,) * (len(shape) - 2)
            padded = jnp.pad(x, (*((0, 0) for _ in frames), (most, most), (most, most), (0, 0)), mode="edge")
            x = jax.lax.dynamic_slice(padded, (*frames, shift[0], shift[1], 0), x.shape)

        def loss(params: Any) -> jax.Array:
            _, logits = apply(params, x, train=True, rngs={"dropout": jax.random.fold_in(seed, number)})
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

        updates, optimizer = tx.update(jax.grad(loss)(state.params), state.optimizer, state.params)
        params = jax.tree.map(lambda param, update: param - rate * update, state.params, updates)
        return State(params, optimizer)

    @jax.jit
    def describe(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        features, logits = apply(params, x)
        return features, jax.nn.log_softmax(logits)

    return Functions(init, step, describe)


def largest_shift(shape: tuple[int, ...]) -> int:
    """Returns the number of pixels that training images are shifted by at most, in each direction."""
    return max(1, min(shape[-3:-1]) // 14)


def fit(spec: Spec, x: np.ndarray, y: np.ndarray, title: str) -> Any:
    """Trains a classifier and returns its weights.

    The optimizer is AdamW with a cosine from `learning_rate` to 0, on shuffled batches, for `epochs` but at least
    `least_steps`; see `RECIPE`.

    Args:
      spec: facts of the data.
      x: raw rows [N, *shape].
      y: their labels [N].
      title: name of the progress bar.
    """
    compiled, batch = functions(spec.shape, len(spec.classes)), RECIPE.batch
    steps = max(RECIPE.least_steps, RECIPE.epochs * len(x) // batch)
    random = np.random.default_rng(RECIPE.seed)
    epochs = -(-steps * batch // len(x))
    order = np.concatenate([random.permutation(len(x)) for _ in range(epochs)])[: steps * batch].reshape(steps, batch)
    shifts = order
    if len(spec.shape) in (3, 4):
        shifts = random.integers(0, 2 * largest_shift(spec.shape) + 1, (steps, 2), np.int32)
    state = compiled.init()
    for number in progress(range(steps), title, "step"):
        rate = np.float32(RECIPE.learning_rate * (1 + np.cos(np.pi * number / steps)) / 2)
        rows = order[number]
        state = compiled.step(state, signed(spec, x[rows]), y[rows], np.int32(number), rate, shifts[number, :2])
    return state.params


def scaled(spec: Spec, x: np.ndarray) -> np.ndarray:
    """Returns raw rows [N, *shape] with the domain of the data at [0, 1], float32; real numbers may lie beyond it."""
    low, high = np.asarray(spec.low), np.asarray(spec.high)
    return to_model(spec._replace(shift=low.tolist(), scale=np.where(high > low, high - low, 1).tolist()), x)


def signed(spec: Spec, x: np.ndarray) -> np.ndarray:
    """Returns raw rows [N, *shape] with the domain of the data at [-1, 1], float32, clipped to it."""
    return np.clip(scaled(spec, x) * 2 - 1, -1, 1)


def describe(spec: Spec, params: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns features [N, F] and log-probabilities of classes [N, K], float64, compiled once for any number of rows.

    Args:
      spec: facts of the data.
      params: weights.
      x: raw rows [N, *shape].
    """
    compiled, parts = functions(spec.shape, len(spec.classes)), []
    for start in progress(range(0, len(x), CHUNK), "features", "batch"):
        rows = signed(spec, x[start : start + CHUNK])
        padded = np.pad(rows, [(0, CHUNK - len(rows))] + [(0, 0)] * (rows.ndim - 1))
        parts.append([np.asarray(array, np.float64)[: len(rows)] for array in compiled.describe(params, padded)])
    features, log_prob = (np.concatenate(arrays) for arrays in zip(*parts))
    return features, log_prob


def accuracy(spec: Spec, params: Any, x: np.ndarray, y: np.ndarray) -> float:
    """Returns the share of rows whose label is the most probable class.

    Args:
      spec: facts of the data.
      params: weights.
      x: raw rows [N, *shape].
      y: their labels [N].
    """
    return float((describe(spec, params, x)[1].argmax(1) == y).mean())


def trained(spec: Spec, rows: Callable[[str], dict[str, np.ndarray]], train: str, test: str | None) -> Classifier:
    """Returns the classifier of a data set from the cache; trains and keeps it if the file is missing or damaged.

    Args:
      spec: facts of the data.
      rows: (split) -> raw rows with labels.
      train: name of the training split.
      test: name of the test split, for the accuracy; None if there is none.

    Raises:
      UserError: if the cache cannot be written.
    """
    facts = [spec.content, spec.name, list(spec.shape), spec.low, spec.high, len(spec.classes), train, test]
    shapes = jax.eval_shape(functions(spec.shape, len(spec.classes)).init).params

    def learn() -> tuple[Any, float | None]:
        train_rows = rows(train)
        params = jax.device_get(fit(spec, train_rows["x"], train_rows["y"], f"training a classifier of {spec.name}"))
        test_rows = rows(test) if test else None
        return params, accuracy(spec, params, test_rows["x"], test_rows["y"]) if test_rows else None

    params, share = cached_weights("classifiers", [facts, RECIPE._asdict()], shapes, learn)
    protocol = {"classifier": weights_hash(params), "classifier_accuracy": share}
    return Classifier(partial(describe, spec, params), protocol)


def cached_weights(
    folder: str, facts: Sequence[Any], shapes: Any, learn: Callable[[], tuple[Any, float | None]]
) -> tuple[Any, float | None]:
    """Returns weights and their accuracy from the cache; learns and keeps them if the file is missing or damaged.

    Args:
      folder: name of the folder in the cache.
      facts: all that the weights depend on, as plain data; their hash names the file.
      shapes: of the weights.
      learn: function that returns new weights and their accuracy on the test split, None without one.

    Raises:
      UserError: if the cache cannot be written.
    """
    path = make_folder(cache_folder() / folder) / f"{content_hash(*facts)}.npz"
    cached = load(path, shapes)
    if cached is None:
        cached = learn()
        save(path, *cached)
    return cached


def weights_hash(params: Any) -> str:
    """Returns a short hash of the bytes of weights."""
    return content_hash(*(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(params)))


def save(path: Path, params: Any, share: float | None) -> None:
    """Writes weights, their hash and their accuracy, as a whole or not at all.

    Args:
      path: the file.
      params: weights.
      share: accuracy on the test split; None without one.
    """
    file = io.BytesIO()
    leaves = {str(place): np.asarray(leaf) for place, leaf in enumerate(jax.tree.leaves(params))}
    facts = {"hash": np.asarray(weights_hash(params)), "accuracy": np.asarray(np.nan if share is None else share)}
    np.savez(file, **facts, **leaves)  # type: ignore[arg-type]  # no array is named allow_pickle
    write(path, file.getvalue())


def load(path: Path, shapes: Any) -> tuple[Any, float | None] | None:
    """Returns the weights and the accuracy that `save` wrote; None for a missing or damaged file.

    Args:
      path: the file.
      shapes: of the weights.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            leaves = [file[str(place)] for place in range(len(jax.tree.leaves(shapes)))]
            params = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
            whole = str(file["hash"]) == weights_hash(params)
            share = float(file["accuracy"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    if not whole:
        return None
    return params, None if np.isnan(share) else share
