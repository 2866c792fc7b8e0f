"""Samples as files: arrays, and what the data are: pictures, text, music, sound. The kind of the data decides."""

import io

import numpy as np

from gen_jax.data.kinds.pictures import picture
from gen_jax.data.kinds.texts import read_text
from gen_jax.data.spec import Spec, sequences
from gen_jax.data.tables.csv_files import to_csv
from gen_jax.errors import choose

SUFFIXES = {  # kind of data -> what its samples are saved as, the first while training
    "image": (".png",),
    "vector": (".png",),
    "table": (".csv", ".png"),
    "series": (".png",),
    "text": (".txt",),
    "roll": (".mid", ".png"),
    "audio": (".wav", ".png"),
}
BESIDE = {".mid": ".png", ".wav": ".png", ".csv": ".png"}  # what is written beside a file that nobody sees
LINE = "\n" + "-" * 80 + "\n"  # between texts


def arrays(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Samples as the bytes of an .npz file."""
    buffer = io.BytesIO()
    if "y" in samples and "labels" in spec.info:  # as the data have them: 5, 6, 7, 9, or texts
        names = np.array(spec.classes)
        names = names.astype(np.int64) if spec.info["labels"] in "biu" else names
        samples = {**samples, "y": names[samples["y"]]}
    np.savez_compressed(buffer, **samples)
    return buffer.getvalue()


def text(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Texts `x` [N, T], each of its `length`, with a line between them."""
    return LINE.join(read_text(spec, x) for x in sequences(samples)).encode() + b"\n"


def midi(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Piano rolls as a MIDI file."""
    from gen_jax.data.kinds.rolls import midi  # imports SciPy's readers, which are slow

    return midi(samples)


def wav(samples: dict[str, np.ndarray], spec: Spec) -> bytes:
    """Recordings as a WAV file."""
    from gen_jax.data.kinds.audio import wav

    return wav(samples, spec)


WRITERS = {".npz": arrays, ".png": picture, ".txt": text, ".mid": midi, ".wav": wav, ".csv": to_csv}


def encode(samples: dict[str, np.ndarray], spec: Spec, suffix: str) -> dict[str, bytes]:
    """Samples of the data's own domain as files: suffix -> bytes, the one asked for and what belongs beside it.

    Raises:
      UserError: for a suffix that samples of this kind cannot have.
    """
    choose(f"file type of samples of {spec.kind} data", suffix, (".npz", *SUFFIXES[spec.kind]))
    wanted = [suffix, *filter(None, [BESIDE.get(suffix)])]
    return {each: WRITERS[each](samples, spec) for each in wanted}
