"""The training step of a GAN in PyTorch: what its pairs share beside their nets. No pair of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pairs import Run, Setting, autocast, torch_device


def steps(
    setting: Setting,
    nets: Callable[[], tuple[Any, Any]],
    rows: np.ndarray,
    batches: np.ndarray,
    latents: int,
    game: str = "non_saturating",
    n_critic: int = 1,
    adam: tuple[float, float, float] = (2e-4, 0.5, 0.999),
    compiled: bool = False,
) -> Run:
    """Steps over the batches [steps, B] of rows [N, H, W, C]; a step is `n_critic` updates of the critic, one of the generator.

    Args:
      nets: generator of z [N, latents], and critic of images [N, C, H, W].
      game: non_saturating; wasserstein with a gradient penalty of 10; relativistic with R1 and R2 of 1.
      adam: its rate, b1 and b2.
    """
    import torch
    import torch.nn.functional as F

    device = torch_device(setting)
    generator, critic = (net.to(device) for net in nets())
    rate, *betas = adam
    g_tx, d_tx = (torch.optim.Adam(net.parameters(), rate, tuple(betas)) for net in (generator, critic))
    x = torch.from_numpy(np.moveaxis(rows, 3, 1).copy()).to(device)
    parts = n_critic + (game == "relativistic")
    order = torch.from_numpy(batches).long().reshape(len(batches), -1, parts).to(device)

    def noise(num: int) -> Any:
        return torch.randn(num, latents, device=device)

    def squared_gradient(logits: Any, x: Any) -> Any:
        (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
        return gradient.square().sum((1, 2, 3))

    def d_loss(real: Any, fake: Any) -> Any:
        if game == "non_saturating":
            return F.softplus(-critic(real)).mean() + F.softplus(critic(fake)).mean()
        if game == "wasserstein":
            share = torch.rand(len(real), 1, 1, 1, device=device)
            between = (share * real + (1 - share) * fake).requires_grad_()
            norm = (squared_gradient(critic(between), between) + 1e-12).sqrt()
            return critic(fake).mean() - critic(real).mean() + 10 * (norm - 1).square().mean()
        both = torch.cat([real, fake]).requires_grad_()
        logits = critic(both)
        penalty = squared_gradient(logits, both).mean()  # R1 + R2, each a half of the mean over its rows
        return F.softplus(-(logits[: len(real)] - logits[len(real) :])).mean() + penalty

    def g_loss(real: Any, z: Any) -> Any:
        fake = critic(generator(z))
        if game == "relativistic":
            return F.softplus(-(fake - critic(real))).mean()
        return F.softplus(-fake).mean() if game == "non_saturating" else -fake.mean()

    if compiled:
        d_loss, g_loss = torch.compile(d_loss), torch.compile(g_loss)

    def update(tx: Any, loss: Any) -> None:
        tx.zero_grad(set_to_none=True)
        loss.backward()
        tx.step()

    def run() -> int:
        for pick in order:
            for part in range(n_critic):
                real = x[pick[:, part]]
                with autocast(setting):
                    with torch.no_grad():
                        fake = generator(noise(len(real)))
                    loss = d_loss(real, fake)
                update(d_tx, loss)
            with autocast(setting):
                loss = g_loss(x[pick[:, -1]], noise(len(pick)))
            update(g_tx, loss)
        loss.item()
        return len(order)

    return run
