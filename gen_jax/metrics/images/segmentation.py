"""Measures of class maps against the true maps of the same conditions: mIoU and pixel accuracy, beside their floors.

One matrix counts the pixels of all maps together. A pixel without a true class counts nowhere.
"""

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from PIL import Image

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import levels
from gen_jax.metrics.features import Real, Rows, true_rows
from gen_jax.metrics.measure import Computation, Measure, Metric

THUMBNAIL = (12, 16)  # height and width at which conditions are compared for the nearest train row


def confusion(x: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Returns the number of pixels of each true class (rows) and each class of the maps (columns), [K, K] int64.

    Args:
      x: maps [N, H, W] of classes below K.
      truth: true maps [N, H, W]; classes of K and above are no class.
      classes: number of classes K.
    """
    known = truth < classes
    pairs = truth[known].astype(np.int64) * classes + x[known].clip(0, classes - 1)
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def overlaps(counts: np.ndarray) -> np.ndarray:
    """Returns the intersection over union of each class [K]; NaN for a class that is in no map and in no true map.

    Args:
      counts: pixels of each true class and each class of the maps [K, K].
    """
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def segmentation_scores(counts: np.ndarray) -> dict[str, float]:
    """Returns the mean over classes of intersection over union, and the share of right pixels.

    Classes that are in no map and in no true map are left out of the mean. Both are NaN if no pixel has a class.

    Args:
      counts: pixels of each true class and each class of the maps [K, K].
    """
    if not counts.any():  # because no pixel has a class
        return {"miou": np.nan, "pixel_accuracy": np.nan}
    accuracy = np.trace(counts) / counts.sum()
    return {"miou": float(np.nanmean(overlaps(counts))), "pixel_accuracy": float(accuracy)}


def commonest_classes(maps: np.ndarray, classes: int) -> np.ndarray:
    """Returns the most frequent class of each position, [H, W].

    Args:
      maps: maps [N, H, W].
      classes: number of classes.
    """
    return np.stack([(maps == number).sum(0) for number in range(classes)]).argmax(0)


def thumbnails(c: np.ndarray) -> np.ndarray:
    """Returns images of `THUMBNAIL` size as vectors [N, D] float32.

    Args:
      c: images [N, H, W, C] of uint8.
    """
    height, width = THUMBNAIL
    small = [Image.fromarray(image.squeeze()).resize((width, height), Image.Resampling.BOX) for image in c]
    return np.stack([np.asarray(image, np.float32).ravel() for image in small])


def nearest_rows(queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Returns the number of the nearest row of each query by Euclidean distance, [N].

    Args:
      queries: vectors [N, D].
      rows: vectors [M, D].
    """
    distance = (rows**2).sum(1)[None] - 2 * queries @ rows.T
    return distance.argmin(1)


def segmentation(real: Real) -> Computation | None:
    """Prepares mIoU and pixel accuracy of class maps, and the same figures of two rules that learn no net."""
    spec = real.spec
    if not kind_of(spec).class_map or spec.condition is None or real.test is None:
        return None
    classes = levels(spec)
    photos = kind_of(spec.condition).pixels and spec.condition.dtype == "uint8"

    @cache
    def floors(num: int) -> dict[str, float]:
        train, held_out = real.rows(real.train), real.held_out(num)
        prior = np.broadcast_to(commonest_classes(train["x"], classes), held_out["x"].shape)
        scores = {"miou_prior": segmentation_scores(confusion(prior, held_out["x"], classes))["miou"]}
        if photos:
            nearest = nearest_rows(thumbnails(held_out["c"]), thumbnails(train["c"]))
            copies = train["x"][nearest].clip(0, classes - 1)
            scores["miou_nearest"] = segmentation_scores(confusion(copies, held_out["x"], classes))["miou"]
        return scores

    def values(samples: Rows) -> Mapping[str, Any]:
        counts = confusion(samples["x"], samples["truth"], classes)
        by_class = dict(zip(map(str, spec.vocabulary), overlaps(counts).tolist()))
        return {**segmentation_scores(counts), **floors(len(samples["x"])), "iou_of_classes": by_class}

    return Computation(
        values, lambda: {"classes": classes, "sides": list(spec.shape)}, partial(true_rows, real, real.test)
    )


def class_colours(x: np.ndarray, maps: np.ndarray, classes: int) -> np.ndarray:
    """Returns the mean colour of each class, [K, C]; the mean colour of all pixels for a class that no map has.

    Args:
      x: photos [N, H, W, C].
      maps: their class maps [N, H, W].
      classes: number of classes K.
    """
    pixels = x.reshape(-1, x.shape[-1])
    mean = pixels.mean(0)
    found = [maps.ravel() == number for number in range(classes)]
    return np.stack([pixels[own].mean(0) if own.any() else mean for own in found])


def painted(maps: np.ndarray, colours: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Returns photos [N, H, W, C] in which each class has one colour; pixels without a class have the mean colour.

    Args:
      maps: class maps [N, H, W].
      colours: a colour of each class [K, C].
      dtype: type of the photos.
    """
    table = np.concatenate([colours, colours.mean(0, keepdims=True)])
    photos = table[np.minimum(maps, len(colours))]
    return (np.rint(photos) if np.issubdtype(dtype, np.integer) else photos).astype(dtype)


def painted_photos(real: Real, num: int) -> np.ndarray:
    """Returns photos of the first test maps, at most `num`, in the mean colours of the classes of the train photos.

    Args:
      real: photos whose condition is a class map.
      num: largest number of photos.
    """
    assert real.spec.condition is not None
    train, held_out = real.rows(real.train), real.held_out(num)
    colours = class_colours(train["x"], train["c"], levels(real.spec.condition))
    return painted(held_out["c"], colours, held_out["x"].dtype)


def drawn_photos(real: Real) -> Computation | None:
    """Prepares the scores of the maps that a segmenter reads from photos, against the maps they were drawn from."""
    spec, segmenter = real.spec, real.segmenter
    if segmenter is None or spec.condition is None or real.test is None:
        return None
    classes = levels(spec.condition)

    def scores(x: np.ndarray, c: np.ndarray) -> dict[str, float]:
        return segmentation_scores(confusion(segmenter().describe(x)[1], c, classes))

    @cache
    def floor(num: int) -> float:
        return scores(painted_photos(real, num), real.held_out(num)["c"])["miou"]

    def values(samples: Rows) -> Mapping[str, Any]:
        own = scores(samples["x"], samples["c"])
        return {
            "segmented_miou": own["miou"],
            "segmented_accuracy": own["pixel_accuracy"],
            "segmented_miou_painted": floor(len(samples["x"])),
        }

    def oracle(num: int) -> tuple[str | None, Rows]:
        rows = real.held_out(num)
        return real.test, {"x": rows["x"], "c": rows["c"]}

    return Computation(values, lambda: {"classes": classes, **segmenter().protocol}, oracle)


DRAWN_PHOTOS = Measure(
    (
        Metric("segmented_miou", "mIoU of the maps that a segmenter reads from the photos", better=1),
        Metric("segmented_accuracy", "pixel accuracy of the maps that a segmenter reads from the photos", better=1),
        Metric("segmented_miou_painted", "the same mIoU of each class in its mean colour: a floor", better=0),
    ),
    drawn_photos,
    data="photos whose condition is a class map of the same sides, and a test split",
    fields=("x", "c"),
    oracle="the real photos of the same maps",
    reference="Isola et al. 2017 (arXiv 1611.07004), section 3.2, the FCN score",
)

SEGMENTATION = Measure(
    (
        Metric("miou", "mean over the classes of intersection over union with the true map", "1", better=1),
        Metric("pixel_accuracy", "share of the pixels with the true class", "1", better=1),
        Metric("miou_prior", "mIoU of the most frequent class of each position in the train maps: a floor", better=0),
        Metric("miou_nearest", "mIoU of the map of the nearest train condition at 12x16 pixels: a floor", better=0),
    ),
    segmentation,
    data="class maps with a condition, and a test split",
    fields=("x", "truth"),
    oracle="the true maps",
    reference="Long et al. 2015 (arXiv 1411.4038), section 5",
)
