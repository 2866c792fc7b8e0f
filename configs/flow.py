"""flow"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 200
    config.batch_size = 128
    config.log_every = 20
    config.sample_every = 200
    config.eval_every = 200
    config.save_every = 200
    config.data.name = "breast_cancer"
    config.data.variant = "numbers"  # without the class
    config.sample.num = 1000
    config.model = {
        "name": "flow",
        "net": {"name": "mlp", "width": 64, "blocks": 1},
        "layers": 4,
        "optimizer": {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 1.0, "clip_norm": 5.0},
        "ema_half_life": 3000.0,
    }
    return config
