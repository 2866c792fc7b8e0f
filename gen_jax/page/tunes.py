"""Tunes in ABC notation as sound. The package music21, which reads them, is optional."""

import re
import tempfile
from pathlib import Path

from gen_jax.data.kinds.midi_sound import RATE, sound_of_midi
from gen_jax.data.kinds.wav_files import joined_wav

KEY = re.compile(r"^K:", re.MULTILINE)  # the field that every tune has before its notes
BETWEEN = re.compile(r"\n(?:-+)?\n")  # an empty line between two tunes, or the line between two samples
# Repeats are not played, because music21 makes some tunes a quarter of an hour long.
REPEAT = re.compile(r":\|:?|\|:|::")
LARGEST_NUM = 4  # tunes that are played, at most


def sound_of(text: str) -> bytes | None:
    """Returns the first tunes of a text as a WAV file, one after the other; None if there is none, or without music21.

    Args:
      text: texts, some parts of which are tunes in ABC notation. A part that is no whole tune is left out.
    """
    parts = [part for part in BETWEEN.split(text) if KEY.search(part)]
    if not parts:
        return None
    try:
        from music21 import converter  # type: ignore[import-not-found]  # an optional package
    except ImportError:
        return None
    sounds = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tune.mid"
        for part in parts:
            try:
                tune = converter.parse(REPEAT.sub("|", part), format="abc")
                if not tune.flatten().notes:
                    continue
                tune.write("midi", fp=str(path))
            except Exception:  # music21 raises many kinds of errors for notes that a model made up
                continue
            sounds.append(sound_of_midi(path.read_bytes()))
            if len(sounds) == LARGEST_NUM:
                break
    return joined_wav(sounds, RATE) if sounds else None
