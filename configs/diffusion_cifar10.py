"""A diffusion model of CIFAR-10 by a U-Net, with the schedule and the density of noise of EDM (Karras et al. 2022).

    python -m gen_jax.train --config configs/diffusion_cifar10.py --config.data.data_dir=DIR

This config is for a GPU, and was NOT run to its end here. The paper (arXiv 2206.00364, table 2) reaches a FID of 1.79 by
class with 35 evaluations of its net. The net here has 35 million weights. The tests run two steps with a small net and
draw samples, which takes 17 seconds on two shared CPU cores.
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 400_000  # 200 million images
    config.batch_size = 512
    config.log_every, config.sample_every, config.save_every = 100, 5000, 5000
    config.eval_every = 0
    config.data.name = "cifar10"
    config.data.augment = "flip"
    config.sample.given = "y=all"
    config.sample.how = "steps=18,solver=heun"
    config.model = {
        "name": "diffusion",
        "conditional": True,
        "net": {
            "name": "unet",
            "channels": 128,
            "multiples": (1, 2, 2),
            "blocks": 3,
            "dropout": 0.13,
            "dtype": "bfloat16",
        },
        "schedule": {"name": "edm"},
        "prediction": "v",
        "times": {"name": "log_normal"},
        "optimizer": {
            "name": "adam",
            "learning_rate": {"start": 1e-3, "stop": 1e-4, "examples": 200_000_000, "warm_up": 10_000_000},
        },
        "ema_half_life": 500_000.0,
    }
    config.evaluate.metrics = ("fid", "label_accuracy")
    return config
