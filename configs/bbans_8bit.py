"""The VAE of BB-ANS for grey MNIST: 784-200-50, a beta-binomial of 256 values a pixel (Townsend et al. 2019, 1901.04866).

    python -m gen_jax.train --config configs/bbans_8bit.py --config.data.data_dir=DIR

The 20 epochs take 4 minutes of one CPU core (235 s of CPU time). On the 10,000 test images, with one seed, the NELBO
is 749.9 nats, or 1.380 bits a pixel (published 1.39). With a constant learning rate of 1e-3 and without the average of
the weights it is 1.401 bits a pixel.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("bbans.py"))
    config.data.transform = "unit"
    config.data.test_name = None
    net = {"name": "mlp", "hidden": (200,), "activation": "relu", "scale": 0.33}
    config.model.encoder = config.model.decoder = net
    config.model.latent_size = 50
    falling = {"start": 2e-3, "stop": 1e-4, "examples": 12_000 * 100}
    config.model.optimizer = {"name": "adam", "learning_rate": falling}
    config.model.ema_half_life = 20_000.0
    return config
