"""SMOTE-like interpolation between rows of a table (Chawla et al. 2002), which learns nothing: the baseline of iris (offline).

    python -m gen_jax.train --config configs/smote.py [--config.data.path=FILE.csv] [--config.model.within=COLUMN]

TIME seconds, a score
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 1  # one pass over all rows
    config.log_every = 1
    config.sample_every = 1
    config.save_every = 1
    config.data.name = "iris"
    config.data.order = "all"
    config.sample.num = 150
    config.model = {"name": "smote", "neighbours": 5, "within": ""}
    return config
