"""Three traditional rounds in six keys, by one to four voices: polyphonic music that needs no file."""

from collections.abc import Iterator
from itertools import product

import numpy as np
import tensorflow_datasets as tfds

FRAMES, KEYS, C4 = 96, 88, 39  # eighth notes of a row; keys of a piano; number of the key of middle C
TUNES = (  # (frames until the next voice begins, semitones above the keynote and frames of each note)
    # Frère Jacques; Row, row, row your boat; London's burning
    (16, "0.2 2.2 4.2 0.2 " * 2 + "4.2 5.2 7.4 " * 2 + "7.1 9.1 7.1 5.1 4.2 0.2 " * 2 + "0.2 -5.2 0.4 " * 2),
    (12, "0.3 0.3 0.2 2.1 4.3 4.2 2.1 4.2 5.1 7.6 12.3 7.3 4.3 0.3 7.2 5.1 4.2 2.1 0.6"),
    (12, "-5.1 -5.1 0.2 0.2 " * 2 + "2.1 2.1 4.2 4.2 " * 2 + "7.2 7.4 " * 2 + "7.1 5.1 4.2 4.2 " * 2),
)
TRANSPOSITIONS, VOICES = range(-3, 3), (1, 2, 3, 4)
TENTH = {"validation": 4, "test": 9}  # row number modulo 10 of a split; all other rows are in the training split


def sung(tune: str) -> np.ndarray:
    """Returns a tune in C as a roll [T, 88].

    Args:
      tune: notes `PITCH.FRAMES`, see `TUNES`.
    """
    notes = [note.split(".") for note in tune.split()]
    keys = np.repeat([C4 + int(pitch) for pitch, _ in notes], [int(frames) for _, frames in notes])
    return np.eye(KEYS, dtype=np.uint8)[keys]


class Rounds(tfds.core.GeneratorBasedBuilder):
    """Generates Frère Jacques, Row, row, row your boat, and London's burning, in 6 keys and with 1 to 4 voices.

    The voices begin one after the other, and repeat the tune. All tunes are by unknown authors and older than 1900. A
    roll does not tell a repeated note from a held note.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict({"x": tfds.features.Tensor(shape=(FRAMES, KEYS), dtype=np.uint8)}),
            metadata=tfds.core.MetadataDict({"kind": "roll", "low": 0, "high": 1}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {split: self._generate_examples(split) for split in ("train", *TENTH)}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        others = {tenth: name for name, tenth in TENTH.items()}
        for row, ((delay, tune), shift, voices) in enumerate(product(TUNES, TRANSPOSITIONS, VOICES)):
            if others.get(row % 10, "train") == split:
                line = np.roll(np.resize(sung(tune), (FRAMES, KEYS)), shift, axis=1)
                entries = [np.pad(line, ((delay * voice, 0), (0, 0)))[:FRAMES] for voice in range(voices)]
                yield row, {"x": np.max(entries, axis=0)}
