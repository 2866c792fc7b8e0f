"""A VAE of small digits, offline, by residual convolutions, with a mixture of logistics for each pixel.

    python -m gen_jax.train --config configs/conv_vae.py

NOT MEASURED
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("vae.py"))
    net = {"name": "conv", "channels": (64, 32), "blocks": 1}
    config.model.encoder = config.model.decoder = net
    config.model.likelihood = {"name": "logistic_mixture", "components": 3}
    return config
