"""A GRU over the samples of spoken digits, in 64 lanes, which reads the digit at every sample.

    python -m gen_jax.train --config configs/speech_rnn.py --config.data.path=free-spoken-digit-dataset.zip

The run takes 33 minutes (1,960 s) on one CPU core beside other runs. The test split has 2.928 nats per sample of
1/8000 s. The recordings sound like a murmur, not like speech. The classifier of spectrograms reads the
requested digit in 22 % of 200 samples (by chance 10 %). It reads 98.5 % of the real test recordings right.

    python -m gen_jax.sample --workdir runs/speech_rnn --num 10 --given y=all --out digits.wav
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 2000
    config.batch_size = 64  # lanes
    config.log_every = 50
    config.sample_every = 500
    config.save_every = 500
    config.data.path = "free-spoken-digit-dataset.zip"
    config.data.window = 256
    config.data.order = "lanes"
    config.sample.num = 10
    config.sample.length = 4000  # half a second
    config.sample.given = "y=all"
    config.evaluate.num = 200
    config.evaluate.metrics = ("label_accuracy", "nats_per_token")
    config.model = {
        "name": "autoregressive",
        "conditional": True,
        "net": {"name": "gru", "units": 128, "layers": 2},
        "optimizer": {
            "name": "adam",
            "learning_rate": {"start": 3e-3, "stop": 3e-5, "examples": 2000 * 64},
            "clip_norm": 1.0,
        },
    }
    return config
