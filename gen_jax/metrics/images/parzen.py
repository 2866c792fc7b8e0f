"""The negative Parzen-window log-likelihood of early GAN papers (Breuleux et al. 2011; Goodfellow et al. 2014, section 5).

It does not follow the quality of samples (Theis et al. 2016, arXiv 1511.01844). It serves to compare with papers that
report it, beside the value of real training rows. Papers print the log-likelihood, the same number with the other sign.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from gen_jax.data.kinds import kind_of
from gen_jax.metrics.features import Real, Rows, subset, unit
from gen_jax.metrics.images.neighbours import squared_distances
from gen_jax.metrics.measure import NEGATIVE, Computation, Measure, Metric

DEVIATIONS = np.logspace(-1, 0, 10)  # candidates for the standard deviation of the window
VALIDATION = 1000  # last rows of the training split, on which the standard deviation is chosen, at most
TESTED = 10_000  # test rows, at most


def parzen_log_prob(x: np.ndarray, samples: np.ndarray, deviations: np.ndarray) -> np.ndarray:
    """Returns log 1/N sum_i N(x; samples_i, s^2 I) [S, M] in nats.

    Args:
      x: rows [M, D].
      samples: centres of the windows [N, D].
      deviations: standard deviations s of the windows [S].
    """
    log_prob = np.empty((len(deviations), len(x)))
    for part, squared in squared_distances(x, samples):
        for row, deviation in enumerate(deviations):
            exponent = squared / (-2 * deviation**2)  # [block, N]
            largest = exponent.max(1, keepdims=True)
            log_prob[row, part] = largest[:, 0] + np.log(np.exp(exponent - largest).mean(1))
    return log_prob - x.shape[1] / 2 * np.log(2 * np.pi * np.square(deviations))[:, None]


def parzen_statistics(samples: np.ndarray, validation: np.ndarray, test: np.ndarray) -> dict[str, float]:
    """Returns the mean negative log-likelihood of test rows in nats, its standard error, and the deviation of the window.

    Args:
      samples: centres of the windows [N, D] in [0, 1].
      validation: rows [V, D] in [0, 1], on which the standard deviation is chosen.
      test: rows [M, D] in [0, 1].
    """
    best = DEVIATIONS[parzen_log_prob(validation, samples, DEVIATIONS).mean(1).argmax()]
    log_prob = parzen_log_prob(test, samples, np.array([best]))[0]
    error = log_prob.std() / np.sqrt(len(log_prob))
    return {"parzen_nll": -float(log_prob.mean()), "parzen_error": float(error), "parzen_deviation": float(best)}


def parzen(real: Real) -> Computation | None:
    """Prepares the negative Parzen-window log-likelihood of the test rows, of images with pixels in [0, 1]."""
    spec = real.spec
    if real.test is None or not kind_of(spec).pixels:
        return None
    num_validation = max(1, min(VALIDATION, spec.sizes[real.train] // 4))

    def values(samples: Rows) -> Mapping[str, Any]:
        validation, test = real.rows(real.train)["x"][-num_validation:], real.held_out(TESTED)["x"]
        return parzen_statistics(unit(spec, samples["x"]), unit(spec, validation), unit(spec, test))

    def oracle(num: int) -> tuple[str, Rows]:
        return real.train, subset({"x": real.rows(real.train)["x"][:-num_validation]}, num)

    protocol = {"validation": f"last {num_validation} rows of {real.train}", "tested_on": real.test, **NEGATIVE}
    return Computation(values, lambda: protocol, oracle)


PARZEN = Measure(
    (
        Metric(
            "parzen_nll",
            "mean negative log-likelihood of test rows under Gaussian windows on the samples, pixels in [0, 1], nats",
            better=-1,
        ),
    ),
    parzen,
    data="images and a test split",
    oracle="train rows, as many as there are samples",
    reference="Breuleux et al. 2011; Goodfellow et al. 2014, section 5",
)
