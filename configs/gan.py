"""wip"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 2000
    config.batch_size = 128
    config.eval_every=1000
    config.model = {
        "name": "gan",
        "latent_size": 16,
        "gamma": {"start": 0.3, "stop": 0.03, "examples": 1_200_000},
    }
    return config
