"""A conditional GAN: the DCGAN nets with labels (embedding, conditional batch norm, projection), on MNIST.

    python -m gen_jax.train --config configs/cgan.py --config.data.data_dir=DIR

wip minutes (wip s) wip % KL
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("dcgan.py"))
    config.model.conditional = True
    config.sample.given = "y=all"
    return config
