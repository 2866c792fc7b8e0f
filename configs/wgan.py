"""The Wasserstein GAN with clipped weights on the DCGAN nets, on MNIST (Arjovsky et al. 2017, arXiv 1701.07875).

    python -m gen_jax.train --config configs/wgan.py --config.data.data_dir=DIR

wip minutes (wip s) wip % KL
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("dcgan.py"))
    config.batch_size = 5 * 64
    config.model.loss = "wasserstein"
    config.model.n_critic = 5
    config.model.weight_clip = 0.01
    rmsprop = {"name": "rmsprop", "learning_rate": 5e-5}
    config.model.generator_optimizer = rmsprop
    config.model.discriminator_optimizer = rmsprop
    return config
