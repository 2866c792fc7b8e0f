"""The original GAN (Goodfellow et al. 2014, arXiv 1406.2661): MLPs, 784 sigmoid units, the saturating minimax loss.

    python -m gen_jax.train --config configs/gan_minimax.py --config.data.data_dir=DIR

The run takes 5 minutes on one CPU core (307 s, before the average of the weights was added). The figures are for
10,000 samples in the features of the classifier, with one seed; real held-out digits are in brackets. The Frechet
distance is 48.3 (0.94), precision 88 % (95 %) and recall 58 % (94 %). The samples have all ten classes. The negative
log-likelihood by the Parzen window is -151.9 nats.

The loss as published saturates within 500 steps. The maxout discriminator of 2014 makes the generator collapse.
Training stays stable with a leaky-ReLU discriminator and the R1 penalty with a weight of 3.
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 16_000
    config.batch_size = 100
    config.log_every = 200
    config.sample_every = 2000
    config.save_every = 2000
    config.data.name = "mnist"
    config.data.transform = "unit"
    config.sample.num = 100
    adam = {"name": "adam", "learning_rate": 2e-4, "b1": 0.5, "b2": 0.999}
    config.model = {
        "name": "gan",
        "generator": {
            "name": "mlp",
            "hidden": (256, 512),
            "activation": "relu",
            "output": "sigmoid",
            "scale": 1.0,
        },
        "discriminator": {"name": "mlp", "hidden": (512, 256), "dropout": (0.0, 0.3)},
        "loss": "minimax",
        "penalty": "r1",
        "gamma": 3.0,
        "latent_size": 100,
        "prior": "uniform",
        "generator_optimizer": adam,
        "discriminator_optimizer": adam,
        "ema_half_life": 50_000,
    }
    return config
