"""The judge of recordings: the small classifier of images, trained on their spectrograms."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.audio import RANGE, WINDOW, spectrogram
from gen_jax.data.spec import Spec
from gen_jax.metrics.features import Real, Rows, subset
from gen_jax.metrics.images.classifier import Classifier, trained
from gen_jax.metrics.likelihood import joined
from gen_jax.metrics.measure import Computation

SIDE = 32  # pixels of a spectrogram, for any length of the recording


def images(spec: Spec, rows: Rows) -> np.ndarray:
    """Returns spectrograms [N, SIDE, SIDE, 1] uint8 of recordings: 255 is the loudest part, 0 is `RANGE` below it."""
    sounds_of = kind_of(spec).sounds
    assert sounds_of is not None  # because `label_accuracy` asks for sounds
    pictures = []
    for sound in sounds_of(rows, spec):
        loudness = np.maximum(spectrogram(sound), -RANGE)
        grey = Image.fromarray(np.uint8(255 * (1 + loudness / RANGE)))
        pictures.append(np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX)))
    return np.stack(pictures)[..., None]


def spoken(real: Real) -> Computation | None:
    """Prepares the share of recordings whose label the classifier of spectrograms predicts."""
    spec = real.spec
    if len(spec.classes) < 2:
        return None
    content = content_hash([spec.content, "spectrograms", SIDE, RANGE, WINDOW])
    picture_spec = Spec(
        spec.name, "image", (SIDE, SIDE, 1), "uint8", 0, 255, 0, 255, spec.classes, spec.sizes, content, {}
    )

    def whole(split: str) -> Rows:
        return joined(spec, real.whole(split))

    def pictures(split: str) -> Rows:
        rows = whole(split)
        return {"x": images(spec, rows), "y": rows["y"]}

    @cache
    def classifier() -> Classifier:
        return trained(picture_spec, pictures, real.train, real.test)

    def values(samples: Rows) -> Mapping[str, Any]:
        predicted = classifier().describe(images(spec, samples))[1].argmax(1)
        return {"label_accuracy": float((predicted == samples["y"]).mean())}

    def oracle(num: int) -> tuple[str | None, Rows]:
        return real.test, subset(whole(real.test), num) if real.test else {}

    return Computation(values, lambda: {"judge": "spectrograms", **classifier().protocol}, oracle)
