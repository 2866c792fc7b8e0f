"""The best checkpoint of a run by one of its scores: kept beside the newest ones, used from then on, never lost."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import host

import gen_jax
from gen_jax import evaluate, sample, train
from gen_jax.errors import UserError
from gen_jax.storage import metrics_file
from gen_jax.training import hooks
from gen_jax.verbs import best_replica

CONFIGS = Path(__file__).parents[1] / "configs"
FEW = ["--config.data.variant=ring", "--config.batch_size=16", "--config.evaluate.num=200", "--config.sample_every=0"]
FEW += [f"--config.model.{net}.hidden=(8,)" for net in ("generator", "discriminator")]
FEW += ["--config.eval_every=2", "--config.save_every=2", "--config.keep=1", "--config.select=high_quality", "--quiet"]
SCORES = [0.1, 0.7, 0.5, 0.7, 0.6, 0.9]  # of steps 2, 4 ... 12


@pytest.fixture
def start(tmp_path, monkeypatch, one_device):
    """Trains for some steps with scores that are known beforehand; returns the directory."""
    states = {}

    def score(scorer, job, state, step):
        states[step] = host(state)
        return {"high_quality": {"value": SCORES[step // 2 - 1], "values": [0.2, SCORES[step // 2 - 1], None]}}

    def start(steps, *flags):
        workdir = tmp_path / "run"
        config = ["--config", str(CONFIGS / "gan_gaussians.py"), f"--config.steps={steps}"]
        with monkeypatch.context() as patch:
            patch.setattr(hooks, "score", score)
            train.main(["train", *config, "--workdir", str(workdir), *FEW, *flags])
        return workdir, states

    return start


def same(one, other):
    return all(np.array_equal(*pair) for pair in zip(jax.tree.leaves(host(one)), jax.tree.leaves(other)))


def test_the_best_is_kept_and_loaded_and_the_last_is_there(start):
    workdir, states = start(10)
    kept = [path.name for path in (workdir / "best").iterdir() if path.is_dir()]
    assert kept == ["4"]  # the first of two equal ones
    best, last = gen_jax.load(workdir), gen_jax.load(workdir, last=True)
    assert (best.step, last.step) == (4, 10)
    assert same(best.state, states[4]) and same(last.state, states[10]) and not same(best.state, states[10])
    assert gen_jax.load(workdir, step=10).step == 10


@pytest.mark.study
def test_a_run_that_goes_on_knows_its_best(start):
    workdir, states = start(4)
    start(10)
    assert gen_jax.load(workdir).step == 4 and same(gen_jax.load(workdir).state, states[4])
    start(12)
    assert gen_jax.load(workdir).step == 12


@pytest.mark.study
def test_a_run_that_is_taken_back_comes_again_to_its_best(start):
    workdir, states = start(6, "--config.save_every=6")  # its best, of step 4, is beyond its checkpoints
    shutil.rmtree(workdir / "checkpoints" / "6")
    start(6, "--config.save_every=6")
    assert gen_jax.load(workdir).step == 4 and same(gen_jax.load(workdir).state, states[4])
    assert [each["step"] for each in metrics_file.read_metrics(workdir) if "high_quality" in each] == [2, 4, 6]


@pytest.mark.study
def test_both_are_scored(start, capsys):
    workdir, _ = start(6)
    evaluate.main(["evaluate", "--workdir", str(workdir), "--metrics=high_quality"])
    entry = json.loads((workdir / "evaluation.json").read_text())
    assert entry["step"] == 4 and "last" in capsys.readouterr().out
    evaluate.main(["evaluate", "--workdir", str(workdir), "--metrics=high_quality", "--step=6"])
    again = json.loads((workdir / "evaluation.json").read_text())
    assert again["metrics"]["high_quality"]["value"] == entry["metrics"]["high_quality"]["last"]


@pytest.mark.study
def test_samples_are_of_the_best(start, tmp_path):
    workdir, _ = start(6)
    files = [tmp_path / name for name in ("best.npz", "four.npz", "six.npz")]
    for file, flags in zip(files, ([], ["--step=4"], ["--step=6"])):
        sample.main(["sample", "--workdir", str(workdir), "--num=5", "--out", str(file), *flags])
    best, four, six = (np.load(file)["x"] for file in files)
    assert np.array_equal(best, four) and not np.array_equal(best, six)


@pytest.mark.study
def test_a_torn_first_best_is_passed_over(start):
    workdir, states = start(4)
    (workdir / "best" / "4").rename(workdir / "best" / "4.orbax-checkpoint-tmp")
    assert gen_jax.load(workdir).step == 4 and same(gen_jax.load(workdir).state, states[4])


@pytest.mark.study
def test_a_run_whose_checkpoint_is_no_folder_is_refused(start):
    workdir, _ = start(4)
    shutil.rmtree(workdir / "checkpoints")
    (workdir / "checkpoints").mkdir()
    (workdir / "checkpoints" / "4").write_text("")
    with pytest.raises(UserError, match="checkpoints holds no checkpoint that can be read"):
        start(6)


@pytest.mark.study
def test_a_start_that_was_killed_leaves_no_best_of_other_settings(start):
    workdir, _ = start(4)
    shutil.rmtree(workdir / "checkpoints")
    with pytest.raises(UserError, match="holds no checkpoint any more, and .*best does; .* Put it back"):
        start(4)
    (workdir / "checkpoints").mkdir()
    with pytest.raises(UserError, match="holds no checkpoint any more"):
        start(4)  # it had gone beyond a step at which it saves
    assert gen_jax.load(workdir).step in (1, 2, 3, 4)
    (workdir / "metrics.jsonl").write_text("")  # as if it had been killed before its first save
    _, states = start(4, "--config.seed=7")
    assert same(gen_jax.load(workdir).state, states[4])


@pytest.mark.study
def test_the_best_replica_is_the_one_that_the_metric_prefers(start):
    workdir, _ = start(4)
    assert best_replica.replica(workdir, "best") == 1 and best_replica.replica(workdir, "2") == 2
    kept = workdir / "best" / "replicas.json"
    kept.write_text(kept.read_text().replace("high_quality", "reverse_kl"))
    assert best_replica.replica(workdir, "best") == 0
    kept.write_text(kept.read_text().replace("reverse_kl", "valid/elbo"))  # as earlier versions called it
    assert best_replica.replica(workdir, "best") == 1
    for text, message in (("worst", "expected a number, or best"), ("-1", "expected a number, or best")):
        with pytest.raises(UserError, match=message):
            best_replica.replica(workdir, text)
    kept.unlink()
    with pytest.raises(UserError, match=r"--replica is best, .* Set --config.select"):
        best_replica.replica(workdir, "best")


@pytest.mark.study
def test_the_cheap_scores_stay_beside_the_one_that_selects(tmp_path, one_device):
    config = ["--config", str(CONFIGS / "gan_gaussians.py"), "--config.steps=2", "--workdir", str(tmp_path / "run")]
    train.main(["train", *config, *FEW])
    assert metrics_file.read_metrics(tmp_path / "run")[-1].keys() >= {"modes", "high_quality", "reverse_kl"}


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--config.select=all", "unknown metric to select by 'all'"),
        ("--config.select=memorisation", "unknown metric to select by 'memorisation'"),
        ("--config.select=parzen_nll", "unknown metric to select by 'parzen_nll'"),
        (
            "--config.eval_every=0",
            "select is 'high_quality' without scores while the model trains; .* Set --config.eval_every",
        ),
        (
            "--config.select=valid/elbo",
            "metric to select by 'valid/elbo' has a new name; expected 'valid/nelbo', its negative",
        ),
        ("--config.select=frechets", "unknown metric to select by 'frechets'.*frechet"),
        ("--config.select=classes", "does not fit metric 'classes'; expected labels"),
    ],
)
def test_what_cannot_select_is_refused(start, flag, message):
    with pytest.raises(UserError, match=message):
        start(2, flag)
