"""A step of flow matching on rows of 64 numbers, beside torchcfm's matcher with the same net in PyTorch.

The net is that of configs/diffusion.py without its labels: 3 residual dense blocks of 256 units, whose norms the time scales and shifts.
"""

from typing import Any

import numpy as np

from pairs import Pair, Run, Setting, eager_and_compiled, picks, spec_of, torch_device, torch_training, training

NUMBERS, WIDTH, BLOCKS, WAVES, ROWS, STEPS = 64, 256, 3, 32, 128, 100


def rows(num: int = 4096) -> np.ndarray:
    """Made-up rows [N, NUMBERS]."""
    return np.random.default_rng(0).uniform(-1, 1, (num, NUMBERS)).astype(np.float32)


def ours(setting: Setting) -> Run:
    from gen_jax.models.diffusion import diffusion

    net = {"name": "mlp", "width": WIDTH, "blocks": BLOCKS}
    adam = {"name": "adam", "learning_rate": 1e-3}
    model = diffusion(spec_of("vector", (NUMBERS,)), net, prediction="u", optimizer=adam, ema_half_life=0.0)
    x = rows()
    return training(model, x, picks(len(x), ROWS, STEPS), setting)


def torch_net() -> Any:
    """The same net in PyTorch: from noisy rows [N, NUMBERS] and times [N] to velocities."""
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
            self.scale = nn.Linear(WIDTH, 2 * WIDTH)
            self.enter, self.leave = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

        def forward(self, h: torch.Tensor, setting: torch.Tensor) -> torch.Tensor:
            scale, shift = self.scale(setting).chunk(2, 1)
            return h + self.leave(F.silu(self.enter(self.norm(h) * (1 + scale) + shift)))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("frequencies", torch.logspace(0, 3, WAVES))
            self.setting = nn.Sequential(nn.Linear(2 * WAVES, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU())
            self.first, self.blocks = nn.Linear(NUMBERS, WIDTH), nn.ModuleList(Block() for _ in range(BLOCKS))
            self.norm, self.last = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, NUMBERS)

        def forward(self, z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            angles = t[:, None] * self.frequencies
            setting, h = self.setting(torch.cat([angles.sin(), angles.cos()], 1)), self.first(z)
            for block in self.blocks:
                h = block(h, setting)
            return self.last(F.silu(self.norm(h)))

    return Net()


def theirs(setting: Setting, compiled: bool) -> Run:
    import torch
    from torchcfm.conditional_flow_matching import ConditionalFlowMatcher

    device = torch_device(setting)
    net, matcher = torch_net().to(device), ConditionalFlowMatcher(sigma=0.0)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    forward = torch.compile(net) if compiled else net
    x = rows()
    order = torch.from_numpy(picks(len(x), ROWS, STEPS)).long().to(device)

    def loss(x: torch.Tensor) -> torch.Tensor:
        t, z, velocity = matcher.sample_location_and_conditional_flow(torch.randn_like(x), x)
        return (forward(z, t) - velocity).square().mean()

    return torch_training(setting, loss, optimizer, torch.from_numpy(x).to(device), order)


PAIRS = {
    "flow_matching": Pair(
        f"a step of flow matching, {ROWS} rows of {NUMBERS} numbers",
        ours,
        eager_and_compiled(theirs, "torchcfm"),
        gpu=("fp32",),
    ),
}
