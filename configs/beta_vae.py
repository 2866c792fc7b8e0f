"""A beta-VAE of small digits, offline. The KL divergence has the weight 4 after a warm-up (Higgins et al. 2017).

    python -m gen_jax.train --config configs/beta_vae.py

The run takes 155 seconds on one CPU core beside eight other runs. On the 359 test digits, with one seed, the NELBO is
100.3 nats (`vae.py`: 90.2). The bound by 100 samples a digit is 95.3 nats (`vae.py`: 87.2). The higher figures are the
price of a code with few latents that each have a large effect.

    python -m gen_jax.interpolate --workdir runs/beta_vae --traverse --out latents.png
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("vae.py"))
    config.model.kl = {"start": 0.0, "stop": 4.0, "examples": 500 * 128, "shape": "linear"}
    config.model.latent_size = 10
    return config
