"""A step of configs/pix2pix.py: a U-Net of depth 4 and a patch critic on maps of 11 classes and photos of 48 x 64 pixels.

Both nets have as many weights. The loss of the generator is the non-saturating one plus 100 times the absolute error.
"""

from typing import Any

import numpy as np

from pairs import Pair, Run, Setting, autocast, eager_and_compiled, picks, spec_of, torch_device, training
from pairs.mlp_gan import ADAM

SIDES, CLASSES, WIDTH, DEPTH, ROWS, STEPS, WEIGHT = (48, 64), 11, 24, 4, 8, 12, 100.0


def rows(num: int = 256) -> dict[str, np.ndarray]:
    """Made-up photos `x` [num, H, W, 3] from -1 to 1, and class maps `c` [num, H, W]."""
    random = np.random.default_rng(0)
    photos = random.uniform(-1, 1, (num, *SIDES, 3)).astype(np.float32)
    return {"x": photos, "c": random.integers(0, CLASSES, (num, *SIDES)).astype(np.int32)}


def ours(setting: Setting) -> Run:
    from gen_jax.models.gan import gan

    dtype = {"fp32": "float32", "bf16": "bfloat16"}[setting.precision]
    names = [str(number) for number in range(CLASSES)]
    maps = spec_of("class_map", SIDES, 0, CLASSES, "uint8", vocabulary=names)
    model = gan(
        spec_of("image", (*SIDES, 3))._replace(condition=maps),
        {"name": "unet", "channels": WIDTH, "depth": DEPTH, "output": "tanh", "dtype": dtype},
        {"name": "patch", "channels": WIDTH, "layers": 2, "dtype": dtype},
        conditional=True,
        loss="non_saturating",
        penalty="none",
        latent_size=0,
        reconstruction={"name": "l1", "weight": WEIGHT},
        generator_optimizer=ADAM,
        discriminator_optimizer=ADAM,
    )
    return training(model, rows(), picks(256, ROWS, STEPS), setting)


def torch_nets() -> tuple[Any, Any]:
    """The generator of maps [N, K, H, W], and the critic of photos and maps [N, 3 + K, H, W], in PyTorch."""
    import torch
    from torch import nn

    widths = [WIDTH * 2 ** min(stage, 3) for stage in range(DEPTH + 1)]

    def norm(width: int, stage: int) -> nn.Module:
        return nn.InstanceNorm2d(width) if min(SIDES) // 2**stage >= 4 else nn.Identity()

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter = nn.Conv2d(CLASSES, widths[0], 3, 1, 1)
            stages = range(1, DEPTH + 1)
            self.down = nn.ModuleList(
                nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(widths[n - 1], widths[n], 4, 2, 1), norm(widths[n], n))
                for n in stages
            )
            self.up = nn.ModuleList(
                nn.Sequential(
                    nn.ReLU(),
                    nn.ConvTranspose2d(widths[n] * (1 if n == DEPTH else 2), widths[n - 1], 4, 2, 1),
                    norm(widths[n - 1], n - 1),
                )
                for n in stages
            )
            self.leave = nn.Sequential(nn.ReLU(), nn.Conv2d(2 * widths[0], 3, 3, 1, 1), nn.Tanh())

        def forward(self, c: torch.Tensor) -> torch.Tensor:
            h, skips = self.enter(c), []
            for stage in self.down:
                skips.append(h)
                h = stage(h)
            for number in range(DEPTH - 1, -1, -1):
                h = torch.cat([self.up[number](h), skips[number]], 1)
            return self.leave(h)

    layers: list[nn.Module] = []
    for inputs, outputs, stride in ((3 + CLASSES, WIDTH, 2), (WIDTH, 2 * WIDTH, 2), (2 * WIDTH, 4 * WIDTH, 1)):
        padding = 1 if stride == 2 else "same"
        layers += [nn.Conv2d(inputs, outputs, 4, stride, padding), nn.LeakyReLU(0.2)]
    return UNet(), nn.Sequential(*layers, nn.Conv2d(4 * WIDTH, 1, 4, 1, "same"))


def theirs(setting: Setting, compiled: bool) -> Run:
    import torch
    import torch.nn.functional as F

    device = torch_device(setting)
    generator, critic = (net.to(device) for net in torch_nets())
    made = rows()
    x = torch.from_numpy(np.moveaxis(made["x"], 3, 1).copy()).to(device)
    maps = torch.from_numpy(made["c"]).long().to(device)
    order = torch.from_numpy(picks(256, ROWS, STEPS)).long().to(device)
    options = {"lr": ADAM["learning_rate"], "betas": (ADAM["b1"], ADAM["b2"])}
    g_tx, d_tx = (torch.optim.Adam(net.parameters(), **options) for net in (generator, critic))

    def d_loss(real: torch.Tensor, fake: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        logits = critic(torch.cat([torch.cat([real, c], 1), torch.cat([fake, c], 1)]))
        return F.softplus(-logits[: len(real)]).mean() + F.softplus(logits[len(real) :]).mean()

    def g_loss(real: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        fake = generator(c)
        return F.softplus(-critic(torch.cat([fake, c], 1))).mean() + WEIGHT * (fake - real).abs().mean()

    if compiled:
        d_loss, g_loss = torch.compile(d_loss), torch.compile(g_loss)

    def run() -> int:
        for pick in order:
            real = x[pick]
            c = F.one_hot(maps[pick], CLASSES).movedim(3, 1).to(real.dtype)
            with autocast(setting):
                with torch.no_grad():
                    fake = generator(c)
                loss = d_loss(real, fake, c)
            d_tx.zero_grad(set_to_none=True)
            loss.backward()
            d_tx.step()
            with autocast(setting):
                loss = g_loss(real, c)
            g_tx.zero_grad(set_to_none=True)
            loss.backward()
            g_tx.step()
        loss.item()
        return len(order)

    return run


PAIRS = {
    "pix2pix": Pair("a step of `pix2pix.py`, 8 pairs", ours, eager_and_compiled(theirs), gpu=("fp32", "bf16")),
}
