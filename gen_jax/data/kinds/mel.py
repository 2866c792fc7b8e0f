"""Log-mel spectrograms of sounds, and sounds of log-mel spectrograms by fast Griffin-Lim. NumPy alone.

The window is a periodic Hann window, frames are centred by reflection, and magnitudes are not squared. The filters are
those of librosa 0.11: triangles of unit area on Slaney's scale.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from gen_jax.data.source import Source
from gen_jax.errors import UserError, choose, whole_number

LINEAR = 200 / 3  # Hz of a mel below `CORNER`
CORNER = 1000.0  # Hz from which the scale is logarithmic
LOG_STEP = np.log(6.4) / 27  # of the frequency from mel to mel above it
SOLUTION_STEPS = 100  # updates of the non-negative least squares that give magnitudes
PHASE_STEPS = 32  # of fast Griffin-Lim
MOMENTUM = 0.99
LEAST = 1e-30  # magnitude; smaller numbers are denormal, which are slow
HIGHEST_RATE = 48_000  # samples a second, above which a filter of the default settings holds no frequency
SEED = 0  # of the first phases, so that a spectrogram always has the same sound


class Mel(NamedTuple):
    """Holds the settings of a log-mel spectrogram.

    Attributes:
      rate: samples a second.
      window: samples of a window.
      hop: samples from frame to frame; a divisor of the window.
      mels: number of filters, or of frequencies where there are no filters.
      floor: smallest magnitude that is told apart from silence.
    """

    rate: int
    window: int = 512
    hop: int = 128
    mels: int = 64
    floor: float = 1e-3


def mel_of(info: Mapping[str, Any]) -> Mel:
    """Returns the settings that the facts of data hold.

    Args:
      info: `spec.info`.
    """
    return Mel(*(info[name] for name in Mel._fields))


def mel_settings(source: Source, options: Mapping[str, Any], names: Sequence[str] = Mel._fields[1:4]) -> Mel:
    """Returns the settings of spectrograms that the options ask for.

    Args:
      source: recordings, with `rate` among their facts.
      options: the `data` section of a config, of which `mel` is read: NAME=VALUE with commas between them.
      names: names of the settings, by default window, hop and mels. If mels is none of them, each frequency above 0 has
        its own line.

    Raises:
      UserError: for another form, a rate above `HIGHEST_RATE`, a hop that does not divide the window, or more filters
        than the window tells apart.
    """
    rate = source.info["rate"]
    if rate > HIGHEST_RATE:
        raise UserError(
            f"recordings of {source.name} have {rate} samples a second; expected at most {HIGHEST_RATE} for "
            f"data.encoding={options.get('encoding') or 'log_mel'}"
        )
    numbers: dict[str, int] = {}
    for text in filter(None, (options.get("mel") or "").split(",")):
        name, _, value = (part.strip() for part in text.partition("="))
        choose("name in data.mel", name, names)
        number = whole_number(value)
        if number is None or number < 1:
            raise UserError(f"data.mel has {text!r}; expected {name}=NUMBER, a whole number from 1 up")
        numbers[name] = number
    settings = Mel(rate, **numbers)
    if settings.window % (2 * settings.hop) or settings.window > rate:
        raise UserError(
            f"window and hop of data.mel are {settings.window} and {settings.hop}; expected a window of at most {rate} "
            "samples, an even multiple of the hop, such as window=512,hop=128"
        )
    if "mels" not in names:
        return settings._replace(mels=settings.window // 2)
    empty = int((filters(settings).sum(1) == 0).sum())
    if empty:
        raise UserError(
            f"mels of data.mel is {settings.mels}, and {empty} of these filters hold no frequency of a window of "
            f"{settings.window}; expected fewer filters or a longer window"
        )
    return settings


def range_of(settings: Mel) -> tuple[float, float]:
    """Returns the smallest and the largest value of a log-mel spectrogram.

    Args:
      settings: the settings.
    """
    return float(np.log(settings.floor)), float(np.log(settings.window / 2 * filters(settings).max()))


def to_mel(hertz: np.ndarray) -> np.ndarray:
    """Returns frequencies on Slaney's mel scale.

    Args:
      hertz: frequencies in Hz.
    """
    above = CORNER / LINEAR + np.log(np.maximum(hertz, 1e-9) / CORNER) / LOG_STEP
    return np.where(hertz < CORNER, hertz / LINEAR, above)


def to_hertz(mel: np.ndarray) -> np.ndarray:
    """Returns mels as frequencies in Hz: the inverse of `to_mel`.

    Args:
      mel: frequencies on Slaney's scale.
    """
    return np.where(mel < CORNER / LINEAR, mel * LINEAR, CORNER * np.exp((mel - CORNER / LINEAR) * LOG_STEP))


@lru_cache(maxsize=16)
def filters(settings: Mel) -> np.ndarray:
    """Returns the filters [mels, window / 2 + 1]: triangles of unit area in Hz, from 0 to half of the rate.

    Args:
      settings: the settings.
    """
    bins = np.linspace(0, settings.rate / 2, settings.window // 2 + 1)
    low, high = to_mel(np.array([0.0, settings.rate / 2]))
    edges = to_hertz(np.linspace(low, high, settings.mels + 2))
    slopes = (bins[None] - edges[:, None]) / np.diff(edges, append=np.inf)[:, None]  # rising from each edge
    falling = (edges[2:, None] - bins[None]) / np.diff(edges)[1:, None]
    triangles = np.maximum(0, np.minimum(slopes[:-2], falling))
    return triangles * (2 / (edges[2:] - edges[:-2]))[:, None]


def hann(settings: Mel) -> np.ndarray:
    """Returns the periodic Hann window [window].

    Args:
      settings: the settings.
    """
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(settings.window) / settings.window)


def spectrum(sound: np.ndarray, settings: Mel) -> np.ndarray:
    """Returns the complex spectrum of each frame [frames, window / 2 + 1], with 1 + T // hop frames.

    Args:
      sound: amplitudes [T]; T above half of the window.
      settings: the settings.
    """
    padded = np.pad(sound, settings.window // 2, mode="reflect")
    pieces = np.lib.stride_tricks.sliding_window_view(padded, settings.window)[:: settings.hop]
    return np.fft.rfft(pieces * hann(settings))


def from_spectrum(values: np.ndarray, settings: Mel) -> np.ndarray:
    """Returns the sound [(frames - 1) hop] whose spectrum is nearest: overlapped frames over the sum of squared windows.

    Args:
      values: complex spectra [frames, window / 2 + 1].
      settings: the settings.
    """
    window, parts = hann(settings), settings.window // settings.hop
    pieces = np.fft.irfft(values, settings.window) * window
    count = len(pieces) + parts - 1
    total, weight = np.zeros((count, settings.hop)), np.zeros((count, settings.hop))
    squares = np.square(window).reshape(parts, settings.hop)
    for part in range(parts):
        total[part : part + len(pieces)] += pieces.reshape(-1, parts, settings.hop)[:, part]
        weight[part : part + len(pieces)] += squares[part]
    sound = (total / np.maximum(weight, 1e-8)).ravel()
    half = settings.window // 2
    return sound[half : half + (len(pieces) - 1) * settings.hop]


def log_mel(sound: np.ndarray, settings: Mel) -> np.ndarray:
    """Returns ln(magnitude) of a sound in each filter, at least ln(floor), [frames, mels].

    Args:
      sound: amplitudes [T]; T above half of the window.
      settings: the settings.
    """
    magnitudes = np.abs(spectrum(sound, settings)) @ filters(settings).T
    return np.log(np.maximum(magnitudes, settings.floor))


def magnitudes_of(mel: np.ndarray, settings: Mel) -> np.ndarray:
    """Returns magnitudes of frequencies [frames, window / 2 + 1] >= 0 that have given magnitudes in the filters.

    Multiplicative updates of the non-negative least squares (Lee & Seung 2000), from the transposed filters.

    Args:
      mel: magnitudes in the filters [frames, mels].
      settings: the settings.
    """
    banks = filters(settings)
    with threadpool_limits(1, "blas"):  # because threads that wait for small products starve other programs
        aim = mel @ banks
        magnitudes = np.maximum(aim, 1e-10)
        for _ in range(SOLUTION_STEPS):
            product = magnitudes @ banks.T @ banks
            magnitudes = np.maximum(magnitudes * aim / np.maximum(product, 1e-10), LEAST)
    return np.where(aim > 0, magnitudes, 0)  # silence stays silent


def sound_of(values: np.ndarray, settings: Mel) -> np.ndarray:
    """Returns a sound [(frames - 1) hop] of a log-mel spectrogram by fast Griffin-Lim.

    Args:
      values: ln(magnitude) [frames, mels]; values at the floor are silent.
      settings: the settings.
    """
    mel = np.where(values > np.log(settings.floor) + 1e-3, np.exp(values.astype(np.float64)), 0)
    magnitudes = magnitudes_of(mel, settings)
    return with_phases(magnitudes, np.exp(2j * np.pi * np.random.default_rng(SEED).random(magnitudes.shape)), settings)


def with_phases(magnitudes: np.ndarray, phases: np.ndarray, settings: Mel) -> np.ndarray:
    """Returns a sound [(frames - 1) hop] of magnitudes, whose phases are changed until overlapping frames fit.

    Fast Griffin-Lim (Perraudin et al. 2013, algorithm 2).

    Args:
      magnitudes: magnitudes [frames, window / 2 + 1].
      phases: first phases as complex numbers of length 1 [frames, window / 2 + 1].
      settings: the settings.
    """
    before = np.zeros_like(phases)
    for _ in range(PHASE_STEPS):
        consistent = spectrum(from_spectrum(magnitudes * phases, settings), settings)
        moved = consistent - MOMENTUM / (1 + MOMENTUM) * before
        phases, before = moved / np.maximum(np.abs(moved), 1e-16), consistent
    return from_spectrum(magnitudes * phases, settings)
