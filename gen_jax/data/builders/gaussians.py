"""The two mixtures of Gaussians on which mode collapse is measured, with the parameters of PacGAN (arXiv 1712.04086)."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

ANGLES = np.arange(8) * np.pi / 4
MIXTURES = {  # name -> (means [K, 2], standard deviation of each coordinate)
    "grid": (np.stack(np.meshgrid(np.arange(-4, 5, 2), np.arange(-4, 5, 2)), axis=-1).reshape(-1, 2), 0.05),
    "ring": (np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=-1), 0.01),
}
ROWS = {"train": 100_000, "test": 25_000}


class Gaussians(tfds.core.GeneratorBasedBuilder):
    """Draws from mixtures with equal weights.

    `grid` has 25 modes with standard deviation 0.05 at distance 2. `ring` has 8 modes with standard deviation 0.01 on
    the unit circle.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS reads a list)
        tfds.core.BuilderConfig(name=name) for name in MIXTURES
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        means, deviation = MIXTURES[self.builder_config.name]
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict({"x": tfds.features.Tensor(shape=(2,), dtype=np.float32)}),
            metadata=tfds.core.MetadataDict({"means": means.tolist(), "deviation": deviation}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {split: self._generate_examples(split) for split in ROWS}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        means, deviation = MIXTURES[self.builder_config.name]
        random = np.random.default_rng(list(ROWS).index(split))
        modes = random.integers(len(means), size=ROWS[split])
        points = random.normal(means[modes], deviation).astype(np.float32)  # [N, 2]
        for row, point in enumerate(points):
            yield row, {"x": point}
