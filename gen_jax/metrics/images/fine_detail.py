"""Measures of the sharpness of enlarged photos, which a mean squared error does not see.

A net that minimises an error draws the mean of all photos that are possible, and is blurred where they differ. So this
file asks whether fresh classifiers tell enlarged patches from real ones, and how much energy fine detail has.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.resizing import luminance
from gen_jax.data.spec import Spec
from gen_jax.metrics.features import Real
from gen_jax.metrics.images import classifier
from gen_jax.metrics.images.super_resolution import enlargements, shrunk_photos
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.progress import progress
from gen_jax.metrics.row_functions import SAMPLES_GIVEN, Rows

PATCH = 24  # pixels of a side
CLASSES = ("enlarged", "real")


def patches_of(photo: np.ndarray, border: int) -> np.ndarray:
    """Returns the luminance of the patches [P, PATCH, PATCH, 1] that tile a photo.

    Args:
      photo: photo of 8 bits [H, W, C].
      border: number of pixels that are left out at each border.
    """
    inner = luminance(photo)[border : photo.shape[0] - border, border : photo.shape[1] - border]
    rows, columns = (side // PATCH for side in inner.shape[:2])
    tiles = inner[: rows * PATCH, : columns * PATCH].reshape(rows, PATCH, columns, PATCH)
    return tiles.transpose(0, 2, 1, 3).reshape(-1, PATCH, PATCH, 1)


def fine_energy(patches: np.ndarray) -> float:
    """Returns the energy above half of the highest frequency of the pixels, in either direction.

    A patch is multiplied by a Hann window, because its borders would count as detail.

    Args:
      patches: patches [P, PATCH, PATCH, 1].
    """
    window, frequency = np.hanning(PATCH + 2)[1:-1], np.abs(np.fft.fftfreq(PATCH))
    centred = patches[..., 0] - patches.mean((1, 2, 3))[:, None, None]
    spectrum = np.abs(np.fft.fft2(centred * np.multiply.outer(window, window)))
    return float(np.square(spectrum[:, np.maximum.outer(frequency, frequency) > 0.25]).sum())


def area_of_critics(spec: Spec, real: list[np.ndarray], enlargements: list[np.ndarray], title: str) -> float:
    """Returns the area under the ROC curve of two classifiers of real and enlarged patches, the mean of the two.

    Each learns from every second photo and is tested on the others, so that it has seen no photo that it is asked about.

    Args:
      spec: facts of the patches.
      real: patches of each photo.
      enlargements: patches of each enlarged photo, at the same places.
      title: name of the progress bar.
    """
    from sklearn.metrics import roc_auc_score

    areas = []
    for fold in (0, 1):
        sides = (slice(fold, None, 2), slice(1 - fold, None, 2))
        (train, labels), (test, truth) = (labelled(real[side], enlargements[side]) for side in sides)
        params = classifier.fit(spec, train, labels, title)
        areas.append(roc_auc_score(truth, classifier.describe(spec, params, test)[1][:, 1]))
    return float(np.mean(areas))


def labelled(real: list[np.ndarray], enlargements: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns enlarged and real patches of several photos in one array, and the number of the class of each."""
    parts = [np.concatenate(photos) for photos in (enlargements, real)]
    return np.concatenate(parts), np.repeat([0, 1], [len(part) for part in parts])


def fine_detail(real: Real) -> Computation | None:
    """Prepares the detail of the test photos, beside that of the bicubic enlargement."""
    info = real.spec.info
    files = info.get("photos", {}).get(real.test, [])
    if len(files) < 2 or "shrink" not in info:
        return None
    scale = info["shrink"]
    facts = content_hash(real.spec.content, "patches of photos", PATCH)
    spec = real.spec._replace(
        kind="image", shape=(PATCH, PATCH, 1), low=0, high=255, classes=CLASSES, content=facts, info={}, condition=None
    )

    def values(sample: Callable[[Rows], np.ndarray]) -> Mapping[str, Any]:
        photos = [*shrunk_photos(files, info["channels"], scale)]
        truth = [patches_of(photo, scale) for photo, _ in photos]
        energy, figures = fine_energy(np.concatenate(truth)), {}
        for suffix, enlarge in zip(("", "_bicubic"), enlargements(sample, scale)):
            tiles = [patches_of(enlarge(small), scale) for _, small in progress(photos, "enlargements", "photo")]
            figures[f"patch_auc{suffix}"] = area_of_critics(spec, truth, tiles, "training a critic of patches")
            figures[f"fine_energy{suffix}"] = fine_energy(np.concatenate(tiles)) / max(energy, 1e-12)
        return figures

    def protocol() -> dict[str, Any]:
        return {"photos": len(files), "scale": scale, "patch": PATCH, "critic": classifier.RECIPE._asdict()}

    return Computation(values, protocol)


FINE_DETAIL = Measure(
    (
        Metric(
            "patch_auc",
            "area under the ROC curve of fresh classifiers of real and enlarged patches of 24 pixels, on photos that "
            "they have not seen; 0.5 if they cannot be told apart",
            "0.5",
            better=-1,
        ),
        Metric("patch_auc_bicubic", "as patch_auc, of the bicubic enlargement: the floor", better=-1),
        Metric(
            "fine_energy",
            "energy above half of the highest frequency of the pixels, as a ratio to that of the real photos",
            "1",
        ),
        Metric("fine_energy_bicubic", "as fine_energy, of the bicubic enlargement: the floor"),
    ),
    fine_detail,
    data="a folder of photos with data.patch and data.shrink, and at least two test photos",
    reading=SAMPLES_GIVEN,
    reference="Lopez-Paz and Oquab 2017 (arXiv 1610.06545), section 3",
)
