"""Music of MIDI files as sound, so that it can be heard where no synthesiser is."""

import io

import numpy as np

from gen_jax.data.kinds.wav_files import joined_wav

RATE = 22_050  # samples a second
CONCERT, SEMITONES = 440.0, 12  # Hz of the A above middle C, whose MIDI number is 69
PARTIALS = (1.0, 0.5, 0.25, 0.1)  # amplitudes of a note's fundamental and its next harmonics
DECAY = 1.5  # seconds until a held note has 1 / e of its amplitude
ATTACK, RELEASE = 0.01, 0.05  # seconds in which a note begins and ends


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
    sound = np.zeros(round((now + 2 * RELEASE) * RATE))
    for note, start, seconds in notes:
        wave, place = tone(note, seconds), round(start * RATE)
        sound[place : place + len(wave)] += wave
    return sound / max(1.0, np.abs(sound).max())


def wav_of_midi(content: bytes) -> bytes:
    """Returns the music of a MIDI file as a WAV file of one channel.

    Args:
      content: the bytes of the MIDI file.
    """
    return joined_wav([sound_of_midi(content)], RATE)
