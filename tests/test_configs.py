"""Every config as a user runs it: two steps through the real command, on an offline stand-in of its data's kind."""

import json
from pathlib import Path

import numpy as np
import pytest

import gen_jax
from gen_jax import sample, train

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))
OFFLINE = ("digits", "gaussians")
pytestmark = pytest.mark.usefixtures("one_device")


def stand_in(config_file: Path, folder: Path) -> list[str]:
    """Flags that give a config whose data need the network made-up data of the same kind."""
    if 'name = "mnist"' not in config_file.read_text():
        return []
    x = np.random.default_rng(0).integers(0, 256, (300, 28, 28, 1), dtype=np.uint8)
    np.savez(folder / "images.npz", x=x, y=np.arange(300) % 10)
    return [f"--config.data.path={folder / 'images.npz'}"]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_runs_two_steps_and_samples(path, tmp_path):
    flags = [*stand_in(path, tmp_path), "--config.steps=2", "--config.evaluate.num=50"]
    train.main(["train", "--config", str(path), "--workdir", str(tmp_path / "run"), "--quiet", *flags])
    loaded = gen_jax.load(tmp_path / "run")
    assert loaded.step == 2
    for name in (tmp_path / "x.npz", tmp_path / "x.png"):
        sample.main(["sample", "--workdir", str(tmp_path / "run"), "--num=5", "--out", str(name)])
    x = np.load(tmp_path / "x.npz")["x"]
    assert x.shape == (5, *loaded.spec.shape) and str(x.dtype) == loaded.spec.dtype
    assert (tmp_path / "run" / "samples" / "2.png").exists()
    assert json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 2


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_opens_with_its_command_and_figure(path):
    text = path.read_text()
    docstring = text.split('"""')[1]
    assert f"python -m gen_jax.train --config configs/{path.name}" in docstring
    assert "minutes" in docstring or "seconds" in docstring
    assert len(text.splitlines()) <= 60


def test_image_configs_run_on_mnist_by_name(tmp_path):
    mnist = Path(__file__).parents[2] / "shared" / "data" / "tfds"
    if not mnist.exists():
        pytest.skip(f"needs TFDS's mnist in {mnist}")
    flags = ["--config.data.name=mnist", f"--config.data.data_dir={mnist}", "--config.steps=2", "--config.eval_every=0"]
    train.main(["train", "--config", str(CONFIGS[0].parent / "gan.py"), "--workdir", str(tmp_path), "--quiet", *flags])
    assert gen_jax.load(tmp_path).spec.shape == (28, 28, 1)
