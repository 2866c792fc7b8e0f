"""An order-4 Markov chain of characters with Witten-Bell smoothing: Shakespeare by counting.

    python -m gen_jax.train --config configs/markov.py

The run takes 6 seconds on one CPU core. The validation and test splits together (111,540 characters) have 1.669 nats
per character (2.408 bits). This figure is the baseline for every neural model of text. Order 5 with kneser_ney has
1.558. Samples have any length, and continue any prefix:

    python -m gen_jax.sample --workdir runs/markov --num 4 --length 1000 --given "prefix=ROMEO:" --out romeo.txt
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 1  # one pass over the one text
    config.batch_size = 1
    config.log_every = 1
    config.sample_every = 1
    config.eval_every = 1
    config.save_every = 1
    config.data.name = "tiny_shakespeare"
    config.data.order = "once"
    config.sample.num = 4
    config.sample.length = 500
    config.evaluate.metrics = ("nats_per_token", "bits_per_token", "perplexity")
    config.model = {"name": "markov", "order": 4, "smoothing": {"name": "witten_bell"}}
    return config
