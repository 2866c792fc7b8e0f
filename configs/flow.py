"""flow"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 2000
    config.batch_size = 128
    config.log_every = 100
    config.sample_every = 1000
    config.eval_every = 100
    config.save_every = 500
    config.data.name = "breast_cancer"
    config.data.variant = "numbers"
    config.sample.num = 1000
    config.model = {
        "name": "flow",
        "net": {"name": "mlp", "width": 64, "blocks": 1, "dropout": 0.2},
        "layers": 4,
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 1e-3, "stop": 1e-5, "examples": 2000 * 128},
            "weight_decay": 0.1,
            "clip_norm": 5.0,
        },
        "ema_half_life": 5000.0,
    }
    config.evaluate.metrics = ("nll",)
    return config
