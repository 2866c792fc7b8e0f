"""A GAN on a grid of 25 Gaussians, or on a ring of 8 Gaussians, which show mode collapse.

    python -m gen_jax.train --config configs/gan_gaussians.py

Ten seeds by --config.replicas=10 take 55 minutes (3,318 s) on one CPU core. One seed takes 6 minutes. The figures are
by PacGAN's protocol: 2,500 samples, near a mode within 3 standard deviations. Each of the ten seeds has all 25 modes.
High quality is 95.1 % (88.8 to 96.6; a perfect sampler: 98.9 %). Reverse KL is 0.0053 (0.0040 to 0.0071; perfect:
0.0049).

The ring was measured with --config.data.variant=ring --config.steps=60000 --config.model.prior=normal
--config.model.gamma.start=0.8 --config.model.gamma.examples=7680000. Ten seeds take 65 minutes beside other runs, and
each has all 8 modes. High quality is 93.5 % (91.6 to 96.0), and reverse KL is 0.0018 (perfect: 0.0014).
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 80_000
    config.batch_size = 256  # 128 for the discriminator, 128 for the generator
    config.log_every = 1000
    config.sample_every = 10_000
    config.eval_every = 10_000
    config.save_every = 10_000
    config.data.name = "gaussians"
    config.data.variant = "grid"
    config.data.transform = "none"
    config.sample.num = 2500
    config.evaluate.num = 2500
    adam = {
        "name": "adam",
        "learning_rate": {"start": 2e-3, "stop": 2e-5, "examples": 60_000 * 128},
        "b1": 0.0,
        "b2": 0.99,
    }
    net = {"name": "mlp", "hidden": (128, 128, 128)}
    config.model = {
        "name": "gan",
        "generator": net,
        "discriminator": net,
        "loss": "relativistic",
        "penalty": "r1_r2",
        "gamma": {"start": 0.4, "stop": 8e-4, "examples": 80_000 * 128},
        "latent_size": 2,
        "prior": "uniform",  # bounded: with a normal one a seed in ten smears its modes into each other
        "generator_optimizer": adam,
        "discriminator_optimizer": adam,
        "ema_half_life": 177_000,
    }
    return config
