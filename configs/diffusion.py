"""A diffusion model of small digits by flow matching, with labels (Lipman et al. 2023, arXiv 2210.02747).

python -m gen_jax.train --config configs/diffusion.py
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 6000
    config.batch_size = 128
    config.log_every = 200
    config.sample_every = 2000
    config.eval_every = 2000
    config.save_every = 2000
    config.sample.num = 100
    config.model = {
        "name": "diffusion",
        "net": {"name": "mlp", "width": 256, "blocks": 3},
        "deviation": 0.75,
        "conditional": True,
        "optimizer": {"name": "adam", "learning_rate": {"start": 1e-3, "stop": 1e-5, "examples": 6000 * 128}},
        "ema_half_life": 50_000.0,
    }
    return config
