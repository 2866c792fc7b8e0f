"""x nats 9 seconds

python -m gen_jax.train --config configs/bernoulli.py
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 1  # one pass over all rows
    config.log_every = 1
    config.sample_every = 1
    config.eval_every = 1
    config.save_every = 1
    config.data.name = "binary"
    config.data.set = "nltcs"
    config.data.data_dir = "twenty"
    config.data.order = "all"
    config.sample.num = 1000
    config.evaluate.metrics = ("log_likelihood", "bic")
    config.model = {"name": "bernoulli", "strength": 1.0}
    return config
