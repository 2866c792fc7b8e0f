"""A conditional GAN on MNIST (Mirza & Osindero 2014). Both nets also read the label; R3GAN's recipe on MLPs.

    python -m gen_jax.train --config configs/cgan.py --config.data.data_dir=DIR

The run takes 11 minutes (686 s) on one CPU core beside another run. The classifier reads the requested class in 99.7 %
of 2,000 samples. It is right on 99.3 % of the real digits. On 10,000 samples, with one seed, the Frechet distance is
22.6 (real held-out digits: 0.94), precision 99 %, recall 32 % and coverage 80 %.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("gan.py"))
    config.steps = 30_000
    config.eval_every = 0
    config.data.name = "mnist"
    config.sample.given = "y=all"
    config.model.conditional = True
    config.model.latent_size = 64
    burn_in = config.steps * 64  # examples
    config.model.gamma = {"start": 3.0, "stop": 0.1, "examples": burn_in}
    for optimizer in (config.model.generator_optimizer, config.model.discriminator_optimizer):
        optimizer.learning_rate.update({"start": 1e-3, "stop": 1e-4, "examples": burn_in})
        optimizer.b2.examples = burn_in
    config.model.ema_half_life.examples = burn_in
    return config
