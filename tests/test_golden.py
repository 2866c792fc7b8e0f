"""Runs of every family that code before the move wrote: they load, sample and resume; and the bytes of new ones are as before."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import gen_jax
from gen_jax import sample, train
from gen_jax.devices import startup
from gen_jax.models import MODELS, RENAMED
from gen_jax.storage.directory import read_config

GOLDEN = Path(__file__).parent / "golden"
RUNS, STEPS = sorted((GOLDEN / "kept").iterdir()), 50
pytestmark = pytest.mark.usefixtures("one_device")


def test_every_family_of_then_has_a_run():
    assert {RENAMED.get(path.name, [path.name])[0] for path in RUNS} <= {*MODELS} and len(RUNS) == 13


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_an_old_run_is_loaded_and_sampled(path, tmp_path):
    assert gen_jax.load(path).step == STEPS
    sample.main(["sample", "--workdir", str(path), "--num", "4", "--out", str(tmp_path / "x.npz")])
    with np.load(tmp_path / "x.npz") as drawn:
        assert len(drawn["x"]) == 4


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_an_old_run_is_resumed(path, tmp_path):
    shutil.copytree(path, tmp_path / "run")
    config = tmp_path / "config.py"
    config.write_text(
        "import json\n"
        "from gen_jax.config import base_config\n\n"
        "def get_config():\n"
        "    config = base_config()\n"
        f"    config.update(json.loads({json.dumps(read_config(path))!r}))\n"
        "    return config\n"
    )
    flags = [f"--config.steps={STEPS + 2}", f"--config.save_every={STEPS + 2}", "--quiet"]
    train.main(["train", "--config", str(config), "--workdir", str(tmp_path / "run"), *flags])
    assert gen_jax.load(tmp_path / "run", last=True).step == STEPS + 2


@pytest.mark.study
def test_states_samples_and_scores_are_the_bytes_of_before(tmp_path):
    machine = f"{startup.processor()} jax {jax.__version__}"
    known = json.loads((GOLDEN / "bytes.json").read_text())
    if machine not in known:
        pytest.skip(f"no bytes of this machine yet ({machine}): tests/golden/record.py records them")
    command = [sys.executable, str(GOLDEN / "record.py"), "--out", str(tmp_path / "bytes.json")]
    subprocess.run(command, check=True, capture_output=True)
    assert json.loads((tmp_path / "bytes.json").read_text())[machine] == known[machine]
