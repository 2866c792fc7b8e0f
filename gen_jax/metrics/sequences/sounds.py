"""A judge of recordings: the small classifier of images, on their spectrograms."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds.audio import RANGE, WINDOW, spectrogram, waveform
from gen_jax.data.spec import Spec, sequences
from gen_jax.metrics.features import Real, Rows, some
from gen_jax.metrics.images.classifier import Classifier, trained
from gen_jax.metrics.likelihood import joined
from gen_jax.metrics.measure import Measure

SIDE = 32  # pixels of a spectrogram, whatever the length of the recording


def images(spec: Spec, rows: Rows) -> np.ndarray:
    """Spectrograms [N, SIDE, SIDE, 1] uint8 of recordings: from 255, the loudest part, to 0, `RANGE` below it."""
    pictures = []
    for x in sequences(rows):
        loudness = np.maximum(spectrogram(waveform(spec, x)), -RANGE)
        grey = Image.fromarray(np.uint8(255 * (1 + loudness / RANGE)))
        pictures.append(np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX)))
    return np.stack(pictures)[..., None]


def spoken(real: Real) -> Measure | None:
    """Share of recordings that the classifier of spectrograms reads as the label they carry."""
    spec = real.spec
    if len(spec.classes or ()) < 2:
        return None
    content = content_hash([spec.content, "spectrograms", SIDE, RANGE, WINDOW])
    drawn = Spec(spec.name, "image", (SIDE, SIDE, 1), "uint8", 0, 255, 0, 255, spec.classes, spec.sizes, content, {})

    def whole(split: str) -> Rows:
        return joined(spec, real.whole(split))

    def pictures(split: str) -> Rows:
        rows = whole(split)
        return {"x": images(spec, rows), "y": rows["y"]}

    @cache
    def classifier() -> Classifier:
        return trained(drawn, pictures, real.train, real.test)

    def values(samples: Rows) -> Mapping[str, Any]:
        said = classifier().describe(images(spec, samples))[1].argmax(1)
        return {"label_accuracy": float((said == samples["y"]).mean())}

    def oracle(num: int) -> tuple[str | None, Rows | None]:
        return real.test, some(whole(real.test), num) if real.test else None

    return Measure(values, lambda: {"judge": "spectrograms", **classifier().protocol}, oracle, ("x", "y"))
