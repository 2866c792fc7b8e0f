"""A real voice, that of Allison Smith (CC BY-SA 3.0), from telephone prompts and their texts.

    python -m gen_jax.train --config configs/speak_voice.py --config.data.path=allison.npz --fork runs/speak

It starts from the weights of `speak.py`, whose texts have the same letters, and goes on for 4,000 steps. They take 1,558 seconds on
two shared CPU cores beside other programs. The score of 43 test prompts, one seed: a share of 0.907 is nearer to its real recording
than to the others (1.0). So little speech trains no recogniser that could judge: it reads most real words wrongly.

    python -m gen_jax.sample --workdir runs/speak_voice --given "text=please try again later" --num 1 --out say.wav
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 10_000
    config.batch_size = 16
    config.log_every = 100
    config.sample_every = 1000
    config.save_every = 1000
    config.data.path = "allison.npz"
    config.data.encoding = "log_mel"
    config.data.condition = "text"
    config.data.order = "by_length"
    config.sample.num = 8
    config.sample.temperature = 0.0
    examples = config.steps * config.batch_size
    config.model = {
        "name": "speech",
        "net": {"name": "conv", "units": 128, "dropout": 0.2},
        "optimizer": {
            "name": "adam",
            "learning_rate": {"start": 2e-3, "stop": 1e-5, "examples": examples},
            "clip_norm": 1.0,
        },
        "ema_half_life": 2000.0,
    }
    return config
