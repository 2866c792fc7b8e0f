"""A VAE of small digits, offline (Kingma & Welling 2014, arXiv 1312.6114)."""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 2000
    config.batch_size = 128
    config.log_every = 100
    config.sample_every = 500
    config.save_every = 500
    config.sample.num = 100
    net = {"name": "mlp", "hidden": (256,), "activation": "relu", "dropout": (0.0, 0.2)}
    config.model = {
        "name": "vae",
        "encoder": net,
        "decoder": net,
        "likelihood": {"name": "beta_binomial"},
        "latent_size": 16,
        "means": True,
        "optimizer": {"name": "adam", "learning_rate": {"start": 2e-3, "stop": 1e-4, "examples": 2000 * 128}},
        "ema_half_life": 10_000,
    }
    return config
