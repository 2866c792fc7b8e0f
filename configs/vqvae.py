"""A vector-quantised autoencoder (van den Oord et al. 2017) on the embedded 8x8 digits: 4x4 codes of 64, and their prior.

    python -m gen_jax.train --config configs/vqvae.py

231 s of CPU for 3,279 steps on one core (893 s beside other runs for these 3,000). One seed, log p(x | y) of the 1,438
training digits is at least -72.0 nats (1.62 bits a pixel), of the 359 test digits only -110.9 nats (2.50): the codes cost
22.4 and 53.3 nats (even ones 66.5), the images given them 49.5 and 57.5. So the prior learns its training rows by heart.
58.8 of 64 codes are in use (perplexity). MNIST, not measured: --config.data.name=mnist --config.data.data_dir=...
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 3000
    config.batch_size = 64
    config.log_every = 200
    config.sample_every = 1000
    config.save_every = 1000
    config.data.name = "digits"
    falling = {"start": 2e-3, "stop": 1e-4, "examples": 200_000}
    config.model = {
        "name": "vqvae",
        "encoder": {"name": "conv", "channels": (48, 24), "blocks": 1},
        "decoder": {"name": "conv", "channels": (48, 24), "blocks": 1},
        "grid": 0,
        "codebook_size": 64,
        "code_size": 16,
        "prior": {"name": "gru", "units": 128},
        "conditional": True,
        "means": True,
        "optimizer": {"name": "adam", "learning_rate": falling},
        "prior_optimizer": {"name": "adam", "learning_rate": falling, "clip_norm": 1.0},
    }
    return config
