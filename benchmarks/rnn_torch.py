"""Training steps and sampling of `models.rnn` beside PyTorch, alternating in one process.

    pip install -e ".[bench]"
    python benchmarks/rnn_torch.py [--rounds 7] [--threads 2]

Two layers of 256 units between one-hot tokens (65) and logits; 64 rows of 128 tokens; gradients clipped to norm 1; Adam. LSTM and GRU
are torch.nn's (oneDNN on a CPU), minGRU is the parallel form of its paper. Sampling draws 64 texts of 1,000 tokens,
in PyTorch by a loop over `nn.LSTM`. `products` is the LSTM's step without its gates: what no form of these could undercut.
Prints medians in milliseconds and their ratios; compilation is not counted.
`--threads` of both is how many cores the process may use.

Two quiet cores, JAX 0.10.2, PyTorch 2.15, three rounds: LSTM 698 and 598 ms (0.86 times as fast), GRU 445 and 546 (1.23), minGRU
224 and 553 (2.47), texts 3,527 and 2,956 (0.84). The products of the LSTM alone take 537 ms: with gates that cost nothing it
would be 1.11 times as fast as PyTorch, and that is the limit of any loop over these products.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from functools import partial

parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=7)
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
from gen_jax.models.rnn import ADAM, rnn
from gen_jax.nets.cells import CELLS, Gated
from gen_jax.nets.recurrent import RECURRENT, Recurrent

STEPS = ("lstm", "gru", "mingru")
ROWS, FRAMES, UNITS, VALUES, LENGTH = 64, 128, 256, 65, 1000
SPEC = Spec("noise", "text", (FRAMES,), "int32", 0, VALUES - 1, 0, VALUES - 1, None, {}, "", {"vocabulary": ["a"] * 65})


class MinGru(nn.Module):
    """A layer in log space, parallel in time (Feng et al. 2024, arXiv 2410.01201, appendix B)."""

    def __init__(self, inputs: int, units: int):
        super().__init__()
        self.linear = nn.Linear(inputs, 2 * units)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        k, candidate = self.linear(x).chunk(2, -1)
        log_h = torch.where(candidate >= 0, (F.relu(candidate) + 0.5).log(), -F.softplus(-candidate))
        decay = (-F.softplus(k)).cumsum(1)
        return (decay + torch.logcumsumexp(-F.softplus(-k) + log_h - decay, 1)).exp(), None


class Net(nn.Module):
    """One-hot tokens to logits."""

    def __init__(self, cell: str):
        super().__init__()
        if cell == "mingru":
            self.layers = nn.ModuleList([MinGru(VALUES, UNITS), MinGru(UNITS, UNITS)])
        else:
            self.layers = nn.ModuleList([{"lstm": nn.LSTM, "gru": nn.GRU}[cell](VALUES, UNITS, 2, batch_first=True)])
        self.out = nn.Linear(UNITS, VALUES)

    def forward(self, x: torch.Tensor, carry: tuple | None = None) -> tuple[torch.Tensor, tuple | None]:
        x = F.one_hot(x, VALUES).float()
        for layer in self.layers:
            x, carry = layer(x, carry) if carry else layer(x)
        return self.out(x), carry


def model_of(cell: str) -> tuple:
    """Our model and its first state."""
    model = rnn(SPEC, {"name": cell, "units": UNITS, "layers": 2}, optimizer=ADAM)
    return model, jax.jit(model.init)(jax.random.key(0), {"x": np.zeros((ROWS, FRAMES), np.int32)})


def products(carry: tuple, from_x: jax.Array, from_h: jax.Array) -> tuple:
    """In the place of an LSTM's gates: every number of the products is used, and next to nothing computed."""
    return sum(jax.numpy.split(from_x + from_h, 4, -1)), carry[1]


CELLS["products"] = Gated(products, 4, 2)
RECURRENT["products"] = partial(Recurrent, "products")


def jax_step(cell: str, x: np.ndarray) -> Callable[[], None]:
    """A training step that keeps its state."""
    model, state = model_of(cell)
    step = jax.jit(lambda state: model.step(jax.random.key(0), state, {"x": x}), donate_argnums=0)
    held = [state]

    def run() -> None:
        held[0], metrics = step(held[0])
        jax.block_until_ready(metrics)

    return run


def torch_step(cell: str, x: np.ndarray) -> Callable[[], None]:
    """As `jax_step`, in PyTorch."""
    net, tokens = Net(cell), torch.from_numpy(x).long()
    optimizer, before = torch.optim.Adam(net.parameters(), 2e-3), F.pad(tokens[:, :-1], (1, 0))

    def run() -> None:
        loss = F.cross_entropy(net(before)[0].reshape(-1, VALUES), tokens.reshape(-1))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        loss.item()

    return run


def jax_texts() -> Callable[[], None]:
    """64 texts in one compiled scan."""
    model, state = model_of("lstm")
    given = {"length": np.full(ROWS, LENGTH, np.int32)}
    return lambda: jax.block_until_ready(model.sample(jax.random.key(0), state, ROWS, given))


def torch_texts() -> Callable[[], None]:
    """64 texts in a loop over frames."""
    net = Net("lstm").eval()

    def run() -> None:
        with torch.inference_mode():
            last, carry = torch.zeros((ROWS, 1), dtype=torch.long), None
            for _ in range(LENGTH):
                logits, carry = net(last, carry)
                last = torch.multinomial(logits[:, 0].softmax(-1), 1)

    return run


def main() -> None:
    torch.set_num_threads(FLAGS.threads)
    x = np.random.default_rng(0).integers(0, VALUES, (ROWS, FRAMES)).astype(np.int32)
    rows = {f"{cell} step": {"gen_jax": jax_step(cell, x), "PyTorch": torch_step(cell, x)} for cell in STEPS}
    rows["lstm step"]["products"] = jax_step("products", x)
    rows["lstm texts"] = {"gen_jax": jax_texts(), "PyTorch": torch_texts()}
    for name, runs in rows.items():
        medians = {each: statistics.median(taken) for each, taken in times(runs, FLAGS.rounds).items()}
        ratio = medians["PyTorch"] / medians["gen_jax"]
        print(name, *(f"{each} {median:.1f} ms" for each, median in medians.items()), f"ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
