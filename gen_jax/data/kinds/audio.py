"""Recordings [T]: an archive of WAV files as rows, mu-law tokens, and samples as WAV files and spectrograms."""

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gen_jax.data.cache import content_hash
from gen_jax.data.kinds.drawing import PANELS, image_of, new_panels
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.kinds.mel_series import series_of_recordings
from gen_jax.data.kinds.phase_spectrogram import phase_spectrograms
from gen_jax.data.kinds.spectrogram import spectrograms
from gen_jax.data.kinds.wav_files import FULL, joined_wav
from gen_jax.data.kinds.wave import waves_of_recordings
from gen_jax.data.limits import ask
from gen_jax.data.source import Source
from gen_jax.data.spec import Spec, levels, sequences
from gen_jax.errors import UserError, choose, readable

MU = 255
ENCODINGS = ("mu_law", "waveform", "log_mel", "instantaneous_frequency")
LABELS = ("digit", "speaker")
NAME = re.compile(r"(?:^|/)(\d)_([A-Za-z]+)_(\d+)\.wav$")
TESTED = 5  # recordings 0 to 4 of each digit by each speaker are the test split, as the authors of the set divide it
WINDOW = 256  # window of a spectrogram in samples: 32 ms at 8 kHz
RANGE = 60  # range of a spectrogram in decibels


def to_mu_law(x: np.ndarray) -> np.ndarray:
    """Returns amplitudes as tokens 0 to 255 (ITU-T G.711; van den Oord et al. 2016, arXiv 1609.03499, section 2.2).

    Args:
      x: amplitudes in [-1, 1].
    """
    x = np.clip(np.asarray(x, np.float64), -1, 1)
    return np.rint((np.sign(x) * np.log1p(MU * np.abs(x)) / np.log1p(MU) + 1) / 2 * MU).astype(np.uint8)


def from_mu_law(tokens: np.ndarray) -> np.ndarray:
    """Returns tokens as amplitudes in [-1, 1]: the inverse of `to_mu_law`.

    Args:
      tokens: tokens 0 to 255.
    """
    y = 2 * np.asarray(tokens, np.float64) / MU - 1
    return np.sign(y) * np.expm1(np.abs(y) * np.log1p(MU)) / MU


def waveform(spec: Spec, x: np.ndarray) -> np.ndarray:
    """Returns recordings as amplitudes in [-1, 1].

    Args:
      spec: facts of the data.
      x: recordings [..., T] in the domain of the data.
    """
    return from_mu_law(x) if levels(spec) else np.clip(x, -1, 1)


def spectrogram(sound: np.ndarray) -> np.ndarray:
    """Returns the power of a sound in decibels below its loudest part, [F, frames]. Low frequencies are last.

    Args:
      sound: amplitudes [T].
    """
    padded = np.pad(sound, (0, max(0, WINDOW - len(sound))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[:: WINDOW // 4] * np.hanning(WINDOW)
    power = np.square(np.abs(np.fft.rfft(frames))).T[::-1]
    return 10 * np.log10(np.maximum(power / max(power.max(), 1e-12), 1e-12))


def recordings(path: Path, options: Mapping[str, Any], file_hash: str) -> Source:
    """Opens the Free Spoken Digit recordings in a .zip archive of files `{digit}_{speaker}_{number}.wav`.

    Rows have a `length`. `data.encoding` is mu_law (256 tokens), waveform (amplitudes in [-1, 1]), log_mel (series of
    frames, or with `data.frames` pictures of one width, without a length) or instantaneous_frequency (such pictures with
    phases). `data.label` chooses the digit or the speaker as `y`.

    Args:
      path: the archive.
      options: the `data` section of a config.
      file_hash: hash of the content of the file.

    Raises:
      UserError: for an archive that cannot be read or holds no such recordings, or an unknown option.
    """
    from scipy.io import wavfile  # slow to import

    encoding = choose("data.encoding", options.get("encoding") or ENCODINGS[0], ENCODINGS)
    label = choose("data.label", options.get("label") or LABELS[0], LABELS)
    with readable(f"data.path {path}", "an archive of recordings"):
        archive = zipfile.ZipFile(path)
        ask(sum(info.file_size for info in archive.infolist()), f"data.path {path}")
        matches = [match for name in sorted(archive.namelist()) if (match := NAME.search(name))]
        sounds = [wavfile.read(io.BytesIO(archive.read(match.string))) for match in matches]
    if not matches:
        raise UserError(f"data.path {path} holds no recording; expected files DIGIT_SPEAKER_NUMBER.wav")
    rates, shapes = {rate for rate, _ in sounds}, {(sound.dtype.str, sound.ndim) for _, sound in sounds}
    if len(rates) > 1 or shapes != {("<i2", 1)}:
        raise UserError(
            f"recordings of data.path {path} have {rates} Hz and shapes {shapes}; expected one rate, mono and 16 bits"
        )
    facts = [match.groups() for match in matches]
    tested = np.array([int(number) < TESTED for _, _, number in facts])
    places = {"train": np.flatnonzero(~tested), "test": np.flatnonzero(tested)}
    parts = [sound for _, sound in sounds]
    labels = [fact[LABELS.index(label)] for fact in facts]
    recorded = Recordings("spoken_digits", parts, int(min(rates)), places, labels, sorted({*labels}))
    return source_of_recordings(recorded, options, content_hash(file_hash, encoding, label))


class Recordings(NamedTuple):
    """Holds recordings of one rate.

    Attributes:
      name: name of the data.
      sounds: samples [T] of each recording: of 16 bits, mu-law tokens uint8, or amplitudes in [-1, 1].
      rate: samples a second.
      places: split -> numbers of its recordings.
      labels: label of each recording; none without labels.
      classes: names of the labels, in their order.
      label: name of the labels, where it says what they mean; by default empty.
    """

    name: str
    sounds: Sequence[np.ndarray]
    rate: int
    places: Mapping[str, np.ndarray]
    labels: Sequence[str] = ()
    classes: Sequence[str] = ()
    label: str = ""

    def amplitudes(self, number: int) -> np.ndarray:
        """Returns a recording as amplitudes [T] in [-1, 1].

        Args:
          number: number of the recording.
        """
        sound = self.sounds[number]
        if sound.dtype == np.uint8:
            return from_mu_law(sound)
        return sound / FULL if sound.dtype.kind == "i" else sound


def source_of_recordings(recorded: Recordings, options: Mapping[str, Any], content: str) -> Source:
    """Returns recordings as rows in the encoding that the options ask for.

    Args:
      recorded: the recordings.
      options: the `data` section of a config, of which `encoding` and `frames` are read.
      content: hash of the content, the encoding and the labels.
    """
    encoding = choose("data.encoding", options.get("encoding") or ENCODINGS[0], ENCODINGS)
    lengths = {
        split: np.array([len(recorded.sounds[at]) for at in each], int) for split, each in recorded.places.items()
    }
    longest = max(map(len, recorded.sounds))
    dtype = np.dtype(np.uint8 if encoding == "mu_law" else np.float32)
    silence = to_mu_law(np.zeros(())) if encoding == "mu_law" else np.zeros(())
    order = {name: code for code, name in enumerate(recorded.classes)}

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        numbers = recorded.places[split][indices]
        x = np.full((len(numbers), longest), silence, dtype)
        for row, number in enumerate(numbers):
            sound = recorded.amplitudes(number)
            x[row, : len(sound)] = to_mu_law(sound) if encoding == "mu_law" else sound
        batch = {"x": x, "length": lengths[split][indices].astype(np.int32)}
        if not order:
            return batch
        return {**batch, "y": np.array([order[recorded.labels[number]] for number in numbers], np.int32)}

    info: dict[str, Any] = {"rate": recorded.rate, "ragged": True}
    if recorded.label:
        info["label"] = recorded.label
    if encoding == "mu_law":
        info["vocabulary"] = list(range(MU + 1))
    source = Source(
        recorded.name,
        "audio",
        (longest,),
        dtype,
        {split: len(each) for split, each in recorded.places.items()},
        rows,
        content,
        tuple(recorded.classes),
        (0, MU) if encoding == "mu_law" else (-1, 1),
        info,
        lengths.__getitem__,
    )
    if encoding == "instantaneous_frequency":
        return phase_spectrograms(source, options)
    if encoding == "waveform" and options.get("frames") is not None:
        return waves_of_recordings(source, options)
    if encoding != "log_mel":
        return source
    return series_of_recordings(source, options) if options.get("frames") is None else spectrograms(source, options)


def loudness(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns spectrograms of at most `PANELS` recordings, in one panel each. Pitch runs upwards, and black is loudest.

    Args:
      x: recordings [N, T].
      spec: facts of the data.
    """
    figure, panels = new_panels(min(len(x), PANELS))
    rate = rate_of(spec)
    for panel, row in zip(panels, x):
        sound = waveform(spec, row[~np.isnan(row.astype(np.float64))])
        extent = (0, len(sound) / rate, 0, rate / 2000)
        panel.imshow(spectrogram(sound), cmap="gray_r", vmin=-RANGE, vmax=0, aspect="auto", extent=extent)
    figure.supxlabel("s", fontsize=8)
    figure.supylabel("kHz", fontsize=8)
    return image_of(figure)


def rate_of(spec: Spec) -> int:
    """Returns the number of samples a second.

    Args:
      spec: facts of the data.
    """
    return spec.info.get("rate", 8000)


def waves(samples: Mapping[str, np.ndarray], spec: Spec) -> list[np.ndarray]:
    """Returns recordings as amplitudes [T] of each.

    Args:
      samples: `x` [N, T], and `length` [N] if their lengths differ.
      spec: facts of the data.
    """
    return [waveform(spec, x) for x in sequences({**samples})]


def wav(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns recordings as one WAV file of 16 bits, one recording after the other.

    Args:
      samples: `x` [N, T], and `length` [N] if their lengths differ.
      spec: facts of the data.
    """
    return joined_wav(waves(samples, spec), rate_of(spec))


AUDIO = Kind(
    "audio",
    "recordings",
    "T",
    sounds=waves,
    options=("window", "encoding", "label"),
    read={".zip": recordings},
    write={".wav": wav},
    picture=loudness,
)
