"""An EM iteration of `models.hmm` beside hmmlearn's (scaling) and dynamax's.

Diagonal Gaussian emissions from the same start. hmmlearn computes in float64 on one thread, the others in float32.
"""

from functools import partial

import numpy as np

from pairs import Pair, Run, Setting, spec_of

SHAPES = {  # sequences, frames, dimensions, states, iterations of a round
    "hmm_states": (200, 50, 10, 50, 3),
    "hmm_frames": (1, 50_000, 1, 4, 20),
}


def start(shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Observations [B, T, D] and where EM begins: transition [K, K], mean [K, D]."""
    rows, frames, dimensions, states, _ = shape
    rng = np.random.RandomState(0)
    return (
        rng.normal(size=(rows, frames, dimensions)),
        rng.dirichlet(np.ones(states), states),
        rng.normal(size=(states, dimensions)),
    )


def ours(setting: Setting, shape: tuple[int, ...]) -> Run:
    """Steps of `models.hmm`; the state goes on."""
    import jax
    import jax.numpy as jnp

    from gen_jax.models.hmm import hmm
    from gen_jax.models.hmm.gaussian_emissions import Gaussian

    x, transition, mean = (jnp.asarray(each, jnp.float32) for each in start(shape))
    flat = {"initial_strength": 0.0, "transition_strength": 0.0}
    model = hmm(spec_of("series", x.shape[1:]), shape[3], {"name": "gaussian", "floor": 1e-6}, **flat)
    state = model.init(jax.random.key(0), {"x": x})
    even = jnp.full(shape[3], -jnp.log(shape[3]))
    emission = Gaussian(mean, jnp.zeros_like(mean))
    held = [state._replace(log_initial=even, log_transition=jnp.log(transition), emission=emission)]
    step = jax.jit(lambda state, x: model.step(jax.random.key(0), state, {"x": x}), donate_argnums=0)

    def run() -> int:
        for _ in range(shape[4]):
            held[0], _ = jax.block_until_ready(step(held[0], x))
        return shape[4]

    return run


def hmmlearn(setting: Setting, shape: tuple[int, ...]) -> Run:
    """Iterations of hmmlearn's GaussianHMM."""
    from hmmlearn.hmm import GaussianHMM

    x, transition, mean = start(shape)
    options = {"init_params": "", "implementation": "scaling", "covars_prior": 0.0, "tol": -np.inf}
    model = GaussianHMM(shape[3], "diag", n_iter=shape[4], **options)
    model.startprob_, model.transmat_, model.means_ = np.full(shape[3], 1 / shape[3]), transition, mean
    model.covars_ = np.ones_like(mean)

    def run() -> int:
        model.fit(x.reshape(-1, shape[2]), [shape[1]] * shape[0])
        return shape[4]

    return run


def dynamax(setting: Setting, shape: tuple[int, ...]) -> Run:
    """Compiled iterations of dynamax's DiagonalGaussianHMM: its E-step over the sequences, then its M-step."""
    import jax
    import jax.numpy as jnp
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
    def iterate(params, m_state, x):
        statistics, _ = jax.vmap(lambda x: model.e_step(params, x))(x)
        return model.m_step(params, props, statistics, m_state)

    def run() -> int:
        for _ in range(shape[4]):
            held[:] = jax.block_until_ready(iterate(*held, x))
        return shape[4]

    return run


PAIRS = {
    name: Pair(
        "an iteration of EM of an HMM: {} x {:,} frames of {}, {} states".format(*shape),
        partial(ours, shape=shape),
        {"hmmlearn": partial(hmmlearn, shape=shape), "dynamax": partial(dynamax, shape=shape)},
    )
    for name, shape in SHAPES.items()
}
