"""A conditional GAN on MNIST: DCGAN nets with conditional and spectral norm, projection, the hinge loss (1802.05637).

    python -m gen_jax.train --config configs/cgan.py --config.data.data_dir=DIR

wip minutes (wip s) wip % KL
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("dcgan.py"))
    config.model.conditional = True
    config.model.loss = "hinge"
    config.model.discriminator.norm = "spectral"
    for optimizer in (config.model.generator_optimizer, config.model.discriminator_optimizer):
        optimizer.update({"b1": 0.0, "b2": 0.9})
    config.sample.given = "y=all"
    return config
