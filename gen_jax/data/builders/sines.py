"""The sines of TimeGAN (Yoon et al. 2019, section 5.1), with the ranges of its authors' generator."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

STEPS, SINES = 24, 5
ROWS = {"train": 10_000, "test": 2000}


class Sines(tfds.core.GeneratorBasedBuilder):
    """Draws rows of five sines x_d(t) = (1 + sin(f_d t + p_d)) / 2 for t = 0 to 23.

    The frequencies and phases are f_d and p_d ~ U(0, 0.1).
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict({"x": tfds.features.Tensor(shape=(STEPS, SINES), dtype=np.float32)}),
            metadata=tfds.core.MetadataDict({"kind": "series", "low": 0.0, "high": 1.0}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {split: self._generate_examples(split) for split in ROWS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        random = np.random.default_rng(list(ROWS).index(split))
        frequency, phase = random.uniform(0, 0.1, (2, ROWS[split], 1, SINES))
        waves = (1 + np.sin(frequency * np.arange(STEPS)[None, :, None] + phase)) / 2  # [N, T, D]
        for row, wave in enumerate(waves.astype(np.float32)):
            yield row, {"x": wave}
