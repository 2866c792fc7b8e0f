"""The DCGAN nets with the least-squares loss, on MNIST (Mao et al. 2017, arXiv 1611.04076).

    python -m gen_jax.train --config configs/lsgan.py --config.data.data_dir=DIR

wip minutes (wip s) wip % KL
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("dcgan.py"))
    config.model.loss = "least_squares"
    return config
