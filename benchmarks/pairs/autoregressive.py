"""Training steps and sampling of `models.autoregressive` beside torch.nn's LSTM and GRU (oneDNN on a CPU, cuDNN on a GPU), and a parallel minGRU.

Two layers of 256 units between one-hot tokens (65) and logits; 64 rows of 128 tokens; gradients clipped to norm 1; Adam. Texts are 64 of
250 tokens, in PyTorch by a loop over frames. `products` is the LSTM's step without its gates: what no form of these could undercut.
"""

from functools import partial

import numpy as np

from pairs import (
    Pair,
    Run,
    Setting,
    autocast,
    eager_and_compiled,
    picks,
    spec_of,
    torch_device,
    torch_training,
    training,
)

ROWS, FRAMES, UNITS, VALUES, LENGTH = 64, 128, 256, 65, 250
STEPS = {"lstm": 2, "gru": 2, "mingru": 4, "products": 2}  # of a round


def tokens() -> np.ndarray:
    """Made-up texts [256, FRAMES]."""
    return np.random.default_rng(0).integers(0, VALUES, (256, FRAMES)).astype(np.int32)


def model_of(cell: str):
    """Our model."""
    from gen_jax.models.autoregressive import ADAM, autoregressive

    spec = spec_of("text", (FRAMES,), 0, VALUES - 1, "int32", vocabulary=["a"] * VALUES)
    return autoregressive(spec, {"name": cell, "units": UNITS, "layers": 2}, optimizer=ADAM)


def ours(setting: Setting, cell: str) -> Run:
    x = tokens()
    return training(model_of(cell), x, picks(len(x), ROWS, STEPS[cell]), setting)


def products(setting: Setting) -> Run:
    """In the place of an LSTM's gates: every number of the products is used, and next to nothing computed."""
    import jax

    from gen_jax.nets.cells import CELLS, Gated
    from gen_jax.nets.recurrent import RECURRENT, Recurrent

    def gates(carry: tuple, from_x: jax.Array, from_h: jax.Array) -> tuple:
        return sum(jax.numpy.split(from_x + from_h, 4, -1)), carry[1]

    CELLS["products"] = Gated(gates, 4, 2)
    RECURRENT["products"] = partial(Recurrent, "products")
    return ours(setting, "products")


def our_texts(setting: Setting, cell: str) -> Run:
    """64 texts in one compiled scan."""
    import jax

    model = model_of(cell)
    state = jax.jit(model.init)(jax.random.key(0), {"x": tokens()[:ROWS]})
    given = {"length": np.full(ROWS, LENGTH, np.int32)}

    def run() -> int:
        jax.block_until_ready(model.sample(jax.random.key(0), state, ROWS, given))
        return 1

    return run


def torch_net(cell: str):
    """One-hot tokens to logits."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class MinGru(nn.Module):
        """A layer in log space, parallel in time (Feng et al. 2024, arXiv 2410.01201, appendix B)."""

        def __init__(self, inputs: int):
            super().__init__()
            self.linear = nn.Linear(inputs, 2 * UNITS)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
            k, candidate = self.linear(x).chunk(2, -1)
            log_h = torch.where(candidate >= 0, (F.relu(candidate) + 0.5).log(), -F.softplus(-candidate))
            decay = (-F.softplus(k)).cumsum(1)
            return (decay + torch.logcumsumexp(-F.softplus(-k) + log_h - decay, 1)).exp(), None

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            stacked = {"lstm": nn.LSTM, "gru": nn.GRU}
            layers = (
                [MinGru(VALUES), MinGru(UNITS)]
                if cell == "mingru"
                else [stacked[cell](VALUES, UNITS, 2, batch_first=True)]
            )
            self.layers, self.out = nn.ModuleList(layers), nn.Linear(UNITS, VALUES)

        def forward(self, x: torch.Tensor, carry: tuple | None = None) -> tuple[torch.Tensor, tuple | None]:
            x = F.one_hot(x, VALUES).float()
            for layer in self.layers:
                x, carry = layer(x) if carry is None else layer(x, carry)
            return self.out(x), carry

    return Net()


def theirs(setting: Setting, cell: str, compiled: bool = False) -> Run:
    import torch
    import torch.nn.functional as F

    device, x = torch_device(setting), tokens()
    net = torch_net(cell).to(device)
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    order = torch.from_numpy(picks(len(x), ROWS, STEPS[cell])).long().to(device)
    x = torch.from_numpy(x).long().to(device)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(net(F.pad(x[:, :-1], (1, 0)))[0].reshape(-1, VALUES), x.reshape(-1))

    return torch_training(setting, torch.compile(loss) if compiled else loss, optimizer, x, order, clip=1.0)


def their_texts(setting: Setting, cell: str) -> Run:
    """64 texts in a loop over frames."""
    import torch

    device = torch_device(setting)
    net = torch_net(cell).eval().to(device)

    def run() -> int:
        with torch.inference_mode(), autocast(setting):
            last, carry = torch.zeros((ROWS, 1), dtype=torch.long, device=device), None
            for _ in range(LENGTH):
                logits, carry = net(last, carry)
                last = torch.multinomial(logits[:, 0].float().softmax(-1), 1)
        last.tolist()
        return 1

    return run


def step_pair(cell: str, name: str) -> Pair:
    """The training steps of a cell."""
    build = partial(theirs, cell=cell)
    peers = eager_and_compiled(build) if cell == "mingru" else {"PyTorch": build}
    others = {"products": products} if cell == "lstm" else {}
    work = f"a step of 2 x {UNITS} units, {ROWS} x {FRAMES} tokens: {name}"
    return Pair(work, partial(ours, cell=cell), peers, others, gpu=("fp32",))


PAIRS = {cell: step_pair(cell, name) for cell, name in {"lstm": "LSTM", "gru": "GRU", "mingru": "minGRU"}.items()} | {
    f"{cell}_texts": Pair(
        f"{ROWS} texts of {LENGTH} tokens by {cell.upper()}",
        partial(our_texts, cell=cell),
        {"PyTorch": partial(their_texts, cell=cell)},
        gpu=("fp32",),
    )
    for cell in ("lstm", "gru")
}
