"""Drum and percussion hits by a GAN of their log-mel spectrograms (Donahue et al. 2019, arXiv 1802.04208).

python -m gen_jax.train --config configs/drum_gan.py --config.data.path=drums.npz

python -m gen_jax.sample --workdir runs/drum_gan --num 14 --given y=all --out drums.wav
"""

from gen_jax.config import base_config


def adam(rate, examples):
    return {
        "name": "adam",
        "learning_rate": {"start": rate, "stop": 1e-5, "examples": examples},
        "b1": 0.0,
        "b2": 0.9,
    }


def get_config():
    config = base_config()
    config.steps = 4000
    config.batch_size = 32
    config.log_every = 100
    config.sample_every = 1000
    config.save_every = 1000
    config.data.path = "drums.npz"
    config.data.encoding = "log_mel"
    config.data.frames = 64
    config.data.augment = "shift"
    config.sample.num = 21
    examples = config.steps * config.batch_size
    config.model = {
        "name": "gan",
        "conditional": True,
        "generator": {"name": "dcgan", "channels": (128, 64, 32, 16), "norm": "none"},
        "discriminator": {"name": "dcgan", "channels": (128, 64, 32, 16), "norm": "spectral"},
        "loss": "hinge",
        "penalty": "none",
        "latent_size": 64,
        "generator_optimizer": adam(4e-4, examples),
        "discriminator_optimizer": adam(4e-4, examples),
        "ema_half_life": 10_000.0,
    }
    return config
