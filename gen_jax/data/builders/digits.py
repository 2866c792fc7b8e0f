"""The 1,797 digits of 8x8 pixels that scikit-learn ships (Alpaydin & Kaynak 1998, UCI), offline."""

from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds


class Digits(tfds.core.GeneratorBasedBuilder):
    """Reads the digits of scikit-learn. Every fifth row is in the test split: 1,438 train, 359 test.

    Values are 0 to 16 as in `load_digits().images`.
    """

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Tensor(shape=(8, 8, 1), dtype=np.uint8),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
            ),
            metadata=tfds.core.MetadataDict({"low": 0, "high": 16}),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {"train": self._generate_examples(False), "test": self._generate_examples(True)}

    def _generate_examples(self, test: bool) -> Iterator[tuple[int, dict]]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        for row, (image, label) in enumerate(zip(digits.images, digits.target)):
            if (row % 5 == 4) == test:
                yield row, {"image": image.astype(np.uint8)[..., None], "label": int(label)}
