"""Independent columns of levels of asia, offline, trained by counting: the baseline of all models of tables.

    python -m gen_jax.train --config configs/bernoulli.py

The run takes 8 seconds of one CPU core. The negative log-likelihood of the 10,000 test rows of asia is 3.007 nats a
row. The same config reads the twenty sets of binary columns on which density estimators are compared:

    python -m gen_jax.train --config configs/bernoulli.py --config.data.name=binary --config.data.data_dir=FOLDER --config.data.set=nltcs

FOLDER holds nltcs.train.data, nltcs.valid.data and nltcs.test.data. The model is trained on the train split alone. The
negative log-likelihood of the test split is 9.2336 nats a row for nltcs, 31.2662 for plants and 63.8831 for jester.
The flags --config.data.path=FILE.csv --config.data.test_path=OTHER.csv read any other table of levels.
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 1  # one pass over all rows
    config.log_every = 1
    config.sample_every = 1
    config.eval_every = 1
    config.save_every = 1
    config.data.name = "asia"
    config.data.order = "all"
    config.sample.num = 1000
    config.model = {"name": "bernoulli", "strength": 1.0}
    return config
