"""x"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 3000
    config.batch_size = 64
    config.log_every = 200
    config.sample_every = 1000
    config.save_every = 1000
    config.data.name = "digits"
    falling = {"start": 2e-3, "stop": 1e-4, "examples": 200_000}
    config.model = {
        "name": "vqvae",
        "encoder": {"name": "conv", "channels": (48, 24), "blocks": 1},
        "decoder": {"name": "conv", "channels": (48, 24), "blocks": 1},
        "grid": 0,
        "codebook_size": 64,
        "code_size": 16,
        "prior": {"name": "gru", "units": 128},
        "conditional": True,
        "means": True,
        "optimizer": {"name": "adam", "learning_rate": falling},
        "prior_optimizer": {"name": "adam", "learning_rate": falling, "clip_norm": 1.0},
    }
    return config
