"""A character LSTM, 2 layers of 256, by truncated backpropagation over Shakespeare in 32 lanes.

    python -m gen_jax.train --config configs/lstm.py

The run takes 11 minutes (649 s) on one CPU core beside another run. With one seed, the validation and test splits
together (111,540 characters) have 1.507 nats per character, and the validation split alone has 1.457. For comparison,
the order-4 Markov chain of `markov.py` has 1.669 on both splits together, and nanoGPT has 1.4697 on windows of 256 of
these characters.

The flags --config.steps=3400 --config.model.optimizer.learning_rate.examples=108800 train for 37 minutes (2,205 s) of
the same core. The figures are then 1.446 on both splits together and 1.379 on the validation split.

    python -m gen_jax.sample --workdir runs/lstm --num 4 --length 1000 --given "prefix=ROMEO:" --out romeo.txt
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 1000
    config.batch_size = 32  # lanes
    config.log_every = 20
    config.sample_every = 500
    config.eval_every = 250
    config.save_every = 250
    config.data.name = "tiny_shakespeare"
    config.data.window = 128
    config.data.order = "lanes"
    config.sample.num = 4
    config.sample.length = 500
    config.model = {
        "name": "autoregressive",
        "net": {"name": "lstm", "units": 256, "layers": 2, "dropout": 0.1},
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 4e-3, "stop": 4e-5, "examples": 1000 * 32},
            "clip_norm": 1.0,
        },
    }
    return config
