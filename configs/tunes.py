"""Folk tunes in ABC notation, character by character, by a small transformer.

    python -m gen_jax.train --config configs/tunes.py --config.data.path=nottingham_abc

The folder holds train.abc.gz, val.abc.gz and test.abc.gz. The run takes 367 seconds on two shared CPU cores. With one
seed, the validation and test splits together have 0.979 nats per character. A share of 0.714 of the bars of its samples
lasts as long as the metre says, and 0.883 at temperature 0.8; of real tunes all do.

    python -m gen_jax.sample --workdir runs/tunes --num 4 --length 600 --temperature 0.8 --out tunes.txt
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 2000
    config.batch_size = 12  # lanes
    config.log_every = 100
    config.sample_every = 1000
    config.eval_every = 500
    config.save_every = 500
    config.data.path = "nottingham_abc"
    config.data.window = 128
    config.data.order = "lanes"
    config.sample.num = 4
    config.sample.length = 600
    config.model = {
        "name": "autoregressive",
        "net": {"name": "transformer", "units": 128, "layers": 4, "heads": 4, "context": 128, "dropout": 0.15},
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 3e-3, "stop": 1e-4, "examples": config.steps * config.batch_size},
            "weight_decay": 0.1,
            "clip_norm": 1.0,
        },
        "ema_half_life": 600.0,
    }
    config.evaluate.metrics = ("valid/nats_per_token", "nats_per_token")
    return config
