"""A Bayesian network from a BIF file: samples, completions and exact probabilities without training rows.

    python -m gen_jax.train --config configs/bayes_net_bif.py [--config.model.bif=FILE.bif]

The run takes 15 seconds on one CPU core. The default file is the network asia, which is part of the package. Rows
that are drawn from asia have a negative log-likelihood of 2.25 nats a row (standard error 0.01). The floor is the
entropy of asia, 2.237 nats.

    python -m gen_jax.sample --workdir runs/bayes_net_bif --num 10 --given "smoke=yes,xray=yes" --out cases.csv
"""

from gen_jax.config import base_config
from gen_jax.data.tables.networks import ASIA


def get_config():
    config = base_config()
    config.steps = 0
    config.model = {"name": "bayes_net", "bif": str(ASIA)}
    config.data.path = config.model.get_oneway_ref("bif")  # rows drawn from it are the test
    config.data.order = "all"
    config.sample.num = 1000
    return config
