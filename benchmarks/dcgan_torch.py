"""The step of configs/dcgan.py beside the same step in PyTorch, alternating in one process.

    pip install -e ".[bench]"
    python benchmarks/dcgan_torch.py [--channels 32,16] [--rounds 7]

Both do one update of the discriminator and one of the generator with Adam on the same batch of 64 MNIST-sized images,
with batch normalisation and the non-saturating loss; the nets have as many weights. Prints the medians and their ratio.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
import torch
import torch.nn.functional as F
from alternate import times
from torch import nn

from gen_jax.data.spec import Spec
from gen_jax.models.gan import gan

ADAM = {"name": "adam", "learning_rate": 2e-4, "b1": 0.5, "b2": 0.999}
LATENT = 64


def jax_step(x: np.ndarray, channels: tuple[int, int]) -> tuple[Callable[[], None], int]:
    """A training step that keeps its state, and the number of weights."""
    spec = Spec("noise", "image", x.shape[1:], "float32", 0.0, 1.0, -1.0, 1.0, None, {}, "", {})
    net = {"name": "dcgan", "channels": channels}
    options = {"loss": "non_saturating", "penalty": "none", "latent_size": LATENT}
    model = gan(spec, net, net, **options, generator_optimizer=ADAM, discriminator_optimizer=ADAM)
    batch = {"x": jax.numpy.asarray(x)}
    state = jax.jit(model.init)(jax.random.key(0), batch)
    step = jax.jit(lambda number, state: model.step(jax.random.key(number), state, batch), donate_argnums=1)
    held = [state, 0]

    def run() -> None:
        held[0], metrics = step(held[1], held[0])
        held[1] += 1
        jax.block_until_ready(metrics)

    return run, sum(
        leaf.size for net in (state.generator, state.discriminator) for leaf in jax.tree.leaves(net["params"])
    )


def torch_step(x: np.ndarray, channels: tuple[int, int]) -> tuple[Callable[[], None], int]:
    """As `jax_step`, in PyTorch."""
    low, high = channels
    base, images = x.shape[1] // 4, torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
    up = [nn.ConvTranspose2d(low, high, 4, 2, 1, bias=False), nn.BatchNorm2d(high), nn.ReLU()]
    generator = nn.Sequential(
        nn.Linear(LATENT, base * base * low, bias=False),
        nn.Unflatten(1, (low, base, base)),
        nn.BatchNorm2d(low),
        nn.ReLU(),
        *up,
        nn.ConvTranspose2d(high, x.shape[3], 4, 2, 1),
        nn.Tanh(),
    )
    down = [nn.Conv2d(high, low, 4, 2, 1, bias=False), nn.BatchNorm2d(low), nn.LeakyReLU(0.2)]
    discriminator = nn.Sequential(
        nn.Conv2d(x.shape[3], high, 4, 2, 1), nn.LeakyReLU(0.2), *down, nn.Flatten(), nn.Linear(low * base * base, 1)
    )
    optimizers = [torch.optim.Adam(net.parameters(), 2e-4, (0.5, 0.999)) for net in (generator, discriminator)]

    def run() -> None:
        with torch.no_grad():
            fake = generator(torch.randn(len(x), LATENT))
        loss = F.softplus(-discriminator(images)).mean() + F.softplus(discriminator(fake)).mean()
        optimizers[1].zero_grad(set_to_none=True)
        loss.backward()
        optimizers[1].step()
        loss = F.softplus(-discriminator(generator(torch.randn(len(x), LATENT)))).mean()
        optimizers[0].zero_grad(set_to_none=True)
        loss.backward()
        optimizers[0].step()
        loss.item()

    return run, sum(each.numel() for net in (generator, discriminator) for each in net.parameters())


def repeat(run: Callable[[], None], steps: int) -> None:
    for _ in range(steps):
        run()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--channels", default="32,16")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20, help="of a round")
    flags = parser.parse_args()
    channels = tuple(int(width) for width in flags.channels.split(","))
    x = np.random.default_rng(0).uniform(-1, 1, (64, 28, 28, 1)).astype(np.float32)
    steps = {"jax": jax_step(x, channels), "torch": torch_step(x, channels)}
    print(
        "weights:", {name: weights for name, (_, weights) in steps.items()}, f"torch threads: {torch.get_num_threads()}"
    )
    rounds = {name: partial(repeat, run, flags.steps) for name, (run, _) in steps.items()}
    medians = {}
    for name, taken in times(rounds, flags.rounds).items():
        each = [ms / flags.steps for ms in taken]
        medians[name] = statistics.median(each)
        print(f"{name}: median {medians[name]:.1f} ms a step, {min(each):.1f} to {max(each):.1f}")
    print(f"torch / jax: {medians['torch'] / medians['jax']:.2f}")


if __name__ == "__main__":
    main()
