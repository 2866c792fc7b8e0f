"""A deterministic autoencoder of small digits, offline: ten numbers a digit, for dimension reduction."""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("vae.py"))
    config.model.kl = 0.0
    config.model.latent_size = 10
    config.model.likelihood = {"name": "gaussian"}
    return config
