"""The judge of notes: the pitch of a sound by its period, beside the pitch that was asked for."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec
from gen_jax.metrics.features import Real, Rows
from gen_jax.metrics.measure import Computation, Measure, Metric

NAME = "pitch"  # the array of labels that holds MIDI numbers
WINDOW = 0.128  # seconds of a window
HOP = 0.016  # seconds from window to window
LOWEST, HIGHEST = 21, 96  # MIDI numbers that are told apart: 27.5 Hz to 2,093 Hz
PERIODIC = 0.1  # normalised difference below which a shift is a period
NEAR = 0.5  # semitones


def hertz(pitch: float) -> float:
    """Returns the frequency of a pitch in Hz.

    Args:
      pitch: MIDI number.
    """
    return 440 * 2 ** ((pitch - 69) / 12)


def periods(sound: np.ndarray, rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the period of each window in samples, and the energy of the window.

    The period is the first shift whose cumulative mean normalised difference has a minimum below `PERIODIC`, or the
    shift of the least difference (de Cheveigne & Kawahara 2002, steps 2 to 5).

    Args:
      sound: amplitudes [T]; zeros are appended to a sound that is shorter than a window and the longest period.
      rate: samples a second.
    """
    width, shortest, longest = (
        round(WINDOW * rate),
        max(2, int(rate / hertz(HIGHEST + 0.5))),
        int(rate / hertz(LOWEST)) + 1,
    )
    sound = np.pad(sound, (0, max(0, width + longest - len(sound))))
    windows = np.lib.stride_tricks.sliding_window_view(sound, width + longest)[:: max(1, round(HOP * rate))]
    size = 1 << (2 * width + longest).bit_length()
    spectra = np.conj(np.fft.rfft(windows[:, :width], size)) * np.fft.rfft(windows, size)
    products = np.fft.irfft(spectra, size)[:, : longest + 1]
    sums = np.cumsum(np.pad(np.square(windows), ((0, 0), (1, 0))), 1)
    energy = sums[:, width:] - sums[:, : longest + 1]
    differences = np.maximum(energy[:, :1] + energy - 2 * products, 0)
    differences[:, 0] = 0
    shifts = np.arange(longest + 1)
    curves = differences * shifts / np.maximum(np.cumsum(differences, 1), 1e-12)
    return np.array([shortest + first_dip(curve[shortest:]) for curve in curves]), energy[:, 0]


def first_dip(curve: np.ndarray) -> float:
    """Returns the place of the first minimum below `PERIODIC`, or of the least value, on the parabola through it.

    Args:
      curve: normalised differences by shift.
    """
    below = np.flatnonzero(curve < PERIODIC)
    place = int(curve.argmin())
    if len(below):
        rising = np.flatnonzero(np.diff(curve[below[0] :]) >= 0)
        place = int(below[0] + (rising[0] if len(rising) else 0))
    if not 0 < place < len(curve) - 1:
        return place
    before, least, after = curve[place - 1 : place + 2]
    bend = before - 2 * least + after
    return place + (0.5 * (before - after) / bend if bend > 0 else 0)


def pitch_of(sound: np.ndarray, rate: int) -> float:
    """Returns the pitch of a note as a MIDI number: the median over the louder half of its windows.

    Args:
      sound: amplitudes [T].
      rate: samples a second.
    """
    shifts, energy = periods(sound, rate)
    louder = np.argsort(-energy, kind="stable")[: max(1, len(energy) // 2)]
    return float(69 + 12 * np.log2(np.median(rate / shifts[louder]) / 440))


def pitches(spec: Spec) -> np.ndarray | None:
    """Returns the pitch that each label asks for [K]; None if the labels are no pitches of sounds.

    Args:
      spec: facts of the rows.
    """
    if not kind_of(spec).sound or spec.info.get("label") != NAME:
        return None
    if not all(name.isdigit() and LOWEST <= int(name) <= HIGHEST for name in spec.classes):
        return None
    return np.array([int(name) for name in spec.classes])


def pitch_accuracy(real: Real) -> Computation | None:
    """Prepares the share of notes within half a semitone of the pitch of their label."""
    spec, targets = real.spec, pitches(real.spec)
    sounds_of = kind_of(spec).sounds
    if targets is None or sounds_of is None:
        return None

    def values(samples: Rows) -> Mapping[str, Any]:
        tracked = np.array([pitch_of(sound, spec.info["rate"]) for sound in sounds_of(samples, spec)])
        wanted = targets[samples["y"]]
        near = np.abs(tracked - wanted) <= NEAR
        class_near = np.abs((tracked - wanted + 6) % 12 - 6) <= NEAR
        chance = np.abs(tracked[:, None] - wanted[None]) <= NEAR
        return {
            "pitch_accuracy": float(near.mean()),
            "pitch_accuracy_chance": float(chance.mean()),
            "pitch_class_accuracy": float(class_near.mean()),
        }

    return Computation(values, lambda: {"window": WINDOW, "hop": HOP, "semitones": NEAR})


PITCH = Measure(
    (
        Metric("pitch_accuracy", "share of notes within half a semitone of the pitch of their label", "1", better=1),
        Metric("pitch_accuracy_chance", "the same against the labels of all rows", better=0),
        Metric("pitch_class_accuracy", "share of notes as near up to octaves", "1", better=1),
    ),
    pitch_accuracy,
    data="recordings by data.label=pitch, whose labels are MIDI numbers from 21 to 96",
    fields=("x", "y"),
    oracle="the test recordings after their encoding and back",
    reference="de Cheveigne & Kawahara 2002",
)
