"""Music of MIDI files as sound, so that it can be heard where no synthesiser is."""

import io

import numpy as np

from gen_jax.data.kinds.kind import Write
from gen_jax.data.kinds.wav_files import joined_wav
from gen_jax.data.source import say_once
from gen_jax.data.spec import Spec

RATE = 22_050  # samples a second
CONCERT, SEMITONES = 440.0, 12  # Hz of the A above middle C, whose MIDI number is 69
PARTIALS = (1.0, 0.5, 0.25, 0.1)  # amplitudes of a note's fundamental and its next harmonics
DECAY = 1.5  # seconds until a held note has 1 / e of its amplitude
ATTACK, RELEASE = 0.01, 0.05  # seconds in which a note begins and ends
LONGEST = 600.0  # seconds of a sound, at most, because a model can draw a note or a piece of any length


def tone(note: int, seconds: float) -> np.ndarray:
    """Returns the amplitudes [T] of a note, which decays like that of a plucked string.

    Args:
      note: MIDI number of the note.
      seconds: for which the key is held.
    """
    time = np.arange(round((seconds + RELEASE) * RATE)) / RATE
    frequency = CONCERT * 2 ** ((note - 69) / SEMITONES)
    partials = [(number, size) for number, size in enumerate(PARTIALS, 1) if 2 * number * frequency < RATE]
    waves = sum(size * np.sin(2 * np.pi * number * frequency * time) for number, size in partials)
    envelope = np.exp(-time / DECAY) * np.minimum(1, time / ATTACK) * np.minimum(1, (time[-1] - time) / RELEASE)
    return waves * envelope


def sound_of_midi(content: bytes) -> np.ndarray:
    """Returns the music of a MIDI file as amplitudes [T]: harmonic tones that decay.

    Music of more than `LONGEST` seconds ends there, and a line says so.

    Args:
      content: the bytes of the MIDI file.
    """
    import mido  # slow to import

    now, notes = 0.0, []
    starts: dict[tuple[int, int], float] = {}  # of keys that are held, by channel and note
    for message in mido.MidiFile(file=io.BytesIO(content)):
        now += message.time
        if message.type in ("note_on", "note_off"):
            key = (message.channel, message.note)
            if key in starts:
                notes.append((message.note, start := starts.pop(key), now - start))
            if message.type == "note_on":
                starts[key] = now
    if now > LONGEST:
        say_once(f"the sound ends after {LONGEST:g} of {now:.0f} s of music; a MIDI file holds all of it")
    end = min(now, LONGEST)
    sound = np.zeros(round((end + 2 * RELEASE) * RATE))
    for note, start, seconds in notes:
        if start < end:
            wave, place = tone(note, min(seconds, end - start)), round(start * RATE)
            sound[place : place + len(wave)] += wave
    return sound / max(1.0, np.abs(sound).max())


def wav_writer(midi: Write) -> Write:
    """Returns the writer of WAV files of one channel that hold the music of MIDI files.

    Args:
      midi: the writer of the MIDI files.
    """

    def write(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
        return joined_wav([sound_of_midi(midi(samples, spec))], RATE)

    return write
