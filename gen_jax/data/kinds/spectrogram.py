"""Log-mel spectrograms of sounds as pictures [mels, frames, 1], which are heard through fast Griffin-Lim."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds.image import IMAGE
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.kinds.mel import Mel, log_mel, mel_of, mel_settings, range_of, sound_of
from gen_jax.data.kinds.wav_files import joined_wav
from gen_jax.data.kinds.wave import of_one_length
from gen_jax.data.source import Source
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError

LEAST_FRAMES = 3  # of a picture: half a window must fit into the sound


class PictureForm(NamedTuple):
    """Holds what turns recordings into pictures of one width.

    Attributes:
      kind: name of the kind of the pictures.
      encoding: value of `data.encoding`.
      settings: the settings of the spectra.
      picture: function (sound [T], settings) -> picture [lines, 1 + T // hop, channels].
      channels: number of channels.
      limits: smallest and largest value.
    """

    kind: str
    encoding: str
    settings: Mel
    picture: Callable[[np.ndarray, Mel], np.ndarray]
    channels: int
    limits: tuple[float, float]


def pictures_of_recordings(source: Source, frames: int, form: PictureForm) -> Source:
    """Returns recordings as pictures of one width. The top line is the highest frequency.

    A shorter recording ends in silence. A longer one is cut, see `of_one_length`.

    Args:
      source: amplitudes [T] in [-1, 1], with lengths, and `rate` among its facts.
      frames: width of the pictures.
      form: what turns a recording into a picture.

    Raises:
      UserError: for too few frames.
    """
    settings = form.settings
    if frames < LEAST_FRAMES or frames * settings.hop <= settings.window // 2:
        least = max(LEAST_FRAMES, settings.window // 2 // settings.hop + 1)
        raise UserError(f"data.frames is {frames}; expected at least {least}")
    whole = of_one_length(source, frames * settings.hop)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        batch = whole.rows(split, indices)
        x = np.empty((len(indices), settings.mels, frames, form.channels), np.float32)
        for row, sound in enumerate(batch["x"]):
            x[row] = form.picture(sound.astype(np.float64), settings)[:, :frames]
        return {**batch, "x": np.clip(x, *form.limits)}

    return whole._replace(
        kind=form.kind,
        shape=(settings.mels, frames, form.channels),
        dtype=np.dtype(np.float32),
        rows=rows,
        content=content_hash(source.content, form.encoding, settings, frames),
        limits=form.limits,
        info={**whole.info, **settings._asdict()},
    )


def spectrograms(source: Source, options: Mapping[str, Any]) -> Source:
    """Returns recordings as pictures [mels, frames, 1] of ln(magnitude) in the filters.

    Args:
      source: amplitudes [T] in [-1, 1], with a `length`, and `rate` among its facts.
      options: the `data` section of a config, of which `frames` and `mel` are read.

    Raises:
      UserError: for too few frames, or settings that no spectrogram has.
    """
    settings = mel_settings(source, options)
    form = PictureForm(
        "spectrogram",
        "log_mel",
        settings,
        lambda sound, settings: log_mel(sound, settings).T[::-1, :, None],
        1,
        range_of(settings),
    )
    return pictures_of_recordings(source, options["frames"], form)


def sounds_of_pictures(samples: Mapping[str, np.ndarray], spec: Spec) -> list[np.ndarray]:
    """Returns spectrograms as amplitudes [T] of their sounds.

    Args:
      samples: `x` [N, mels, frames, 1] in the domain of the data.
      spec: facts of the data.
    """
    settings = mel_of(spec.info)
    return [sound_of(np.clip(x[::-1, :, 0].T, spec.low, spec.high), settings) for x in samples["x"]]


def wav(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns spectrograms as one WAV file of 16 bits, one sound after the other.

    Args:
      samples: `x` [N, mels, frames, 1] in the domain of the data.
      spec: facts of the data.
    """
    return joined_wav(sounds_of_pictures(samples, spec), mel_of(spec.info).rate)


SPECTROGRAM = Kind(
    "spectrogram",
    "spectrograms",
    "HWC",
    sounds=sounds_of_pictures,
    options=("encoding", "label", "frames", "mel"),
    write={".wav": wav},
    picture=IMAGE.picture,
    strip=IMAGE.strip,
)
