"""Goodfellow.

    python -m gen_jax.train --config configs/gan_minimax.py

wip minutes
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 30_000
    config.batch_size = 100
    config.log_every = 500
    config.sample_every = 3000
    config.save_every = 3000
    config.data.name = "mnist"
    config.data.transform = "unit"
    momentum = {
        "name": "sgd",
        "learning_rate": {"start": 0.1, "stop": 0.01, "examples": 3_000_000, "shape": "exponential"},
        "momentum": {"start": 0.5, "stop": 0.7, "examples": 3_000_000, "shape": "linear"},
    }
    config.model = {
        "name": "gan",
        "generator": {
            "name": "mlp",
            "hidden": (1200, 1200),
            "activation": "relu",
            "output": "sigmoid",
            "initializer": "uniform",
            "scale": 0.05,
        },
        "discriminator": {
            "name": "mlp",
            "hidden": (240, 240),
            "activation": "linear",
            "pieces": 5,
            "dropout": (0.2, 0.5),
            "initializer": "uniform",
            "scale": 0.005,
        },
        "loss": "minimax",
        "penalty": "none",
        "latent_size": 100,
        "prior": "uniform",
        "generator_optimizer": momentum,
        "discriminator_optimizer": momentum,
    }
    return config
