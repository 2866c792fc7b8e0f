"""Notes of sixteen instruments by a GAN of magnitudes and instantaneous frequencies (Engel et al. 2019, arXiv 1902.08710).

    python -m gen_jax.train --config configs/note_gan.py --config.data.path=notes.npz

The file has an array `pitch` of MIDI numbers. The run takes 1965 seconds on two shared CPU cores, part of the time beside
tests. The scores are for 1,000 samples of one seed, beside those of real test notes in brackets. A share of 0.608 (0.9861)
is within half a semitone of the pitch that was asked for, and of 0.713 (1) up to octaves. Against the pitches of all rows
it is 0.01614. Low notes fail most, and the noise between the harmonics is louder than that of real notes.

    python -m gen_jax.sample --workdir runs/note_gan --num 49 --given y=all --out notes.wav
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
    config.steps = 5000
    config.batch_size = 32
    config.log_every = 100
    config.sample_every = 1000
    config.save_every = 1000
    config.data.path = "notes.npz"
    config.data.encoding = "instantaneous_frequency"
    config.data.mel = "window=1024,hop=512"
    config.data.frames = 16
    config.data.label = "pitch"
    config.sample.num = 20
    examples = config.steps * config.batch_size
    config.model = {
        "name": "gan",
        "conditional": True,
        "generator": {"name": "dcgan", "channels": (64, 32), "norm": "none"},
        "discriminator": {"name": "dcgan", "channels": (64, 32), "norm": "spectral", "pooled": False},
        "loss": "hinge",
        "penalty": "none",
        "latent_size": 64,
        "generator_optimizer": adam(4e-4, examples),
        "discriminator_optimizer": adam(4e-4, examples),
        "ema_half_life": 10_000.0,
    }
    return config
