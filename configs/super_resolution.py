"""Super-resolution: a net that enlarges photos by 3, trained on patches of a folder of photos.

    python -m gen_jax.train --config configs/super_resolution.py --config.data.path=t91 --config.data.test_path=set5

Both are folders of photos of any sizes. The net works on the luminance. `psnr` is measured on whole photos of the test
folder. A run on T91 takes 586 to 735 s on two shared CPU cores, beside other programs. The mean score of three seeds on
Set5 is 33.13 dB. Bicubic enlargement has 30.39 dB, and the published SRCNN 32.75 dB. On Set14 the same nets have 29.47 dB,
bicubic enlargement 27.54 dB. Patches are turned and mirrored at random. As they are, by --config.data.augment=None, one
seed has 32.68 dB on Set5 after 27,000 steps.

A critic makes photos sharp: --config.model.adversarial=0.02 --config.model.loss=relativistic
--config.model.discriminator.norm=spectral --config.steps=6000
--config.model.generator_optimizer.learning_rate.examples=96000. With one seed, Set5 then has 31.23 dB after 540 s.
--metrics=patch_auc,fine_energy shows what is gained: fresh classifiers tell patches from real ones with an area under the
ROC curve of 0.527, without the critic 0.842 (0.5: not told apart). Fine detail has 0.901 of the true energy, without 0.198.
Some single pixels are wrong, black or white.

Enlarged by 4 (--config.data.shrink=4 --config.model.generator.scale=4), Set5 has 30.87 dB after 344 s (SRCNN 30.49 dB,
bicubic 28.42 dB). A critic that enters when the net has learnt, see docs/guides/pictures_from_pictures.md, makes no such
pixels: 29.06 dB, ROC 0.758 in place of 0.852, energy 0.867 in place of 0.087.
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
        "discriminator_optimizer": {"name": "adam", "learning_rate": 2e-4, "b1": 0.5},
    }
    config.evaluate.metrics = ("psnr", "psnr_bicubic")
    return config
