"""The peak signal-to-noise ratio of enlarged photos, by the protocol of the tables of super-resolution.

A photo is cropped to a multiple of the scale and shrunk by the bicubic filter. Its luminance is compared with the
luminance of the enlargement, both of 8 bits, without `scale` pixels at each border.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gen_jax.data.resizing import cropped, enlarged, luminance, shrunk
from gen_jax.data.sources.photo_patches import read_photo
from gen_jax.metrics.features import Real
from gen_jax.metrics.likelihood import VALID
from gen_jax.metrics.measure import Computation, Measure, Metric
from gen_jax.metrics.progress import progress
from gen_jax.metrics.row_functions import SAMPLES_GIVEN, Rows

Enlarge = Callable[
    [np.ndarray], np.ndarray
]  # shrunk photo [h, w, C] of 8 bits -> photo [scale h, scale w, C] of 8 bits
BICUBIC = "as psnr, of the bicubic enlargement: the floor"


def peak_ratio(real: np.ndarray, enlargement: np.ndarray, border: int) -> float:
    """Returns the peak signal-to-noise ratio of the luminance in dB, 10 log10(255^2 / mean squared error).

    Args:
      real: photo of 8 bits [H, W, C].
      enlargement: enlarged photo of 8 bits [H, W, C].
      border: number of pixels that are left out at each border.
    """
    error = luminance(real).astype(np.float64) - luminance(enlargement).astype(np.float64)
    error = error[border : error.shape[0] - border, border : error.shape[1] - border]
    return float(10 * np.log10(255**2 / max(np.square(error).mean(), 1e-10)))


def shrunk_photos(files: list[str], channels: str, scale: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields each photo, cropped to a multiple of the scale, and the photo shrunk by the scale, both of 8 bits.

    Args:
      files: the photos.
      channels: a name in `photo_patches.CHANNELS`.
      scale: ratio of the sides.
    """
    for file in progress(files, "photos", "photo"):
        photo = cropped(read_photo(Path(file), channels), scale)
        yield photo, shrunk(photo, scale)


def enlargements(sample: Callable[[Rows], np.ndarray], scale: int) -> tuple[Enlarge, Enlarge]:
    """Returns the enlargement by a model and the bicubic enlargement: shrunk photo [h, w, C] -> photo, both of 8 bits.

    Args:
      sample: function of raw conditions `c` -> one raw sample of each.
      scale: ratio of the sides.
    """
    return lambda small: sample({"c": small[None]})[0], partial(enlarged, scale=scale)


def ratios(files: list[str], channels: str, scale: int, functions: Sequence[Enlarge]) -> dict[str, list[float]]:
    """Returns the ratios of some enlargements in dB, by photo.

    Args:
      files: the photos.
      channels: a name in `photo_patches.CHANNELS`.
      scale: ratio of the sides.
      functions: the enlargements, see `enlargements`.
    """
    pairs = zip(files, shrunk_photos(files, channels, scale))
    return {file: [peak_ratio(photo, enlarge(small), scale) for enlarge in functions] for file, (photo, small) in pairs}


def photo_computation(real: Real, split: str | None, prefix: str = "") -> Computation | None:
    """Prepares the mean ratios of the photos of a split.

    Args:
      real: the real data.
      split: name of the split; None if the data lack it.
      prefix: beginning of the names of the metrics; by default the empty text.
    """
    info = real.spec.info
    files = info.get("photos", {}).get(split)
    if not files or "shrink" not in info:
        return None

    def values(sample: Callable[[Rows], np.ndarray]) -> Mapping[str, Any]:
        pairs = ratios(files, info["channels"], info["shrink"], enlargements(sample, info["shrink"]))
        mean, floor = np.mean([*pairs.values()], axis=0).tolist()
        by_photo = {Path(file).stem: pair[0] for file, pair in pairs.items()}
        return {f"{prefix}psnr": mean, f"{prefix}psnr_bicubic": floor, "photos": by_photo}

    def protocol() -> dict[str, Any]:
        return {
            "photos": len(files),
            "split": split,
            "scale": info["shrink"],
            "pixels": "luminance, without the border",
        }

    return Computation(values, protocol)


def psnr(real: Real) -> Computation | None:
    """Prepares the mean ratio of the test photos."""
    return photo_computation(real, real.test)


def valid_psnr(real: Real) -> Computation | None:
    """Prepares the mean ratio of the validation photos."""
    return photo_computation(real, VALID, "valid/")


PSNR = Measure(
    (
        Metric(
            "psnr",
            "peak signal-to-noise ratio of the luminance of enlarged test photos, mean over photos, dB",
            better=1,
        ),
        Metric("psnr_bicubic", BICUBIC, better=1),
    ),
    psnr,
    data="a folder of photos with data.patch and data.shrink, and test photos",
    reading=SAMPLES_GIVEN,
    reference="Dong et al. 2014 (arXiv 1501.00092), section 4",
)
VALID_PSNR = Measure(
    (
        Metric("valid/psnr", "psnr of the validation photos", better=1, selects=True, default=True),
        Metric("valid/psnr_bicubic", f"{BICUBIC}, of the validation photos", better=1),
    ),
    valid_psnr,
    data="a folder of photos with data.patch and data.shrink, and validation photos",
    reading=SAMPLES_GIVEN,
)
