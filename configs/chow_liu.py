"""A Chow-Liu tree of columns of levels, counted in one pass. Asia (offline), or the binary sets of density estimation.

    python -m gen_jax.train --config configs/chow_liu.py
    python -m gen_jax.train --config configs/chow_liu.py --config.data.name=binary --config.data.data_dir=FOLDER --config.data.set=nltcs

10 seconds on one CPU core. Test rows, pseudo-count 1, the first column is the root, negative log-likelihood: asia 2.307 nats (its network,
which is no tree, 2.251); nltcs 6.7590, plants 16.5240, jester 58.2265 nats, the published figures.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("bernoulli.py"))
    config.model = {"name": "bayes_net", "structure": {"name": "chow_liu"}, "pseudo_count": 1.0}
    return config
