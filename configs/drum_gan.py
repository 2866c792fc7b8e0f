"""Drum and percussion hits by a GAN of their log-mel spectrograms (Donahue et al. 2019, arXiv 1802.04208).

    python -m gen_jax.train --config configs/drum_gan.py --config.data.path=drums.npz

The run takes 390 seconds on two CPU cores beside one evaluation. The scores are for 1,000 samples of one seed, beside those
of real test recordings in brackets. The instrument that was asked for is read in a share of 0.671 (0.72), by a classifier
that errs often on real hits too. The Frechet distance is 152.5 (50.63), recall 0.2287 (0.92) and coverage 0.3636 (0.8667):
the hits vary too little. They are nearer to the training recordings than real ones, by a factor of 0.8913.

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
    config.steps = 3000
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
