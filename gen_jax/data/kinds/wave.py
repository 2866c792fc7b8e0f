"""Sounds of one length as amplitudes [samples, 1] in [-1, 1], for nets that read the whole sound."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds.drawing import PANELS, image_of, new_panels
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.kinds.wav_files import joined_wav
from gen_jax.data.source import Source, say_once
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError


def of_one_length(source: Source, samples: int) -> Source:
    """Returns recordings as amplitudes [samples]. A shorter one ends in silence, a longer one is cut, and a line says so.

    Args:
      source: amplitudes [T] in [-1, 1], with lengths, and `rate` among its facts.
      samples: number of samples of a row.
    """
    lengths = source.lengths
    assert lengths is not None  # because recordings have lengths
    for split, size in source.sizes.items():
        longer = int((lengths(split) > samples).sum())
        if longer:
            seconds = samples / source.info["rate"]
            say_once(
                f"{source.name}: {longer} of {size} recordings of {split} are cut to {seconds:.2f} s; see data.frames"
            )

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = dict(source.rows(split, indices))
        ends = batch.pop("length")
        x = np.zeros((len(indices), samples), np.float32)
        for row, (sound, end) in enumerate(zip(batch["x"], ends, strict=True)):
            x[row, : min(end, samples)] = sound[: min(end, samples)]
        return {**batch, "x": x}

    info = {name: fact for name, fact in source.info.items() if name != "ragged"}
    return source._replace(shape=(samples,), rows=rows, info=info, lengths=None)


def waves_of_recordings(source: Source, options: Mapping[str, Any]) -> Source:
    """Returns recordings as rows [samples, 1] of one length, see `of_one_length`.

    Args:
      source: amplitudes [T] in [-1, 1], with lengths, and `rate` among its facts.
      options: the `data` section of a config, of which `frames`, the number of samples of a row, is read.

    Raises:
      UserError: for no samples.
    """
    samples = options["frames"]
    if samples < 1:
        raise UserError(f"data.frames is {samples}; expected at least 1 sample of a sound")
    whole = of_one_length(source, samples)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = whole.rows(split, indices)
        return {**batch, "x": batch["x"][..., None]}

    return whole._replace(
        kind="wave", shape=(samples, 1), rows=rows, content=content_hash(source.content, "wave", samples)
    )


def amplitudes(samples: Mapping[str, np.ndarray], spec: Spec) -> list[np.ndarray]:
    """Returns rows as amplitudes [T] of their sounds.

    Args:
      samples: `x` [N, T, 1].
      spec: facts of the data.
    """
    return [np.clip(x[:, 0].astype(np.float64), -1, 1) for x in samples["x"]]


def wav(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns rows as one WAV file of 16 bits, one sound after the other.

    Args:
      samples: `x` [N, T, 1].
      spec: facts of the data.
    """
    return joined_wav(amplitudes(samples, spec), spec.info["rate"])


def panels_of_waves(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns at most `PANELS` rows, in one panel each, as amplitude over time.

    Args:
      x: rows [N, T, 1].
      spec: facts of the data.
    """
    figure, panels = new_panels(min(len(x), PANELS))
    for panel, row in zip(panels, x):
        panel.plot(np.arange(len(row)) / spec.info["rate"], row[:, 0], linewidth=0.4, color="black")
        panel.set_ylim(-1, 1)
    figure.supxlabel("s", fontsize=8)
    return image_of(figure)


WAVE = Kind(
    "wave",
    "sounds of one length",
    "SC",
    sounds=amplitudes,
    options=("encoding", "label", "frames"),
    write={".wav": wav},
    picture=panels_of_waves,
)
