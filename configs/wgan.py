"""The Wasserstein GAN with clipped weights on the DCGAN nets, on MNIST (Arjovsky et al. 2017, arXiv 1701.07875).

    python -m gen_jax.train --config configs/wgan.py --config.data.data_dir=DIR

The run takes 10 minutes (625 s) on one CPU core beside other runs. The figures are for 10,000 samples in the features
of the classifier, with one seed; real held-out digits are in brackets. The Frechet distance is 102.3 (0.94), precision
65 % (95 %), recall 60 % (94 %) and coverage 17 % (95 %). The samples have all ten classes. The paper's constants are
clip 0.01 and RMSProp with 5e-5. With them training has only begun by then (Frechet distance 290.6).
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("dcgan.py"))
    config.steps = 2000
    config.batch_size = 5 * 64
    config.model.loss = "wasserstein"
    config.model.n_critic = 5
    config.model.weight_clip = 0.03
    rmsprop = {"name": "rmsprop", "learning_rate": 5e-4}
    config.model.generator_optimizer = rmsprop
    config.model.discriminator_optimizer = rmsprop
    return config
