"""Laws on the other supported Python; and laws, killed runs and notebooks under the flags of XLA that users have."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLDEST, NEWEST = "3.11", "3.13"
OTHER = NEWEST if sys.version_info < (3, 12) else OLDEST
FAMILIES = (
    "bernoulli or forest_tree or gan_hinge or gaussian or hmm_series or markov or autoregressive_text or vae_dreg"
)
ROWS = ("gan", "markov", "hmm_roll", "autoregressive_text", "vae", "ladder_mlp", "vqvae")  # one of each family
ROWS += ("bernoulli", "gaussian", "mixture", "bayes_net", "forest", "smote")
LAWS = "resume_is_bitwise or sample_looks or given_names or exact_log_prob or bounds_of_all or learning_helps"
CHOSEN = {
    "tests/test_laws.py": f"({LAWS}) and ({' or '.join(f'[{row}]' for row in ROWS)})",
    "tests/faults/test_kills.py": "killed",
    "tests/test_notebooks.py": "fresh_kernel",
}
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


def run(command: list[str], **variables: str) -> str:
    """Runs a command that inherits nothing of this run, and returns what it prints."""
    environment = {name: value for name, value in os.environ.items() if name not in INHERITED}
    done = subprocess.run(
        command, check=False, cwd=ROOT, env={**environment, **variables}, capture_output=True, text=True
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.mark.study
def test_laws_hold_on_the_other_version():
    python = interpreter(OTHER)
    if python is None or shutil.which("make") is None:
        pytest.skip(f"needs make and Python {OTHER}, in the search path or in ~/.pyenv/versions")
    folder = f".venv-python{OTHER}"
    run(["make", f"PYTHON={python}", f"{folder}/installed-test"])
    run([f"{folder}/bin/python", "-m", "pytest", "-m", "", "-n1", "tests/test_laws.py", "-k", FAMILIES])


@pytest.mark.study
@pytest.mark.parametrize("file", CHOSEN)
def test_every_family_holds_under_the_default_flags(file):
    assert " passed" in run(
        [sys.executable, "-m", "pytest", "-m", "", "-n1", file, "-k", CHOSEN[file]], DEFAULT_FLAGS="1"
    )
