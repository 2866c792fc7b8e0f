"""Rules of optimizers by the path of a weight: Muon for the matrices within a net, and rates of parts of a net."""

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import jax
import optax
from optax.contrib import MuonDimensionNumbers
from optax.contrib import muon as optax_muon

from gen_jax.errors import UserError

OUTER = ("project", "table", "embedding", "out", "condition")  # layers at the ends of a net


def path_of(path: tuple) -> str:
    """Returns the path of a weight, with a slash between names.

    Args:
      path: keys of the tree.
    """
    return jax.tree_util.keystr(path, simple=True, separator="/")


def is_inner_matrix(path: tuple, weight: jax.Array) -> bool:
    """Returns whether a weight is a matrix between hidden layers, which Muon updates.

    Args:
      path: keys of the tree.
      weight: the weight.
    """
    return weight.ndim == 2 and not {*path_of(path).split("/")} & {*OUTER}


def muon(
    learning_rate: Any,
    weight_decay: Any = 0.0,
    beta: Any = 0.95,
    b1: Any = 0.9,
    b2: Any = 0.95,
) -> optax.GradientTransformation:
    """Returns Muon for the matrices between hidden layers, and AdamW for all other weights.

    Updates of matrices have the root mean square of those of AdamW, so that both have one learning rate (Jordan et al.
    2024; Liu et al. 2025, arXiv 2502.16982, equation 4).

    Args:
      learning_rate: learning rate of all weights.
      weight_decay: decay of all weights, as a share of the learning rate; by default 0.
      beta: decay of the momentum of matrices; by default 0.95.
      b1: decay of the first moment of other weights; by default 0.9.
      b2: decay of the second moment of other weights; by default 0.95.
    """

    def matrices(params: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, weight: MuonDimensionNumbers() if is_inner_matrix(path, weight) else None, params
        )

    return optax_muon(
        learning_rate,
        beta=beta,
        weight_decay=weight_decay,
        adam_b1=b1,
        adam_b2=b2,
        adam_weight_decay=weight_decay,
        adam_learning_rate=learning_rate,
        muon_weight_dimension_numbers=matrices,
        consistent_rms=0.2,
    )


def scale_by_path(rates: Mapping[str, float]) -> optax.GradientTransformation:
    """Returns a transformation that multiplies the updates of some weights; 0 freezes them.

    Args:
      rates: factor by a part of the path of a weight, such as a name. The last that fits applies.

    Raises:
      UserError: for a factor that is no number of at least 0, and at the first update for a part that no path has.
    """
    if not isinstance(rates, Mapping):
        raise UserError(f"rates is {rates!r}; expected factors by a part of a path, such as {{'table': 0.1}}")
    for part, rate in rates.items():
        if not isinstance(rate, Real) or isinstance(rate, bool) or not 0 <= rate < math.inf:
            raise UserError(f"rates.{part} is {rate!r}; expected a number of at least 0, which multiplies its updates")

    def scaled(updates: Any, params: Any = None) -> Any:
        paths = {path_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(updates)}
        for part in rates:
            if not any(part in path for path in paths):
                names = sorted({name for path in paths for name in path.split("/")})
                raise UserError(
                    f"rates name {part!r}, which no weight has in its path; expected one of {', '.join(names)}"
                )

        def factor(path: tuple) -> float:
            return next((rate for part, rate in [*rates.items()][::-1] if part in path_of(path)), 1.0)

        return jax.tree_util.tree_map_with_path(lambda path, update: factor(path) * update, updates)

    return optax.stateless(scaled)
