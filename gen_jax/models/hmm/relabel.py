"""Hidden states under another name, and how many numbers describe them. Works on the states of `models.hmm`.

EM gives hidden states in no order: `align` a model to a reference before comparing, or `permute` it by a key you choose.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.models.hmm.emissions import Bernoulli, Categorical, Gaussian


def permute(state: Any, order: Any) -> Any:
    """The same model with its hidden states in another order: the new state k is the old state order[k]."""
    order = jnp.asarray(order)

    def chain(tables: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return tables[0][order], tables[1][order][:, order]

    def emission(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[order], tree)

    running = state.statistics
    if running is not None:
        running = type(running)(*chain(running[:2]), emission(running.emission))
    log_initial, log_transition = chain((state.log_initial, state.log_transition))
    return state._replace(
        log_initial=log_initial, log_transition=log_transition, emission=emission(state.emission), statistics=running
    )


def align(state: Any, reference: Any) -> Any:
    """`state` in the order of the hidden states of `reference` whose emissions they resemble (Kuhn 1955)."""
    from scipy.optimize import linear_sum_assignment  # slow to import

    mine, theirs = (np.asarray(profile(each.emission), np.float64) for each in (state, reference))
    return permute(state, linear_sum_assignment(np.square(theirs[:, None] - mine[None]).sum(-1))[1])


def profile(params: Categorical | Bernoulli | Gaussian) -> jax.Array:
    """What states are compared by [K, F]: probabilities, or means beside standard deviations along the main axes."""
    if isinstance(params, Categorical):
        return jnp.exp(params.log_prob)
    if isinstance(params, Bernoulli):
        return jax.nn.sigmoid(params.logits)
    full = params.log_variance.ndim == 3
    log_variance = jnp.linalg.eigvalsh(params.log_variance) if full else params.log_variance
    return jnp.concatenate([params.mean, jnp.exp(0.5 * log_variance)], -1)


def free_parameters(state: Any) -> int:
    """How many numbers are free: rows that sum to one lack one, a covariance is symmetric."""
    states, params = len(state.log_initial), state.emission
    chain = states - 1 + states * (states - 1)
    if isinstance(params, Categorical):
        return chain + params.log_prob.size - states
    if isinstance(params, Bernoulli):
        return chain + params.logits.size
    dimensions = params.mean.shape[1]
    covariance = dimensions if params.log_variance.ndim == 2 else dimensions * (dimensions + 1) // 2
    return chain + states * (dimensions + covariance)


def bic(log_likelihood: float, num_params: int, frames: int) -> float:
    """Schwarz 1978 (Annals of Statistics 6): p ln n - 2 ln L; the lower the better. `frames` are those observed."""
    return num_params * math.log(frames) - 2 * log_likelihood
