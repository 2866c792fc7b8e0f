"""Clips of people by a diffusion model, a transformer that attends within the frames and then between them.

    python -m gen_jax.train --config configs/video_diffusion.py --config.data.path=weizmann

    python -m gen_jax.sample --workdir runs/video_diffusion --num 16 --given y=all --how guidance=2 --out clips.gif

Factorised attention is that of Arnab et al. 2021 (arXiv 2103.15691). This config was NOT run to its end here, and no score
was measured. The tests run two steps with a small net and draw samples, which takes 15 seconds on two shared CPU cores.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("diffusion.py"))
    clips = load_file(Path(__file__).with_name("video.py"))
    config.steps = 3500
    config.batch_size = 16
    config.eval_every = 0
    config.data, config.evaluate = clips.data, clips.evaluate
    config.sample.num = 8
    config.model.net = {"name": "video", "patch": 8, "span": 2, "units": 160, "layers": 3}
    config.model.deviation, config.model.ema_half_life = 0.3, 4000.0
    config.model.prediction, config.model.target = "x", "u"
    config.model.times = {"name": "logit_normal", "mean": -0.8, "deviation": 0.8}
    config.model.optimizer = {
        "name": "adam",
        "learning_rate": {"start": 1e-3, "stop": 1e-5, "examples": 3500 * 16, "warm_up": 5000},
        "b2": 0.95,
    }
    return config
