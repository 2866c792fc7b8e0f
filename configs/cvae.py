"""A conditional VAE of small digits, offline: the label beside the input of both nets (Sohn et al. 2015)."""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("vae.py"))
    config.model.conditional = True
    config.sample.given = "y=all"
    return config
