"""A step of a GAN of fully connected nets on 28 x 28 images: three hidden layers of 256, the non-saturating loss, Adam, 64 rows."""

import itertools

import numpy as np

from pairs import Pair, Run, Setting, eager_and_compiled, picks, spec_of, torch_gan, training

LATENTS, WIDTH, STEPS = 64, 256, 100
ADAM = {"name": "adam", "learning_rate": 2e-4, "b1": 0.5, "b2": 0.999}


def images(num: int = 4096) -> np.ndarray:
    """Made-up images [N, 28, 28, 1] from -1 to 1."""
    return np.random.default_rng(0).uniform(-1, 1, (num, 28, 28, 1)).astype(np.float32)


def ours(setting: Setting) -> Run:
    from gen_jax.models.gan import gan

    net = {"name": "mlp", "hidden": (WIDTH,) * 3, "dtype": {"fp32": "float32", "bf16": "bfloat16"}[setting.precision]}
    options = {"loss": "non_saturating", "penalty": "none", "latent_size": LATENTS}
    generator = {**net, "output": "tanh"}
    spec = spec_of("image", (28, 28, 1))
    model = gan(spec, generator, net, **options, generator_optimizer=ADAM, discriminator_optimizer=ADAM)
    x = images()
    return training(model, x, picks(len(x), 64, STEPS), setting)


def theirs(setting: Setting, compiled: bool) -> Run:
    from torch import nn

    def mlp(inputs: int, outputs: int, *last: nn.Module) -> list[nn.Module]:
        widths = [inputs, *[WIDTH] * 3]
        hidden = [each for a, b in itertools.pairwise(widths) for each in (nn.Linear(a, b), nn.LeakyReLU(0.2))]
        return [*hidden, nn.Linear(WIDTH, outputs), *last]

    def nets() -> tuple[nn.Module, nn.Module]:
        generator = nn.Sequential(*mlp(LATENTS, 784, nn.Tanh(), nn.Unflatten(1, (1, 28, 28))))
        return generator, nn.Sequential(nn.Flatten(), *mlp(784, 1), nn.Flatten(0))

    x = images()
    return torch_gan.steps(setting, nets, x, picks(len(x), 64, STEPS), LATENTS, compiled=compiled)


PAIRS = {"mlp_gan": Pair("a step of an MLP GAN, 64 rows", ours, eager_and_compiled(theirs), gpu=("fp32", "bf16"))}
