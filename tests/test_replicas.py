"""Replicas: several seeds in one run are the runs of those seeds, on one device and on several."""

import json
from pathlib import Path

import chex
import jax
import numpy as np
import pytest
from conftest import host

import gen_jax
from gen_jax import sample, sharding, train
from gen_jax.errors import UserError

CONFIGS = Path(__file__).parents[1] / "configs"
MLP = ["--config.model.generator.hidden=(16,)", "--config.model.discriminator.hidden=(16,)"]
SGD = [
    f"--config.model.{net}_optimizer={{'name': 'sgd', 'learning_rate': 0.1}}" for net in ("generator", "discriminator")
]


def run(workdir, *flags, config="gan"):
    """A run of 6 steps on digits."""
    few = ["--config.steps=6", "--config.batch_size=16", "--config.log_every=2", "--config.sample_every=6"]
    few += ["--config.eval_every=0", "--config.save_every=3", "--config.sample.num=4", "--quiet"]
    train.main(["train", "--config", str(CONFIGS / f"{config}.py"), "--workdir", str(workdir), *few, *flags])
    return workdir


@pytest.fixture
def devices(monkeypatch):
    """The number of devices that the commands see."""

    def see(number):
        make = sharding.Mesh
        few = jax.devices()[:number]
        monkeypatch.setattr(
            sharding, "make_mesh", lambda given=None: make(np.asarray(few if given is None else given), ("data",))
        )

    return see


@pytest.mark.parametrize("number", [1, 2])
def test_replicas_are_the_runs_of_their_seeds(number, devices, tmp_path):
    devices(number)
    run(tmp_path / "both", "--config.replicas=2", *MLP)
    devices(1)
    for replica in (0, 1):
        alone = gen_jax.load(run(tmp_path / str(replica), f"--config.seed={replica}", *MLP))
        chex.assert_trees_all_close(
            host(gen_jax.load(tmp_path / "both", replica=replica).state), host(alone.state), rtol=1e-3, atol=1e-5
        )


def test_convolving_replicas_are_exactly_the_runs_of_their_seeds(devices, tmp_path):
    devices(1)
    small = [
        "--config.data.name=digits",
        "--config.model.generator.channels=(4,)",
        "--config.model.discriminator.channels=(4,)",
    ]
    run(tmp_path / "both", "--config.replicas=2", *small, config="dcgan")
    for replica in (0, 1):
        alone = gen_jax.load(run(tmp_path / str(replica), f"--config.seed={replica}", *small, config="dcgan"))
        chex.assert_trees_all_equal(host(gen_jax.load(tmp_path / "both", replica=replica).state), host(alone.state))


def test_metrics_of_replicas_are_means_with_standard_errors(devices, tmp_path):
    devices(1)
    lines = {}
    for name, flags in {"both": ["--config.replicas=2"], "0": [], "1": ["--config.seed=1"]}.items():
        folder = run(tmp_path / name, *flags, *MLP)
        lines[name] = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    one, other = lines["0"]["d_loss"], lines["1"]["d_loss"]
    assert lines["both"]["d_loss"] == pytest.approx((one + other) / 2, rel=1e-4)
    assert lines["both"]["d_loss_se"] == pytest.approx(abs(one - other) / 2, rel=1e-2)


def test_replicas_resume_to_the_bit_and_are_sampled_apart(devices, tmp_path):
    devices(2)
    whole = run(tmp_path / "whole", "--config.replicas=2", *MLP)
    broken = run(tmp_path / "broken", "--config.replicas=2", "--config.steps=3", *MLP)
    run(broken, "--config.replicas=2", *MLP)
    for replica in (0, 1):
        chex.assert_trees_all_equal(*(host(gen_jax.load(each, replica=replica).state) for each in (whole, broken)))
    draws = []
    for replica in (0, 1):
        out = tmp_path / f"{replica}.npz"
        sample.main(["sample", "--workdir", str(whole), "--num=3", f"--replica={replica}", "--out", str(out)])
        draws.append(np.load(out)["x"])
    assert not np.array_equal(*draws)
    with pytest.raises(UserError, match="replica 2: .* has 2"):
        gen_jax.load(whole, replica=2)
