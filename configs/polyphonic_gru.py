"""A GRU over piano rolls of any of the four polyphonic sets (Boulanger-Lewandowski et al. 2012, arXiv 1206.6392).

    python -m gen_jax.train --config configs/polyphonic_gru.py --config.data.path=JSB_Chorales.mat
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.epochs = 100.0
    config.batch_size = 16
    config.select = "valid/nats_per_frame"
    config.log_every = 100
    config.sample_every = 2000
    config.eval_every = 200
    config.save_every = 1000
    config.data.path = "JSB_Chorales.mat"
    config.data.augment = "transpose"
    config.data.order = "by_length"
    config.sample.num = 4
    config.sample.length = 64
    config.model = {
        "name": "autoregressive",
        "net": {"name": "gru", "units": 200, "dropout": 0.3, "input_dropout": 0.2, "locked": False},
        "head": {"name": "bernoulli"},
        "optimizer": {
            "name": "adam",
            "learning_rate": {"start": 3e-3, "stop": 3e-5, "epochs": 100},
            "clip_norm": 1.0,
        },
    }
    return config
