"""A normalizing flow on the 30 numbers of breast_cancer, offline: an exact density (Durkan et al. 2019, arXiv 1906.04032).

    python -m gen_jax.train --config configs/flow.py

The negative log-likelihood of the 113 test rows is -41.46 nats a row, the mean of three seeds by --config.replicas=3, which
take 48 seconds on two shared CPU cores beside other runs. A Gaussian (`gaussian.py`) has -33.216. The number of steps was
chosen by cross-validation of the training rows: from 300 steps on the flow overfits.

    python -m gen_jax.sample --workdir runs/flow --num 100 --out rows.csv
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 200
    config.batch_size = 128
    config.log_every = 20
    config.sample_every = 200
    config.eval_every = 200
    config.save_every = 200
    config.data.name = "breast_cancer"
    config.data.variant = "numbers"  # without the class
    config.sample.num = 1000
    config.model = {
        "name": "flow",
        "net": {"name": "mlp", "width": 64, "blocks": 1},
        "layers": 4,
        "optimizer": {"name": "adamw", "learning_rate": 1e-3, "weight_decay": 1.0, "clip_norm": 5.0},
        "ema_half_life": 3000.0,
    }
    return config
