"""A beta-VAE of small digits, offline: a KL that weighs four times as much, after a warm-up (Higgins et al. 2017)."""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("vae.py"))
    config.model.kl = {"start": 0.0, "stop": 4.0, "examples": 500 * 128, "shape": "linear"}
    config.model.latent_size = 10
    return config
