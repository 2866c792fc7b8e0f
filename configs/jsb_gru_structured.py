"""A GRU of 128 units whose head knows that keys sound together, over four-part chorales.

    python -m gen_jax.train --config configs/jsb_gru_structured.py --config.data.path=JSB_Chorales.mat

TO BE MEASURED: nats per frame, seconds.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("jsb_gru.py"))
    config.model.cell = {"name": "gru", "units": 128, "dropout": 0.3}
    config.model.head = {"name": "bernoulli_mixture", "components": 16}
    return config
