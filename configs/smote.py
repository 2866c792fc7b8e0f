"""SMOTE-like interpolation between rows of a table (Chawla et al. 2002), without training: the baseline of iris (offline).

    python -m gen_jax.train --config configs/smote.py [--config.data.path=FILE.csv] [--config.model.within=COLUMN]

The run takes 3 seconds of one core's time. The figures are for 1,000 samples. Brackets hold the score of
real rows. The first three figures are means of four draws, and their standard deviation. Marginal is 0.037 ± 0.007
(0.087), pairwise 0.026 ± 0.008 (0.033) and detection 0.31 ± 0.04. Detection is below one half because a sample lies
between two real rows. The other two use one draw. The F1 score on real test rows is 0.933 (0.916), and nearest_record
is 0.57 (0.51). So samples are nearer to the stored rows than new real rows are.

On adult, with --config.model.within=income and one seed, the F1 score of the minority class is 0.662 (real rows 0.664).
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
