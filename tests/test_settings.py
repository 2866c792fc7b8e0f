"""The settings of a run: complete from the first step, whoever wrote the config, and equal to those of earlier versions."""

import inspect
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import make_spec
from ml_collections import ConfigDict

import gen_jax
from gen_jax import train
from gen_jax.cli import command_line
from gen_jax.config import base_config, flat, load_file, plain
from gen_jax.errors import UserError
from gen_jax.models import MODELS, default_settings
from gen_jax.training import fit

CONFIGS = Path(__file__).parents[1] / "configs"

pytestmark = pytest.mark.usefixtures("one_device")


def parsed(*flags):
    return command_line.parse(["train", *flags], {"workdir": (None, "")}, required="config")


@pytest.mark.parametrize("name", MODELS)
def test_defaults_are_settings(name):
    """JSON holds them, and a flag can set each of them."""
    settings = default_settings(name)
    options = {
        option: parameter.default
        for option, parameter in inspect.signature(MODELS[name]).parameters.items()
        if parameter.default is not parameter.empty
    }
    assert plain(settings) == json.loads(json.dumps(options))
    for option, value in settings.items():
        if value is None:
            assert settings.get_type(option) in (int, str, float)


def test_a_run_has_all_settings_of_its_model(start, config_file, tmp_path):
    settings = load_file(config_file)
    before = plain(settings)
    gen_jax.fit(settings, tmp_path / "fitted")
    commanded = json.loads((start("commanded") / "config.json").read_text())
    assert json.loads((tmp_path / "fitted" / "config.json").read_text()) == commanded
    assert commanded["model"].keys() == {"name", *default_settings("gan")}
    assert commanded["model"]["n_critic"] == 1 and commanded["model"]["gamma"] == 0.1
    assert plain(settings) == before


def test_a_run_of_an_earlier_version_has_the_defaults(start):
    workdir = start("run", "--config.steps=4")
    settings = json.loads((workdir / "config.json").read_text())
    for option in ("n_critic", "weight_clip", "generator_gradient"):
        del settings["model"][option]
    (workdir / "config.json").write_text(json.dumps(settings))
    assert gen_jax.load(workdir).config["model"]["n_critic"] == 1
    with pytest.raises(UserError, match="model.weight_clip was None in .* and is now 0.5"):
        start("run", "--config.model.weight_clip=0.5")
    assert gen_jax.load(start("run", "--config.model.n_critic=1")).step == 12
    assert json.loads((workdir / "config.json").read_text())["model"]["n_critic"] == 1


def test_a_flag_sets_a_sequence_that_is_unset(config_file):
    config = str(CONFIGS / "segment.py")
    flag = "--config.model.reconstruction.class_weights"
    assert parsed("--config", config, f"{flag}=(1.0,2,0.5)").config.model.reconstruction.class_weights == (1.0, 2, 0.5)


def test_a_flag_sets_what_the_config_leaves_out(config_file):
    flags = ["--config.model.n_critic=3", "--config.model.weight_clip", "0.25", "--config.model.conditional=True"]
    model = parsed("--config", str(config_file), *flags).config.model
    assert (model.n_critic, model.weight_clip, model.conditional) == (3, 0.25, True)
    assert (model.pack, model.generator_gradient.name) == (1, "backpropagation")


@pytest.mark.parametrize("flag", [["--config.model.name=gaussian"], ["--config.model.name", "gaussian"]])
def test_another_family_has_its_own_settings(tmp_path, flag):
    lines = ["from gen_jax.config import base_config", "def get_config():", "    config = base_config()"]
    lines += ["    config.model = {'name': 'bernoulli'}", "    return config"]
    (tmp_path / "config.py").write_text("\n".join(lines))
    values = parsed(f"--config={tmp_path / 'config.py'}", *flag, "--config.model.shrinkage=0.5", "--workdir", "x")
    assert plain(values.config.model) == {**plain(default_settings("gaussian")), "name": "gaussian", "shrinkage": 0.5}
    assert values.workdir == "x"


def test_the_last_config_counts(config_file, tmp_path):
    (tmp_path / "other.py").write_text("x")
    for flags in (["--config", str(config_file)], [f"--config={config_file}"], [f"-config={config_file}"]):
        assert command_line.config_file(["train", "--config", str(tmp_path / "other.py"), *flags]) == config_file
    assert parsed("--config", str(config_file)).config.steps == 12


def test_a_config_without_a_model_is_named(tmp_path):
    (tmp_path / "config.py").write_text("from ml_collections import ConfigDict\ndef get_config(): return ConfigDict()")
    with pytest.raises(UserError, match="'batch_size' is missing in the config"):
        train.main(["train", "--config", str(tmp_path / "config.py"), "--workdir", str(tmp_path / "run")])
    with pytest.raises(UserError, match="name of model is missing"):
        gen_jax.fit(base_config(), tmp_path / "run")


def test_schedules_that_end_after_the_run_are_named(capsys):
    model = load_file(CONFIGS / "gan.py").model
    spec = make_spec("vector", (2,))._replace(sizes={"train": 100})
    data = SimpleNamespace(spec=spec, steps=100, at=lambda step: {"weight": np.ones(64)})
    fit.print_late_schedules(SimpleNamespace(data=data, settings=ConfigDict({"model": model})))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("schedules: ") and line.endswith(" end at 1,233,000 examples; this run sees 6,400")
    assert {"gamma", "ema_half_life", "generator_optimizer.b2"} <= {*re.split("[ ,]+", line)}
    data.steps = 20_000
    fit.print_late_schedules(SimpleNamespace(data=data, settings=ConfigDict({"model": model})))
    assert not capsys.readouterr().out
    rate = {"start": 1e-3, "stop": 1e-5, "epochs": 20_000}
    fit.print_late_schedules(SimpleNamespace(data=data, settings=ConfigDict({"model": {"rate": rate}})))
    assert capsys.readouterr().out == "schedules: rate end at 2,000,000 examples; this run sees 1,280,000\n"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_the_schedules_of_a_config_end_within_its_run(path):
    settings = plain(load_file(path))
    ends = [end for key, end in flat(settings["model"]).items() if key.endswith(".examples")]
    assert settings["epochs"] is not None or max(ends, default=0) <= settings["steps"] * settings["batch_size"]
