"""Hidden states in another order, and the number of free parameters, of an `HmmState`.

EM gives hidden states in no order: `align` a model to a reference before you compare them, or `permute` its states.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.models.hmm.discrete_emissions import Bernoulli, Categorical
from gen_jax.models.hmm.gaussian_emissions import Gaussian


def permute(state: Any, order: Any) -> Any:
    """Returns the same model with its hidden states in another order: the new state k is the old state order[k]."""
    order = jnp.asarray(order)

    def chain(tables: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return tables[0][order], tables[1][order][:, order]

    def emission(tree: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[order], tree)

    running = state.statistics
    if running is not None:
        initial, transition = chain((running.initial, running.transition))
        running = running._replace(initial=initial, transition=transition, emission=emission(running.emission))
    log_initial, log_transition = chain((state.log_initial, state.log_transition))
    return state._replace(
        log_initial=log_initial, log_transition=log_transition, emission=emission(state.emission), statistics=running
    )


def align(state: Any, reference: Any) -> Any:
    """Returns `state` with each hidden state in the place of the state of `reference` that it resembles.

    The sum of squared distances between the profiles of emissions is the least (Kuhn 1955).
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    profiles = np.asarray(profile(state.emission), np.float64)  # [K, F]
    targets = np.asarray(profile(reference.emission), np.float64)
    return permute(state, linear_sum_assignment(np.square(targets[:, None] - profiles[None]).sum(-1))[1])


def profile(params: Categorical | Bernoulli | Gaussian) -> jax.Array:
    """Returns what states are compared by [K, F]: probabilities, or means and standard deviations along main axes."""
    if isinstance(params, Categorical):
        return jnp.exp(params.log_prob)
    if isinstance(params, Bernoulli):
        return jax.nn.sigmoid(params.logits)
    full = params.log_variance.ndim == 3
    log_variance = jnp.linalg.eigvalsh(params.log_variance) if full else params.log_variance
    return jnp.concatenate([params.mean, jnp.exp(0.5 * log_variance)], -1)


def free_parameters(state: Any) -> int:
    """Returns the number of free parameters: a row that sums to one has one less, a covariance is symmetric."""
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
    """Returns the Bayesian information criterion p ln n - 2 ln L, lower is better (Schwarz 1978).

    Args:
      log_likelihood: ln L of all frames, nats.
      num_params: p, number of free parameters.
      frames: n, number of observed frames.
    """
    return num_params * math.log(frames) - 2 * log_likelihood
