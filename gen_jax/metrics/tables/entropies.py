"""Entropies and mutual informations of columns of levels, estimated from samples of any model."""

from collections.abc import Sequence

import numpy as np


def information_of_samples(
    codes: np.ndarray, first: Sequence[int], second: Sequence[int], given: Sequence[int] = ()
) -> tuple[float, float]:
    """Returns I(first; second | given) in nats, estimated from samples, and its standard error.

    If `second` is `first`, this is H(first | given). It is the plug-in estimate with the correction of Miller and Madow
    (1955), (number of levels that occur - 1) / 2N for an entropy. The error is that of a mean over the rows.

    Args:
      codes: N rows of codes [N, D].
      first: places of columns.
      second: places of columns.
      given: places of columns.
    """
    codes = np.asarray(codes)
    num = len(codes)
    correction = 0  # levels that occur, with the sign of the entropy that they belong to
    log_ratio = np.zeros(num)  # log p(first, second, given) p(given) / p(first, given) p(second, given) of each row
    for sign, columns in ((1, (*first, *second)), (1, ()), (-1, first), (-1, second)):
        joint = codes[:, [*columns, *given]]
        _, place, counts = np.unique(joint, axis=0, return_inverse=True, return_counts=True)
        log_ratio += sign * np.log(counts / num)[place.ravel()]
        correction += sign * len(counts)
    return float(log_ratio.mean()) - correction / (2 * num), float(log_ratio.std() / np.sqrt(num))
