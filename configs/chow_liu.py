"""A Chow-Liu tree of 0/1 columns, counted in one pass: nltcs, plants or jester of the twenty of density estimation.

    python -m gen_jax.train --config configs/chow_liu.py --config.data.data_dir=FOLDER --config.data.set=nltcs

18 seconds on one CPU core. Test rows, pseudo-count 1, the first column is the root: nltcs -6.7590, plants -16.5240, jester
-58.2265 nats, the published figures.
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
    config.data.order = "all"
    config.sample.num = 1000
    config.evaluate.metrics = ("log_likelihood", "bic")
    config.model = {"name": "bayes_net", "structure": {"name": "chow_liu"}, "pseudo_count": 1.0}
    return config
