"""The steps of configs/dcgan.py and configs/wgan_gp.py: convolutions of 32 and 16 channels on 28 x 28 images.

DCGAN: batch normalisation, the non-saturating loss, 64 rows. WGAN-GP: five critics of 32 rows each without normalisation,
and the gradient penalty, which `torch.compile` cannot take: it has no second derivative. The nets have as many weights.
"""

from functools import partial

from pairs import Pair, Run, Setting, eager_and_compiled, picks, spec_of, torch_gan, training
from pairs.mlp_gan import ADAM, LATENTS, images

CHANNELS = LOW, HIGH = 32, 16
GAMES = {  # loss, penalty, norm of the discriminator, critics, rows, steps of a round
    "dcgan": ("non_saturating", "none", "batch", 1, 64, 25),
    "wgan_gp": ("wasserstein", "gradient_penalty", "none", 5, 5 * 32, 6),
}


def ours(setting: Setting, name: str) -> Run:
    from gen_jax.models.gan import gan

    loss, penalty, norm, critics, size, steps = GAMES[name]
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[setting.precision]
    net = {"name": "dcgan", "channels": CHANNELS, "dtype": dtype}
    options = {"loss": loss, "penalty": penalty, "gamma": 10.0, "latent_size": LATENTS, "n_critic": critics}
    optimizers = {"generator_optimizer": ADAM, "discriminator_optimizer": ADAM}
    model = gan(spec_of("image", (28, 28, 1)), net, {**net, "norm": norm}, **options, **optimizers)
    x = images()
    return training(model, x, picks(len(x), size, steps), setting)


def theirs(setting: Setting, name: str, compiled: bool) -> Run:
    from torch import nn

    loss, _, norm, critics, size, steps = GAMES[name]

    def nets() -> tuple[nn.Module, nn.Module]:
        generator = nn.Sequential(
            nn.Linear(LATENTS, 49 * LOW, bias=False),
            nn.Unflatten(1, (LOW, 7, 7)),
            nn.BatchNorm2d(LOW),
            nn.ReLU(),
            nn.ConvTranspose2d(LOW, HIGH, 4, 2, 1, bias=False),
            nn.BatchNorm2d(HIGH),
            nn.ReLU(),
            nn.ConvTranspose2d(HIGH, 1, 4, 2, 1),
            nn.Tanh(),
        )
        second = [nn.Conv2d(HIGH, LOW, 4, 2, 1, bias=norm == "none")] + [nn.BatchNorm2d(LOW)] * (norm == "batch")
        first = nn.Conv2d(1, HIGH, 4, 2, 1)
        last = [nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(49 * LOW, 1), nn.Flatten(0)]
        return generator, nn.Sequential(first, nn.LeakyReLU(0.2), *second, *last)

    x = images()
    batches = picks(len(x), size, steps)
    return torch_gan.steps(setting, nets, x, batches, LATENTS, loss, critics, compiled=compiled)


PAIRS = {
    "dcgan": Pair(
        "a step of `dcgan.py`, 64 rows",
        partial(ours, name="dcgan"),
        eager_and_compiled(partial(theirs, name="dcgan")),
        gpu=("fp32", "bf16"),
    ),
    "wgan_gp": Pair(
        "a step of `wgan_gp.py`, 5 x 32 rows",
        partial(ours, name="wgan_gp"),
        {"PyTorch": partial(theirs, name="wgan_gp", compiled=False)},
        gpu=("fp32", "bf16"),
    ),
}
