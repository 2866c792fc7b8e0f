"""Conditions of samples from rows of the data: what a model is asked for, beside the true rows."""

from typing import NamedTuple

import numpy as np

from gen_jax.data.feed.order import Rows
from gen_jax.data.spec import Spec, to_model
from gen_jax.model import Model


class Asked(NamedTuple):
    """Holds conditions for a model, and the true rows of these conditions.

    Attributes:
      given: conditions by name [num, ...] in model space.
      truth: true rows `x` [num, *shape] in the domain of the data; None if they are not known.
    """

    given: dict[str, np.ndarray]
    truth: np.ndarray | None = None


def needs_condition(model: Model) -> bool:
    """Returns whether a model draws samples for a condition `c` only, which has no prior.

    Args:
      model: the model.
    """
    return "c" in model.given


def conditions_of_rows(model: Model, spec: Spec, rows: Rows) -> Asked:
    """Returns the conditions of raw rows, as a model reads them, with the true rows.

    Args:
      model: the model.
      spec: facts of the data.
      rows: raw rows with `c`, and `y` and `c_length` if the data have them.
    """
    given: dict[str, np.ndarray] = {}
    for name in ("y", "c", "c_length"):
        if name in rows and name in model.given:
            given[name] = np.asarray(rows[name])
    if spec.condition is not None and "c" in given:
        given["c"] = np.asarray(to_model(spec.condition, given["c"]))
    return Asked(given, np.asarray(rows["x"]))
