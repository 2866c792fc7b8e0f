"""Clips of people by a GAN whose layers are (2+1)-dimensional (Tulyakov et al. 2018, arXiv 1707.04993; Tran et al. 2018).

    python -m gen_jax.train --config configs/video.py --config.data.path=weizmann

The scores are of step 1000, after 1024 seconds on two CPU cores, where the run was stopped; 500 clips of one seed, beside
those of real test clips in brackets. The action that was asked for is read in a share of 0.772 (0.8501). The Frechet
distance is 430.6 (286.7), and drift 0.4446 (0.7172): a clip keeps to one person. The clips move too little: motion_error
is 0.8227 (0.2891), and a classifier takes a share of 0 (0.9827) of them for clips in their true order.

    python -m gen_jax.sample --workdir runs/video --num 16 --given y=all --out clips.gif
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
    config.steps = 1500
    config.batch_size = 16
    config.log_every = 100
    config.sample_every = 500
    config.save_every = 500
    config.data.path = "weizmann"
    config.data.kind = "video"
    config.data.resize = 32
    config.data.frames = 16
    config.data.every = 2
    config.data.augment = "flip"
    config.sample.num = 8
    config.evaluate.num = 500
    examples = config.steps * config.batch_size
    config.model = {
        "name": "gan",
        "conditional": True,
        "generator": {"name": "video", "channels": (128, 64, 32)},
        "discriminator": {"name": "video", "channels": (128, 64, 32)},
        "loss": "hinge",
        "penalty": "none",
        "latent_size": 64,
        "generator_optimizer": adam(2e-4, examples),
        "discriminator_optimizer": adam(2e-4, examples),
        "ema_half_life": 5_000.0,
    }
    return config
