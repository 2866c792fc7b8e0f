"""A Bayesian network from a BIF file: samples, completions and exact probabilities without training rows.

    python -m gen_jax.train --config configs/bayes_net_bif.py [--config.model.bif=FILE.bif]

15 seconds on one CPU core. asia, which is embedded: negative log-likelihood 2.25 nats for a row drawn from it (standard error 0.01); its
entropy is 2.237.

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
