"""What a run of every family gives: the bytes of its state, of 64 samples and of its scores, as hashes.

    python tests/golden/record.py                 writes the hashes of this machine into bytes.json
    python tests/golden/record.py --runs          writes the run directories in kept/ anew too
    python tests/golden/record.py --out FILE      writes the hashes elsewhere

Bytes depend on the processor and on the version of JAX, hence an entry for each pair of them. A change that computes the same
changes no hash; a change that computes something else says why, and records again. The directories in kept/ are of the code before
the package was laid out anew: every later version loads, samples and resumes them.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["XLA_FLAGS"] = ""  # what is compiled is what users have
HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import jax
import numpy as np
from kill_resume import FAMILIES

import gen_jax
from gen_jax import evaluate, sample, train
from gen_jax.devices import startup
from gen_jax.models import MODELS

STEPS = 50
SMALLER = {  # for a directory that is small enough to keep
    "vae": [f"--config.model.{net}.hidden=(16,)" for net in ("encoder", "decoder")],
    "mixture": [f"--config.eval_every={STEPS}"],
}
FEW = [f"--config.steps={STEPS}", f"--config.save_every={STEPS}", "--config.log_every=10", "--quiet"]
FEW += ["--config.sample_every=0", "--config.eval_every=0", "--config.evaluate.num=200"]


def train_run(name: str, workdir: Path, *flags: str) -> None:
    """Trains a small run of a family."""
    config, *own = FAMILIES[name]
    file = str(ROOT / "configs" / f"{config}.py")
    train.main(["train", "--config", file, "--workdir", str(workdir), *FEW, *own, *SMALLER.get(name, ()), *flags])


def hashes(workdir: Path) -> dict[str, str]:
    """Returns what a run directory gives."""
    samples = workdir / "samples.npz"
    sample.main(["sample", "--workdir", str(workdir), "--num", "64", "--out", str(samples)])
    evaluate.main(["evaluate", "--workdir", str(workdir)])
    scores = json.loads((workdir / "evaluation.json").read_text())
    state = [np.asarray(leaf) for leaf in jax.tree.leaves(gen_jax.load(workdir).state)]
    with np.load(samples) as drawn:
        arrays = {"state": state, "samples": [drawn[name] for name in sorted(drawn)]}
    found = {name: b"".join(array.tobytes() for array in each) for name, each in arrays.items()}
    found["scores"] = json.dumps(
        {name: scores["metrics"][name]["value"] for name in sorted(scores["metrics"])}
    ).encode()
    return {name: hashlib.blake2b(content, digest_size=8).hexdigest() for name, content in found.items()}


def machine() -> str:
    """Returns what the bytes depend on."""
    return f"{startup.processor()} jax {jax.__version__}"


def keep(workdir: Path, target: Path) -> None:
    """Copies what a run is rebuilt from, and its log."""
    shutil.rmtree(target, ignore_errors=True)
    ignored = shutil.ignore_patterns("samples*", "tensorboard", "*.png", ".lock", "evaluation.json")
    shutil.copytree(workdir, target, ignore=ignored)


def main() -> None:
    """Records every family."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "bytes.json")
    parser.add_argument("--runs", action="store_true")
    given = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            workdir = Path(folder) / name
            train_run(name, workdir)
            if given.runs:
                keep(workdir, HERE / "kept" / name)
            found[name] = hashes(workdir)
    known = json.loads(given.out.read_text()) if given.out.exists() else {}
    given.out.write_text(json.dumps({**known, machine(): found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
