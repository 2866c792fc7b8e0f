"""Karpathy's 1.1 MB of Shakespeare's plays, public-domain text that the package holds, in the splits of TFDS, offline."""

import bz2
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import tensorflow_datasets as tfds

TEXT = Path(__file__).with_suffix(".txt.bz2")
ENDS = {"train": 1_003_854, "validation": 1_059_624, "test": 1_115_394}  # end of each split


class TinyShakespeare(tfds.core.GeneratorBasedBuilder):
    """Holds one text for each split: 1,003,854 characters train, 55,770 validation, 55,770 test."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, description=__doc__, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        parts = dict(zip(ENDS, pairwise((0, *ENDS.values()))))
        return {split: self._generate_examples(*part) for split, part in parts.items()}

    def _generate_examples(self, start: int, stop: int) -> Iterator[tuple[int, dict]]:
        yield 0, {"text": bz2.decompress(TEXT.read_bytes())[start:stop]}
