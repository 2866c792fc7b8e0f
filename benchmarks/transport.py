"""Flow matching in two dimensions beside torchcfm's own code: the distance W2 of samples to new data, in one run.

    pip install --no-deps torchcfm      (beside gen_jax[bench])
    python benchmarks/transport.py [--steps=20000] [--seeds=3] [--num=2000]

Both learn a flow from N(0, I) to eight Gaussians and to two moons in batches of 256, by Adam at 1e-3, with noise paired at
random or by optimal transport: within the batch (torchcfm) or groups of 64 rows (gen_jax). torchcfm has its MLP of 3 x 64
units and its width sigma of 0.1; gen_jax has its denoising MLP of 3 blocks of 64 units, and averaged weights. Samples take
100 steps of Euler's method. W2 is the root of the mean squared distance under the best assignment of samples to as many new
rows. The floor is W2 of real rows to new rows.
"""

import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import make_moons

import gen_jax
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup

BATCH, EULER, ROWS = 256, 100, 100_000
PAIRINGS = ("independent", "transport")
Points = Callable[[int, int], np.ndarray]  # (number, seed) -> points [number, 2]


def eight(num: int, seed: int) -> np.ndarray:
    """Returns torchcfm's eight Gaussians, whose covariance is sqrt(0.1) I."""
    random = np.random.default_rng(seed)
    angles = random.integers(8, size=num) * np.pi / 4
    centres = 5 * np.stack([np.cos(angles), np.sin(angles)], 1)
    return (centres + 0.1**0.25 * random.normal(size=(num, 2))).astype(np.float32)


def moons(num: int, seed: int) -> np.ndarray:
    """Returns torchcfm's two moons."""
    return (make_moons(num, noise=0.2, random_state=seed)[0] * 3 - 1).astype(np.float32)


def distance(x: np.ndarray, y: np.ndarray) -> float:
    """Returns W2 of two sets of as many points [N, 2]."""
    cost = np.square(x[:, None] - y[None]).sum(-1)
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def ours(points: Points, pairing: str, steps: int, seed: int, num: int) -> np.ndarray:
    """Returns samples of a diffusion model of gen_jax."""
    data = gen_jax.data.arrays(points(ROWS, seed), name="points", transform="none")
    model = gen_jax.models.diffusion(
        data.spec,
        {"name": "mlp", "width": 64, "blocks": 3},
        prediction="u",
        deviation=2.0,
        pairing=pairing,
        optimizer={"name": "adam", "learning_rate": 1e-3},
        ema_half_life=50_000.0,
    )
    with tempfile.TemporaryDirectory() as folder:
        options = {"log_every": steps, "sample_every": 0, "save_every": 0, "quiet": True, "seed": seed}
        run = gen_jax.fit(model, data, workdir=folder, steps=steps, batch_size=BATCH, **options)
        return run.sample(num, seed=seed, steps=EULER, solver="euler")["x"]


def theirs(points: Points, pairing: str, steps: int, seed: int, num: int) -> np.ndarray:
    """Returns samples of a flow that torchcfm's classes and its tutorial's loop trained."""
    import torch
    from torchcfm.conditional_flow_matching import (
        ConditionalFlowMatcher,
        ExactOptimalTransportConditionalFlowMatcher,
    )
    from torchcfm.models import MLP

    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    rows = torch.from_numpy(points(ROWS, seed))
    matcher = {"independent": ConditionalFlowMatcher, "transport": ExactOptimalTransportConditionalFlowMatcher}[
        pairing
    ](sigma=0.1)
    net = MLP(dim=2, time_varying=True)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(steps):
        x1 = rows[torch.from_numpy(random.integers(ROWS, size=BATCH))]
        t, xt, ut = matcher.sample_location_and_conditional_flow(torch.randn_like(x1), x1)
        loss = torch.mean((net(torch.cat([xt, t[:, None]], 1)) - ut) ** 2)
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        x = torch.randn(num, 2)
        for number in range(EULER):
            x = x + net(torch.cat([x, torch.full((num, 1), number / EULER)], 1)) / EULER
    return x.numpy()


def results(points: Points, steps: int, seeds: int, num: int) -> Iterator[tuple[str, list[float], list[float]]]:
    """Yields the name of each method, its distances and its seconds, a number for each seed."""
    new = [points(num, 10_000 + seed) for seed in range(seeds)]
    yield "floor", [distance(points(num, 20_000 + seed), new[seed]) for seed in range(seeds)], [0.0]
    for pairing in PAIRINGS:
        for name, draw in (("gen_jax", ours), ("torchcfm", theirs)):
            distances, seconds = [], []
            for seed in range(seeds):
                start = time.perf_counter()
                x = draw(points, pairing, steps, seed, num)
                seconds.append(time.perf_counter() - start)
                distances.append(distance(x, new[seed]))
            yield f"{name}, {pairing}", distances, seconds


def main(argv: list[str]) -> None:
    """Prints a table of both targets."""
    flags = command_line.parse(
        argv,
        {
            "steps": (20_000, "number of steps"),
            "seeds": (3, "number of seeds"),
            "num": (2000, "number of samples"),
        },
        required=None,
    )
    startup.start()
    for title, points in {"eight Gaussians": eight, "two moons": moons}.items():
        print(f"N(0, I) to {title}, {flags.steps} steps")
        for name, distances, seconds in results(points, flags.steps, flags.seeds, flags.num):
            each = " ".join(f"{value:.3f}" for value in distances)
            print(f"  {name:<24} W2 {np.mean(distances):.3f} ({each})  {np.mean(seconds):5.0f} s", flush=True)


if __name__ == "__main__":
    command(main)
