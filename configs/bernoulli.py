"""Independent columns of 0 and 1, or of more levels, by counting: what every other model of a table is to beat.

    python -m gen_jax.train --config configs/bernoulli.py --config.data.data_dir=FOLDER

FOLDER holds nltcs.train.data, nltcs.valid.data and nltcs.test.data of the twenty sets of density estimation; other sets by
--config.data.set. 12 seconds of one CPU core, nearly all of it to start and to draw. Learnt from the train split alone,
log-likelihood of the test split: nltcs -9.2336 nats a row, plants -31.2662, jester -63.8831.
Any table of levels by --config.data.path=FILE.csv --config.data.test_path=OTHER.csv.
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
