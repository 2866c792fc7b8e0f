"""A hierarchical VAE

python -m gen_jax.train --config configs/ladder_vae.py
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 6000
    config.batch_size = 128
    config.log_every = 200
    config.sample_every = 2000
    config.save_every = 2000
    config.data.name = "digits"
    config.sample.num = 100
    config.model = {
        "name": "ladder",
        "net": {"name": "mlp", "latents": (8, 16, 32), "hidden": (64, 128, 256)},
        "kl": {"start": 0.0, "stop": 1.0, "examples": 200_000, "shape": "linear"},
        "free_nats": 0.5,
        "optimizer": {"name": "adam", "learning_rate": 1e-3, "clip_norm": 200.0},
        "ema_half_life": 20_000.0,
    }
    return config
