"""Pictures of one style from pictures of another: emoji of Noto as emoji of Twemoji.

    python -m gen_jax.train --config configs/emoji_style.py --config.data.path=emoji_32.npz --config.data.metadata=emoji.json

The .npz file holds two arrays of pictures [N, 32, 32, 3] in the same order, `noto` and `twemoji`. The JSON file is a list
of records in that order, with the `split` of each row. Without the critic: --config.model.adversarial=0.

The run takes 397 s on two shared CPU cores. The scores are of one seed on 307 held-out emoji. The absolute error is 0.077
(a copy of the condition: 0.322). The share of the pictures that are nearest to their own true picture is 0.974.
"""

from gen_jax.config import base_config


def get_config():
    config = base_config()
    config.steps = 3000
    config.batch_size = 16
    config.log_every = 100
    config.sample_every = 1500
    config.eval_every = 1500
    config.save_every = 1500
    config.data.path = "emoji_32.npz"
    config.data.target = "twemoji"
    config.data.condition = "noto"
    config.data.test_split = "test_tone"
    config.sample.num = 16
    examples = config.steps * config.batch_size
    config.model = {
        "name": "gan",
        "conditional": True,
        "generator": {"name": "unet", "channels": 32, "depth": 4, "norm": "none", "output": "tanh"},
        "discriminator": {"name": "patch", "channels": 32, "layers": 1},
        "loss": "non_saturating",
        "penalty": "none",
        "latent_size": 0,
        "reconstruction": {"name": "l1", "weight": 100.0},
        "adversarial": 1.0,
        "generator_optimizer": {
            "name": "adam",
            "learning_rate": {"start": 5e-4, "stop": 1e-5, "examples": examples},
            "b1": 0.5,
        },
        "discriminator_optimizer": {"name": "adam", "learning_rate": 2e-4, "b1": 0.5},
    }
    config.evaluate.metrics = ("absolute_error", "retrieval", "absolute_error_copy", "absolute_error_mean")
    return config
