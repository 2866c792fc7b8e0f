"""Pieces of several voices [T, V]: the pitch of each voice in each sixteenth note, from an .npz file, as MIDI files and sounds."""

import io
from collections.abc import Iterator

import numpy as np
from PIL import Image

from gen_jax.data.kinds.drawing import PANELS
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.kinds.midi_sound import wav_writer
from gen_jax.data.spec import Spec, sequences

SILENT = -1  # pitch of a silent voice, the first symbol of the vocabulary
TICKS = 120  # ticks of a frame, which is a sixteenth note
BEAT = 4  # frames of a beat
REST = 8  # number of frames between the pieces of one file
COLOURS = ((214, 69, 65), (38, 120, 178), (44, 140, 70), (230, 150, 40), (120, 80, 160), (90, 90, 90))  # of the voices
WHITE, GREY = 255, 200


def pitches(x: np.ndarray, spec: Spec) -> np.ndarray:
    """Returns the MIDI pitches of symbols, `SILENT` for a silent voice.

    Args:
      x: symbols [..., V].
      spec: facts of the data.
    """
    return np.array(spec.vocabulary, int)[x]


def notes_of(voice: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yields the notes of a voice: pitch, first frame, and the frame after the last one.

    Args:
      voice: pitches [T]. A pitch that stays is one note.
    """
    borders = np.flatnonzero(np.diff(voice)) + 1
    for start, stop in zip([0, *borders], [*borders, len(voice)]):
        if voice[start] != SILENT:
            yield int(voice[start]), int(start), int(stop)


def midi(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns pieces as one MIDI file, one piece after the other, with a track for each voice.

    Args:
      samples: `x` [N, T, V], and `length` [N] if their lengths differ.
      spec: facts of the data.
    """
    import mido  # slow to import

    rest = np.full((REST, spec.shape[1]), SILENT)
    whole = np.concatenate([part for x in sequences(samples) for part in (pitches(x, spec), rest)])
    tracks = []
    for number, voice in enumerate(whole.T):
        track, now = mido.MidiTrack(), 0
        for pitch, start, stop in notes_of(voice):
            for kind, frame in (("note_on", start), ("note_off", stop)):
                time = (frame - now) * TICKS
                track.append(mido.Message(kind, note=pitch, velocity=80, time=time, channel=number % 9))
                now = frame
        tracks.append(track)
    buffer = io.BytesIO()
    mido.MidiFile(type=1, ticks_per_beat=BEAT * TICKS, tracks=tracks).save(file=buffer)
    return buffer.getvalue()


def staves(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns at most `PANELS` pieces below each other. Time runs to the right and pitch upwards; a voice has a colour.

    Args:
      x: symbols [N, T, V], NaN beyond the end of a piece.
      spec: facts of the data.
    """
    x = x[:PANELS].astype(np.float64)
    symbols = np.nan_to_num(x).astype(int)
    height = len(spec.vocabulary) + 1  # a line for each pitch, and a grey line between the pieces
    pixels = np.full((len(x), height, x.shape[1], 3), WHITE, np.uint8)
    pixels[np.isnan(x).any(2)[:, None].repeat(height, 1)] = GREY
    pixels[:, 0] = GREY
    row, frame, voice = np.nonzero((symbols > 0) & ~np.isnan(x))
    pixels[row, height - symbols[row, frame, voice], frame] = np.array(COLOURS)[voice % len(COLOURS)]
    factor = max(1, 640 // pixels.shape[2])
    return Image.fromarray(pixels.reshape(-1, *pixels.shape[2:]).repeat(factor, 0).repeat(factor, 1))


def transposed(x: np.ndarray, shift: np.ndarray, spec: Spec) -> np.ndarray:
    """Returns pieces that are moved by a number of semitones; pieces that would leave the vocabulary stay. On the device.

    Args:
      x: symbols [N, T, V], whose vocabulary has all pitches from the lowest to the highest.
      shift: semitones of each piece [N].
      spec: facts of the data.
    """
    sounds = x > 0
    moved = x + sounds * shift[:, None, None]
    fits = ((moved > 0) & (moved < len(spec.vocabulary))) | ~sounds
    return x + sounds * (shift * fits.all((1, 2)))[:, None, None]


VOICES = Kind(
    "voices",
    "pieces of voices",
    "TD",
    symbols=True,
    default_transform="none",
    options=("window",),
    write={".mid": midi, ".wav": wav_writer(midi)},
    picture=staves,
    transpose=transposed,
)
