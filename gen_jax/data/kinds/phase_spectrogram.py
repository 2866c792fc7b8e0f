"""Spectra of sounds as pictures [frequencies, frames, 2] of magnitudes and instantaneous frequencies.

The form is that of GANSynth (Engel et al. 2019, arXiv 1902.08710, section 2): a sound comes back from its phases, without
a search. In a steady tone the phase of a frequency advances by the same angle from frame to frame.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from gen_jax.data.kinds.image import IMAGE
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.kinds.mel import Mel, hann, mel_of, mel_settings, spectrum, with_phases
from gen_jax.data.kinds.spectrogram import PictureForm, pictures_of_recordings
from gen_jax.data.kinds.wav_files import joined_wav
from gen_jax.data.source import Source
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError


def magnitude_range(settings: Mel) -> tuple[float, float]:
    """Returns the smallest and the largest ln(magnitude) of a frequency.

    Args:
      settings: the settings of the spectra.
    """
    return float(np.log(settings.floor)), float(np.log(hann(settings).sum()))


def phase_picture(sound: np.ndarray, settings: Mel) -> np.ndarray:
    """Returns a sound as magnitudes and instantaneous frequencies in [-1, 1], [window / 2, 1 + T // hop, 2].

    The first channel is ln(magnitude), -1 at the floor and 1 at the largest magnitude. The second is the advance of the
    phase since the last frame above the floor, over pi; in the first frame the phase itself. It is 0 where the magnitude
    is at the floor. The line of frequency 0 is left out; the top line is the highest frequency.

    Args:
      sound: amplitudes [T]; T above half of the window.
      settings: the settings of the spectra.
    """
    values = spectrum(sound, settings)[:, :0:-1].T
    low, high = magnitude_range(settings)
    magnitudes = np.log(np.maximum(np.abs(values), settings.floor))
    loud = magnitudes > low
    places = np.maximum.accumulate(np.where(loud, np.arange(values.shape[1]), -1), axis=1)  # of the last loud frame
    phases = np.where(places < 0, 0, np.take_along_axis(np.angle(values), np.maximum(places, 0), 1))
    turns = np.diff(phases, axis=1, prepend=0) / np.pi
    advances = np.where(loud, (turns + 1) % 2 - 1, 0)
    return np.stack([2 * (magnitudes - low) / (high - low) - 1, advances], -1).astype(np.float32)


def sound_of_picture(picture: np.ndarray, settings: Mel) -> np.ndarray:
    """Returns the sound [(frames - 1) hop] of magnitudes and instantaneous frequencies: the inverse of `phase_picture`.

    The phases of a picture that a model has drawn do not fit from frame to frame, which is heard as a hum of one period
    a hop. So they are the first phases of Griffin-Lim. Those of a recording fit already, and stay as they are.

    Args:
      picture: values [window / 2, frames, 2] in [-1, 1]; magnitudes at the floor are silent.
      settings: the settings of the spectra.
    """
    picture = np.clip(picture.astype(np.float64), -1, 1)[::-1]
    low, high = magnitude_range(settings)
    levels = low + (picture[..., 0] + 1) / 2 * (high - low)
    magnitudes = np.where(levels > low + 1e-3, np.exp(levels), 0)
    phases = np.exp(1j * np.pi * np.cumsum(picture[..., 1], 1))
    magnitudes, phases = (np.pad(part.T, ((0, 0), (1, 0))) for part in (magnitudes, phases))
    return with_phases(magnitudes, phases, settings)


def phase_spectrograms(source: Source, options: Mapping[str, Any]) -> Source:
    """Returns recordings as pictures [window / 2, frames, 2] of magnitudes and instantaneous frequencies.

    Args:
      source: amplitudes [T] in [-1, 1], with a `length`, and `rate` among its facts.
      options: the `data` section of a config, of which `frames` and `mel` are read.

    Raises:
      UserError: without frames, for too few frames, or for settings that no spectrum has.
    """
    if options.get("frames") is None:
        raise UserError("data.frames is unset; expected a number of frames for data.encoding=instantaneous_frequency")
    settings = mel_settings(source, options, ("window", "hop"))
    form = PictureForm("phase_spectrogram", "instantaneous_frequency", settings, phase_picture, 2, (-1, 1))
    return pictures_of_recordings(source, options["frames"], form)


def sounds_of_phases(samples: Mapping[str, np.ndarray], spec: Spec) -> list[np.ndarray]:
    """Returns pictures as amplitudes [T] of their sounds.

    Args:
      samples: `x` [N, frequencies, frames, 2] in the domain of the data.
      spec: facts of the data.
    """
    return [sound_of_picture(x, mel_of(spec.info)) for x in samples["x"]]


def wav(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns pictures as one WAV file of 16 bits, one sound after the other.

    Args:
      samples: `x` [N, frequencies, frames, 2] in the domain of the data.
      spec: facts of the data.
    """
    return joined_wav(sounds_of_phases(samples, spec), mel_of(spec.info).rate)


def magnitudes_of_phases(x: np.ndarray, spec: Spec) -> tuple[np.ndarray, Spec]:
    """Returns the first channel of pictures, and its facts.

    Args:
      x: pictures [..., frequencies, frames, 2].
      spec: facts of the pictures.
    """
    return x[..., :1], spec._replace(shape=(*spec.shape[:2], 1))


def grid(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns the magnitudes of pictures as a grid of grey images.

    Args:
      x: pictures [N, frequencies, frames, 2].
      spec: facts of the pictures.
    """
    assert IMAGE.picture is not None  # because images are drawn
    return IMAGE.picture(*magnitudes_of_phases(x, spec))


def strip(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns the magnitudes of paths of pictures as grey images.

    Args:
      x: pictures [N, T, frequencies, frames, 2].
      spec: facts of the pictures.
    """
    assert IMAGE.strip is not None  # because paths of images are drawn
    return IMAGE.strip(*magnitudes_of_phases(x, spec))


PHASE_SPECTROGRAM = Kind(
    "phase_spectrogram",
    "spectrograms with phases",
    "HWC",
    sounds=sounds_of_phases,
    options=("encoding", "label", "frames", "mel"),
    write={".wav": wav},
    picture=grid,
    strip=strip,
)
