"""A recurrent GAN over TimeGAN's sines: LSTMs that read and write frame by frame (RCGAN, Esteban et al. 2017).

    python -m gen_jax.train --config configs/rcgan.py

TO BE MEASURED: discriminative score, nats, minutes.
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 10_000
    config.batch_size = 256
    config.log_every = 200
    config.sample_every = 2000
    config.save_every = 2000
    config.data.name = "sines"
    config.sample.num = 16
    adam = {
        "name": "adam",
        "learning_rate": {"start": 1e-3, "stop": 1e-4, "examples": 10_000 * 128},
        "b1": 0.0,
        "b2": 0.99,
    }
    net = {"name": "recurrent", "cell": {"name": "lstm", "units": 64}}
    config.model = {
        "name": "gan",
        "generator": net,
        "discriminator": net,
        "loss": "relativistic",
        "penalty": "r1_r2",
        "gamma": {"start": 0.5, "stop": 0.05, "examples": 10_000 * 128},
        "latent_size": 24 * 5,
        "generator_optimizer": adam,
        "discriminator_optimizer": adam,
        "ema_half_life": 20_000,
    }
    return config
