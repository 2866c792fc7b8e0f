"""R3GAN's class-conditional nets for CIFAR-10, at the paper's size and length (Huang et al. 2024, arXiv 2501.05441).

    python -m gen_jax.train --config configs/r3gan_cifar10.py --config.data.data_dir=DIR

This config is for a GPU, and was NOT run to its end here. The paper takes 4 days (5,760 minutes) on 8 L40. It reaches a
FID of 1.96 with augmentation, which this config does not have. The tests run two steps and draw samples, with small
nets.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("r3gan.py"))
    config.steps = 488_000  # 250 million images
    config.batch_size = 2 * 512  # for the discriminator, and for the generator
    config.log_every, config.sample_every, config.save_every = 100, 2000, 2000
    config.data.name = "cifar10"
    config.sample.given = "y=all"
    config.model.conditional = True
    burn_in = 20_000_000  # examples
    for net in (config.model.generator, config.model.discriminator):
        net.update({"channels": (768,) * 4, "blocks": 2, "dtype": "bfloat16"})
    for optimizer in (config.model.generator_optimizer, config.model.discriminator_optimizer):
        optimizer.learning_rate.update({"start": 2e-4, "stop": 5e-5, "examples": burn_in})
        optimizer.b2.examples = burn_in
    config.model.gamma = {"start": 0.05, "stop": 0.005, "examples": burn_in}
    config.model.ema_half_life.update({"stop": 5_000_000.0, "examples": burn_in})
    return config
