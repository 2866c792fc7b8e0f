"""Another order of the hidden states, and the number of free parameters, of an `HmmState`.

The order of hidden states after EM is arbitrary. Before you compare two models, `align` one to the other or `permute`
its states.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gen_jax.models.hmm.discrete_emissions import Bernoulli, Categorical
from gen_jax.models.hmm.gaussian_emissions import Gaussian


def permute(state: Any, order: Any) -> Any:
    """Returns the same model with its hidden states in another order: the new state k is the old state order[k].

    Args:
      state: the model.
      order: a permutation of the states [K].
    """
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
    """Returns `state` with its hidden states in the order of the most similar states of `reference`.

    The assignment minimises the sum of squared distances between the profiles of emissions (Kuhn 1955).

    Args:
      state: the model whose states are ordered.
      reference: the model that gives the order.
    """
    from scipy.optimize import linear_sum_assignment  # here, because it is slow to import

    profiles = np.asarray(profile(state.emission), np.float64)  # [K, F]
    targets = np.asarray(profile(reference.emission), np.float64)
    return permute(state, linear_sum_assignment(np.square(targets[:, None] - profiles[None]).sum(-1))[1])


def profile(params: Categorical | Bernoulli | Gaussian) -> jax.Array:
    """Returns the features by which states are compared.

    They are probabilities, or means and standard deviations along main axes.

    Args:
      params: the emissions.

    Returns:
      Features [K, F].
    """
    if isinstance(params, Categorical):
        return jnp.exp(params.log_prob)
    if isinstance(params, Bernoulli):
        return jax.nn.sigmoid(params.logits)
    full = params.log_variance.ndim == 3
    log_variance = jnp.linalg.eigvalsh(params.log_variance) if full else params.log_variance
    return jnp.concatenate([params.mean, jnp.exp(0.5 * log_variance)], -1)


def free_parameters(state: Any) -> int:
    """Returns the number of free parameters. A row that sums to one has one parameter less; a covariance is symmetric.

    Args:
      state: the model.
    """
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
      log_likelihood: ln L of all frames, in nats.
      num_params: number of free parameters p.
      frames: number of observed frames n.
    """
    return num_params * math.log(frames) - 2 * log_likelihood
