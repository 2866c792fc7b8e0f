"""Spoken digits as waveforms by WaveGAN (Donahue et al. 2019, arXiv 1802.04208).

    python -m gen_jax.train --config configs/wavegan.py --config.data.path=free-spoken-digit-dataset.zip

This config is for a GPU, and was NOT run to its end here. A sound lasts about a second. The paper trains
200,000 steps on another set of digits. No score was measured here. The tests run two steps with narrow nets and draw
samples, which takes 10 seconds on two shared CPU cores.

    python -m gen_jax.sample --workdir runs/wavegan --num 10 --given y=all --out digits.wav
"""

from gen_jax.config import base_config

ADAM = {"name": "adam", "learning_rate": 1e-4, "b1": 0.5, "b2": 0.9}


def get_config():
    config = base_config()
    config.steps = 200_000
    config.batch_size = 5 * 64
    config.log_every, config.sample_every, config.save_every = 100, 5000, 5000
    config.data.path = "free-spoken-digit-dataset.zip"
    config.data.encoding = "waveform"
    config.data.frames = 8192
    config.sample.num = 20
    config.model = {
        "name": "gan",
        "conditional": True,
        "generator": {"name": "wavegan", "channels": (512, 256, 128, 64)},
        "discriminator": {"name": "wavegan", "channels": (512, 256, 128, 64)},
        "loss": "wasserstein",
        "penalty": "gradient_penalty",
        "gamma": 10.0,
        "n_critic": 5,
        "latent_size": 100,
        "generator_optimizer": ADAM,
        "discriminator_optimizer": dict(ADAM),
    }
    return config
