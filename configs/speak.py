"""Sentences in a synthetic voice, by monotonic alignments (Kim et al. 2020, arXiv 2005.11129) and a convolutional decoder.

    python -m gen_jax.train --config configs/speak.py --config.data.path=captions.npz

The file has `audio`, `length`, `text`, `split` and `rate`. Its voice is espeak-ng, a program. The run takes
1,597 seconds on two shared CPU cores beside other programs. The scores are for the 100 test sentences and one seed: a recogniser reads a
share of 0.1541 of the words wrongly, and 0.1027 of real recordings. The nearest train recording has 0.5676.

    python -m gen_jax.sample --workdir runs/speak --given "text=a man rides a horse" --num 1 --out say.wav
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 6000
    config.batch_size = 16
    config.log_every = 100
    config.sample_every = 1000
    config.save_every = 1000
    config.data.path = "captions.npz"
    config.data.encoding = "log_mel"
    config.data.condition = "text"
    config.data.order = "by_length"
    config.sample.num = 8
    config.sample.temperature = 0.0
    examples = config.steps * config.batch_size
    config.model = {
        "name": "speech",
        "net": {"name": "conv", "units": 128},
        "optimizer": {
            "name": "adam",
            "learning_rate": {"start": 2e-3, "stop": 1e-5, "examples": examples},
            "clip_norm": 1.0,
        },
        "ema_half_life": 2000.0,
    }
    return config
