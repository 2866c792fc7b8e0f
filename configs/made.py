"""MADE."""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 10_000  # 20 epochs
    config.batch_size = 100
    config.log_every = 500
    config.sample_every = 5000
    config.eval_every = 2500
    config.save_every = 5000
    config.data.name = "binarized_mnist"
    config.select = "valid/nll"
    config.sample.num = 64
    config.model = {
        "name": "autoregressive",
        "net": {"name": "made", "hidden": (1000,)},
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 2e-3, "stop": 1e-5, "examples": config.steps * config.batch_size},
            "weight_decay": 0.1,
        },
    }
    return config
