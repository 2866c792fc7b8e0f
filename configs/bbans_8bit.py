"""The VAE of BB-ANS for grey MNIST: 784-200-50, a beta-binomial of 256 values a pixel (Townsend et al. 2019, 1901.04866).

    python -m gen_jax.train --config configs/bbans_8bit.py --config.data.data_dir=DIR

NOT MEASURED
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("bbans.py"))
    config.data.transform = "unit"
    config.data.test_name = None
    net = {"name": "mlp", "hidden": (200,), "activation": "relu"}
    config.model.encoder = config.model.decoder = net
    config.model.latent_size = 50
    return config
