"""A character LSTM, 2 layers of 256, by truncated backpropagation over Shakespeare in 32 lanes.

    python -m gen_jax.train --config configs/lstm.py

11 minutes (649 s) on one CPU core beside another run. Validation and test together (111,540 characters): 1.507 nats per
character, validation alone 1.457; one seed. In 37 minutes (2,205 s) of that core, with --config.steps=3400 and
--config.model.optimizer.learning_rate.examples=108800: 1.446, and 1.379 on validation (the order-4 Markov chain of
`markov.py`: 1.669 of both; nanoGPT's 1.4697, of windows of 256 of these characters).

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
        "name": "rnn",
        "cell": {"name": "lstm", "units": 256, "layers": 2, "dropout": 0.1},
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 4e-3, "stop": 4e-5, "examples": 1000 * 32},
            "clip_norm": 1.0,
        },
    }
    return config
