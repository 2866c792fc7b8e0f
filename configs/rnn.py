"""A character RNN without gates, one layer of 256 tanh units, by truncated backpropagation over Shakespeare in 64 lanes.

    python -m gen_jax.train --config configs/rnn.py

TO BE MEASURED: nats per character, minutes.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("lstm.py"))
    config.model.cell = {"name": "vanilla", "units": 256, "layers": 1}
    config.model.optimizer.learning_rate.start = 1e-3
    config.model.optimizer.learning_rate.stop = 1e-5
    return config
