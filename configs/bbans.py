"""The VAE of BB-ANS (Townsend et al. 2019, arXiv 1901.04866): 784-100-40, on MNIST binarised anew at every step."""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 12_000  # 20 epochs
    config.batch_size = 100
    config.log_every = 600
    config.sample_every = 6000
    config.save_every = 6000
    config.data.name = "mnist"
    config.data.transform = "dynamic_binary"
    config.data.test_name = "binarized_mnist"
    net = {"name": "mlp", "hidden": (100,), "activation": "relu"}
    config.model = {
        "name": "vae",
        "encoder": net,
        "decoder": net,
        "latent_size": 40,
        "optimizer": {"name": "adam", "learning_rate": 1e-3},
    }
    return config
