"""Judges the digits that a run draws: are they digits, of all classes, and not copies?

    python benchmarks/digits.py runs/gan [runs/other ...]

The judge is scikit-learn's SVC (gamma 0.001, C 10, probabilities) trained on the real training digits: a sample counts
as a digit where some class has a probability of at least 0.9. Copies are looked for by the median Euclidean distance
to the nearest training image, over that of the real held-out digits.
"""

import sys
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import pairwise_distances
from sklearn.svm import SVC

import gen_jax
from gen_jax.verbs.draw import draw


def main(workdirs: list[str]) -> None:
    x, y = load_digits(return_X_y=True)
    test = np.arange(len(x)) % 5 == 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        judge = SVC(gamma=0.001, C=10, probability=True, random_state=0).fit(x[~test], y[~test])

    def figures(images: np.ndarray) -> tuple[float, np.ndarray, float]:
        probability = judge.predict_proba(images)
        shares = np.bincount(probability.argmax(1), minlength=10) / len(images)
        nearest = np.median(pairwise_distances(images, x[~test]).min(1))
        return (probability.max(1) >= 0.9).mean(), shares, nearest

    real = figures(x[test])
    print(f"{'real held-out':<24}{real[0]:>8.1%}  classes {real[1].min():.1%} to {real[1].max():.1%}  distance 1.00")
    for workdir in workdirs:
        run = gen_jax.load(workdir)
        images = draw(run.model, run.state, run.spec, seed=1, num=1000)["x"].reshape(1000, -1).astype(np.float64)
        good, shares, nearest = figures(images)
        print(
            f"{workdir:<24}{good:>8.1%}  classes {shares.min():.1%} to {shares.max():.1%}  "
            f"distance {nearest / real[2]:.2f}  step {run.step}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
