"""What a user gets wrong: one line that names the value, a non-zero exit, nothing half written."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from gen_jax import evaluate, sample, train
from gen_jax.errors import UserError, choose

ROOT = Path(__file__).parents[1]
GAN, GAUSSIANS, MINIMAX = (str(ROOT / "configs" / f"{name}.py") for name in ("gan", "gan_gaussians", "gan_minimax"))
pytestmark = pytest.mark.usefixtures("one_device")


# A message has one of two forms:
#   <what> is <value>; expected <...>. <the command or the setting that fixes it>
#   unknown <what> <value>; expected one of <choices>. Did you mean <choice>?
# The last sentence may be missing. Other verbs than "is" are fine ("lacks", "holds", "does not exist").
# A message may also put the name of a place, with a colon, before the message of another error.
FORM = re.compile(r"[^;\n]+; expected [^\n]+")
WRITTEN = re.compile(r"[^;]+; expected [^;]+?(\. [A-Z].+)?|(.*: )?\{error\}|\{\}")
# Not of the subclasses Lacking and Unfit, whose texts are parts of the message of another error.
ERRORS = {"UserError", "Damaged", "OtherModel", "OtherVersion", "Lost"}
WORDS = 45  # the longest message, where a value counts as one word


@contextmanager
def refusal(message: str) -> Iterator[None]:
    """Expects an error in one line, of the form of all errors."""
    with pytest.raises(UserError, match=message) as error:
        yield
    text = str(error.value)
    assert FORM.fullmatch(text) and len(text) < 600, text


def refused(tmp_path, message, *flags, config=GAN):
    """The command ends with `message` and leaves no run behind."""
    with refusal(message):
        train.main(["train", "--config", config, "--workdir", str(tmp_path / "run"), *flags])
    left = os.listdir(tmp_path / "run") if (tmp_path / "run").exists() else []
    assert set(left) <= {".lock", "checkpoints"} and not any((tmp_path / "run" / "checkpoints").glob("*"))


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--config.stps=5", "unknown config key 'stps'; expected .*Did you mean 'steps'"),
        ("--config.model.gama=1", "'model.gama'; expected .*Did you mean 'model.gamma'"),
        ("--config.steps=many", "--config.steps is many; expected int"),
        ("--config.batch_size=0", "batch_size is 0; expected 1 to"),
        ("--config.batch_size=63", "batch of 63 rows cannot be split into the 2 parts"),
        ("--config.steps=-1", "steps is -1; expected 0 to"),
        ("--config.epochs=0", "epochs is 0.0; expected more than 0"),
        ("--config.log_every=-5", "log_every is -5"),
        ("--config.data.name=digitz", "'digitz' is not prepared.*those built in: digits, gaussians"),
        ("--config.data.feed=fast", "unknown data.feed 'fast'; expected one of auto, resident, streaming"),
        ("--config.data.order=sorted", "unknown data.order 'sorted'"),
        ("--config.data.split=trian", "data.split of digits.*'trian'; expected .*Did you mean 'train'"),
        ("--config.data.transform=log", "unknown data.transform 'log'"),
        ("--config.data.resize=0", "data.resize is 0"),
        ("--config.data.path=/no/such/file.npy", "/no/such/file.npy does not exist"),
        ("--config.model.name=gann", "unknown model 'gann'; expected .*Did you mean 'gan'"),
        ("--config.model.loss=hinges", "unknown adversarial loss 'hinges'"),
        ("--config.model.penalty=r3", "unknown penalty 'r3'"),
        ("--config.model.generator.name=mpl", "unknown generator 'mpl'; expected .*Did you mean 'mlp'"),
        ("--config.evaluate.metrics=('fid',)", "unknown metric 'fid'"),
        (
            "--config.model.weight_clip=-0.1",
            "weight_clip is -0.1; expected more than 0",
        ),  # a key that the config leaves out
        ("--config.model.ncritic=2", "'model.ncritic'; expected .*Did you mean 'model.n_critic'"),
        ("--config.model.n_critic=few", "--config.model.n_critic is few; expected int"),
        ("--config.seed=4294967297", "seed is 4294967297; expected 0 to 2147483647"),
        ("--config.data.resize=abc", "--config.data.resize is abc; expected int"),
        ("--config.model.gamma=x", "--config.model.gamma is x; expected one of its settings"),
        ("--config.model.generator.hidden=(0,)", r"hidden \(0,\).*expected whole numbers above 0"),
        ("-config.stps=5", "unknown config key 'stps'"),
        ("--workdirs=x", "unknown flag 'workdirs'; expected .*Did you mean 'workdir'"),
        ("extra", "unexpected argument 'extra'"),
    ],
)
def test_wrong_settings(tmp_path, flag, message):
    refused(tmp_path, message, flag)


def test_wrong_variant(tmp_path):
    refused(
        tmp_path,
        "data.variant of gaussians.*'rings'; expected .*Did you mean 'ring'",
        "--config.data.variant=rings",
        config=GAUSSIANS,
    )


def test_a_wrong_target_is_said_before_the_run(tmp_path):
    config, message = str(ROOT / "configs" / "smote.py"), "unknown column in evaluate.target 'specie'"
    refused(tmp_path, message, "--config.evaluate.target=specie", config=config)


def test_missing_config(tmp_path):
    refused(tmp_path, "no config file 'configs/no_such.py'", config="configs/no_such.py")
    with refusal("--config is missing; .* --config configs/gan.py"):
        train.main(["train"])
    (tmp_path / "broken.py").write_text("def get_config(:\n")
    refused(tmp_path, "broken.py does not give a config .SyntaxError", config=str(tmp_path / "broken.py"))


def test_a_set_that_is_not_prepared_gets_its_command(tmp_path):
    refused(
        tmp_path,
        r"'mnist' is not prepared in .*pip install.*tfds.builder\('mnist', data_dir='.*', file_format='array_record'\)",
        f"--config.data.data_dir={tmp_path}",
        config=MINIMAX,
    )


def test_a_set_in_another_format_gets_its_conversion(tmp_path):
    folder = tmp_path / "fake" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "features.json").write_text(
        '{"pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict", "featuresDict": {"features": {}}}'
    )
    (folder / "dataset_info.json").write_text('{"name": "fake", "version": "1.0.0", "fileFormat": "tfrecord"}')
    refused(
        tmp_path,
        "written as tfrecord.*tfds convert_format --dataset_version_dir=.*--out_file_format=array_record",
        "--config.data.name=fake",
        f"--config.data.data_dir={tmp_path}",
    )


BAD_ARRAYS = {
    "empty": (np.zeros((0, 3)), r"empty, shape \(0, 3\)"),
    "shape": (np.zeros((4, 2, 2, 2, 2)), r"shape \(4, 2, 2, 2, 2\); expected vectors"),
    "flat": (np.zeros(9), r"shape \(9,\)"),
    "colours": (np.zeros((4, 8, 8, 7)), "1 to 4 channels"),
    "nan": (np.array([[1.0, 2.0], [3.0, np.nan]]), "row 1, entry 1 is nan"),
    "infinity": (np.array([[1.0, np.inf]]), "row 0, entry 1 is inf"),
    "text": (np.array([["a", "b"]]), "values of type"),
    "objects": (np.array([[{}]], dtype=object), "is not readable"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays(tmp_path, name):
    array, message = BAD_ARRAYS[name]
    np.save(tmp_path / "data.npy", array, allow_pickle=True)
    refused(tmp_path, f"data.*{message}", f"--config.data.path={tmp_path / 'data.npy'}")


def test_bad_files(tmp_path):
    path = tmp_path / "data.npy"
    path.write_bytes(b"not an array")
    refused(tmp_path, "data.npy is not readable", f"--config.data.path={path}")
    np.savez(tmp_path / "two.npz", a=np.zeros((2, 2)), b=np.zeros((2, 2)))
    refused(tmp_path, "holds a, b; expected an array named 'x'", f"--config.data.path={tmp_path / 'two.npz'}")
    np.savez(tmp_path / "labels.npz", x=np.zeros((3, 2)), y=np.zeros(2, int))
    refused(tmp_path, "labels 'y'.*expected 3 whole numbers or texts", f"--config.data.path={tmp_path / 'labels.npz'}")
    (tmp_path / "folder").mkdir()
    refused(tmp_path, "holds no images", f"--config.data.path={tmp_path / 'folder'}")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:-30])
    refused(tmp_path, "torn.npz is not readable", f"--config.data.path={tmp_path / 'torn.npz'}")
    (tmp_path / "table.xls").write_text("1,2\n")
    refused(
        tmp_path,
        "table.xls is '.xls'; expected a folder of images or a file of .npy, .npz, .txt",
        f"--config.data.path={tmp_path / 'table.xls'}",
    )


def test_the_wrong_kind_for_the_net(tmp_path):
    np.save(tmp_path / "data.npy", np.random.default_rng(0).normal(size=(50, 3)))
    (tmp_path / "r3.py").write_text(
        "from gen_jax.config import base_config\n"
        "def get_config():\n"
        "    config = base_config()\n"
        "    config.model = {'name': 'gan', 'generator': {'name': 'r3'}, 'discriminator': {'name': 'r3'}}\n"
        "    return config\n"
    )
    flag = f"--config.data.path={tmp_path / 'data.npy'}"
    refused(tmp_path, r"r3 net is for images.*\(3,\)", flag, config=str(tmp_path / "r3.py"))
    np.save(tmp_path / "data.npy", np.random.default_rng(0).integers(0, 255, (50, 30, 30)).astype(np.uint8))
    refused(tmp_path, "cannot halve 30x30.*resize=32", flag, config=str(tmp_path / "r3.py"))


def test_foreign_and_empty_directories(tmp_path):
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("mine")
    (tmp_path / "empty").mkdir()
    for directory, message in {
        "foreign": "holds 'thesis.tex' but no config.json",
        "empty": "no run in .*empty, which is empty",
        "absent": "no run in .*absent, which does not exist",
    }.items():
        for module in (sample, evaluate):
            with refusal(message):
                module.main(
                    ["x", "--workdir", str(tmp_path / directory), *(["--out=x.png"] if module is sample else [])]
                )
    with refusal("thesis.tex"):
        train.main(["train", "--config", GAN, "--workdir", str(tmp_path / "foreign")])
    assert os.listdir(tmp_path / "foreign") == ["thesis.tex"]
    theirs = tmp_path / "theirs" / "checkpoints" / "4"
    theirs.mkdir(parents=True)
    with refusal("holds 'checkpoints' but no config.json"):
        train.main(["train", "--config", GAN, "--workdir", str(tmp_path / "theirs")])
    assert theirs.exists()
    refused(tmp_path, "--fork .*absent holds no checkpoint", "--fork", str(tmp_path / "absent"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("runs") / "gan"
    flags = ["--config.steps=1", "--config.eval_every=0"]
    train.main(["train", "--config", GAN, "--workdir", str(workdir), "--quiet", *flags])
    return workdir


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--out=x.gif"], "unknown file type of --out '.gif'"),
        ([], "--out is missing"),
        (["--out=x.png", "--num=0"], "--num is 0; expected 1 to"),
        (["--out=x.png", "----num is ten; expected int"], "--num is ten; expected int"),
        (["--out=x.png", "--seed=-1"], "--seed is -1; expected"),
        (["--out=x.png", "--seed=99999999999999999999999"], "--seed is 9+; expected 0 to"),
        (["--out=x.png", "--step=7"], r"no checkpoint of step 7 in .*expected one of \[1\]"),
        (["--out=x.png", "--step=last"], "--step is last; expected a whole number"),
        (["--out=/proc/x.png"], "cannot write /proc/x.png"),
    ],
)
def test_wrong_sampling(trained, flags, message):
    with refusal(message):
        sample.main(["sample", "--workdir", str(trained), *flags])


def test_changed_settings_name_both_values(trained):
    flags = ["--config.steps=1", "--config.eval_every=0"]
    for change, message in {
        "--config.batch_size=32": r"batch_size was \d+ in .*gan and is now 32; .*--fork",
        "--config.model.latent_size=9": r"model.latent_size was \d+ .* is now 9",
        "--config.steps=0": "steps was 1 in .* and is now 0; expected more, because a run can only grow",
    }.items():
        with refusal(message):
            train.main(["train", "--config", GAN, "--workdir", str(trained), *flags, change])


def test_an_unwritable_directory(tmp_path):
    refused(tmp_path / "x", "cannot write to /proc/run", "--workdir=/proc/run")


def test_an_unwritable_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GEN_JAX_CACHE", "/proc/cache")
    refused(tmp_path, "cannot write to the cache /proc/cache.*GEN_JAX_CACHE")


def test_help_lists_the_flags(capsys):
    for argv in (["train", "--help"], ["train", "--config", GAN, "--help"]):
        with pytest.raises(SystemExit):
            train.main(argv)
        output = capsys.readouterr().out
        assert "--fork" in output and "--workdir" in output and "--config" in output


def test_the_shell_sees_one_line_and_a_code(tmp_path):
    line = [sys.executable, "-m", "gen_jax.train", "--config", GAN, "--config.bacth_size=3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    message = r"error: unknown config key 'bacth_size'; expected one of \d+ names\. Did you mean 'batch_size'\?\n"
    assert re.fullmatch(message, done.stderr)
    assert os.listdir(tmp_path) == []


def test_choices_are_listed_or_the_nearest_is_named():
    with refusal("unknown cell 'x'; expected one of lstm, gru"):
        choose("cell", "x", ["lstm", "gru"])


def template(node: ast.AST) -> str:
    """Returns the text of a message in the source, with {} for each value."""
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.JoinedStr():
            return "".join(map(template, node.values))
        case ast.BinOp():
            return template(node.left) + template(node.right)
        case ast.FormattedValue(value=ast.Name(id="error")):
            return "{error}"
    return "{}"


def messages(source: str) -> Iterator[tuple[int, str]]:
    """Yields line and template of each message of `ERRORS` that a module raises."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            name = ast.unparse(node.exc.func).split(".")[-1]
            if name in ERRORS:
                yield node.lineno, template(node.exc.args[0])


def test_every_message_says_what_is_wrong_what_is_expected_and_what_mends_it():
    number, wrong = 0, []
    for path in sorted((ROOT / "gen_jax").rglob("*.py")):
        for line, text in messages(path.read_text()):
            number += 1
            if not WRITTEN.fullmatch(text) or len(text.split()) > WORDS:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {text}")
    assert not wrong, "\n".join(wrong)
    assert number > 400
