"""Diffusion of the rows of a table: numbers and one-hot levels with noise (Ho et al. 2020, arXiv 2006.11239).

    python -m gen_jax.train --config configs/diffusion_table.py [--config.data.path=FILE.csv]

The run takes 29 seconds on two shared CPU cores, compiling included. The figures are for 1,000 samples of one seed; brackets hold
the score of real rows. Marginal is 0.042 (0.087), pairwise 0.008 (0.033) and detection 0.388 (0.451). The F1 score on
real test rows is 0.933 (0.916), and nearest_record is 0.533 (0.507).

By ForestDiffusion's protocol, three splits, W1 to the test rows is 0.32 ± 0.005 (real rows 0.236, SMOTE 0.341) and their
coverage is 0.942 (0.933). On adult, with one seed, the F1 score of the minority class is 0.639 (real rows 0.664, SMOTE
0.662), and drawn rows are four times as far from the training rows as those of SMOTE:

    python -m gen_jax.train --config configs/diffusion_table.py --workdir runs/diffusion_adult --config.data.name=adult \\
        --config.data.data_dir=DIR --config.batch_size=500 --config.steps=12000 --config.model.net.width=256 \\
        --config.model.net.blocks=3 --config.model.optimizer.learning_rate.examples=6000000

    python -m gen_jax.sample --workdir runs/diffusion_table --num 150 --out rows.csv
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 3000
    config.batch_size = 120
    config.log_every = 100
    config.sample_every = 1000
    config.save_every = 1000
    config.data.name = "iris"
    config.data.transform = "modes"
    config.sample.num = 150
    config.sample.how = "steps=50"
    config.model = {
        "name": "diffusion",
        "net": {"name": "mlp", "width": 128, "blocks": 2},
        "schedule": {"name": "cosine"},
        "prediction": "v",
        "optimizer": {"name": "adam", "learning_rate": {"start": 2e-3, "stop": 1e-5, "examples": 3000 * 120}},
        "ema_half_life": 20_000.0,
    }
    return config
