"""Four blocks of minGRU and a feed-forward net, by truncated backpropagation over Shakespeare in 64 lanes.

    python -m gen_jax.train --config configs/mingru.py

TO BE MEASURED: nats per character, minutes.

    python -m gen_jax.sample --workdir runs/mingru --num 4 --length 1000 --given "prefix=ROMEO:" --out romeo.txt
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("lstm.py"))
    config.steps = 300
    config.model.cell = {
        "name": "mingru",
        "units": 256,
        "layers": 4,
        "residual": True,
        "norm": "rms",
        "feedforward": 2,
        "dropout": 0.15,
    }
    config.model.optimizer.learning_rate = {"start": 3e-3, "stop": 3e-5, "examples": 300 * 64}
    return config
