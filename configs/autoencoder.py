"""A deterministic autoencoder of small digits, offline: ten numbers for each digit, for dimension reduction.

    python -m gen_jax.train --config configs/autoencoder.py

The run takes 43 seconds on one CPU core beside other runs. On the 359 test digits, with one seed, the ten numbers
explain 83.8 % of the variance (PCA with ten components: 72.9 %). A linear probe of the ten numbers gives the right
class for 93.6 % of the digits (PCA: 92.8 %).

    python -m gen_jax.encode --workdir runs/autoencoder --out codes.npz --plot codes.png
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("vae.py"))
    config.model.kl = 0.0
    config.model.latent_size = 10
    config.model.likelihood = {"name": "gaussian"}
    return config
