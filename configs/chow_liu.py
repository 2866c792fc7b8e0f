"""A Chow-Liu tree of columns of levels, counted in one pass. Asia (offline), or the binary sets of density estimation.

    python -m gen_jax.train --config configs/chow_liu.py
    python -m gen_jax.train --config configs/chow_liu.py --config.data.name=binary --config.data.data_dir=FOLDER --config.data.set=nltcs

The run takes 10 seconds on one CPU core. The pseudo-count is 1, and the first column is the root. The negative
log-likelihood of the test rows of asia is 2.307 nats. The network from which asia is drawn has 2.251 nats, and it is
not a tree. The test rows of nltcs have 6.7590 nats, plants 16.5240 and jester 58.2265. These three figures are equal to
the published figures.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("bernoulli.py"))
    config.model = {"name": "bayes_net", "structure": {"name": "chow_liu"}, "pseudo_count": 1.0}
    return config
