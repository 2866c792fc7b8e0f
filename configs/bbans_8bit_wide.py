"""A wider VAE for grey MNIST, 784-512-64, whose lossless files are smaller than LZMA's; 40 epochs.

    python -m gen_jax.train --config configs/bbans_8bit_wide.py --config.data.data_dir=DIR

25 minutes of a busy CPU core before a step became three times as fast. Of the 10,000 test images, one seed: NELBO 731.8 nats,
1.347 bits a pixel. As one file, all bytes counted, they take 1.345 (LZMA -9e 1.386, bz2 1.418, gzip 1.640, PNG 2.796); the
model is another 3.9 MB, once:

    python -m gen_jax.compress --workdir runs/bbans_8bit_wide images.npy images.gjx
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("bbans_8bit.py"))
    config.steps = 24_000
    net = {"name": "mlp", "hidden": (512,), "activation": "relu"}
    config.model.encoder = config.model.decoder = net
    config.model.latent_size = 64
    config.model.optimizer.learning_rate.update({"stop": 5e-5, "examples": 24_000 * 100})
    return config
