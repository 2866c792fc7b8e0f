"""The Parzen-window log-likelihood of early GAN papers (Breuleux et al. 2011; Goodfellow et al. 2014, section 5).

A window on samples is not monotone in their quality (Theis et al. 2016, arXiv 1511.01844): it serves to compare with
papers that report it, beside what real training rows score.
"""

import numpy as np

from gen_jax.metrics.images.neighbours import squared_distances

DEVIATIONS = np.logspace(-1, 0, 10)  # candidates for the width of the window


def parzen_log_prob(x: np.ndarray, samples: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """log 1/N sum_i N(x; samples_i, s^2 I) [S, M] in nats, for each s of `deviations` [S]; x [M, D], samples [N, D]."""
    found = np.empty((len(deviations), len(x)))
    for part, squared in squared_distances(x, samples):
        for row, deviation in enumerate(deviations):
            exponent = squared / (-2 * deviation**2)  # [block, N]
            largest = exponent.max(1, keepdims=True)
            found[row, part] = largest[:, 0] + np.log(np.exp(exponent - largest).mean(1))
    return found - x.shape[1] / 2 * np.log(2 * np.pi * np.square(deviations))[:, None]


def parzen_statistics(samples: np.ndarray, validation: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Mean log-likelihood of test rows in nats, its standard error, and the deviation that is best on validation rows.

    Args:
      samples, validation, test: [N, D], [V, D], [M, D] in [0, 1].
    """
    best = DEVIATIONS[parzen_log_prob(validation, samples, DEVIATIONS).mean(1).argmax()]
    log_prob = parzen_log_prob(test, samples, np.array([best]))[0]
    error = log_prob.std() / np.sqrt(len(log_prob))
    return {"parzen": float(log_prob.mean()), "parzen_error": float(error), "parzen_deviation": float(best)}
