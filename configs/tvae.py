"""TVAE of a table (Xu et al. 2019, arXiv 1907.00503): a VAE with modes of numbers, and levels.

    python -m gen_jax.train --config configs/tvae.py [--config.data.path=FILE.csv]

The run takes 20 seconds of one core's time, and half of it is to compile. The figures are for 1,000 samples and one
seed; brackets hold the score of real rows. Marginal is 0.077 (0.087), pairwise 0.089 (0.033) and detection 0.66 (0.45).
The F1 score on real test rows is 0.933 (0.916), and nearest_record is 0.50. The NELBO is 2.99 nats a test row.

On adult, with three seeds, the F1 score of the minority class is 0.640 ± 0.003 (real rows 0.664; published 0.630). A
seed takes 20,000 steps, or 64 seconds of one core. The settings were chosen on a fifth of the train rows:

    python -m gen_jax.train --config configs/tvae.py --workdir runs/tvae_adult --config.data.name=adult --config.data.data_dir=DIR \\
        --config.batch_size=200 --config.steps=20000 --config.model.optimizer.learning_rate.examples=4000000

    python -m gen_jax.sample --workdir runs/tvae --num 150 --given "species=setosa" --out setosa.csv
    python -m gen_jax.sample --workdir runs/tvae --given FILE.csv --out completed.csv
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 6000
    config.batch_size = 120
    config.log_every = 100
    config.sample_every = 1000
    config.save_every = 1000
    config.data.name = "iris"
    config.data.transform = "modes"
    config.sample.num = 150
    net = {"name": "mlp", "hidden": (128, 128), "activation": "relu"}
    config.model = {
        "name": "vae",
        "encoder": net,
        "decoder": net,
        "likelihood": {"name": "mixed", "temperature": 1.0},
        "latent_size": 16,
        "kl": 0.5,  # TVAE counts what is rebuilt twice
        "ema_half_life": 20_000,
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 1e-3, "stop": 1e-4, "examples": 6000 * 120},
            "weight_decay": 1e-5,
        },
    }
    return config
