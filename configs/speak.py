"""Sentences, spoken by a synthetic voice.

python -m gen_jax.train --config configs/speak.py --config.data.path=captions.npz

"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 6000
    config.batch_size = 16
    config.log_every = 100
    config.sample_every = 1000
    config.save_every = 1000
    config.data.path = "captions.npz"
    config.data.encoding = "log_mel"
    config.data.condition = "text"
    config.data.order = "by_length"
    config.sample.num = 8
    config.sample.temperature = 0.0
    examples = config.steps * config.batch_size
    config.model = {
        "name": "speech",
        "net": {"name": "conv", "units": 128},
        "optimizer": {
            "name": "adam",
            "learning_rate": {"start": 2e-3, "stop": 1e-5, "examples": examples},
            "clip_norm": 1.0,
        },
        "ema_half_life": 2000.0,
    }
    return config
