"""A training step and the samples of a spline flow of rows of 16 numbers, beside normflows.

Both have 6 coupling layers of splines of 8 bins, each after a linear map L U, and residual nets of 2 blocks of 64 units. normflows also bends
the numbers that a layer leaves alone, by splines that depend on nothing.
"""

from typing import Any

import numpy as np

from pairs import Pair, Run, Setting, eager_and_compiled, picks, spec_of, torch_device, torch_training, training

NUMBERS, LAYERS, BINS, BOX, WIDTH, BLOCKS, ROWS, STEPS, SAMPLES = 16, 6, 8, 4.0, 64, 2, 256, 20, 10_000


def rows(num: int = 4096) -> np.ndarray:
    """Made-up rows [N, NUMBERS]."""
    return np.random.default_rng(0).normal(size=(num, NUMBERS)).astype(np.float32)


def model_of() -> Any:
    """Our flow."""
    from gen_jax.models.flow import flow

    net = {"name": "mlp", "width": WIDTH, "blocks": BLOCKS}
    adam = {"name": "adam", "learning_rate": 1e-3, "clip_norm": 5.0}
    return flow(spec_of("vector", (NUMBERS,)), net, layers=LAYERS, bins=BINS, box=BOX, optimizer=adam)


def ours(setting: Setting) -> Run:
    x = rows()
    return training(model_of(), x, picks(len(x), ROWS, STEPS), setting)


def our_samples(setting: Setting) -> Run:
    import jax

    model = model_of()
    state = jax.jit(model.init)(jax.random.key(0), {"x": rows(ROWS)})

    def run() -> int:
        jax.block_until_ready(model.sample(jax.random.key(0), state, SAMPLES))
        return 1

    return run


def torch_flow() -> Any:
    """The flow of normflows."""
    import normflows

    layers: list[Any] = []
    for number in range(LAYERS):
        spline = normflows.flows.CoupledRationalQuadraticSpline(
            NUMBERS, BLOCKS, WIDTH, num_bins=BINS, tail_bound=BOX, reverse_mask=bool(number % 2)
        )
        layers += [spline, normflows.flows.LULinearPermute(NUMBERS)]
    return normflows.NormalizingFlow(normflows.distributions.DiagGaussian(NUMBERS, trainable=False), layers)


def theirs(setting: Setting, compiled: bool) -> Run:
    import torch

    device = torch_device(setting)
    model = torch_flow().to(device)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loss = torch.compile(model.forward_kld) if compiled else model.forward_kld
    x = rows()
    order = torch.from_numpy(picks(len(x), ROWS, STEPS)).long().to(device)
    return torch_training(setting, loss, optimizer, torch.from_numpy(x).to(device), order, clip=5.0)


def their_samples(setting: Setting) -> Run:
    import torch

    model = torch_flow().to(torch_device(setting))

    def run() -> int:
        with torch.no_grad():
            model.sample(SAMPLES)[0][-1].tolist()
        return 1

    return run


PAIRS = {
    "spline_flow": Pair(
        f"a step of a spline flow, {ROWS} rows of {NUMBERS} numbers",
        ours,
        eager_and_compiled(theirs, "normflows"),
        gpu=("fp32",),
    ),
    "spline_samples": Pair(
        f"{SAMPLES:,} samples of a spline flow of {NUMBERS} numbers",
        our_samples,
        {"normflows": their_samples},
        gpu=("fp32",),
    ),
}
