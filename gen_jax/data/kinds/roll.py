"""Polyphonic music as piano rolls [T, D]: a .mat file as rows, and samples as MIDI files, sounds and pictures."""

import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gen_jax.data.kinds.drawing import PANELS
from gen_jax.data.kinds.kind import Kind
from gen_jax.data.kinds.midi_sound import wav_writer
from gen_jax.data.limits import ask
from gen_jax.data.source import Source
from gen_jax.data.spec import Spec, sequences
from gen_jax.errors import UserError, readable

FIELDS = {"train": "traindata", "validation": "validdata", "test": "testdata"}
KEYS, LOWEST = 88, 21  # number of keys of a piano; MIDI number of the lowest key, A0
TICKS = 480  # ticks of a frame, which is a quarter note (half a second)
HEADER = 128  # number of bytes before the elements of a .mat file
COMPRESSED = 15  # type of a compressed element
NUMBER = 8  # bytes of a number in memory; the file may store it in one byte
REST = 2  # number of frames between the pieces of one file


def rolls(path: Path, options: Mapping[str, Any], file_hash: str) -> Source:
    """Opens the pieces of a .mat file as rolls [T, 88].

    The file has the splits of Boulanger-Lewandowski et al. 2012 (arXiv 1206.6392).

    Args:
      path: the file.
      options: not used.
      file_hash: hash of the content of the file.

    Raises:
      UserError: for a file that cannot be read, lacks a field, or holds anything but rolls of 88 keys.
    """
    from scipy.io import loadmat  # slow to import

    with readable(f"data.path {path}", "a .mat file"):
        content = path.read_bytes()
        ask_for_elements(content, f"data.path {path}")
        loaded = loadmat(io.BytesIO(content))
    lacking = [field for field in FIELDS.values() if field not in loaded]
    if lacking:
        found = ", ".join(name for name in loaded if not name.startswith("__")) or "none"
        raise UserError(f"field {lacking[0]!r} of data.path {path} is missing; expected it beside {found}")
    pieces = {split: [np.asarray(piece) for piece in loaded[field].ravel()] for split, field in FIELDS.items()}
    for split, each in pieces.items():
        for number, piece in enumerate(each):
            if piece.ndim != 2 or piece.shape[1] != KEYS or not len(piece) or not np.isin(piece, (0, 1)).all():
                raise UserError(
                    f"data.path {path}: piece {number} of {FIELDS[split]} has shape {piece.shape}; "
                    f"expected frames of {KEYS} keys that are 0 or 1"
                )
    if not pieces["train"]:
        raise UserError(f"field {FIELDS['train']!r} of data.path {path} is empty; expected at least one piece")
    longest = max(len(piece) for each in pieces.values() for piece in each)

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        chosen = [pieces[split][index] for index in indices]
        x = np.zeros((len(chosen), longest, KEYS), np.uint8)
        for row, piece in enumerate(chosen):
            x[row, : len(piece)] = piece
        return {"x": x, "length": lengths[split][indices].astype(np.int32)}

    sizes = {split: len(each) for split, each in pieces.items()}
    info = {"ragged": True}
    shape, dtype = (longest, KEYS), np.dtype(np.uint8)
    lengths = {split: np.array([len(piece) for piece in each], int) for split, each in pieces.items()}
    return Source(path.stem, "roll", shape, dtype, sizes, rows, file_hash, (), (0, 1), info, lengths.__getitem__)


def ask_for_elements(content: bytes, file_name: str) -> None:
    """Refuses a .mat file of version 5 whose compressed elements expand beyond the size limit; see `limits.ask`.

    Args:
      content: bytes of the file.
      file_name: name of the file, for the error.
    """
    order = ">" if content[126:128] == b"MI" else "<"
    size, place = 0, HEADER
    while place + 8 <= len(content):
        kind, length = np.frombuffer(content, f"{order}u4", 2, place).tolist()
        place += 8
        stream, rest = zlib.decompressobj(), content[place : place + length]
        while kind == COMPRESSED and (part := stream.decompress(rest, 1 << 20)):
            rest = stream.unconsumed_tail
            size += len(part)
            ask(NUMBER * size, file_name)
        place += length


def midi(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Returns rolls as one MIDI file, one roll after the other. A held key is one long note.

    Args:
      samples: `x` [N, T, 88], and `length` [N] if their lengths differ.
      spec: facts of the data.
    """
    import mido  # slow to import

    pieces = []
    for x in sequences(samples):
        pieces += [x.astype(bool), np.zeros((REST, x.shape[1]), bool)]
    roll = np.concatenate(pieces)  # [T, 88]; it ends with a rest
    before = np.concatenate([np.zeros_like(roll[:1]), roll[:-1]])
    track, now = mido.MidiTrack(), 0
    for frame, key in np.argwhere(roll != before):
        kind = "note_on" if roll[frame, key] else "note_off"
        track.append(mido.Message(kind, note=int(key) + LOWEST, velocity=80, time=(int(frame) - now) * TICKS))
        now = int(frame)
    buffer = io.BytesIO()
    mido.MidiFile(type=0, ticks_per_beat=TICKS, tracks=[track]).save(file=buffer)
    return buffer.getvalue()


def piano(x: np.ndarray, spec: Spec) -> Image.Image:
    """Returns at most `PANELS` rolls below each other. Time runs to the right and pitch upwards; a held key is black.

    Args:
      x: rolls [N, T, K].
      spec: facts of the data.
    """
    x = x[:PANELS]
    seen = ~np.isnan(x.astype(np.float64)).any(2, keepdims=True)
    pixels = np.where(seen, np.where(x > 0, 0, 255), 200).astype(np.uint8)  # grey beyond the end of a piece
    pixels = np.pad(pixels.transpose(0, 2, 1)[:, ::-1], ((0, 0), (1, 1), (0, 0)), constant_values=128)  # [N, K + 2, T]
    factor = max(1, 640 // pixels.shape[2])
    return Image.fromarray(pixels.reshape(-1, pixels.shape[2]).repeat(factor, axis=1))


def transposed(x: np.ndarray, shift: np.ndarray, spec: Spec) -> np.ndarray:
    """Returns rolls that are moved by a number of semitones; rolls that would lose a key stay. On the device.

    Args:
      x: rolls [N, T, K].
      shift: semitones of each roll [N].
      spec: facts of the data.
    """
    last = spec.shape[-1] - 1
    used, keys = x.max(1) > 0, np.arange(last + 1)[None]  # [N, K]
    moved = keys + shift[:, None]
    fits = (~used | ((moved >= 0) & (moved <= last))).all(1)
    source = keys - (shift * fits)[:, None]
    inside = (source >= 0) & (source <= last)
    rows, frames = np.arange(len(x))[:, None, None], np.arange(x.shape[1])[None, :, None]
    return x[rows, frames, source.clip(0, last)[:, None]] * inside[:, None]


ROLL = Kind(
    "roll",
    "piano rolls",
    "TD",
    binary=True,
    default_transform="none",
    options=("window",),
    read={".mat": rolls},
    write={".mid": midi, ".wav": wav_writer(midi)},
    picture=piano,
    transpose=transposed,
)
