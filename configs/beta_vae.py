"""A beta-VAE of small digits, offline. The KL divergence has the weight 4 after a warm-up (Higgins et al. 2017).

    python -m gen_jax.train --config configs/beta_vae.py

155 seconds on one CPU core beside eight other runs. Of the 359 test digits, one seed: NELBO 100.3 nats, by 100 samples
95.3 (`vae.py` has 90.2 and 87.2): the price of few latents that each do much.

    python -m gen_jax.interpolate --workdir runs/beta_vae --traverse --out latents.png
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("vae.py"))
    config.model.kl = {"start": 0.0, "stop": 4.0, "examples": 500 * 128, "shape": "linear"}
    config.model.latent_size = 10
    return config
