"""What a command line may change in a config: options of parts, names, schedules, and what it may remove."""

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from gen_jax.cli import command_line
from gen_jax.config import flat
from gen_jax.errors import UserError
from gen_jax.models import MODELS
from gen_jax.registry import Choices, choices_of

GAN, VAE, LSTM = "configs/gan.py", "configs/vae.py", "configs/lstm.py"
OPTIMIZER = "--config.model.generator_optimizer"


def model_of(file: str, *arguments: str) -> dict:
    """Returns the `model` section of a config as a command line changes it."""
    flags = command_line.parse(["train", "--config", file, *arguments], {}, "config")
    return flags.config.model.to_dict()


def test_a_number_stands_in_the_place_of_a_schedule():
    assert isinstance(model_of(GAN)["generator_optimizer"]["learning_rate"], dict)
    model = model_of(GAN, f"{OPTIMIZER}.learning_rate=0.001", "--config.model.gamma", "2")
    assert model["generator_optimizer"]["learning_rate"] == 0.001 and model["gamma"] == 2


def test_a_schedule_stands_in_the_place_of_a_number():
    kl = model_of(VAE, "--config.model.kl.start=0.1", "--config.model.kl.stop=1", "--config.model.kl.examples=9")["kl"]
    assert kl == {"start": 0.1, "stop": 1.0, "examples": 9, "shape": "cosine"}


def test_a_schedule_may_count_epochs():
    rate = f"{OPTIMIZER}.learning_rate"
    moving = model_of(GAN, f"{rate}.epochs=3", f"{rate}.examples=None")["generator_optimizer"]["learning_rate"]
    assert moving["epochs"] == 3 and "examples" not in moving


def test_options_that_the_config_leaves_out_can_be_set():
    assert model_of(GAN, f"{OPTIMIZER}.clip_norm=1.5")["generator_optimizer"]["clip_norm"] == 1.5
    assert model_of(GAN, f"{OPTIMIZER}.eps=1e-6")["generator_optimizer"]["eps"] == 1e-6
    assert model_of(GAN, "--config.model.generator.norm=batch")["generator"]["norm"] == "batch"
    assert model_of(LSTM, "--config.model.net.residual=True")["net"]["residual"] is True
    assert model_of(VAE, "--config.model.encoder.hidden=8,8")["encoder"]["hidden"] == (8, 8)


def test_options_of_parts_of_parts_can_be_set():
    score = ("--config.model.structure.score.name=bdeu", "--config.model.structure.score.equivalent_rows=5")
    structure = model_of("configs/bayes_net.py", *score)["structure"]
    assert structure["score"] == {"name": "bdeu", "equivalent_rows": 5.0} and structure["name"] == "search"
    cell = model_of("configs/rcgan.py", "--config.model.generator.cell.layers=2")["generator"]["cell"]
    assert cell["layers"] == 2 and cell["name"] == "gru"


def parts_of(choices: Choices) -> Iterator[tuple[str, Callable, str]]:
    """Yields each argument that is documented to have a name and options: of what stands under which name."""
    for name, function in choices.table.items():
        documented = inspect.getdoc(getattr(function, "func", function)) or ""
        for option in re.findall(r"^  (\w+): [^\n]*`name` in", documented, re.M):
            yield name, function, option
        for part in choices_of(function).values():
            yield from parts_of(part)


def test_every_documented_part_of_a_model_can_be_changed():
    parts = [*parts_of(Choices(MODELS, 1))]
    assert {("bayes_net", "structure"), ("search", "score"), ("recurrent", "cell")} <= {
        (name, option) for name, _, option in parts
    }
    assert not [(name, option) for name, function, option in parts if option not in choices_of(function)]


def test_a_new_name_drops_the_options_of_the_old_one_but_what_it_needs():
    before = model_of(GAN)["generator_optimizer"]
    after = model_of(GAN, f"{OPTIMIZER}.decay=0.8", f"{OPTIMIZER}.name=rmsprop")["generator_optimizer"]
    assert after == {"name": "rmsprop", "decay": 0.8, "learning_rate": before["learning_rate"]}
    generator = model_of(GAN, "--config.model.generator.name=dcgan", "--config.model.generator.channels=8,4")[
        "generator"
    ]
    assert generator == {"name": "dcgan", "channels": (8, 4)}
    assert model_of(GAN, f"{OPTIMIZER}.name=adam")["generator_optimizer"] == before


def test_another_family_has_its_own_options():
    model = model_of(GAN, "--config.model.name=vae", "--config.model.latent_size=3")
    assert model["name"] == "vae" and model["latent_size"] == 3 and "generator" not in model


def test_none_removes_an_option():
    assert "b1" not in model_of(GAN, f"{OPTIMIZER}.b1=None")["generator_optimizer"]
    assert "b1" not in model_of(GAN, f"{OPTIMIZER}.b1", "None")["generator_optimizer"]
    assert model_of(GAN, "--config.model.ema_half_life=None")["ema_half_life"] == 0.0  # the default of the family


def test_none_unsets_a_setting_that_may_be_unset():
    chorales = "configs/jsb_transformer.py"
    for setting in ("data.augment", "data.path", "select", "epochs", "data.window"):
        values = command_line.parse(["train", "--config", chorales, f"--config.{setting}=None"], {}, required="config")
        assert flat(values.config)[setting] is None
    with pytest.raises(UserError, match="steps"):
        command_line.parse(["train", "--config", chorales, "--config.steps=None"], {}, required="config")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (
            "--config.model.generator.hiden=3",
            "unknown config key 'model.generator.hiden'; expected .*Did you mean 'model.generator.hidden'",
        ),
        ("--config.model.generator.name=mpl", "unknown generator 'mpl'; expected .*Did you mean 'mlp'"),
        ("--config.model.latent_size.start=1", "is a setting of latent_size 16; expected a part that has settings"),
        (f"{OPTIMIZER}.learning_rate=fast", "expected one of its settings"),
        (f"{OPTIMIZER}.b1=fast", "expected float"),
        (f"{OPTIMIZER}.b9=None", "unknown config key 'model.generator_optimizer.b9'"),
    ],
)
def test_what_nobody_can_set_is_one_line(argument, message):
    with pytest.raises(UserError, match=message):
        model_of(GAN, argument)


def test_help_lists_the_settings_with_what_they_mean(capsys):
    with pytest.raises(SystemExit):
        model_of(GAN, "--help", f"{OPTIMIZER}.name=rmsprop")
    text = capsys.readouterr().out
    for line in (
        "--config.batch_size=128  number of rows in a step",
        "--config.model.latent_size=16  number of dimensions of the latent z",
        "--config.model.generator.norm=none  `batch`",
        "--config.model.generator_optimizer.decay=0.9  Decay used",
        "--config.model.generator_optimizer.clip_norm=unset  clip the gradient",
    ):
        assert line in text
    assert "generator_optimizer.b1" not in text


def test_every_common_setting_has_a_meaning():
    from gen_jax.config import MEANINGS, base_config, flat

    assert MEANINGS.keys() == {name for name in flat(base_config()) if not name.startswith(("model.", "registered."))}


def test_the_package_lists_its_commands_families_and_configs():
    result = subprocess.run([sys.executable, "-m", "gen_jax"], capture_output=True, text=True, check=True)
    for name in ("gen_jax.train", "gen_jax.decompress", "configs/gan.py", *MODELS):
        assert re.search(rf"^  .*{re.escape(name)} +\S", result.stdout, re.M), name
