"""wip"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.epochs = 20.0
    config.batch_size = 100
    config.sample_every = 3000
    config.save_every = 3000
    config.data.name = "mnist"
    config.data.transform = "unit"
    config.model = {
        "name": "gan",
        "generator": {"name": "mlp", "hidden": (1200, 1200), "activation": "relu", "output": "sigmoid"},
        "discriminator": {"name": "mlp", "hidden": (240, 240), "activation": "linear", "pieces": 5, "dropout": (0.2, 0.5)},
        "loss": "minimax",
        "penalty": "none",
        "latent_size": 100,
        "prior": "uniform",
    }
    return config
