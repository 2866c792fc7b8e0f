"""The Wasserstein GAN with the gradient penalty on the DCGAN nets, on MNIST (Gulrajani et al. 2017, 1704.00028).

    python -m gen_jax.train --config configs/wgan_gp.py --config.data.data_dir=DIR

wip minutes (wip s) wip % KL
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("dcgan.py"))
    config.batch_size = 5 * 64
    config.model.loss = "wasserstein"
    config.model.penalty = "gradient_penalty"
    config.model.gamma = 10.0
    config.model.n_critic = 5
    config.model.discriminator.norm = "none"
    for optimizer in (config.model.generator_optimizer, config.model.discriminator_optimizer):
        optimizer.update({"learning_rate": 1e-4, "b1": 0.5, "b2": 0.9})
    return config
