"""An LSTM of 36 units with independent keys over four-part chorales (Chung et al. 2014, arXiv 1412.3555).

    python -m gen_jax.train --config configs/jsb_lstm.py --config.data.path=JSB_Chorales.mat

The run takes 109 to 118 seconds on one CPU core beside another run. The figures are for the test split with all 88 keys
and the first frame, by the checkpoint that is best on the validation split. Seeds 0 to 2 have 8.558, 8.531 and 8.533
nats per frame with 21,256 weights (published 8.67). All other settings are the settings of `jsb_gru.py`.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("jsb_gru.py"))
    config.model.net.name, config.model.net.units = "lstm", 36
    return config
