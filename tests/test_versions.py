"""Laws of a few families with the libraries of the other end of the supported versions of Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLDEST, NEWEST = "3.11", "3.13"
OTHER = NEWEST if sys.version_info < (3, 12) else OLDEST
FAMILIES = "bernoulli or forest_tree or gan_hinge or gaussian or hmm_series or markov or rnn_text or vae_dreg"
INHERITED = (
    "MAKEFLAGS",
    "PYTEST_XDIST_WORKER",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "XLA_FLAGS",
)  # of this version, or this run


def interpreter(version: str) -> str | None:
    """Returns the path of a Python that starts, from the search path or from pyenv's folder; None if there is none."""
    name = f"python{version}"
    installed = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/{name}")
    for path in (shutil.which(name), *map(str, installed)):
        if path and subprocess.run([path, "--version"], check=False, capture_output=True).returncode == 0:
            return path
    return None


@pytest.mark.study
def test_laws_hold_on_the_other_version():
    python = interpreter(OTHER)
    if python is None or shutil.which("make") is None:
        pytest.skip(f"needs make and Python {OTHER}, in the search path or in ~/.pyenv/versions")
    environment = {name: value for name, value in os.environ.items() if name not in INHERITED}
    laws = ["-n1", "tests/test_laws.py", "-k", FAMILIES]
    folder = f".venv-python{OTHER}"
    for command in (
        ["make", f"PYTHON={python}", f"{folder}/installed-test"],
        [f"{folder}/bin/python", "-m", "pytest", *laws],
    ):
        done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
