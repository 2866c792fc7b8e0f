"""The card of a run: its head in YAML, its facts, what it refuses, and the run that its commands train again."""

import json

import pytest
import yaml
from conftest import state_bytes

import gen_jax
from gen_jax import evaluate, report, train
from gen_jax.config import load_file, plain
from gen_jax.errors import UserError
from gen_jax.verbs.card import SIGNATURE, yaml_number

pytestmark = pytest.mark.usefixtures("one_device")


def head_of(text: str) -> dict:
    return yaml.safe_load(text.split("---\n")[1])


def test_a_card_holds_the_facts_of_a_run(begun):
    workdir = begun("ring", 12)
    report.main(["report", str(workdir), "--card"])
    text = (workdir / "README.md").read_text()
    assert head_of(text) == {"library_name": "gen_jax", "tags": ["jax", "gan", "vector"]}
    assert "never evaluated" in text and "| steps | 12 of 12 |" in text and "made by gen_jax" in text
    assert "`model.latent_size` | `2`" in text and SIGNATURE in text
    evaluate.main(["evaluate", "--workdir", str(workdir), "--metrics", "modes,frechet"])
    report.main(["report", str(workdir), "--card", "--licence", "mit", "--data_licence", "CC0 | mine"])
    text = (workdir / "README.md").read_text()
    head = head_of(text)
    scores = json.loads((workdir / "evaluation.json").read_text())["metrics"]
    assert head["license"] == "mit" and head["model-index"][0]["name"] == "ring"
    listed = {each["type"]: each["value"] for each in head["model-index"][0]["results"][0]["metrics"]}
    assert listed == {name: score["value"] for name, score in scores.items()} and "frechet" in listed
    assert "never evaluated" not in text and "CC0 \\| mine" in text and "of one seed" in text
    assert f"| {scores['frechet']['value']:.4g} | {scores['frechet']['oracle']:.4g} |" in text
    assert text.count("\n# ") == 1 and "copy rows of the training data was not measured" in text


def test_the_newest_picture_is_shown(begun):
    workdir = begun("run", 4)
    (workdir / "samples").mkdir(exist_ok=True)
    for name in ("3.png", "12.png", "12.wav", "alignment-99.png"):
        (workdir / "samples" / name).write_bytes(b"x")
    report.main(["report", str(workdir), "--card"])
    text = (workdir / "README.md").read_text()
    assert "![samples of step 12](samples/12.png)" in text and "[samples/12.wav](samples/12.wav)" in text
    assert "alignment" not in text and "Training has come to step 4 of 12" not in text  # the run had 4 steps in all


def test_a_file_of_somebody_else_is_not_replaced(begun, tmp_path):
    workdir = begun("run", 4)
    (workdir / "README.md").write_text("mine")
    with pytest.raises(UserError, match="README.md is no card of gen_jax.report; expected none"):
        report.main(["report", str(workdir), "--card"])
    assert (workdir / "README.md").read_text() == "mine"
    (workdir / "README.md").unlink()
    (workdir / "README.md").symlink_to(tmp_path / "other.md")
    with pytest.raises(UserError, match="is no card"):
        report.main(["report", str(workdir), "--card"])
    assert not (tmp_path / "other.md").exists()
    for flags, line in [
        (["--card", "--out=x.html"], "--out is set beside --card"),
        (["--licence=mit"], "--licence is set without --card"),
    ]:
        with pytest.raises(UserError, match=line):
            report.main(["report", str(workdir), *flags])


@pytest.mark.study
def test_a_run_is_trained_again_from_its_settings(undisturbed, tmp_path):
    """The command of the card: the same settings, and the same bytes."""
    first, again = undisturbed(), tmp_path / "again"
    train.main(["train", "--config", str(first / "config.json"), "--workdir", str(again), "--quiet"])
    assert json.loads((again / "config.json").read_text()) == json.loads((first / "config.json").read_text())
    assert state_bytes(again) == state_bytes(first)
    run = gen_jax.fit(str(first / "config.json"), workdir=str(tmp_path / "shorter"), steps=4)
    assert run.step == 4


@pytest.mark.parametrize(
    "content, line",
    [
        ("{", "is not readable .*expected the config.json of a run"),
        ("[1]", "is '\\[1\\]'; expected a section of settings"),
        ('{"steps": "many"}', "steps is 'many'; expected int"),
        ('{"stepz": 3}', "unknown setting in .*config.json: 'stepz'.*'steps'"),
        ('{"data": {"pth": "x"}}', "unknown setting in .*config.json: 'data.pth'.*'data.path'"),
    ],
)
def test_files_that_are_no_settings_are_refused(content, line, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=line):
        load_file(tmp_path / "config.json")


def test_the_code_of_somebody_else_is_not_run(undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    settings = plain(load_file(undisturbed() / "config.json"))
    settings["model"]["generator"] = {"name": "this_module_does_not_exist:Net"}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    flags = ["--config", str(tmp_path / "config.json"), "--workdir", str(tmp_path / "run"), "--quiet"]
    with pytest.raises(UserError, match="names the code this_module_does_not_exist:Net"):
        train.main(["train", *flags])
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="names the code this_module_does_not_exist:Net"):  # not for help either
        train.main(["train", *flags, "--help"])


def test_numbers_of_the_head_are_numbers_in_yaml():
    for value in (1e-7, -2.5e20, 0.3, 3, 1e16):
        assert yaml.safe_load(yaml_number(value)) == value
