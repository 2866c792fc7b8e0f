"""Diffusion on a grid of 25 Gaussians, or on a ring of 8 Gaussians, beside `gan_gaussians.py`.

    python -m gen_jax.train --config configs/diffusion_gaussians.py

Ten seeds by --config.replicas=10 take 918 seconds on two shared CPU cores beside other runs. The scores are by PacGAN's
protocol: 2,500 samples, near a mode within 3 standard deviations. Each of the ten seeds has all 25 modes. High quality is
0.9477 and reverse KL is 0.0055. By 200 steps of ancestral sampling, --how solver=euler,steps=200,churn=1, high quality is
0.9816 and reverse KL is 0.0065.

The ring was measured with three seeds and --config.data.variant=ring --config.model.schedule.smallest=0.001
--config.model.deviation=0.7 --config.model.times.mean=-2.5 --config.model.times.deviation=1.8. Each has all 8 modes. High
quality is 0.9656, and reverse KL is 0.0011.
"""

from pathlib import Path

from gen_jax.config import load_file


def get_config():
    config = load_file(Path(__file__).with_name("gan_gaussians.py"))
    config.steps = 6000
    config.batch_size = 512
    config.log_every = 500
    config.sample_every = 6000
    config.eval_every = 6000
    config.save_every = 3000
    config.evaluate.metrics = ("modes", "high_quality", "reverse_kl")
    config.model = {
        "name": "diffusion",
        "net": {"name": "mlp", "width": 128, "blocks": 3},
        "schedule": {"name": "edm", "smallest": 0.005, "largest": 80.0},
        "times": {"name": "log_normal", "mean": -1.2, "deviation": 1.6},
        "deviation": 2.8,
        "optimizer": {"name": "adam", "learning_rate": {"start": 2e-3, "stop": 1e-5, "examples": 6000 * 512}},
        "ema_half_life": 50_000.0,
    }
    return config
