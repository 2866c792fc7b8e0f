"""Super-resolution: a net that enlarges photos by 3, trained on patches of a folder of photos.

    python -m gen_jax.train --config configs/super_resolution.py --config.data.path=t91 --config.data.test_path=set5

Both are folders of photos of any sizes. The net works on the luminance. `psnr` is measured on whole photos of the test
folder. A run of one seed on T91 takes 254 s on two shared CPU cores. Its score on Set5 at step 9,000 is 32.73 dB. Bicubic
enlargement has 30.39 dB. With a critic: --config.model.adversarial=0.001 --config.model.loss=relativistic
--config.model.penalty=r1_r2.
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 9000
    config.batch_size = 16
    config.log_every = 100
    config.sample_every = 3000
    config.eval_every = 3000
    config.save_every = 3000
    config.data.path = "t91"
    config.data.patch = 72
    config.data.shrink = 3
    config.data.channels = "luminance"
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
