"""chorales"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 1500
    config.batch_size = 16
    config.select = "valid/nats_per_token"
    config.log_every = 100
    config.sample_every = 500
    config.eval_every = 250
    config.save_every = 500
    config.data.path = "jsb16.npz"
    config.data.order = "by_length"
    config.data.augment = "transpose"
    config.sample.num = 4
    config.sample.length = 256
    config.model = {
        "name": "autoregressive",
        "net": {"name": "transformer", "units": 128, "layers": 3, "heads": 4, "context": 64, "dropout": 0.1},
        "head": {"name": "chord", "hidden": 128},
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 2e-3, "stop": 1e-4, "examples": config.steps * config.batch_size},
            "weight_decay": 0.1,
            "clip_norm": 1.0,
        },
    }
    return config
