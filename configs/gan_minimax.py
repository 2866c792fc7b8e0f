"""The original GAN: Goodfellow's MLPs, the saturating minimax loss, 784 sigmoid units (arXiv 1406.2661), on MNIST.

    python -m gen_jax.train --config configs/gan_minimax.py --config.data.data_dir=DIR

wip
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 20_000
    config.batch_size = 100
    config.log_every = 200
    config.sample_every = 2000
    config.save_every = 2000
    config.data.name = "mnist"
    config.data.transform = "unit"
    config.sample.num = 100
    adam = {"name": "adam", "learning_rate": 2e-4, "b1": 0.5, "b2": 0.999}
    config.model = {
        "name": "gan",
        "generator": {"name": "mlp", "hidden": (1200, 1200), "activation": "relu", "output": "sigmoid"},
        "discriminator": {
            "name": "mlp",
            "hidden": (240, 240),
            "activation": "linear",
            "pieces": 5,  # maxout
            "dropout": (0.2, 0.5),
            "scale": 1.0,
        },
        "loss": "minimax",
        "penalty": "none",
        "latent_size": 100,
        "prior": "uniform",
        "generator_optimizer": adam,
        "discriminator_optimizer": adam,
    }
    return config
