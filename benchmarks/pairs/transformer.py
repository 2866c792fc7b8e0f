"""Training steps and sampling of a character transformer beside nanoGPT's own code and a PyTorch loop with a cache.

A step is one of nanoGPT's settings for a CPU: 4 layers of 128 units with 4 heads, 12 rows of 64 characters, AdamW, gradients clipped to
norm 1. nanoGPT is on no index: `NANOGPT` names a folder with its `model.py`. Texts are 64 of 256 characters, with a cache of all of them.
"""

import os
import sys

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

VALUES, UNITS, LAYERS, HEADS = 65, 128, 4, 4
ROWS, FRAMES = 12, 64  # of a step
TEXTS, LENGTH = 64, 256
STEPS = 10  # of a round


def tokens() -> np.ndarray:
    """Made-up texts [256, FRAMES + 1]: the first token of a row is its context."""
    return np.random.default_rng(0).integers(0, VALUES, (256, FRAMES + 1)).astype(np.int32)


def model_of(frames: int, context: int, setting: Setting):
    """Our model."""
    from gen_jax.models.autoregressive import autoregressive

    dtype = "bfloat16" if setting.precision == "bf16" else "float32"
    net = {"name": "transformer", "units": UNITS, "layers": LAYERS, "heads": HEADS, "context": context, "dtype": dtype}
    adamw = {"name": "adamw", "learning_rate": 1e-3, "b2": 0.99, "weight_decay": 0.1, "clip_norm": 1.0}
    spec = spec_of("text", (frames,), 0, VALUES - 1, "int32", vocabulary=["a"] * VALUES)
    return autoregressive(spec, net, optimizer=adamw)


def ours(setting: Setting) -> Run:
    x = tokens()[:, 1:]
    return training(model_of(FRAMES, FRAMES, setting), x, picks(len(x), ROWS, STEPS), setting)


def nanogpt(setting: Setting, compiled: bool) -> Run:
    """A step of nanoGPT's own model and optimizer."""
    if "NANOGPT" not in os.environ:
        raise ModuleNotFoundError("set NANOGPT to a folder with nanoGPT's model.py", name="nanoGPT")
    sys.path.insert(0, os.environ["NANOGPT"])
    import torch
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    device = torch_device(setting)
    config = GPTConfig(
        block_size=FRAMES, vocab_size=VALUES, n_layer=LAYERS, n_head=HEADS, n_embd=UNITS, dropout=0.0, bias=False
    )
    net = GPT(config).to(device)
    optimizer = net.configure_optimizers(0.1, 1e-3, (0.9, 0.99), device)
    forward = torch.compile(net) if compiled else net
    x = torch.from_numpy(tokens()).long().to(device)
    order = torch.from_numpy(picks(len(x), ROWS, STEPS)).long().to(device)

    def loss(x: torch.Tensor) -> torch.Tensor:
        return forward(x[:, :-1].contiguous(), x[:, 1:].contiguous())[1]

    return torch_training(setting, loss, optimizer, x, order, clip=1.0)


def our_texts(setting: Setting) -> Run:
    """64 texts in one compiled scan."""
    import jax

    model = model_of(LENGTH, LENGTH, setting)
    state = jax.jit(model.init)(jax.random.key(0), {"x": np.zeros((TEXTS, LENGTH), np.int32)})
    given = {"length": np.full(TEXTS, LENGTH, np.int32)}

    def run() -> int:
        jax.block_until_ready(model.sample(jax.random.key(0), state, TEXTS, given))
        return 1

    return run


def torch_net():
    """A transformer of the same size whose layers keep the keys and values of all earlier frames."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norms = nn.ModuleList([nn.LayerNorm(UNITS), nn.LayerNorm(UNITS)])
            self.attention, self.out = nn.Linear(UNITS, 3 * UNITS), nn.Linear(UNITS, UNITS)
            self.dense = nn.Sequential(nn.Linear(UNITS, 4 * UNITS), nn.GELU(), nn.Linear(4 * UNITS, UNITS))

        def forward(self, h: torch.Tensor, cache: torch.Tensor, place: int) -> torch.Tensor:
            parts = self.attention(self.norms[0](h)).view(len(h), 1, 3, HEADS, UNITS // HEADS)
            query, cache[0, :, :, place], cache[1, :, :, place] = (parts[:, 0, at] for at in range(3))
            seen = cache[:, :, :, : place + 1]
            h = h + self.out(
                F.scaled_dot_product_attention(query[:, :, None], seen[0], seen[1]).reshape(len(h), 1, UNITS)
            )
            return h + self.dense(self.norms[1](h))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.places = nn.Embedding(VALUES, UNITS), nn.Embedding(LENGTH, UNITS)
            self.layers, self.norm = nn.ModuleList([Block() for _ in range(LAYERS)]), nn.LayerNorm(UNITS)

        def forward(self, last: torch.Tensor, caches: list[torch.Tensor], place: int) -> torch.Tensor:
            h = self.tokens(last) + self.places.weight[place]
            for layer, cache in zip(self.layers, caches):
                h = layer(h, cache, place)
            return self.norm(h)[:, 0] @ self.tokens.weight.T

    return Net()


def their_texts(setting: Setting) -> Run:
    """64 texts in a loop over frames."""
    import torch

    device = torch_device(setting)
    net = torch_net().eval().to(device)

    def run() -> int:
        with torch.inference_mode(), autocast(setting):
            shape = (2, TEXTS, HEADS, LENGTH, UNITS // HEADS)
            caches = [torch.zeros(shape, device=device) for _ in range(LAYERS)]
            last = torch.zeros((TEXTS, 1), dtype=torch.long, device=device)
            for place in range(LENGTH):
                logits = net(last, caches, place)
                last = torch.multinomial(logits.float().softmax(-1), 1)
        last.tolist()
        return 1

    return run


PAIRS = {
    "transformer": Pair(
        f"a step of a transformer, {LAYERS} x {UNITS} units, {ROWS} x {FRAMES} characters",
        ours,
        eager_and_compiled(nanogpt, "nanoGPT"),
        gpu=("fp32", "bf16"),
    ),
    "transformer_texts": Pair(
        f"{TEXTS} texts of {LENGTH} characters by a transformer with a cache",
        our_texts,
        {"PyTorch": their_texts},
        gpu=("fp32",),
    ),
}
