"""An LSTM of 36 units with independent keys over four-part chorales (Chung et al. 2014, arXiv 1412.3555).

    python -m gen_jax.train --config configs/jsb_lstm.py --config.data.path=JSB_Chorales.mat

109 to 118 seconds on one CPU core beside another run. Test split, all 88 keys, first frame included, by the checkpoint
that validation prefers: 8.558, 8.531 and 8.533 nats per frame, seeds 0 to 2, with 21,256 weights; published 8.67. The
settings are those of `jsb_gru.py`.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("jsb_gru.py"))
    config.model.cell.name, config.model.cell.units = "lstm", 36
    return config
