"""The Wasserstein GAN with clipped weights on the DCGAN nets, on MNIST (Arjovsky et al. 2017, arXiv 1701.07875).

    python -m gen_jax.train --config configs/wgan.py --config.data.data_dir=DIR

10 minutes (595 s) on one CPU core beside two other runs. With the paper's constants it has only begun by then: strokes,
no digits; of 10,000 samples Frechet distance 290.6 (real held-out digits: 0.94), precision 85 %, recall 4 %, coverage 4
%; one seed.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("dcgan.py"))
    config.steps = 2000
    config.batch_size = 5 * 64
    config.model.loss = "wasserstein"
    config.model.n_critic = 5
    config.model.weight_clip = 0.01
    rmsprop = {"name": "rmsprop", "learning_rate": 5e-5}
    config.model.generator_optimizer = rmsprop
    config.model.discriminator_optimizer = rmsprop
    return config
