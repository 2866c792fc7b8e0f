"""The VAE of BB-ANS (Townsend et al. 2019, arXiv 1901.04866): 784-100-40, on MNIST binarised anew at every step.

    python -m gen_jax.train --config configs/bbans.py --config.data.data_dir=DIR

The run takes 45 seconds on one CPU core. The figures are for the 10,000 test images of `binarized_mnist` and the
seeds 0 to 2. The NELBO is 106.2, 106.1 and 106.3 nats (0.1954 bits a pixel, published 0.19). The bound by 100 samples
an image is 100.8, 100.5 and 100.9 nats. One compressed file of all test images takes 0.1962 bits a pixel, all bytes
counted (seed 0; gzip 0.331, bz2 0.250, LZMA 0.279):

    python -m gen_jax.compress --workdir runs/bbans images.npy images.gjx
    python -m gen_jax.decompress --workdir runs/bbans images.gjx again.npy
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 12_000  # 20 epochs
    config.batch_size = 100
    config.log_every = 600
    config.sample_every = 6000
    config.save_every = 6000
    config.data.name = "mnist"
    config.data.transform = "dynamic_binary"
    config.data.test_name = "binarized_mnist"
    net = {"name": "mlp", "hidden": (100,), "activation": "relu"}
    config.model = {
        "name": "vae",
        "encoder": net,
        "decoder": net,
        "latent_size": 40,
        "optimizer": {"name": "adam", "learning_rate": 1e-3},
    }
    return config
