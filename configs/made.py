"""MADE on binarised MNIST: an exact likelihood of images (Germain et al. 2015, arXiv 1502.03509).

    python -m gen_jax.train --config configs/made.py --config.data.data_dir=DIR

The net has one layer of 1,000 units, and draws the pixels line by line. The run takes 196 seconds on two shared CPU cores
beside other runs. With one seed, the 10,000 test images have 91.13 nats and the validation images 92.07. Independent
pixels have 205.79 nats on the test images, and the published figure for 8,000 units is 88.40. Twice as many units overfit.
Several orders, whose densities are averaged, need more steps: --config.model.net.orders=16.

    python -m gen_jax.inpaint --workdir runs/made --mask lower --out repaired.png
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 10_000  # 20 epochs
    config.batch_size = 100
    config.log_every = 500
    config.sample_every = 5000
    config.eval_every = 2500
    config.save_every = 5000
    config.data.name = "binarized_mnist"
    config.select = "valid/nll"
    config.sample.num = 64
    config.model = {
        "name": "autoregressive",
        "net": {"name": "made", "hidden": (1000,)},
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 2e-3, "stop": 1e-5, "examples": config.steps * config.batch_size},
            "weight_decay": 0.1,
        },
    }
    return config
