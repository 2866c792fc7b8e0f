"""A step of a VAE on binary 28 x 28 images: that of configs/bbans.py (784-100-40 and back), and one of residual convolutions.

Bernoulli, the KL in closed form, one draw a row, Adam, batches that each program takes from 4,096 rows in memory. The convolutional
nets are those of configs/conv_vae.py: two stages of 32 and 16 channels, below the 28 x 28 one of 16, with a block each.
"""

from functools import partial

import numpy as np

from pairs import (
    Pair,
    Run,
    Setting,
    eager_and_compiled,
    picks,
    spec_of,
    torch_device,
    torch_training,
    training,
)

HIDDEN, LATENTS, CHANNELS = 100, 40, (32, 16)
SIZES = {"mlp_vae": (100, 300), "conv_vae": (64, 20)}  # rows, steps of a round


def rows(num: int = 4096) -> np.ndarray:
    """Made-up images [N, 28, 28, 1] of zeros and ones."""
    return np.random.default_rng(0).integers(0, 2, (num, 28, 28, 1)).astype(np.float32)


def ours(setting: Setting, name: str) -> Run:
    from gen_jax.models.vae import ADAM, vae

    dtype = {"fp32": "float32", "bf16": "bfloat16"}[setting.precision]
    mlp = {"name": "mlp", "hidden": (HIDDEN,), "activation": "relu", "dtype": dtype}
    net = mlp if name == "mlp_vae" else {"name": "conv", "channels": CHANNELS, "blocks": 1}
    model = vae(spec_of("image", (28, 28, 1), 0, 1, "uint8"), net, net, latent_size=LATENTS, optimizer=ADAM)
    x = rows()
    return training(model, x, picks(len(x), *SIZES[name]), setting)


def conv_nets() -> tuple:
    """Encoder and decoder of residual convolutions."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            first, last = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
            self.layers = nn.Sequential(nn.SiLU(), first, nn.SiLU(), last)

        def forward(self, x):
            return x + self.layers(x)

    low, high = CHANNELS
    down = [nn.Conv2d(1, high, 3, padding=1), Block(high), nn.Conv2d(high, high, 4, 2, 1), Block(high)]
    down += [nn.Conv2d(high, low, 4, 2, 1), Block(low), nn.SiLU(), nn.Flatten(), nn.Linear(49 * low, 2 * LATENTS)]
    up = [nn.Linear(LATENTS, 49 * low), nn.Unflatten(1, (low, 7, 7)), nn.Conv2d(low, low, 3, padding=1), Block(low)]
    for before in (low, high):
        up += [nn.SiLU(), nn.ConvTranspose2d(before, high, 4, 2, 1, bias=False), Block(high)]
    up += [nn.SiLU(), nn.Conv2d(high, 1, 3, padding=1), nn.Flatten()]
    return nn.Sequential(*down), nn.Sequential(*up)


def theirs(setting: Setting, name: str, compiled: bool) -> Run:
    import torch
    import torch.nn.functional as F
    from torch import nn

    device = torch_device(setting)
    if name == "mlp_vae":
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENTS))
        decoder = nn.Sequential(nn.Linear(LATENTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 784))
    else:
        encoder, decoder = conv_nets()
    nets = nn.ModuleList([encoder, decoder]).to(device)
    optimizer = torch.optim.Adam(nets.parameters(), 1e-3)
    x = rows()
    order = torch.from_numpy(picks(len(x), *SIZES[name])).long().to(device)
    x = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous().to(device)

    def loss(x: torch.Tensor) -> torch.Tensor:
        mean, log_scale = encoder(x).chunk(2, 1)
        logits = decoder(mean + log_scale.exp() * torch.randn_like(mean))
        kl = 0.5 * (mean.square() + (2 * log_scale).exp() - 1) - log_scale
        return (F.binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="none").sum(1) + kl.sum(1)).mean()

    return torch_training(setting, torch.compile(loss) if compiled else loss, optimizer, x, order)


PAIRS = {
    name: Pair(
        work,
        partial(ours, name=name),
        eager_and_compiled(partial(theirs, name=name)),
        gpu=("fp32", "bf16") if name == "mlp_vae" else ("fp32",),
    )
    for name, work in {
        "mlp_vae": "a step of the VAE of `bbans.py`, 100 rows",
        "conv_vae": "a step of a convolutional VAE, 64 rows",
    }.items()
}
