"""Segmentation: a U-Net from photos to class maps, by cross-entropy, with a patch critic or without.

    python -m gen_jax.train --config configs/segment.py --config.data.path=FOLDER

FOLDER holds `train`, `validation` and `test`, each with the folders `image` and `label`, whose files have equal names. A
JSON file in FOLDER lists the classes, see docs/guides/pictures_from_pictures.md. The net reads photos of 256x192 pixels
and draws maps of 64x48.

Without the critic, the plain baseline: --config.model.adversarial=0. Rare classes count more with
--config.model.reconstruction.class_weights=(2.4,2.1,5.8,1.8,3.9,2.9,5.6,5.7,3.6,6.2,6.6), a number for each class of
CamVid: the square root of 1 / ln(1.02 + p) for a share p of the train pixels (Paszke et al. 2016, arXiv 1606.02147).

With these weights a run takes 878 to 1059 s on two shared CPU cores without the critic, and 1376 s or more with it. All scores
are means of three seeds on the 233 test photos: mIoU 0.402 without the critic and 0.395 with it, pixel accuracy 0.787 and
0.785. The most frequent class of each position has mIoU 0.171, and the map of the nearest train photo 0.214. With small
photos (--config.data.condition_scale=1), 2,000 steps and the whole weights, mIoU is 0.362, with the critic and without.

For a GPU: --config.data.resize=96 --config.data.width=128 --config.data.condition_scale=2
--config.model.generator.channels=64 --config.model.generator.depth=5 --config.model.discriminator.channels=64
--config.model.discriminator.layers=3 --config.batch_size=16 --config.steps=20000.
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 4000
    config.batch_size = 8
    config.log_every = 100
    config.sample_every = 1000
    config.eval_every = 1000
    config.save_every = 1000
    config.data.path = "camvid"
    config.data.target = "label"
    config.data.condition = "image"
    config.data.resize = 48
    config.data.width = 64
    config.data.condition_scale = 4
    config.data.augment = "flip,shift,zoom,light"
    config.sample.num = 16
    examples = config.steps * config.batch_size
    config.model = {
        "name": "gan",
        "conditional": True,
        "generator": {"name": "unet", "channels": 24, "depth": 4},
        "discriminator": {"name": "patch", "channels": 24, "layers": 2},
        "loss": "non_saturating",
        "penalty": "none",
        "latent_size": 0,
        "reconstruction": {"name": "cross_entropy", "weight": 1.0},
        "adversarial": 0.01,
        "generator_optimizer": {
            "name": "adam",
            "learning_rate": {"start": 1e-3, "stop": 1e-5, "examples": examples},
        },
        "discriminator_optimizer": {"name": "adam", "learning_rate": 2e-4, "b1": 0.5},
    }
    config.evaluate.metrics = ("miou", "pixel_accuracy", "miou_prior", "miou_nearest")
    return config
