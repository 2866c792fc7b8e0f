"""An LSTM of 36 units with independent keys over four-part chorales: Chung et al. 2014 (arXiv 1412.3555) again.

    python -m gen_jax.train --config configs/jsb_lstm.py --config.data.path=JSB_Chorales.mat

TO BE MEASURED: nats per frame, seconds.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("jsb_gru.py"))
    config.model.cell = {"name": "lstm", "units": 36, "dropout": 0.1}
    return config
