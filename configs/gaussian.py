"""x nats 9 seconds

python -m gen_jax.train --config configs/gaussian.py
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 1  # one pass over all rows
    config.log_every = 1
    config.sample_every = 1
    config.eval_every = 1
    config.save_every = 1
    config.data.name = "breast_cancer"
    config.data.schema = '{"diagnosis": {"kind": "drop"}}'  # a class; the mixture models it too
    config.data.order = "all"
    config.sample.num = 1000
    config.evaluate.metrics = ("log_likelihood", "bic")
    config.model = {"name": "gaussian", "covariance": "full"}
    return config
