"""PacGAN: a discriminator that judges two examples together, on the DCGAN nets and MNIST (Lin et al. 2018, 1712.04086).

    python -m gen_jax.train --config configs/pacgan.py --config.data.data_dir=DIR

wip minutes (wip s) wip % KL
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("dcgan.py"))
    config.batch_size = 2 * 64
    config.model.pack = 2
    return config
