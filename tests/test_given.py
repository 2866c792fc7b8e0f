"""Conditions by command: a conditional model draws the labels it is asked for, every other request is one clear line."""

from pathlib import Path

import numpy as np
import pytest

from gen_jax import sample, train
from gen_jax.errors import UserError

CONFIGS = Path(__file__).parents[1] / "configs"
SMALL = [f"--config.model.{net}.channels=(4,)" for net in ("generator", "discriminator")]
LABELS = ["--config.model.conditional=True", "--config.sample.given=y=all"]
FEW = ["--config.steps=1", "--config.sample_every=0", "--config.batch_size=8", "--quiet", "--config.data.name=digits"]
pytestmark = pytest.mark.usefixtures("one_device")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditional")
    train.main(["train", "--config", str(CONFIGS / "dcgan.py"), "--workdir", str(folder), *FEW, *SMALL, *LABELS])
    return folder


@pytest.mark.parametrize("given, labels", {"y=3": [3] * 12, "y=all": [*range(10), 0, 1]}.items())
def test_samples_have_the_labels_asked_for(given, labels, workdir, tmp_path):
    sample.main(["sample", "--workdir", str(workdir), "--num=12", "--given", given, "--out", str(tmp_path / "x.npz")])
    assert np.load(tmp_path / "x.npz")["y"].tolist() == labels


def test_labels_are_drawn_where_none_is_asked_for(workdir, tmp_path):
    sample.main(["sample", "--workdir", str(workdir), "--num=300", "--out", str(tmp_path / "x.npz")])
    assert 2 <= len(set(np.load(tmp_path / "x.npz")["y"].tolist())) <= 8  # the labels of the 8 rows it has seen


WRONG = {
    "y=10": "unknown class of digits.* '10'",
    "y=x": "unknown class",
    "y=": "expected y=CLASS",
    "z=1": "expected y=CLASS",
}


@pytest.mark.parametrize("given, line", WRONG.items())
def test_other_requests_are_refused(given, line, workdir, tmp_path):
    with pytest.raises(UserError, match=line):
        sample.main(["sample", "--workdir", str(workdir), "--given", given, "--out", str(tmp_path / "x.npz")])
    assert not list(tmp_path.iterdir())


def test_models_and_data_without_labels_refuse_them(tmp_path):
    command = [
        "train",
        "--config",
        str(CONFIGS / "dcgan.py"),
        "--workdir",
        str(tmp_path / "run"),
        *FEW,
        *SMALL,
        *LABELS,
    ]
    with pytest.raises(UserError, match="cannot be conditioned on 'y'"):
        train.main([*command, "--config.model.conditional=False"])
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 255, (20, 8, 8, 1), dtype=np.uint8))
    with pytest.raises(UserError, match="labels of x are missing; expected labels for a conditional gan"):
        train.main([*command, f"--config.data.path={tmp_path / 'x.npy'}"])
    with pytest.raises(UserError, match="x has no labels"):
        train.main([*command, f"--config.data.path={tmp_path / 'x.npy'}", "--config.model.conditional=False"])
    assert not (tmp_path / "run" / "config.json").exists()


def test_penalties_and_batch_statistics_exclude_each_other(tmp_path):
    command = ["train", "--config", str(CONFIGS / "dcgan.py"), "--workdir", str(tmp_path / "run"), *FEW, *SMALL]
    with pytest.raises(UserError, match="batch norm .*penalty 'r1' .*norm='spectral'"):
        train.main([*command, "--config.model.penalty=r1", "--config.data.resize=16"])
