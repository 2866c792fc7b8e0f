"""A character LSTM, 2 layers of 256, by truncated backpropagation over Shakespeare in 64 lanes.

    python -m gen_jax.train --config configs/lstm.py

TO BE MEASURED: nats per character, minutes.

    python -m gen_jax.sample --workdir runs/lstm --num 4 --length 1000 --given "prefix=ROMEO:" --out romeo.txt
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 300
    config.batch_size = 64  # lanes
    config.log_every = 20
    config.sample_every = 100
    config.eval_every = 100
    config.save_every = 100
    config.data.name = "tiny_shakespeare"
    config.data.window = 128
    config.data.order = "lanes"
    config.sample.num = 4
    config.sample.length = 500
    config.model = {
        "name": "rnn",
        "cell": {"name": "lstm", "units": 256, "layers": 2, "dropout": 0.1},
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 4e-3, "stop": 4e-5, "examples": 300 * 64},
            "clip_norm": 1.0,
        },
    }
    return config
