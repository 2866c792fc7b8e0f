"""Super-resolution: a net that enlarges photos by 3, trained on patches of a folder of photos.

    python -m gen_jax.train --config configs/super_resolution.py --config.data.path=t91 --config.data.test_path=set5

Both are folders of photos of any sizes. The net works on the luminance. `psnr` is measured on whole photos of the test
folder. A run on T91 takes 586 to 735 s on two shared CPU cores, beside other programs. The mean score of three seeds on
Set5 is 33.13 dB. Bicubic enlargement has 30.39 dB, and the published SRCNN 32.75 dB. On Set14 the same nets have 29.47 dB,
bicubic enlargement 27.54 dB. Patches are laid in eight ways; without --config.data.augment=turn Set5 has 32.68 dB after
27,000 steps.
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 18_000
    config.batch_size = 16
    config.log_every = 100
    config.sample_every = 6000
    config.eval_every = 6000
    config.save_every = 6000
    config.data.path = "t91"
    config.data.patch = 72
    config.data.shrink = 3
    config.data.channels = "luminance"
    config.data.augment = "turn"
    config.sample.num = 16
    config.model = {
        "name": "gan",
        "conditional": True,
        "generator": {"name": "sr", "scale": 3},
        "discriminator": {"name": "patch", "channels": 24, "layers": 2},
        "loss": "non_saturating",
        "penalty": "none",
        "latent_size": 0,
        "reconstruction": {"name": "l1"},
        "adversarial": 0.0,
        "generator_optimizer": {
            "name": "adam",
            "learning_rate": {"start": 1e-3, "stop": 1e-5, "examples": config.steps * config.batch_size},
        },
    }
    config.evaluate.metrics = ("psnr", "psnr_bicubic")
    return config
