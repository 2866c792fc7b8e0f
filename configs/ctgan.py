"""CTGAN of a table (Xu et al. 2019, arXiv 1907.00503): a GAN with modes of numbers, training by sampling, and packs of ten.

    python -m gen_jax.train --config configs/ctgan.py [--config.data.path=FILE.csv]

The run takes 25 seconds on one core beside other runs. The figures are for 1,000 samples. Brackets hold the
score of real rows. The first three figures are means of three seeds with four draws a seed, and their standard error
over the seeds. Marginal is 0.060 ± 0.001 (0.087), pairwise 0.066 ± 0.004 (0.033) and detection 0.628 ± 0.012 (0.45).
The other two use one draw a seed. The F1 score on real test rows is 0.938 ± 0.006 (0.916), and nearest_record is 0.468
(0.507).

On adult, with the 300 epochs of the paper and one seed, the F1 score of the minority class is 0.634 (real rows 0.664;
published 0.580). That run takes 5 minutes of one core.

    python -m gen_jax.sample --workdir runs/ctgan --num 150 --given "species=setosa" --out setosa.csv
    python -m gen_jax.train --config configs/ctgan.py --workdir runs/ctgan_adult --config.data.name=adult \\
        --config.data.data_dir=DIR --config.batch_size=500 --config.epochs=300
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 5000
    config.batch_size = 120
    config.log_every = 100
    config.sample_every = 1000
    config.save_every = 1000
    config.data.name = "iris"
    config.data.transform = "modes"
    config.data.order = "by_level"
    config.sample.num = 150
    adam = {"name": "adam", "learning_rate": 2e-4, "b1": 0.5, "b2": 0.9}
    net = {"name": "mlp", "hidden": (256, 256)}
    config.model = {
        "name": "gan",
        "generator": {**net, "activation": "relu", "norm": "batch", "concatenate": True},
        "discriminator": {**net, "dropout": (0.0, 0.5)},
        "loss": "wasserstein",
        "penalty": "gradient_penalty",
        "gamma": 10.0,
        "latent_size": 128,
        "conditional": True,
        "pack": 10,
        "ema_half_life": 20_000,  # not of the paper; what it draws is steadier
        "generator_optimizer": {**adam, "name": "adamw", "weight_decay": 1e-6},
        "discriminator_optimizer": adam,
    }
    return config
