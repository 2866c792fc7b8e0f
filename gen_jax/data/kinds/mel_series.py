"""Log-mel spectrograms of sounds as series [frames, mels] of unequal lengths, which are heard through fast Griffin-Lim."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds.drawing import PANELS, image_of, new_panels
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.kinds.mel import log_mel, mel_of, mel_settings, range_of, sound_of
from gen_jax.data.kinds.wav_files import joined_wav
from gen_jax.data.source import Source
from gen_jax.data.spec import Spec, sequences


def series_of_recordings(source: Source, options: Mapping[str, Any]) -> Source:
    """Returns recordings as series of frames, with a `length` in frames.

    Args:
      source: amplitudes [T] in [-1, 1], with a `length`, and `rate` among its facts.
      options: the `data` section of a config, of which `mel` is read.

    Raises:
      UserError: for settings that no spectrogram has.
    """
    settings = mel_settings(source, options)
    low, high = range_of(settings)
    least = settings.window // 2 + 1  # samples that a frame reads, so that its reflection exists
    longest = 1 + max(source.shape[0], least) // settings.hop

    def frames(lengths: np.ndarray) -> np.ndarray:
        return 1 + np.maximum(lengths, least) // settings.hop

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = dict(source.rows(split, indices))
        lengths = frames(batch["length"])
        x = np.full((len(indices), longest, settings.mels), low, np.float32)
        for row, (sound, length) in enumerate(zip(batch["x"], batch["length"], strict=True)):
            whole = np.zeros(max(length, least))
            whole[:length] = sound[:length]
            x[row, : lengths[row]] = log_mel(whole, settings)
        return {**batch, "x": np.clip(x, low, high), "length": lengths.astype(np.int32)}

    def lengths_of(split: str) -> np.ndarray:
        assert source.lengths is not None  # because recordings have lengths
        return frames(source.lengths(split))

    return source._replace(
        kind="mel_series",
        shape=(longest, settings.mels),
        dtype=np.dtype(np.float32),
        rows=rows,
        content=content_hash(source.content, "mel_series", settings),
        limits=(low, high),
        info={**source.info, **settings._asdict()},
        lengths=lengths_of,
    )


def sounds_of_series(samples: Mapping[str, np.ndarray], spec: Spec) -> list[np.ndarray]:
    """Returns series as amplitudes [T] of their sounds.

    Args:
      samples: `x` [N, frames, mels] in the domain of the data, and `length` [N] if their lengths differ.
      spec: facts of the data.
    """
    settings = mel_of(spec.info)
    return [sound_of(np.clip(x, spec.low, spec.high), settings) for x in sequences({**samples})]


def wav(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns series as one WAV file of 16 bits, one sound after the other.

    Args:
      samples: `x` [N, frames, mels] in the domain of the data, and `length` [N] if their lengths differ.
      spec: facts of the data.
    """
    return joined_wav(sounds_of_series(samples, spec), mel_of(spec.info).rate)


def panels_of_series(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns at most `PANELS` series, in one panel each. Pitch runs upwards, and black is loudest.

    Args:
      x: series [N, frames, mels], with NaN beyond their end.
      spec: facts of the data.
    """
    figure, panels = new_panels(min(len(x), PANELS))
    settings = mel_of(spec.info)
    for panel, row in zip(panels, x):
        row = row[~np.isnan(row[:, 0])]
        extent = (0, len(row) * settings.hop / settings.rate, 0, settings.mels)
        low, high = float(np.min(spec.low)), float(np.max(spec.high))
        panel.imshow(row.T, cmap="gray_r", vmin=low, vmax=high, aspect="auto", extent=extent, origin="lower")
    figure.supxlabel("s", fontsize=8)
    figure.supylabel("mel", fontsize=8)
    return image_of(figure)


MEL_SERIES = Kind(
    "mel_series",
    "series of log-mel frames",
    "TD",
    columns=True,
    sounds=sounds_of_series,
    options=("encoding", "label", "mel"),
    write={".wav": wav},
    picture=panels_of_series,
)
