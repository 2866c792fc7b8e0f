"""Samples for images, class maps, texts and numbers: by the command, by a run in Python, and while a run trains."""

import json

import numpy as np
import pytest
from PIL import Image

import gen_jax as gj
from gen_jax import evaluate, prune, sample, train
from gen_jax.config import base_config
from gen_jax.data.kinds.pictures import picture_of
from gen_jax.data.sources.derived import HOLE
from gen_jax.errors import UserError
from gen_jax.metrics.scores import heading
from gen_jax.verbs.complete import complete
from gen_jax.verbs.conditioning import read_pictures, refuse_other_conditions

RANDOM = np.random.default_rng(0)
X = RANDOM.integers(0, 256, (24, 8, 12, 3), dtype=np.uint8)
UNET = {"name": "unet", "channels": 4, "depth": 2}
PATCH = {"name": "patch", "channels": 4, "layers": 1}
PAIRED = {"generator": UNET, "discriminator": PATCH, "loss": "non_saturating", "penalty": "none", "conditional": True}
FEW = {"steps": 2, "batch_size": 8}
CONFIG = """
from gen_jax.config import base_config

def get_config():
    config = base_config()
    config.steps, config.batch_size, config.sample_every, config.sample.num = 2, 4, 2, 3
    config.data.path, config.data.target, config.data.condition = "{path}", "photo", "label"
    config.model = {model}
    return config
"""


@pytest.fixture(autouse=True, scope="module")
def _own_place(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of photos and class maps, and a run that makes photos of maps."""
    home = tmp_path_factory.mktemp("pairs")
    for split, num in {"train": 10, "test": 4}.items():
        for name in ("photo", "label"):
            (home / split / name).mkdir(parents=True)
        for number in range(num):
            Image.fromarray(X[number]).save(home / split / "photo" / f"{number}.png")
            Image.fromarray(X[number, :, :, 0] % 3).save(home / split / "label" / f"{number}.png")
    (home / "classes.json").write_text(json.dumps({"classes": ["sky", "road", "hidden"], "ignored": 2}))
    file = home / "config.py"
    file.write_text(CONFIG.format(path=home, model=json.dumps({"name": "gan", **PAIRED}).replace("true", "True")))
    train.main(["train", "--config", str(file), "--workdir", str(home / "run"), "--quiet"])
    return home


def drawn(folder, *flags: str) -> dict[str, np.ndarray]:
    """The arrays of a file of samples."""
    sample.main(["sample", "--workdir", str(folder / "run"), *flags, "--out", str(folder / "out.npz")])
    return dict(np.load(folder / "out.npz"))


def test_the_command_draws_for_a_file_a_folder_and_a_split(folder):
    labels = folder / "test" / "label"
    one = drawn(folder, f"--given=image={labels / '1.png'}", "--num=3")
    assert one["x"].shape == (3, 8, 12, 3) and one["x"].dtype == np.uint8 and "truth" not in one
    np.testing.assert_array_equal(one["c"], np.repeat(X[1:2, :, :, 0] % 3, 3, 0))
    many = drawn(folder, f"--given=image={labels}")
    np.testing.assert_array_equal(many["c"], X[:4, :, :, 0] % 3)
    split = drawn(folder, "--given=split=test")
    np.testing.assert_array_equal(split["truth"], X[:4])
    np.testing.assert_array_equal(split["c"], many["c"])
    np.testing.assert_array_equal(split["x"], many["x"])  # the same seed, the same conditions
    assert len(drawn(folder, "--given=split=test", "--num=2")["x"]) == 2


@pytest.mark.study
def test_a_picture_that_is_given_has_the_sides_of_the_condition(folder, tmp_path):
    """A run whose conditions have twice the sides of its rows reads files and folders so."""
    flags = {"target": "label", "condition": "photo", "resize": 4, "width": 8, "condition_scale": 2, "augment": "shift"}
    data = gj.data.open(folder, **flags)
    model = gj.models.gan(data.spec, **PAIRED, reconstruction={"name": "cross_entropy"})
    run = gj.fit(model, data, workdir=tmp_path / "run", **FEW)
    assert run.spec.shape == (4, 8) and run.spec.condition.shape == (8, 16, 3)
    file = folder / "test" / "photo" / "0.png"
    samples = run.sample(1, given=f"image={file}")
    split = run.sample(1, given="split=test")
    assert np.array_equal(samples["c"], split["c"]) and np.array_equal(samples["x"], split["x"])
    assert samples["x"].shape == (1, 4, 8)


def test_the_picture_shows_condition_sample_and_truth(folder):
    run = gj.load(folder / "run")
    samples = run.sample(4, given="split=test")
    picture, alone = picture_of(samples, run.spec), picture_of({"x": samples["x"][:1]}, run.spec)
    assert picture.width == 3 * alone.width and picture.height == 4 * alone.height
    assert (folder / "run" / "samples" / "2.png").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--given is nothing; expected one condition of kind class_map: image=FILE, image=FOLDER or split=NAME"),
        (["--given=image="], "--given image= has no value; expected image=FILE"),
        (["--given=text=red"], "--given is text=red; expected one condition of kind class_map"),
        (["--given=image={0}", "--given=split=test"], "split=test; expected one condition of kind class_map"),
        (["--given=image={0}/none.png"], "is no picture; expected a file or a folder"),
        (["--given=image={0}/test/label", "--num=7"], "holds 4 conditions; expected 7, as --num says"),
        (["--given=split=test", "--num=7"], "split 'test' of .* has 4 rows; expected at least 7"),
        (["--given=split=tset"], "unknown split of .* 'tset'.*Did you mean 'test'"),
        (["--given=image={0}/test/photo/0.png"], "0.png has colour .*; expected a grey picture of class numbers"),
        (["--given=split=test", "--given=y=1"], "has no labels"),
    ],
)
def test_a_condition_that_cannot_be_read_is_one_line(folder, flags, message):
    before = {path: path.read_bytes() for path in folder.glob("out.*")}
    with pytest.raises(UserError, match=message) as error:
        drawn(folder, *(flag.format(folder) for flag in flags))
    assert "\n" not in str(error.value)
    assert before == {path: path.read_bytes() for path in folder.glob("out.*")}


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("float32", "the conditions of this run are numbers of float32; expected split=NAME"),
        ("hole", "data.hole is 0.5; expected split=NAME"),
    ],
)
def test_a_picture_is_no_condition_of_other_numbers(folder, kind, message):
    condition = gj.load(folder / "run").spec.condition._replace(kind="image", dtype="float32")
    with pytest.raises(UserError, match=message):
        refuse_other_conditions(condition, {"hole": 0.5 if kind == "hole" else None})


@pytest.mark.parametrize(("options", "sides"), [({"resize": 16, "shrink": 2}, (8, 8)), ({"resize": 4}, (4, 8))])
def test_a_picture_gets_the_sides_of_the_conditions(folder, tmp_path, options, sides):
    """They are not those of the rows, which data.resize and data.width set."""
    condition = gj.load(folder / "run").spec.condition._replace(kind="image", shape=(*sides, 3), dtype="uint8")
    Image.fromarray(RANDOM.integers(0, 256, (*sides, 3), dtype=np.uint8)).save(tmp_path / "small.png")
    c = read_pictures(condition, {"data": options}, str(tmp_path / "small.png"))["c"]
    np.testing.assert_array_equal(c[0], np.asarray(Image.open(tmp_path / "small.png")))


def test_the_name_of_a_file_is_no_array(folder):
    with pytest.raises(UserError, match="given 'c' is 0.png; expected an array of numbers, a row a sample"):
        gj.load(folder / "run").sample(1, given={"c": "0.png"})


def test_a_folder_of_conditions_has_no_hidden_files(folder, tmp_path):
    for file in (folder / "test" / "label").glob("*.png"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "._0.png").write_bytes(b"no picture")
    run = gj.load(folder / "run")
    np.testing.assert_array_equal(run.sample(4, given=f"image={tmp_path}")["c"], run.sample(4, given="split=test")["c"])


def test_a_model_without_conditions_takes_one_value(folder, tmp_path):
    data = gj.data.arrays(X)
    gj.fit(
        gj.models.gaussian(gj.data.arrays(RANDOM.normal(size=(30, 2))).spec),
        gj.data.arrays(RANDOM.normal(size=(30, 2))),
        workdir=tmp_path / "run",
        steps=1,
    )
    with pytest.raises(UserError, match="--given has 2 values; expected one"):
        sample.main(
            [
                "sample",
                "--workdir",
                str(tmp_path / "run"),
                "--given=a=1",
                "--given=b=2",
                "--out",
                str(tmp_path / "x.npz"),
            ]
        )
    assert data.spec.condition is None


def test_a_run_takes_its_condition_in_the_domain_of_the_data(folder):
    run = gj.load(folder / "run")
    labels = X[:4, :, :, 0] % 3
    np.testing.assert_array_equal(run.sample(4, given={"c": labels})["x"], run.sample(4, given="split=test")["x"])
    with pytest.raises(UserError, match="given is 3; expected a text"):
        run.sample(4, given=3)
    scores = run.score(["absolute_error", "absolute_error_mean", "retrieval"])
    assert scores["absolute_error"]["oracle"] == 0 and scores["retrieval"]["oracle"] == 1
    assert scores["absolute_error"]["protocol"]["samples"] == 4
    mean = X[:10].mean(0, keepdims=True)
    assert scores["absolute_error_mean"]["value"] == pytest.approx(np.abs(mean - X[:4]).mean() / 127.5, rel=1e-6)


@pytest.mark.study
def test_pictures_of_a_run_take_the_condition_of_its_config(folder, tmp_path):
    flags = ["train", "--config", str(folder / "config.py"), "--workdir", str(tmp_path / "run"), "--quiet"]
    label = folder / "test" / "label" / "2.png"
    train.main([*flags, f"--config.sample.given=image={label}"])
    assert (tmp_path / "run" / "samples" / "2.png").exists()
    with pytest.raises(UserError, match="is no picture; expected a file or a folder"):
        train.main([*flags[:4], str(tmp_path / "other"), "--quiet", "--config.sample.given=image=none.png"])
    assert not (tmp_path / "other" / "samples").exists()


@pytest.fixture(scope="module")
def captioned(tmp_path_factory):
    """A run that reads a caption and a label."""
    texts = ["red fox", "a blue cat", "red cat, blue"] * 8
    y = np.arange(24) % 2
    data = gj.data.arrays(X, y, c=texts, test=(X[:6], y[:6], texts[:6]))
    net = {"name": "mlp", "hidden": (8,)}
    model = gj.models.vae(data.spec, conditional=True, latent_size=2, encoder=net, decoder=net, sweeps=3)
    return data, gj.fit(model, data, workdir=tmp_path_factory.mktemp("captions") / "run", **FEW)


@pytest.mark.study
def test_texts_and_labels_are_given_together(captioned, tmp_path):
    _, run = captioned
    words = list(run.spec.condition.vocabulary)
    rows = run.sample(3, given="text=Blue fox")
    assert [[words[token] for token in c[:length]] for c, length in zip(rows["c"], rows["c_length"])] == [
        ["blue", "fox"]
    ] * 3
    (tmp_path / "captions.txt").write_text("red fox\n\na blue cat\n")
    assert run.sample(64, given=f"text=@{tmp_path / 'captions.txt'}")["c_length"].tolist() == [2, 3]
    workdir = str(run.workdir)
    flags = ["--given=text=red fox", "--given=y=1", "--num=2", "--out", str(tmp_path / "x.npz")]
    sample.main(["sample", "--workdir", workdir, *flags])
    assert dict(np.load(tmp_path / "x.npz"))["y"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("text=green foxx", "unknown words 'green' .*'foxx' .nearest: fox.*expected the"),
        ("text=red red red red red red", "has 6 tokens; expected at most 4"),
        ("text=@nothing.txt", "cannot be read"),
        ("text=@/dev/null", "holds no text; expected a text in each line"),
        ("image=red.png", "--given is image=red.png; expected one condition of kind text: text=WORDS"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_line(captioned, given, message):
    with pytest.raises(UserError, match=message):
        captioned[1].sample(2, given=given)


@pytest.mark.study
def test_rows_are_encoded_and_completed_with_their_conditions(captioned):
    data, run = captioned
    rows = data.rows("test")
    codes = run.encode()
    assert codes["z"].shape == (6, 2) and "c" not in codes
    mask = np.ones(rows["x"].shape, bool)
    mask[:, 4:] = False
    completed = complete(run.model, run.state, run.spec, rows, mask, 2, 0)
    assert completed.shape == (6, 2, 8, 12, 3)
    np.testing.assert_array_equal(completed[:, :, :4], np.repeat(rows["x"][:, None, :4], 2, 1))


@pytest.mark.study
def test_numbers_are_conditions_too(tmp_path):
    c = RANDOM.normal(size=(24, 2))
    data = gj.data.arrays(RANDOM.normal(size=(24, 3)), c=c, test=(RANDOM.normal(size=(4, 3)), None, c[:4]))
    model = gj.models.gan(
        data.spec, conditional=True, latent_size=2, discriminator={"name": "mlp", "hidden": (8,)}, penalty="none"
    )
    run = gj.fit(model, data, workdir=tmp_path / "run", **FEW)
    np.testing.assert_allclose(run.sample(2, given="numbers=0.5,-1")["c"], [[0.5, -1]] * 2, atol=1e-6)
    for text in ("numbers=1", "numbers=a,b", "numbers=1,2,3"):
        with pytest.raises(UserError, match="does not fit; expected 2 numbers between commas"):
            run.sample(2, given=text)


@pytest.mark.study
def test_a_length_stands_beside_a_condition(tmp_path):
    c = RANDOM.normal(size=(24, 2))
    data = gj.data.arrays(RANDOM.normal(size=(24, 5, 2)), c=c, kind="series")
    run = gj.fit(
        gj.models.autoregressive(data.spec, conditional=True, net={"name": "gru", "units": 4}),
        data,
        workdir=tmp_path / "run",
        **FEW,
    )
    assert run.sample(2, given="numbers=1,2", length=3)["x"].shape == (2, 3, 2)


def test_a_hole_follows_from_the_split_and_the_number_of_the_row():
    grey = X[..., :1]
    data = gj.data.arrays(grey, test=grey[:4], hole=0.5)
    rows = data.rows("train")
    assert rows["c"].shape == (24, 8, 12, 2) and data.spec.condition.shape == (8, 12, 2)
    holes = rows["c"][..., 1] == 255
    assert (holes.sum((1, 2)) == 4 * 6).all() and len({hole.tobytes() for hole in holes}) > 5
    np.testing.assert_array_equal(rows["c"][..., :1][~holes], grey[~holes])
    assert (rows["c"][..., 0][holes] == 127).all() and (rows["c"][..., 1][~holes] == 0).all()
    np.testing.assert_array_equal(data.rows("train", 3)["c"], rows["c"][:3])
    random = np.random.default_rng([HOLE, 2, *b"train"])
    top, left = random.integers(5), random.integers(7)
    assert holes[2, top : top + 4, left : left + 6].all()
    assert gj.data.arrays(grey, hole=0.25).spec.content != data.spec.content
    for share in (0, 1.5):
        with pytest.raises(UserError, match="expected a share of the sides between 0 and 1"):
            gj.data.arrays(grey, hole=share)
    with pytest.raises(UserError, match="expected images of 8 bits without a condition"):
        gj.data.arrays(RANDOM.normal(size=(9, 4, 4, 1)), hole=0.5)


def test_settings_of_conditions_have_meanings():
    settings = base_config().data
    assert all(settings.get(name) is None for name in ("augment", "hole", "target", "condition", "shrink"))


@pytest.mark.study
def test_scores_state_the_number_of_samples_that_were_drawn(folder, tmp_path, capsys):
    asked = ["--workdir", str(folder / "run"), "--metrics=absolute_error", "--num=50"]
    capsys.readouterr()
    evaluate.main(["evaluate", *asked])
    prune.main(["prune", *asked, "--sparsity=0,0.5", "--out", str(tmp_path / "curve.json")])
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("step")] == ["step 2, 4 samples"] * 2  # there are 4 test rows
    assert json.loads((tmp_path / "curve.json").read_text())["samples"] == 4
    assert heading(2, {"nelbo": {"protocol": {"num_samples": 10}}}) == "step 2"
