"""A GRU of 46 units with independent keys over four-part chorales: Chung et al. 2014 (arXiv 1412.3555) again.

    python -m gen_jax.train --config configs/jsb_gru.py --config.data.path=JSB_Chorales.mat

TO BE MEASURED: nats per frame, seconds.
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 4000
    config.batch_size = 16
    config.select = "valid/nats_per_frame"
    config.log_every = 100
    config.sample_every = 1000
    config.eval_every = 100
    config.save_every = 500
    config.data.path = "JSB_Chorales.mat"
    config.sample.num = 4
    config.sample.length = 64
    config.model = {
        "name": "rnn",
        "cell": {"name": "gru", "units": 46, "dropout": 0.1},
        "head": {"name": "bernoulli"},
        "optimizer": {
            "name": "adam",
            "learning_rate": {"start": 1e-2, "stop": 5e-4, "examples": 4000 * 16},
            "clip_norm": 1.0,
        },
    }
    return config
