"""Masked diffusion of columns of levels: any cells of a row given any others. Asia (offline), or the binary sets.

    python -m gen_jax.train --config configs/masked.py
    python -m gen_jax.train --config configs/masked.py --config.data.name=binary --config.data.data_dir=FOLDER --config.data.set=nltcs

The run on nltcs takes 169 seconds on two shared CPU cores beside other runs. With one seed, the bound by 32 orders is 5.985
nats a test row. Independent columns (`bernoulli.py`) have 9.2336, a Chow-Liu tree (`chow_liu.py`) 6.7590, and a forest
(`forest.py`) 6.002. On plants the bound is 12.17, beside 31.2662, 16.5240 and 12.19.

    python -m gen_jax.sample --workdir runs/masked --given "smoke=yes" --out rows.csv
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("chow_liu.py"))
    config.steps = 6000
    config.batch_size = 256
    config.log_every = 500
    config.eval_every = 0
    config.sample_every = 0
    config.save_every = 3000
    config.data.order = "shuffle"
    config.model = {
        "name": "masked",
        "net": {"name": "mlp", "width": 256, "blocks": 3, "dropout": 0.1},
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 2e-3, "stop": 1e-5, "examples": 6000 * 256},
            "weight_decay": 0.1,
        },
        "ema_half_life": 50_000.0,
    }
    config.sample.num_samples = 32
    config.evaluate.metrics = ("nll_bound",)
    return config
