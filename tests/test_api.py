"""The public names of gen_jax: data, models, fit, load, register, and what a run can do."""

import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gen_jax as gj
from gen_jax import references
from gen_jax.conditions import Conditions, batch_conditions
from gen_jax.config import load_file
from gen_jax.distributions.pixels import fitting
from gen_jax.errors import choose
from gen_jax.losses.adversarial import AdversarialLoss
from gen_jax.models.families import Families
from gen_jax.nets.ladder import Nets
from gen_jax.nets.nnx import NnxNet
from gen_jax.training import log
from gen_jax.training.fit import changed_config

ROOT = Path(__file__).parents[1]
X = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
FIT = {"steps": 4, "batch_size": 20, "log_every": 2}
NETS = """
import flax.linen as nn
import jax.numpy as jnp
import optax
from flax import nnx


class Encoder(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, x, c=None):
        return nn.Dense(4)(jnp.tanh(nn.Dense(self.width)(x))).reshape(len(x), 2, 2)


def optimizer():
    return optax.chain(optax.clip(1.0), optax.adam(1e-3))


class NnxEncoder(nnx.Module):
    def __init__(self, rngs):
        self.layer = nnx.Linear(2, 4, rngs=rngs)

    def __call__(self, x, c=None):
        return self.layer(x).reshape(len(x), 2, 2)
"""
LOAD = "import gen_jax as gj; run = gj.load('run'); print(run.step, float(run.sample(3)['x'].sum()))"


@pytest.fixture
def nets(tmp_path, monkeypatch):
    """Returns a module of the user, which a process that starts in the present folder can import."""
    (tmp_path / "user_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("user_nets")
    del sys.modules["user_nets"]


@pytest.fixture(autouse=True)
def settings_folder(tmp_path_factory, monkeypatch):
    """Gives the user a folder of settings of their own, which processes inherit."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
def data():
    return gj.data.arrays(X, test=X[:50])


def python(code: str) -> subprocess.CompletedProcess:
    """Runs code in another process, in the present folder."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=False)


def test_the_names_of_the_package():
    assert {"data", "models", "fit", "load", "every", "register"} <= {*dir(gj)} == {*gj.__all__, "__version__"}
    assert all(getattr(gj, name) is not None for name in gj.__all__)
    assert gj.__version__.split(".")[0].isdecimal()


def test_importing_starts_neither_jax_nor_a_log(tmp_path):
    code = "import sys, logging, gen_jax; "
    code += "print(*('jax' in sys.modules, 'importlib.metadata' in sys.modules, logging.getLogger('absl').disabled))"
    assert python(code).stdout.split() == ["False", "False", "False"]


def test_a_terminal_without_a_size_gets_lines(tmp_path, monkeypatch, capsys):
    leader, follower = os.openpty()  # of 0 columns and 0 lines
    with open(leader, "rb", buffering=0), open(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with log.opened(tmp_path, 0, 1, ("loss",), quiet=False) as journal:
            journal.record(1, {"loss": 2.5})
    assert capsys.readouterr().out.startswith("step 1/1") and not log.sizeless(sys.stdout)


def test_arrays_are_data(data):
    assert data.spec.shape == (2,) and data.spec.sizes == {"train": 200, "test": 50}
    np.testing.assert_array_equal(data.rows("test")["x"], X[:50])
    batch = data.batch(0, batch_size=20)
    assert batch["x"].shape == (20, 2)
    labelled = gj.data.arrays(X, np.where(X[:, 0] > 0, "b", "a"), test=(X[:3], np.array(["a", "a", "a"])))
    assert labelled.spec.classes == ("a", "b")
    np.testing.assert_array_equal(labelled.rows("test")["y"], [0, 0, 0])


TOKENS = np.arange(60).reshape(20, 3) % 4
TABLE = {"age": [3, None, 5.5, np.nan] * 30, "sex": np.array(["a", "b", "b", "a"] * 30), "n": range(120)}


class Frame:
    """A data frame as pandas has it: columns by name, and two axes."""

    ndim = 2
    items = staticmethod(TABLE.items)


def test_every_kind_of_rows_comes_from_memory(tmp_path, capsys):
    tokens = gj.data.arrays(TOKENS, kind="tokens")
    assert (tokens.spec.kind, tokens.spec.vocabulary, tokens.batch()["x"].dtype) == ("tokens", [0, 1, 2, 3], np.int32)
    assert capsys.readouterr().out == ""
    assert gj.data.arrays(TOKENS).spec.kind == "vector"
    assert "kind='tokens' reads sequences" in capsys.readouterr().out
    for x, kind in ((TOKENS, "vector"), (np.zeros((5, 4, 4)), "image")):
        assert gj.data.arrays(x, kind=kind).spec.kind == kind
    ragged = gj.data.arrays([[1, 2, 3], [0]], [4, 5], test=([[2]], [4]), kind="tokens").rows("train")
    np.testing.assert_array_equal(ragged["x"], [[1, 2, 3], [0, 0, 0]])
    np.testing.assert_array_equal(ragged["length"], [3, 1])
    series = gj.data.arrays([X[:5], X[:3]], test=[X[:7]], kind="series", window=4)
    assert series.spec.shape == (4, 2) and series.spec.sizes == {"train": 3, "test": 2}
    assert gj.data.arrays(([1.0, 2.0], [3.0, 4.0])).spec.sizes == {"train": 2}  # a tuple of rows
    texts = gj.data.arrays(("one", "two texts"), test=np.array(["no"]))
    assert (texts.spec.kind, texts.spec.shape, texts.rows("test")["length"]) == ("text", (9,), [2])
    (tmp_path / "table.csv").write_text(
        "age,sex,n\n" + "".join(f"{('3', '', '5.5', '')[n % 4]},{'abba'[n % 4]},{n}\n" for n in range(120))
    )
    file, *tables = gj.data.open(tmp_path / "table.csv"), gj.data.arrays(TABLE), gj.data.arrays(Frame())
    for table in tables:
        assert table.spec.info == file.spec.info and table.spec.sizes == {"train": 108, "test": 12}
        np.testing.assert_array_equal(table.rows("test")["x"], file.rows("test")["x"])
    assert gj.data.arrays(X, kind="table", test=X[:9]).spec.sizes == {"train": 200, "test": 9}


@pytest.mark.study
def test_tokens_are_drawn_after_a_prefix_and_saved_as_lines(tmp_path):
    data = gj.data.arrays(TOKENS, kind="tokens", name="codes")
    run = gj.fit(gj.models.markov(data.spec, order=1), data, workdir=tmp_path / "run", steps=1, batch_size=20)
    drawn = run.sample(2, given="prefix=3 0")
    assert repr(drawn) == "3 0 1\n3 0 1\n"
    drawn.save(tmp_path / "drawn.txt")
    assert (tmp_path / "drawn.txt").read_text() == repr(drawn)
    with pytest.raises(gj.UserError, match="token '4' of '3 4' is unknown; expected whole numbers from 0 to 3"):
        run.sample(2, given="prefix=3 4")
    np.save(tmp_path / "codes.npy", TOKENS)
    assert gj.data.open(tmp_path / "codes.npy", kind="tokens").spec.vocabulary == data.spec.vocabulary


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gj.data.arrays(3), "x is of type int; expected rows"),
        (
            lambda: gj.data.arrays(X, kind="audio"),
            "unknown kind of values in memory 'audio'; expected one of image, video, vector",
        ),
        (lambda: gj.data.arrays(X, kind="tokens"), "tokens of type float32; expected whole numbers from 0"),
        (lambda: gj.data.arrays(TOKENS - 1, kind="tokens"), "tokens from -1 to 2; expected whole numbers from 0"),
        (lambda: gj.data.arrays([[1, 2], [1]]), "rows of x have several shapes.*kind='series' or kind='tokens'"),
        (lambda: gj.data.arrays([X, X[:, :1]], kind="series"), "sequences that differ only in length"),
        (lambda: gj.data.arrays(X, test=(X, None, X)), "in both splits, or in none"),
        (lambda: gj.data.arrays("a text"), "'a text' is no list of texts"),
        (lambda: gj.data.arrays(["a", 3]), "train: row 1 is of type int; expected a text"),
        (lambda: gj.data.arrays(["a"], [1]), "labels y stand beside text data; expected x alone"),
        (lambda: gj.data.arrays({"a": [1, "x"]}), "column 'a' of .* mixes types"),
        (lambda: gj.data.arrays({"a": [1, 2], "b": [1]}), "have several lengths, 'a' 2, 'b' 1"),
        (lambda: gj.data.arrays([[[1]]], kind="table"), "table is of type list; expected columns by name"),
        (lambda: gj.data.open("digits", kind="vector"), "data.kind is 'vector' and digits.* holds image"),
        (lambda: gj.data.arrays(X, X[:5, 0] > 0), "labels 'y'.*expected 200"),
        (lambda: gj.data.arrays(X, test=(X, X[:, 0] > 0)), "labels y or conditions c are missing in one split"),
        (lambda: gj.data.arrays(X, test=X[:, :1]), "one shape for both splits"),
        (lambda: gj.data.arrays([[1.0, 2.0], [1.0]]), "rows of .* have several shapes"),
        (
            lambda: gj.data.arrays(X, transfrom="none"),
            "unknown setting of data 'transfrom'; expected .*Did you mean 'transform'",
        ),
        (lambda: gj.data.open("digits").rows("valid"), "unknown split of digits.* 'valid'"),
    ],
)
def test_what_is_no_data_is_one_line(make, message):
    with pytest.raises(gj.UserError, match=message):
        make()


@pytest.mark.study
def test_a_model_runs_without_the_loop(data):
    model = gj.models.vae(data.spec, latent_size=2)
    state = model.init(jax.random.key(0), data.batch(0))
    _, metrics = jax.jit(model.step)(jax.random.key(1), state, data.batch(0))
    assert np.isfinite(metrics["elbo"])


@pytest.mark.study
def test_a_run_completes_a_table(tmp_path):
    lines = ["id,city,age"] + [f"P-{i},{'Rome' if i % 2 else 'Oslo'},{20 + i % 7 + 20 * (i % 2)}" for i in range(120)]
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "gaps.csv").write_text("id,age,city\nP-7, 41.0,\nP-8,,Oslo\n")
    data = gj.data.open(tmp_path / "people.csv", schema='{"id": {"kind": "id"}}', order="all")
    run = gj.fit(gj.models.forest(data.spec, trees=3), data, workdir=tmp_path / "run", steps=1, batch_size=64)
    rows = run.complete(tmp_path / "gaps.csv")
    assert rows["x"].shape == (2, 2) and not np.isnan(rows["x"]).any()
    rows.save(tmp_path / "full.csv")
    full = (tmp_path / "full.csv").read_text()
    assert repr(rows) == full
    head, first, second = (line.split(",") for line in full.split())
    assert head == ["id", "age", "city"] and first[0] == "P-7" and first[2] in ("Oslo", "Rome")
    assert second[0] == "P-8" and second[2] == "Oslo" and 20 <= float(second[1]) <= 46
    with pytest.raises(gj.UserError, match=r"run\.complete\('.*gaps\.csv'\) draws its missing cells"):
        run.sample(2, given=str(tmp_path / "gaps.csv"))


def test_labels_of_a_batch_are_checked_in_a_compiled_step_too():
    batch = {"x": X[:4], "y": np.array([0, 2, 1, 1])}
    read = jax.jit(lambda batch: batch_conditions(batch, Conditions(3))["y"])
    np.testing.assert_array_equal(read(batch), batch["y"])
    with pytest.raises(gj.UserError, match="expected 4 whole numbers, one for each sample"):
        read({**batch, "y": batch["y"][:3]})
    with pytest.raises(gj.UserError, match="expected a class from 0 to 2"):
        batch_conditions({**batch, "y": batch["y"] + 1}, Conditions(3))


@pytest.mark.study
def test_a_run_holds_curves_samples_scores_codes_and_completions(data, tmp_path):
    model = gj.models.vae(data.spec, latent_size=2)
    run = gj.fit(model, data, workdir=tmp_path / "run", **FIT)
    assert repr(run) == f"Run({run.workdir}: vae of arrays, step 4)"
    assert run.history["elbo"].steps.tolist() == [2, 4] and np.isfinite(run.history["elbo"].values).all()
    samples = run.sample(5, seed=1)
    assert samples["x"].shape == (5, 2) and [*samples] == ["x"]
    np.testing.assert_array_equal(samples["x"], run.sample(5, seed=1)["x"])
    samples.save(tmp_path / "samples.npz")
    np.testing.assert_array_equal(np.load(tmp_path / "samples.npz")["x"], samples["x"])
    scores = run.score(["nelbo"])
    assert np.isfinite(scores["nelbo"]["value"]) and "nelbo ↓" in repr(scores)
    assert run.encode(X[:3])["z"].shape == (3, 2) and run.encode()["z"].shape == (50, 2)
    mask = np.array([1, 0])
    completions = run.inpaint(X[:4], mask, completions=3)
    assert completions.shape == (4, 3, 2)
    np.testing.assert_allclose(completions[:, :, 0], np.repeat(X[:4, :1], 3, 1), rtol=1e-6)
    with pytest.raises(gj.UserError, match="expected rows"):
        run.encode(X[:, :1])


@pytest.mark.parametrize(
    ("num", "given", "message"),
    [
        (0, None, "number of samples is 0; expected a whole number, at least 1"),
        (2.5, None, "number of samples is 2.5; expected a whole number"),
        (2, {"x": np.zeros((3, 2))}, r"given 'x' has the shape \[3, 2\]; expected 2 rows"),
        (2, {"x": 1}, r"given 'x' has the shape \[\]; expected 2 rows"),
    ],
)
def test_a_wrong_number_of_samples_or_conditions_is_one_line(data, tmp_path, num, given, message):
    run = gj.fit(gj.models.gaussian(data.spec), data, workdir=tmp_path / "run", steps=1, batch_size=200)
    with pytest.raises(gj.UserError, match=message):
        run.sample(num, given=given)


@pytest.mark.study
def test_images_show_as_a_picture(tmp_path):
    data = gj.data.open("digits")
    run = gj.fit(gj.models.gan(data.spec, latent_size=4), data, workdir=tmp_path / "run", **FIT)
    samples = run.sample(4)
    assert samples._repr_png_().startswith(b"\x89PNG") and samples.picture().size[0] > 8


def test_the_same_run_by_a_config_and_by_objects_is_the_same_to_the_bit(tmp_path):
    from gen_jax.config import base_config

    data = gj.data.open("digits")
    model = gj.models.gan(data.spec, latent_size=4, generator={"name": "mlp", "hidden": (8,)})
    config = base_config()
    config.model = {"name": "gan", "latent_size": 3, "generator": {"name": "mlp", "hidden": (8,)}}
    one = gj.fit(model, data, workdir=tmp_path / "objects", **FIT)
    other = gj.fit(config, tmp_path / "config", data={"name": "digits"}, model={"latent_size": 4}, **FIT)
    assert config.model.latent_size == 3
    jax.tree.map(np.testing.assert_array_equal, one.state, other.state)
    assert one.config == other.config


def test_a_config_file_with_changed_settings():
    from gen_jax.losses.penalties import r1

    file, cosine = ROOT / "configs" / "gan.py", {"examples": 640}
    options = {"gamma": cosine, "generator": {"name": "dcgan"}, "generator_optimizer": {"learning_rate": 1e-3}}
    config = changed_config(file, {"steps": 10, "select": None, "data": {"name": "mnist"}, "model": options})
    assert (config.steps, config.select, config.data.name, config.data.split) == (10, None, "mnist", "train")
    assert config.model.gamma.to_dict() == {**load_file(file).model.gamma.to_dict(), **cosine}
    assert config.model.generator.to_dict() == {"name": "dcgan"}  # the options of the old one go
    assert config.model.generator_optimizer.learning_rate == 1e-3 and config.model.generator_optimizer.b1 == 0
    assert changed_config(file, {"model": {"penalty": r1}}).model.penalty == "gen_jax.losses.penalties:r1"
    for settings, message in (
        ({"step": 10}, "Did you mean 'steps'"),
        ({"data": {"nmae": "x"}}, "Did you mean 'data.name'"),
        ({"model": "vae"}, "model is 'vae'; expected its options"),
    ):
        with pytest.raises(gj.UserError, match=message):
            changed_config(file, settings)
    with pytest.raises(gj.UserError, match="none.py does not give a config"):
        changed_config("none.py", {})


def test_a_net_and_an_optimizer_of_the_user_are_part_of_the_run(nets, data):
    model = gj.models.vae(data.spec, latent_size=2, encoder=nets.Encoder(width=5), optimizer=nets.optimizer)
    run = gj.fit(model, data, workdir="run", **FIT)
    assert run.config["model"]["optimizer"] == "user_nets:optimizer"
    assert run.config["model"]["encoder"] == {"object": "user_nets:Encoder", "width": 5}
    loaded = python(LOAD)
    assert loaded.stdout.split() == ["4", str(float(run.sample(3)["x"].sum()))], loaded.stderr


@pytest.mark.study
def test_a_run_that_somebody_sent_runs_no_code(nets, data, tmp_path, monkeypatch):
    """References are followed if the user has trained with them, or lists them."""
    gj.fit(gj.models.vae(data.spec, latent_size=2, encoder=nets.Encoder(width=5)), data, workdir="run", **FIT)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    refused = python(LOAD)
    assert refused.returncode and "set GEN_JAX_TRUST=user_nets:Encoder" in refused.stderr
    monkeypatch.setenv("GEN_JAX_TRUST", "user_nets:Encoder")
    assert python(LOAD).stdout.split()[0] == "4"
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "code.py").write_text("open('touched', 'w')")
    for section in ({"object": "os:system", "command": "touch touched"}, {"name": "os:system"}, "a folder/code.py:1 x"):
        config["model"]["decoder"] = section
        (tmp_path / "run" / "config.json").write_text(json.dumps(config))
        assert "set GEN_JAX_TRUST" in python(LOAD).stderr
    assert not (tmp_path / "touched").exists()
    config["registered"] = {"model": {"flow": "os:getcwd"}}
    config["model"]["decoder"] = {"name": "mlp"}
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    assert "GEN_JAX_TRUST" in python(LOAD).stderr


@pytest.mark.study
def test_an_nnx_module_is_a_net(nets, data):
    model = gj.models.vae(data.spec, latent_size=2, encoder=NnxNet(nets.NnxEncoder))
    run = gj.fit(model, data, workdir="run", **FIT)
    kernel = run.state.params["encoder"]["params"]["layer"]["kernel"]
    assert kernel.shape == (2, 4) and (kernel != 0).any()
    assert python(LOAD).stdout.split()[0] == "4"


@pytest.mark.study
def test_an_object_that_no_process_can_build_is_asked_for(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = gj.models.vae(data.spec, latent_size=2, optimizer=optax.chain(optax.clip(1.0), optax.adam(1e-3)))
    run = gj.fit(model, data, workdir="run", **FIT)
    with pytest.raises(gj.UserError, match=r"model.optimizer \(optax.*load\('run', model=model\)"):
        gj.load("run")
    again = gj.load("run", model=model)
    jax.tree.map(np.testing.assert_array_equal, run.state, again.state)


@pytest.mark.study
def test_arrays_are_asked_for_where_a_command_needs_rows(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gj.fit(gj.models.gaussian(data.spec), data, workdir="run", steps=1, batch_size=200)
    result = subprocess.run(
        [sys.executable, "-m", "gen_jax.evaluate", "--workdir", "run"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2 and "Open the arrays first" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.study
def test_losses_penalties_priors_and_schedules_may_be_functions(data, tmp_path):
    from gen_jax.losses.adversarial import hinge_discriminator, non_saturating_generator
    from gen_jax.losses.penalties import r1

    make = partial(gj.models.gan, data.spec, latent_size=2)
    named = make(loss="non_saturating", penalty="r1", gamma=2.0)
    loss = AdversarialLoss(lambda real, fake: jax.nn.softplus(-real) + jax.nn.softplus(fake), non_saturating_generator)
    own = make(loss=loss, penalty=r1, gamma=lambda seen: 2.0, prior=lambda key, shape: jax.random.normal(key, shape))
    batch = data.batch(0, batch_size=20)
    state = named.init(jax.random.key(0), batch)
    steps = [model.step(jax.random.key(1), state, batch)[1] for model in (named, own)]
    assert steps[0].keys() == steps[1].keys()
    for name in steps[0]:
        np.testing.assert_allclose(steps[0][name], steps[1][name], rtol=1e-5)
    assert own.origin["penalty"] == "gen_jax.losses.penalties:r1"
    assert references.resolve("gen_jax.losses.adversarial:hinge_discriminator") is hinge_discriminator


CONFIG = """
import flax.linen as nn
import gen_jax as gj
from gen_jax.config import base_config
from gen_jax.metrics.measure import Computation, Measure, Metric


class Line(nn.Module):
    shape: tuple
    bias: bool = True

    @nn.compact
    def __call__(self, z, c=None, mask=None):
        return nn.Dense(64, use_bias=self.bias)(z).reshape(len(z), *self.shape)


def line_gan(spec, size=3):
    return gj.models.gan(spec, latent_size=size, generator={"name": "line"})


def prepare(real):
    return Computation(lambda samples: {"spread": float(samples["x"].std())}, dict)


SPREAD = Measure((Metric("spread", "standard deviation"),), prepare, "anything")
gj.register("line", Line, "generator")
gj.register("line_gan", line_gan)
gj.register("spread", SPREAD, "measure")


def get_config():
    config = base_config()
    config.data.name, config.steps, config.batch_size, config.eval_every, config.evaluate.num = "digits", 4, 20, 4, 20
    config.evaluate.metrics = ("spread",)
    config.model = {"name": "line_gan", "size": 2}
    return config
"""


def command(name: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs a command in the present folder."""
    line = [sys.executable, "-m", f"gen_jax.{name}", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


@pytest.mark.study
def test_what_a_config_registers_is_part_of_the_run(tmp_path, monkeypatch):
    """A family, a net that it names, and a metric of the user train, and the commands find them again."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "mine.py"
    file.write_text(CONFIG.replace('"name": "line_gan", "size": 2', '"name": "gan", "generator": {"name": "line"}'))
    trained = command(
        "train", "--config", "mine.py", "--workdir", "run", "--config.model.generator.bias=False", "--quiet"
    )
    assert trained.returncode == 0 and "spread=" in trained.stdout, trained.stderr
    sampled = command("sample", "--workdir", "run", "--num=2", "--out=samples.npz")
    assert sampled.returncode == 0, sampled.stderr
    scored = command("evaluate", "--workdir", "run")
    assert scored.returncode == 0 and "spread" in scored.stdout, scored.stderr
    file.unlink()
    lost = command("sample", "--workdir", "run", "--num=2", "--out=samples.npz")
    assert lost.returncode == 2 and "gen_jax.register('line', ..., 'generator')" in lost.stderr
    assert "Traceback" not in lost.stderr


def test_a_registered_family_makes_models_that_know_their_origin(data, monkeypatch):
    from gen_jax.models import MODELS
    from gen_jax.storage import registration

    monkeypatch.setattr(registration, "OWN", {})
    monkeypatch.setitem(MODELS, "plain", None)
    monkeypatch.delitem(MODELS, "plain")
    plain = gj.register("plain", lambda spec, width=3: gj.models.gaussian(spec))
    assert plain(data.spec, width=4).origin == {"name": "plain", "width": 4}
    del MODELS["plain"]
    for name, kind, message in (
        ("vae", "model", "is a name of gen_jax itself"),
        ("x", "modle", "Did you mean 'model'"),
    ):
        with pytest.raises(gj.UserError, match=message):
            gj.register(name, plain, kind)


def test_an_installed_package_offers_families(data, tmp_path, monkeypatch):
    (tmp_path / "flows.py").write_text(
        "import gen_jax as gj\ndef flow(spec, width=3): return gj.models.gaussian(spec)\n"
    )
    folder = tmp_path / "flows-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: flows\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text("[gen_jax.families]\nflow = flows:flow\nlost = flows:lost\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    offered = Families({"gaussian": gj.models.gaussian})
    assert [*offered] == ["gaussian", "flow", "lost"] and "flow" in offered and "flows" not in sys.modules
    assert offered["flow"](data.spec, width=2).origin == {"name": "flow", "width": 2}
    with pytest.raises(gj.UserError, match="model 'lost' of flows:lost fails"):
        offered["lost"]
    with pytest.raises(gj.UserError, match="unknown model 'flew'; expected .*Did you mean 'flow'"):
        choose("model", "flew", offered)


def test_the_families_are_names_of_models():
    assert dir(gj.models) == sorted(["MODELS", *gj.models.MODELS])
    assert all(callable(getattr(gj.models, name)) for name in gj.models.MODELS)


def test_fit_runs_in_a_thread(data, tmp_path):
    steps = []

    def work():
        run = gj.fit(gj.models.gaussian(data.spec), data, workdir=tmp_path / "run", steps=2, batch_size=200)
        steps.append(run.step)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert steps == [2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"step": 3}, "unknown setting 'step'; expected .*Did you mean 'steps'"),
        ({"steps": "many"}, "steps is 'many'"),
        ({"evaluate": {"metric": ()}}, "unknown setting 'evaluate.metric'"),
    ],
)
def test_a_wrong_setting_of_fit_is_one_line(data, tmp_path, settings, message):
    with pytest.raises(gj.UserError, match=message):
        gj.fit(gj.models.gaussian(data.spec), data, workdir=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_a_call_of_fit_without_what_it_needs_is_one_line(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, config = gj.models.gaussian(data.spec), ROOT / "configs" / "gaussian.py"
    for call, message in (
        (lambda: gj.fit(model, data), "workdir of gen_jax.fit.* is missing"),
        (
            lambda: gj.fit(model, X, workdir="run"),
            r"fit\(model, data\) is of type ndarray; expected data, as gen_jax.data.open",
        ),
        (lambda: gj.fit(config), "expected the directory of the run"),
        (lambda: gj.fit(config, "run", workdir="other"), "expected the directory of the run"),
    ):
        with pytest.raises(gj.UserError, match=message):
            call()
    assert not [*tmp_path.iterdir()]


def test_fit_opens_the_data_once(data, tmp_path, monkeypatch):
    monkeypatch.setattr("gen_jax.data.feed.load.open_source", None)
    gj.fit(gj.models.gaussian(data.spec), data, workdir=tmp_path / "run", steps=1, batch_size=200)


def test_references():
    assert references.reference_of(nn.Dense) == "flax.linen.linear:Dense"
    assert references.resolve("flax.linen.linear:Dense") is nn.Dense
    assert references.reference_of(lambda: 0) is None
    assert references.described(partial(jnp.clip, min=0)) == {"name": references.reference_of(jnp.clip), "min": 0}
    assert references.described(jax.random.key(0))["object"] is None
    for reference in ("nowhere:x", "flax.linen:Nothing", "flax"):
        with pytest.raises(gj.UserError):
            references.resolve(reference)


class Flat(nn.Module):
    """A net that forgets the mask, or the shape."""

    size: int = 3

    @nn.compact
    def __call__(self, z, c=None, mask=None):
        return nn.Dense(self.size)(z)


class Cube(nn.Module):
    """A discriminator whose logits have too many axes."""

    @nn.compact
    def __call__(self, x, c=None, mask=None):
        return nn.Dense(4)(x).reshape(len(x), 2, 2)


class Short(nn.Module):
    """A net that does not take the mask."""

    @nn.compact
    def __call__(self, z):
        return nn.Dense(2)(z)


class Up(nn.Module):
    """The features of a ladder of one layer."""

    @nn.compact
    def __call__(self, x, c=None):
        return [nn.Dense(3)(x)]


class Down(nn.Module):
    """A path of a ladder whose output has a wrong shape."""

    size: int

    @nn.compact
    def __call__(self, z, features=None, c=None, fixed=False):
        return nn.Dense(self.size)(z), z, z, z


LOSS = AdversarialLoss(lambda real, fake: fake - real, lambda fake, real: -fake)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda spec: gj.models.gan(spec, generator=Flat()),
            r"generator Flat gives an output of shape \[\d+, 3\]; expected \[N, 2\]",
        ),
        (
            lambda spec: gj.models.gan(spec, discriminator=Cube()),
            r"discriminator Cube gives an output of shape \[\d+, 2, 2\]; expected \[N\]",
        ),
        (
            lambda spec: gj.models.gan(spec, generator=Short()),
            r"generator Short: too many positional arguments; expected __call__\(self, z, c, mask\)",
        ),
        (
            lambda spec: gj.models.gan(spec, generator=Short),
            "generator Short cannot be called with the facts of the model",
        ),
        (lambda spec: gj.models.gan(spec, generator=np.tanh(0)), "generator is an object of type float64.*NnxNet"),
        (
            lambda spec: gj.models.vae(spec, latent_size=4, encoder=Flat(4)),
            r"encoder Flat gives an output of shape \[\d+, 4\]; expected \[N, 2, 4\]",
        ),
        (lambda spec: gj.models.gan(spec, loss=(jnp.subtract, jnp.negative)), "object of type tuple.*AdversarialLoss"),
        (lambda spec: gj.models.vae(spec, likelihood=lambda out, x: out - x), "likelihood <lambda> cannot be called"),
        (
            lambda spec: gj.models.vae(spec, likelihood=lambda spec: spec),
            "expected a gen_jax.distributions.pixels.Likelihood",
        ),
        (lambda spec: gj.register("gap", lambda x: x, "measure"), "measure 'gap' is an object of type function"),
        (
            lambda spec: gj.models.vae(spec, optimizer=optax.adam),
            r"optimizer is the function adam.*Call it.*adam\(1e-3\)",
        ),
        (lambda spec: gj.models.vae(spec, optimizer=1e-3), "optimizer is 0.001; expected an Optax transformation"),
        (
            lambda spec: gj.models.vae(spec, optimizer=lambda: 3),
            "optimizer is an object of type int; expected an Optax",
        ),
        (lambda spec: gj.models.gan(spec, gamma="high"), "schedule is 'high'; expected a number"),
        (
            lambda spec: gj.models.vae(gj.data.arrays(X)),
            r"object of type DataSet; expected a Spec. Call.*vae\(data.spec",
        ),
        (lambda spec: gj.models.vae(), "wrong arguments.*missing a required argument: 'spec'"),
        (
            lambda spec: gj.models.vae(spec, latent_siz=2),
            "unknown option of model 'vae' 'latent_siz'.*Did you mean 'latent_size'",
        ),
        (lambda spec: gj.models.vae(spec._replace(shape=(3,))), r"the shape of arrays is \[2\]; expected \[3\]"),
        (lambda spec: gj.models.vae(spec._replace(classes=("a",))), "the number of labels of arrays is 0; expected 1"),
        (
            lambda spec: gj.models.gan(spec, loss=LOSS._replace(discriminator=lambda real, fake: (fake - real).mean())),
            r"loss.discriminator gives values of shape \[\]; expected \[\d+\], a number for each example. Leave out a mean",
        ),
        (
            lambda spec: gj.models.gan(spec, loss=LOSS._replace(generator=lambda fake, real: -fake.sum())),
            r"loss.generator gives values of shape \[\]; expected \[\d+\]",
        ),
        (
            lambda spec: gj.models.gan(spec, loss=LOSS._replace(generator=lambda fake: -fake)),
            r"loss.generator <lambda>: too many positional arguments; expected \(fake, real\)",
        ),
        (
            lambda spec: gj.models.gan(spec, penalty=lambda key, critic, real, fake: critic(real, 0)),
            r"penalty returns an object of type \w+; expected \(real logits",
        ),
        (
            lambda spec: gj.models.gan(
                spec, penalty=lambda key, critic, real, fake: (critic(real, 0), critic(fake, 1), {"p": jnp.ones(())})
            ),
            r"penalty p gives values of shape \[\]",
        ),
        (lambda spec: gj.models.gan(spec, penalty=lambda critic, x: x), r"expected \(key, critic, real, fake\)"),
        (
            lambda spec: gj.models.gan(spec, prior=3),
            r"prior is 3; expected a function \(key, shape\), or a name: normal",
        ),
        (
            lambda spec: gj.models.vae(
                spec, likelihood=fitting(spec, None)._replace(log_prob=lambda own, out, x: out.sum())
            ),
            r"likelihood.log_prob gives values of shape \[\]",
        ),
        (
            lambda spec: gj.models.vae(
                spec, likelihood=fitting(spec, None)._replace(shape=(), log_prob=lambda own, out, x: out.sum((1, 2)))
            ),
            r"likelihood.log_prob gives values of shape \[\d+\]; expected \[\d+, 2\]",
        ),
        (
            lambda spec: gj.models.ladder(spec, net=Flat()),
            "ladder is an object of type Flat; expected a gen_jax.nets.ladder",
        ),
        (
            lambda spec: gj.models.ladder(spec, net=Nets(Short(), Flat(), (2,))),
            r"ladder up Short: too many positional arguments; expected __call__\(self, x, c\)",
        ),
        (lambda spec: gj.models.ladder(spec, net=Nets(Flat(), Flat(), (2,))), "expected a list of 1 features"),
        (lambda spec: gj.models.ladder(spec, net=Nets(Up(), Flat(), (2,))), "ladder down Flat: too many positional"),
        (
            lambda spec: gj.models.ladder(spec, net=Nets(Up(), Down(3), (2,))),
            "ladder down Down gives an output of shape",
        ),
        (lambda spec: gj.models.ladder(spec, net=Nets(3, Flat(), (2,))), "ladder up is an object of type int"),
    ],
)
def test_an_object_that_does_not_fit_its_place_is_one_line(data, tmp_path, make, message):
    with pytest.raises(gj.UserError, match=message):
        gj.fit(make(data.spec), data, workdir=tmp_path / "run", **FIT)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": Flat()}, r"encoder Flat gives an output of shape \[\d+, 8, 8, 3\]; expected \[N, 4, 4, 16\]"),
        ({"decoder": Flat()}, r"decoder Flat gives an output of shape \[\d+, 4, 4, 3\]; expected \[N, 8, 8, 1, \d\]"),
        ({"encoder": 3}, "encoder is an object of type int, which has no init"),
        ({"prior": Flat()}, "prior is an object of type Flat; expected a gen_jax.nets.recurrent.Recurrent"),
    ],
)
def test_a_net_of_images_that_does_not_fit_its_place_is_one_line(options, message):
    data = gj.data.open("digits")
    with pytest.raises(gj.UserError, match=message):
        model = gj.models.vqvae(data.spec, **options)
        key, batch = jax.random.key(0), data.batch(0)
        jax.eval_shape(model.step, key, jax.eval_shape(model.init, key, batch), batch)


def test_a_batch_of_more_rows_than_the_data_is_said(data, tmp_path, capsys):
    gj.fit(gj.models.gaussian(data.spec), data, workdir=tmp_path / "run", steps=1, batch_size=500)
    assert "batch_size is 500 and arrays has 200 rows: each step reads a row more than once" in capsys.readouterr().out
    run = gj.load(tmp_path / "run")
    assert [*run.score("nll")] == ["nll"]
    with pytest.raises(gj.UserError, match="given is 3; expected a text, such as 'y=3', or arrays by name"):
        run.sample(2, given=3)


OBJECTS = """
import flax.linen as nn
import optax
from gen_jax.config import base_config


class Encoder(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, x, c=None):
        return nn.Dense(4)(x)


class Generator(nn.Module):
    shape: tuple


def get_config():
    config = base_config()
    config.model = {"name": "vae", "encoder": Encoder(width=5), "decoder": Generator}
    return config
"""


def test_objects_in_a_config_file_are_references(tmp_path):
    file = tmp_path / "objects.py"
    file.write_text(OBJECTS)
    model = load_file(file).model
    assert model.encoder.to_dict() == {"object": f"{file}:Encoder", "width": 5}
    assert model.decoder == f"{file}:Generator"
    file.write_text(OBJECTS.replace("Encoder(width=5)", "optax.adam(1e-3)"))
    with pytest.raises(
        gj.UserError, match="config.model.encoder is an object of type optax.*no other process can build"
    ):
        load_file(file)


class Scorer(nn.Module):
    """A discriminator whose logits are [N, 1] or [N]."""

    last_axis: bool

    @nn.compact
    def __call__(self, x, c=None, mask=None):
        logits = nn.Dense(1)(x)
        return logits if self.last_axis else logits[:, 0]


@pytest.mark.study
def test_logits_may_have_a_last_axis(data, tmp_path):
    flat, column = (
        gj.fit(gj.models.gan(data.spec, discriminator=Scorer(axis)), data, workdir=tmp_path / f"{axis}", **FIT)
        for axis in (False, True)
    )
    np.testing.assert_array_equal(flat.sample(8)["x"], column.sample(8)["x"])
