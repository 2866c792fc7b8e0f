"""A small character transformer over windows of Shakespeare, in the size that nanoGPT proposes for a CPU.

    python -m gen_jax.train --config configs/transformer.py

It has 4 layers of 128 units with 4 heads. A layer sees the last 64 characters, also those of the window before. The run
takes 230 seconds on two shared CPU cores. With one seed, the validation and test splits together have 1.563 nats per
character, and the validation split alone has 1.522. On windows of 64 characters without context the validation split
has 1.765, where nanoGPT states 1.88 for its settings for a CPU.

    python -m gen_jax.sample --workdir runs/transformer --num 4 --length 1000 --given "prefix=ROMEO:" --out romeo.txt

For a GPU, the size of nanoGPT's larger config: --config.model.net.units=384 --config.model.net.layers=6
--config.model.net.heads=6 --config.model.net.context=256 --config.model.net.dropout=0.2
--config.model.net.dtype=bfloat16 --config.data.window=256 --config.batch_size=64 --config.steps=5000.
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 2000
    config.batch_size = 12  # lanes
    config.log_every = 100
    config.sample_every = 1000
    config.eval_every = 1000
    config.save_every = 1000
    config.data.name = "tiny_shakespeare"
    config.data.window = 64
    config.data.order = "lanes"
    config.sample.num = 4
    config.sample.length = 500
    config.model = {
        "name": "autoregressive",
        "net": {"name": "transformer", "units": 128, "layers": 4, "heads": 4, "context": 64},
        "optimizer": {
            "name": "adamw",
            "learning_rate": {"start": 3e-3, "stop": 1e-4, "examples": config.steps * config.batch_size},
            "clip_norm": 1.0,
        },
    }
    config.evaluate.metrics = ("valid/nats_per_token", "nats_per_token")
    return config
