"""Mode coverage by the protocol of PacGAN (Lin et al. 2018, arXiv 1712.04086, section 4.1).

A judge assigns each sample to a mode and says whether it is of high quality. For a mixture of Gaussians that is the
nearest mean, within three standard deviations; for labelled images it is a classifier that is sure of its class.
"""

import warnings
from collections.abc import Callable

import numpy as np

Judge = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]  # x [N, ...] -> mode [N] int, high quality [N] bool


def gaussian_judge(means: np.ndarray, deviation: float) -> Judge:
    """Nearest of `means` [K, D]; high quality within 3 deviations (Euclidean distance over the deviation)."""
    means = np.asarray(means, np.float64)

    def judge(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        squared = np.square(x[:, None].astype(np.float64) - means[None]).sum(-1)  # [N, K]
        return squared.argmin(1), squared.min(1) < np.square(3 * deviation)

    return judge


def classifier_judge(x: np.ndarray, y: np.ndarray, low: float, high: float) -> Judge:
    """Class of a support vector machine trained on real images; high quality where its probability is at least 0.9.

    SVC with an RBF kernel, C 10, on pixels scaled to 0..16 and gamma 0.064 / D (0.001 at 8x8), Platt probabilities,
    fixed seed. Modes are numbered by the classes that occur in `y`, in order.
    """
    from sklearn.svm import SVC

    def features(x: np.ndarray) -> np.ndarray:
        return (x.reshape(len(x), -1).astype(np.float64) - low) / (high - low) * 16

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # scikit-learn will drop its own Platt scaling
        classifier = SVC(gamma=0.064 / x[0].size, C=10, probability=True, random_state=0).fit(features(x), y)

    def judge(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        probability = classifier.predict_proba(features(x))  # [N, K]
        return probability.argmax(1), probability.max(1) >= 0.9

    return judge


def mode_statistics(mode: np.ndarray, good: np.ndarray, num_modes: int) -> dict[str, float | None]:
    """Modes with a high-quality sample, share of high quality, KL(modes of these samples || uniform) in nats.

    The divergence is None where no sample is of high quality.
    """
    counts = np.bincount(mode[good], minlength=num_modes)
    share = counts[counts > 0] / max(counts.sum(), 1)
    divergence = float(np.sum(share * np.log(share * num_modes))) if counts.any() else None
    return {"modes": int((counts > 0).sum()), "high_quality": float(good.mean()), "reverse_kl": divergence}
