"""A step of configs/r3gan.py: residual blocks with grouped convolutions, R1 and R2, a relativistic loss, 32 + 32 rows.

`torch.compile` has no second derivative, which the penalties need. The obvious forms of our net are XLA's grouped convolution
for the 3x3 in groups, and a depthwise (transposed) convolution for the low-pass resampling. They compute the same map.
"""

import itertools
from unittest import mock

import numpy as np

from pairs import Pair, Run, Setting, picks, spec_of, torch_gan, training
from pairs.mlp_gan import images

LATENTS, CHANNELS, EXPANSION, GROUP, STEPS, SIZE = 64, (64, 32, 16), 2, 16, 3, 64
NET = {"name": "r3", "channels": CHANNELS, "blocks": 1, "expansion": EXPANSION, "group_width": GROUP}
ADAM = {"name": "adam", "learning_rate": 2e-4, "b1": 0.0, "b2": 0.99}
LOW_PASS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]).astype(np.float32) / 64


def ours(setting: Setting, steps: int = STEPS) -> Run:
    from gen_jax.models.gan import gan

    net = {**NET, "dtype": {"fp32": "float32", "bf16": "bfloat16"}[setting.precision]}
    optimizers = {"generator_optimizer": ADAM, "discriminator_optimizer": ADAM}
    model = gan(spec_of("image", (28, 28, 1)), net, net, latent_size=LATENTS, **optimizers)
    x = images()
    return training(model, x, picks(len(x), SIZE, steps), setting)


def obvious_forms() -> dict:
    """The functions of `nets.r3` as a first reading of the paper writes them."""
    import jax

    from gen_jax.nets import r3

    def depthwise(x: jax.Array, kernel: np.ndarray, **options) -> jax.Array:
        kernel = np.broadcast_to(kernel[..., None, None], (4, 4, 1, x.shape[-1])).astype(x.dtype)
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(
            x, kernel, dimension_numbers=layout, feature_group_count=x.shape[-1], **options
        )

    spread = {"window_strides": (1, 1), "padding": [(2, 2), (2, 2)], "lhs_dilation": (2, 2)}
    halved = {"window_strides": (2, 2), "padding": [(1, 1), (1, 1)]}
    return {
        "grouped_convolve": r3.convolve,
        "upsample": lambda x: depthwise(x, 4 * LOW_PASS, **spread),
        "downsample": lambda x: depthwise(x, LOW_PASS, **halved),
    }


def obvious(setting: Setting) -> Run:
    """A step a round, for it takes as long as ten of ours."""
    from gen_jax.nets import r3

    patch = mock.patch.multiple(r3, **obvious_forms())
    patch.start()  # for the life of this process
    return ours(setting, 1)


def theirs(setting: Setting) -> Run:
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self, width: int):
            super().__init__()
            hidden = width * EXPANSION
            self.expand = nn.Conv2d(width, hidden, 1)
            self.spatial = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden // GROUP)
            self.project = nn.Conv2d(hidden, width, 1, bias=False)
            nn.init.zeros_(self.project.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = F.leaky_relu(self.spatial(F.leaky_relu(self.expand(x), 0.2)), 0.2)
            return x + self.project(h)

    class Resample(nn.Module):
        def __init__(self, width: int, up: bool):
            super().__init__()
            kernel = torch.from_numpy(LOW_PASS) * (4 if up else 1)
            self.register_buffer("kernel", kernel.expand(width, 1, 4, 4).contiguous())
            self.form, self.width = F.conv_transpose2d if up else F.conv2d, width

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.form(x, self.kernel, stride=2, padding=1, groups=self.width)

    class Weigh(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.basis = (
                nn.Linear(LATENTS, CHANNELS[0], bias=False),
                nn.Parameter(torch.randn(CHANNELS[0], 7, 7)),
            )

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return self.linear(z)[:, :, None, None] * self.basis

    def nets() -> tuple[nn.Module, nn.Module]:
        up, down = [Weigh(), Block(CHANNELS[0])], [nn.Conv2d(1, CHANNELS[-1], 1, bias=False)]
        for before, width in itertools.pairwise(CHANNELS):
            up += [nn.Conv2d(before, width, 1, bias=False), Resample(width, True), Block(width)]
        for before, width in zip(CHANNELS[::-1], CHANNELS[-2::-1]):
            down += [Block(before), Resample(before, False), nn.Conv2d(before, width, 1, bias=False)]
        pool = nn.Conv2d(CHANNELS[0], CHANNELS[0], 7, groups=CHANNELS[0], bias=False)  # of all pixels
        down += [Block(CHANNELS[0]), pool, nn.Flatten(), nn.Linear(CHANNELS[0], 1, bias=False), nn.Flatten(0)]
        return nn.Sequential(*up, nn.Conv2d(CHANNELS[-1], 1, 1, bias=False)), nn.Sequential(*down)

    x = images()
    batches = picks(len(x), SIZE, STEPS)
    return torch_gan.steps(setting, nets, x, batches, LATENTS, "relativistic", adam=(2e-4, 0.0, 0.99))


PAIRS = {
    "r3": Pair(
        "a step of `r3gan.py`, 32 + 32 rows",
        ours,
        {"PyTorch": theirs},
        {"obvious forms": obvious},
        gpu=("fp32", "bf16"),
    )
}
