"""The training step of configs/bbans.py beside the same step in PyTorch, eager and compiled, alternating in one process.

    pip install -e ".[bench]"
    python benchmarks/vae_torch.py [--rounds 9] [--threads 2]

784-100-40 and back with ReLU, Bernoulli, the KL in closed form, one draw a row, Adam, batches of 100 rows that each program takes
from 10,000 rows in memory. Prints medians in milliseconds a step, their ratios, and what the same number of steps as
in the config (20 epochs) would take. Compilation is not counted.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from functools import partial

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=9)
parser.add_argument("--steps", type=int, default=300, help="of a round")
parser.add_argument("--threads", type=int, default=os.cpu_count())
FLAGS = parser.parse_args()
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: FLAGS.threads])  # before either library counts the cores

import jax
import numpy as np
import torch
import torch.nn.functional as F
from alternate import times
from torch import nn

from gen_jax.data.spec import Spec
from gen_jax.models.vae import ADAM, vae

PIXELS, HIDDEN, LATENTS, BATCH, EPOCHS_STEPS = 784, 100, 40, 100, 12_000


def jax_steps(rows: np.ndarray, picks: np.ndarray) -> Callable[[], None]:
    """Steps over the batches of the rows [N, 28, 28, 1] that `picks` [steps, BATCH] names; the state goes on."""
    spec = Spec("noise", "image", rows.shape[1:], "uint8", 0.0, 1.0, 0, 1, None, {}, "", {})
    net = {"name": "mlp", "hidden": (HIDDEN,), "activation": "relu"}
    model = vae(spec, net, net, latent_size=LATENTS, optimizer=ADAM)
    x = jax.numpy.asarray(rows, "float32")
    held = [jax.jit(model.init)(jax.random.key(0), {"x": x[:BATCH]}), 0]

    @partial(jax.jit, donate_argnums=1)
    def step(number: jax.Array, state: object, x: jax.Array, pick: jax.Array) -> tuple:
        return model.step(jax.random.fold_in(jax.random.key(0), number), state, {"x": x[pick]})

    def run() -> None:
        for pick in picks:
            held[0], metrics = step(held[1], held[0], x, pick)
            held[1] += 1
        jax.block_until_ready(metrics)

    return run


def torch_steps(rows: np.ndarray, picks: np.ndarray, compiled: bool) -> Callable[[], None]:
    """As `jax_steps`, in PyTorch."""
    encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENTS))
    decoder = nn.Sequential(nn.Linear(LATENTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
    x, picks = torch.from_numpy(rows.reshape(-1, PIXELS).astype(np.float32)), torch.from_numpy(picks)

    def loss(x: torch.Tensor) -> torch.Tensor:
        mean, log_scale = encoder(x).chunk(2, 1)
        logits = decoder(mean + log_scale.exp() * torch.randn_like(mean))
        kl = 0.5 * (mean.square() + (2 * log_scale).exp() - 1) - log_scale
        return (F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1) + kl.sum(1)).mean()

    loss = torch.compile(loss) if compiled else loss

    def run() -> None:
        for pick in picks:
            optimizer.zero_grad(set_to_none=True)
            value = loss(x[pick])
            value.backward()
            optimizer.step()
        value.item()

    return run


def main() -> None:
    torch.set_num_threads(FLAGS.threads)
    draw = np.random.default_rng(0)
    rows = draw.integers(0, 2, (10_000, 28, 28, 1)).astype(np.uint8)
    picks = draw.integers(0, len(rows), (FLAGS.steps, BATCH))
    runs = {
        "gen_jax": jax_steps(rows, picks.astype(np.int32)),
        "PyTorch": torch_steps(rows, picks, False),
        "PyTorch compiled": torch_steps(rows, picks, True),
    }
    medians = {name: statistics.median(taken) / FLAGS.steps for name, taken in times(runs, FLAGS.rounds).items()}
    for name, ms in medians.items():
        ratio = ms / medians["gen_jax"]
        print(f"{name}: median {ms:.3f} ms a step, {ratio:.2f} times ours; {EPOCHS_STEPS} steps {ms * 12:.0f} s")


if __name__ == "__main__":
    main()
