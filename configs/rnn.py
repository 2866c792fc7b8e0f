"""A character RNN without gates, 2 layers of 256 tanh units, by truncated backpropagation over Shakespeare in 32 lanes.

    python -m gen_jax.train --config configs/rnn.py

The run takes 3 minutes (190 s) on one CPU core beside another run. With one seed, the validation and test splits
together have 1.605 nats per character, and the validation split alone has 1.568.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("lstm.py"))
    config.model.net.name = "vanilla"
    config.model.optimizer.learning_rate.start = 2e-3
    return config
