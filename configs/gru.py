"""A character GRU, 2 layers of 256, by truncated backpropagation over Shakespeare in 64 lanes.

    python -m gen_jax.train --config configs/gru.py

TO BE MEASURED: nats per character, minutes.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("lstm.py"))
    config.model.cell.name = "gru"
    return config
