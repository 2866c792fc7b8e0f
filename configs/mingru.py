"""Four blocks of minGRU and a feed-forward net, by truncated backpropagation over Shakespeare in 32 lanes.

    python -m gen_jax.train --config configs/mingru.py

The run takes 14 minutes (836 s) on one CPU core beside another run. With one seed, the validation and test splits
together (111,540 characters) have 1.634 nats per character (the order-4 Markov chain of `markov.py`: 1.669). The
validation split alone has 1.575.

    python -m gen_jax.sample --workdir runs/mingru --num 4 --length 1000 --given "prefix=ROMEO:" --out romeo.txt
    python -m gen_jax.sample --workdir runs/mingru --stream --length 1000 --temperature 0.8
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("lstm.py"))
    config.steps = 600
    config.sample_every = config.eval_every = config.save_every = 200
    config.model.net = {
        "name": "mingru",
        "units": 256,
        "layers": 4,
        "residual": True,
        "norm": "rms",
        "feedforward": 2,
        "dropout": 0.15,
    }
    config.model.optimizer.learning_rate = {"start": 3e-3, "stop": 3e-5, "examples": 600 * 32}
    return config
