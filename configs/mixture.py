"""x nats 9 seconds

python -m gen_jax.train --config configs/mixture.py
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 100  # iterations
    config.replicas = 10  # restarts, of which BIC chooses: --replica best
    config.select = "bic"
    config.log_every = 10
    config.sample_every = 100
    config.eval_every = 100
    config.save_every = 100
    config.data.name = "iris"
    config.data.order = "all"
    config.sample.num = 150
    config.evaluate.metrics = ("log_likelihood", "bic")
    config.model = {"name": "mixture", "components": 3, "covariance": "full", "floor": 1e-3}
    return config
