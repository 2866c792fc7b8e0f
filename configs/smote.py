"""SMOTE-like interpolation between rows of a table (Chawla et al. 2002), without training: the baseline of iris (offline).

    python -m gen_jax.train --config configs/smote.py [--config.data.path=FILE.csv] [--config.model.within=COLUMN]

3 seconds of one core's time. Of 1,000 samples, the mean of four draws and their standard deviation: marginal 0.037 ± 0.007 (real
rows 0.087), pairwise 0.026 ± 0.008 (0.033), detection 0.31 ± 0.04, below one half, because a sample lies between two real rows. By one
draw: F1 score on real test rows 0.933 (0.916), nearest_record 0.57 (0.51), nearer to the rows that are stored than new rows are.
Adult, --config.model.within=income, one seed: F1 of the minority 0.662 (real rows 0.664).
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
