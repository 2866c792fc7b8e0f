"""Files of sounds."""

import io
from collections.abc import Sequence

import numpy as np

FULL = 32768  # full scale of 16-bit samples
PAUSE = 0.25  # seconds between the sounds of one file


def joined_wav(sounds: Sequence[np.ndarray], rate: int) -> bytes:
    """Returns sounds as one WAV file of 16 bits, one after the other, with pauses.

    Args:
      sounds: amplitudes [T] of each sound; beyond [-1, 1] they are clipped.
      rate: samples a second.
    """
    from scipy.io import wavfile  # slow to import

    pause = np.zeros(round(PAUSE * rate))
    parts = [part for sound in sounds for part in (np.clip(sound, -1, 1), pause)]
    buffer = io.BytesIO()
    wavfile.write(buffer, rate, np.rint(np.concatenate(parts) * (FULL - 1)).astype(np.int16))
    return buffer.getvalue()
