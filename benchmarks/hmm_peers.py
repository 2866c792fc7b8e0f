"""An EM iteration of `models.hmm` beside hmmlearn's (scaling) and dynamax's, alternating in one process.

    pip install hmmlearn dynamax
    python benchmarks/hmm_peers.py [--rounds 7]

Diagonal Gaussian emissions from the same start: 200 sequences of 50 frames, 10 dimensions, 50 states, and one sequence
of 50,000 frames, 1 dimension, 4 states. Prints medians in milliseconds and their ratios; compilation is not counted. A
peer that cannot be imported is named and left out. hmmlearn computes in float64 on one thread, the others in float32.
"""

import argparse
import importlib.util
import statistics
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from alternate import times

from gen_jax.data.spec import Spec
from gen_jax.losses.emissions import Gaussian
from gen_jax.models.hmm import hmm

SHAPES = ((200, 50, 10, 50), (1, 50_000, 1, 4))  # sequences, frames, dimensions, states
FLAT = {"initial_strength": 0.0, "transition_strength": 0.0}


def start(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Observations [B, T, D] and where EM begins: transition [K, K], mean [K, D]."""
    rows, frames, dimensions, states = shape
    rng = np.random.RandomState(0)
    return (
        rng.normal(size=(rows, frames, dimensions)),
        rng.dirichlet(np.ones(states), states),
        rng.normal(size=(states, dimensions)),
    )


def ours(shape: tuple[int, ...]) -> Callable[[], None]:
    """One step of `models.hmm`, which keeps its state."""
    x, transition, mean = (jnp.asarray(each, jnp.float32) for each in start(shape))
    spec = Spec("noise", "series", x.shape[1:], "float32", 0.0, 1.0, -1.0, 1.0, None, {}, "", {})
    model = hmm(spec, shape[3], {"name": "gaussian", "floor": 1e-6}, **FLAT)
    state = model.init(jax.random.key(0), {"x": x})
    even = jnp.full(shape[3], -jnp.log(shape[3]))
    emission = Gaussian(mean, jnp.zeros_like(mean))
    held = [state._replace(log_initial=even, log_transition=jnp.log(transition), emission=emission)]
    step = jax.jit(lambda state: model.step(jax.random.key(0), state, {"x": x}), donate_argnums=0)

    def run() -> None:
        held[0], _ = jax.block_until_ready(step(held[0]))

    return run


def hmmlearn(shape: tuple[int, ...]) -> Callable[[], None]:
    """One iteration of hmmlearn's GaussianHMM."""
    from hmmlearn.hmm import GaussianHMM

    x, transition, mean = start(shape)
    model = GaussianHMM(shape[3], "diag", n_iter=1, init_params="", implementation="scaling", covars_prior=0.0)
    model.startprob_, model.transmat_, model.means_ = np.full(shape[3], 1 / shape[3]), transition, mean
    model.covars_ = np.ones_like(mean)
    return lambda: model.fit(x.reshape(-1, shape[2]), [shape[1]] * shape[0])


def dynamax(shape: tuple[int, ...]) -> Callable[[], None]:
    """One compiled iteration of dynamax's DiagonalGaussianHMM: its E-step over the sequences, then its M-step."""
    from dynamax.hidden_markov_model import DiagonalGaussianHMM

    x, transition, mean = (jnp.asarray(each, jnp.float32) for each in start(shape))
    model = DiagonalGaussianHMM(shape[3], shape[2])
    params, props = model.initialize(
        jax.random.key(0),
        initial_probs=jnp.full(shape[3], 1 / shape[3]),
        transition_matrix=transition,
        emission_means=mean,
        emission_scale_diags=jnp.ones_like(mean),
    )
    held = [params, model.initialize_m_step_state(params, props)]

    @jax.jit
    def iterate(params, m_state):
        statistics, _ = jax.vmap(lambda x: model.e_step(params, x))(x)
        return model.m_step(params, props, statistics, m_state)

    def run() -> None:
        held[:] = jax.block_until_ready(iterate(*held))

    return run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    for shape in SHAPES:
        print("sequences {} x frames {} x dimensions {}, states {}".format(*shape))
        runs = {"gen_jax": ours(shape)}
        for peer in (hmmlearn, dynamax):
            if importlib.util.find_spec(peer.__name__) is None:
                print(f"  {peer.__name__}: not installed")
            else:
                runs[peer.__name__] = peer(shape)
        medians = {name: statistics.median(each) for name, each in times(runs, rounds).items()}
        for name, median in medians.items():
            print(f"  {name:9} {median:8.2f} ms, {median / medians['gen_jax']:6.2f} x")


if __name__ == "__main__":
    main()
