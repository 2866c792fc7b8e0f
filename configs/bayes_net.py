"""A Bayesian network of iris, offline. Its graph is searched by BIC, and numbers are cut into bins.

    python -m gen_jax.train --config configs/bayes_net.py [--config.data.path=FILE.csv]

The run takes 15 seconds on one CPU core. The negative log-likelihood of the test rows of iris is 2.85 nats a row.

    python -m gen_jax.sample --workdir runs/bayes_net --num 5 --given "species=setosa" --out setosa.csv
    python -m gen_jax.graph --workdir runs/bayes_net --out network.png
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 1  # with missing cells, iterations of EM: 20 or more
    config.log_every = 1
    config.sample_every = 1
    config.eval_every = 1
    config.save_every = 1
    config.data.name = "iris"
    config.data.order = "all"
    config.sample.num = 150
    structure = {"name": "search", "score": {"name": "bic"}, "max_parents": 4, "bootstraps": 20}
    config.model = {"name": "bayes_net", "structure": structure, "pseudo_count": 1.0, "max_bins": 5}
    return config
