"""A U-Net that reads class maps from photos: the judge of photos that were drawn from class maps.

It is trained once per data set on the real pairs of the training split, with a fixed seed, and kept in the cache of the
user, as the classifier of `gen_jax.metrics.images.classifier` is. It never sees a drawn photo in training.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels
from gen_jax.metrics.images.classifier import cached_weights, signed, weights_hash
from gen_jax.metrics.progress import progress
from gen_jax.nets.embedding import Embedded
from gen_jax.nets.unet import UNet

CHUNK = 50  # photos per compiled call of a trained segmenter
DEEPEST = 4  # halvings of the sides, at most


class Recipe(NamedTuple):
    """The training of a segmenter. The hash of the recipe names the file in the cache."""

    version: int = 1
    batch: int = 8
    steps: int = 3000
    learning_rate: float = 1e-3
    channels: int = 24
    seed: int = 0


RECIPE = Recipe()


class Segmenter(NamedTuple):
    """A trained segmenter of raw photos."""

    describe: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # raw x -> features [N, F], classes [N, H, W]
    protocol: dict[str, Any]  # hash of the weights, and share of the pixels of the test split that it reads as labelled


class Functions(NamedTuple):
    """The compiled functions of segmenters of photos of one shape."""

    init: Callable[[], Any]  # () -> (params, state of the optimizer)
    step: Callable[..., Any]  # ((params, state), x [B, H, W, C], c [B, H, W]) -> (params, state)
    describe: Callable[[Any, np.ndarray], tuple[jax.Array, jax.Array]]  # -> features [B, F], classes [B, H, W]


def judged_by_segmenter(spec: Spec) -> bool:
    """Returns whether the data are photos whose condition is a class map of the same sides.

    Args:
      spec: facts of the data.
    """
    condition = spec.condition
    if condition is None or not (kind_of(spec).pixels and kind_of(condition).class_map):
        return False
    return spec.shape[:2] == condition.shape[:2] and min(spec.shape[:2]) >= 8


def depth_of(shape: tuple[int, ...]) -> int:
    """Returns the number of halvings after which a side still has at least 2 pixels; at most `DEEPEST`."""
    return min(DEEPEST, int(np.log2(min(shape[:2]))) - 1)


@lru_cache(maxsize=8)
def functions(shape: tuple[int, ...], classes: int, recipe: Recipe) -> Functions:
    """Returns the functions of segmenters of photos in [-1, 1], compiled once.

    Args:
      shape: H, W and C of a photo.
      classes: number of classes.
      recipe: the training.
    """
    depth = depth_of(shape)
    height, width = (-(-side // 2**depth) * 2**depth for side in shape[:2])
    net = UNet((height, width, classes), recipe.channels, depth)
    rate = optax.cosine_decay_schedule(recipe.learning_rate, recipe.steps, 0.01)
    tx = optax.adam(rate)

    def logits(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        padded = jnp.pad(x, ((0, 0), (0, height - shape[0]), (0, width - shape[1]), (0, 0)), mode="edge")
        deepest = f"down_{depth}"
        out, inner = net.apply(
            params,
            jnp.zeros((len(x), 0)),
            Embedded(image=padded),
            capture_intermediates=lambda module, _: module.name == deepest,
        )
        features = inner["intermediates"][deepest]["__call__"][0]
        return jnp.asarray(features).mean((1, 2)), jnp.asarray(out)[:, : shape[0], : shape[1]]

    @jax.jit
    def init() -> Any:
        image = Embedded(image=jnp.zeros((1, height, width, shape[2])))
        params = net.init(jax.random.key(recipe.seed), jnp.zeros((1, 0)), image)
        return params, tx.init(params)

    @partial(jax.jit, donate_argnums=0)
    def step(state: Any, x: jax.Array, c: jax.Array) -> Any:
        params, optimizer = state

        def loss(params: Any) -> jax.Array:
            known = c < classes
            nats = optax.softmax_cross_entropy_with_integer_labels(logits(params, x)[1], jnp.where(known, c, 0))
            return jnp.sum(nats * known) / jnp.maximum(known.sum(), 1)

        updates, optimizer = tx.update(jax.grad(loss)(params), optimizer, params)
        return optax.apply_updates(params, updates), optimizer

    @jax.jit
    def describe(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        features, out = logits(params, x)
        return features, out.argmax(-1)

    return Functions(init, step, describe)


def fit(spec: Spec, x: np.ndarray, c: np.ndarray) -> Any:
    """Trains a segmenter by `RECIPE`, and returns its weights.

    The optimizer is Adam with a cosine. A batch is mirrored with probability 1/2.

    Args:
      spec: facts of the data.
      x: raw photos [N, H, W, C].
      c: their class maps [N, H, W].
    """
    compiled, random = functions(spec.shape, classes_of(spec), RECIPE), np.random.default_rng(RECIPE.seed)
    state = compiled.init()
    for _ in progress(range(RECIPE.steps), f"training a segmenter of {spec.name}", "step"):
        rows = random.integers(0, len(x), RECIPE.batch)
        flip = slice(None, None, -1 if random.random() < 0.5 else 1)
        state = compiled.step(state, signed(spec, x[rows])[:, :, flip], c[rows][:, :, flip].astype(np.int32))
    return state[0]


def classes_of(spec: Spec) -> int:
    """Returns the number of classes of the maps that photos are drawn from."""
    assert spec.condition is not None
    return levels(spec.condition)


def describe(spec: Spec, params: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns features [N, F] float64 and class maps [N, H, W] of photos.

    The features are the means over the smallest plane of the U-Net.

    Args:
      spec: facts of the data.
      params: weights.
      x: raw photos [N, H, W, C].
    """
    compiled, parts = functions(spec.shape, classes_of(spec), RECIPE), []
    for start in range(0, len(x), CHUNK):
        rows = signed(spec, x[start : start + CHUNK])
        padded = np.pad(rows, [(0, CHUNK - len(rows)), (0, 0), (0, 0), (0, 0)])
        inner, maps = compiled.describe(params, padded)
        parts.append((np.asarray(inner, np.float64)[: len(rows)], np.asarray(maps)[: len(rows)]))
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def trained(spec: Spec, rows: Callable[[str], dict[str, np.ndarray]], train: str, test: str | None) -> Segmenter:
    """Returns the segmenter of a data set from the cache; trains and keeps it if the file is missing or damaged.

    Args:
      spec: facts of the data.
      rows: (split) -> raw photos `x` with their class maps `c`.
      train: name of the training split.
      test: name of the test split, for the accuracy; None if there is none.

    Raises:
      UserError: if the cache cannot be written.
    """
    facts = [spec.content, spec.name, list(spec.shape), spec.low, spec.high, classes_of(spec), train, test]
    shapes = jax.eval_shape(functions(spec.shape, classes_of(spec), RECIPE).init)[0]

    def learn() -> tuple[Any, float | None]:
        pairs = rows(train)
        params = jax.device_get(fit(spec, pairs["x"], pairs["c"]))
        return params, accuracy(spec, params, rows(test)) if test else None

    params, share = cached_weights("segmenters", [facts, RECIPE._asdict()], shapes, learn)
    return Segmenter(partial(describe, spec, params), {"segmenter": weights_hash(params), "segmenter_accuracy": share})


def accuracy(spec: Spec, params: Any, rows: dict[str, np.ndarray]) -> float:
    """Returns the share of the labelled pixels that the segmenter reads as labelled.

    Args:
      spec: facts of the data.
      params: weights.
      rows: raw photos `x` with their class maps `c`.
    """
    known = rows["c"] < classes_of(spec)
    return float((describe(spec, params, rows["x"])[1] == rows["c"])[known].mean())
