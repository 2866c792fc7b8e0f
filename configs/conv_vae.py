"""A VAE of residual convolutions on MNIST binarised anew at every step.

    python -m gen_jax.train --config configs/conv_vae.py --config.data.data_dir=DIR

NOT MEASURED
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 3000
    config.batch_size = 64
    config.log_every = 100
    config.sample_every = 1000
    config.save_every = 500
    config.data.name = "mnist"
    config.data.transform = "dynamic_binary"
    config.data.test_name = "binarized_mnist"
    net = {"name": "conv", "channels": (64, 32, 16), "blocks": 1, "base": 7}
    config.model = {
        "name": "vae",
        "encoder": net,
        "decoder": net,
        "latent_size": 32,
        "optimizer": {"name": "adam", "learning_rate": {"start": 1e-3, "stop": 1e-4, "examples": 3000 * 64}},
    }
    return config
