"""Images in black and white, drawn once or at every step, and test splits that are those of another set."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_data import MNIST, batches, equal, load, needs_mnist

from gen_jax import data, train
from gen_jax.data.feed import resident
from gen_jax.data.kinds.image import grid
from gen_jax.data.sources import derived, opening
from gen_jax.data.spec import from_json, to_data, to_json
from gen_jax.errors import UserError
from gen_jax.storage import directory

OPTIONS = {"name": "digits", "split": "train", "test_split": "test"}
FEEDS = pytest.mark.parametrize("feed", ["resident", "streaming"])
BINARY = pytest.mark.parametrize("transform", ["static_binary", "dynamic_binary"])


@pytest.fixture
def pictures(tmp_path):
    """A folder of 40 pictures that each hold every grey."""
    for number in range(40):
        greys = np.random.default_rng(number).permutation(256).astype(np.uint8).reshape(16, 16)
        Image.fromarray(greys).save(tmp_path / f"{number:02}.png")
    return str(tmp_path)


def x_of(loaded, step):
    return np.asarray(loaded.batch(loaded.arrays, loaded.at(step))["x"])


@BINARY
def test_binary_data_are_zeros_and_ones_in_every_space(transform):
    loaded, grey = load(transform=transform), load()
    spec = loaded.spec
    assert (spec.low, spec.high, spec.shift, spec.scale, spec.dtype) == (0, 1, 0, 1, "uint8")
    assert spec.content != grey.spec.content and spec.info == {transform: [0, 16]}
    assert from_json(json.loads(json.dumps(to_json(spec)))) == spec
    x = x_of(loaded, 0)
    assert x.dtype == np.float32 and set(np.unique(x)) == {0, 1}
    for split in ("train", "test"):
        rows, greys = loaded.read(split, None), grey.read(split, None)
        assert rows.keys() == {"x", "y"} and rows["x"].dtype == np.uint8 and set(np.unique(rows["x"])) == {0, 1}
        np.testing.assert_array_equal(rows["y"], greys["y"])
        assert not rows["x"][greys["x"] == 0].any() and rows["x"][greys["x"] == 16].all()
    drawn = np.asarray(grid(to_data(spec, x), spec))
    assert set(np.unique(drawn)) == {0, 64, 255}  # black, white and the border


@FEEDS
def test_a_pixel_is_white_with_the_probability_of_its_grey(feed, pictures):
    steps = 100
    loaded = load(path=pictures, transform="dynamic_binary", feed=feed, order="all", steps=steps)
    grey = load(path=pictures).read("train", None)["x"]
    draws = np.stack([batch["x"] for batch in batches(loaded, 0, steps)])  # [steps, N, H, W, 1]
    for level in range(256):
        here, p = draws[:, grey == level], level / 255  # every picture has one pixel of each
        assert abs(here.mean() - p) <= 5 * np.sqrt(p * (1 - p) / here.size)
    of_pixel = (draws.mean(0) - grey / 255) / np.sqrt(np.clip(grey / 255 * (1 - grey / 255), 1e-9, None) / steps)
    assert np.square(of_pixel[(grey > 25) & (grey < 230)]).mean() == pytest.approx(1, abs=0.1)  # draws are independent


def test_fixed_draws_have_the_same_probabilities(pictures):
    x, grey = (load(path=pictures, transform=each).read("train", None)["x"] for each in ("static_binary", None))
    p = grey / 255
    assert abs((x - p).sum()) < 5 * np.sqrt((p * (1 - p)).sum())
    assert abs(((x - p) * p).sum()) < 5 * np.sqrt((p * (1 - p) * p**2).sum())
    sorted_by_grey = [each.ravel()[np.argsort(greys.ravel())] for each, greys in zip(x, grey)]  # 40 draws of one row
    assert len({each.tobytes() for each in sorted_by_grey}) == 40


@BINARY
@pytest.mark.parametrize("order", ["shuffle", "once", "all"])
def test_feeds_give_the_same_binary_batches(order, transform):
    steps = 1 if order == "all" else 100
    feeds = [load(feed=feed, order=order, steps=steps, transform=transform) for feed in ("resident", "streaming")]
    assert feeds[0].arrays and not feeds[1].arrays and feeds[0].spec == feeds[1].spec
    for left, right in zip(*(batches(feed, 0, min(steps, 7)) for feed in feeds)):
        equal(left, right)


def test_dynamic_batches_are_a_function_of_seed_and_step():
    loaded, again = (load(transform="dynamic_binary", order="all", steps=10) for _ in range(2))
    list(again.stream(0, 3))
    for step, fed in zip(range(5, 8), again.stream(5, 8)):
        equal(loaded.at(step), fed)
    other = load(seed=1, transform="dynamic_binary", order="all", steps=10)
    draws = [x_of(loaded, 0), x_of(loaded, 1), x_of(other, 0), loaded.read("train", None)["x"]]  # of the same rows
    for place, left in enumerate(draws):
        assert not any(np.array_equal(left, right) for right in draws[:place])


@FEEDS
def test_hosts_share_the_noise_of_one(feed):
    def fed(**more):
        return load(batch_size=10, multiple=8, feed=feed, transform="dynamic_binary", **more).at(3)

    parts, whole = [fed(host=(index, 2)) for index in range(2)], fed()
    assert whole["noise"].shape == (16, 8, 8, 1) and whole["noise"].max() == 15
    for name, value in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), value)


def test_replicas_draw_as_the_runs_of_their_seeds():
    options = {**OPTIONS, "feed": "resident", "order": "shuffle", "transform": "dynamic_binary"}
    both = data.load(options, batch_size=10, seed=3, steps=9, quiet=True, replicas=2).at(4)
    for replica in (0, 1):
        alone = load(seed=3 + replica, transform="dynamic_binary").at(4)
        equal({name: value[replica] for name, value in both.items()}, alone)
    assert not np.array_equal(*both["noise"])


@pytest.mark.study
def test_fixed_draws_depend_on_split_and_row_alone(monkeypatch):
    source = opening.open_source({**OPTIONS, "transform": "static_binary"})
    train = load(transform="static_binary").read("train", None)["x"]
    order = np.random.default_rng(0).permutation(len(train))[:50]
    np.testing.assert_array_equal(source.rows("train", order)["x"], train[order])
    monkeypatch.setattr(resident, "ALONE", 10)  # several workers, other chunks, another entry of the cache
    again = resident.resident_arrays(
        source._replace(name="again"), {**OPTIONS, "transform": "static_binary"}, "train", True
    )
    np.testing.assert_array_equal(again["x"], train)
    dynamic = load(transform="dynamic_binary")
    assert np.array_equal(dynamic.read("train", None)["x"], train)
    assert np.array_equal(dynamic.read("test", 7)["x"], load(transform="static_binary").read("test", None)["x"][:7])


@BINARY
def test_binary_images_stay_what_they_are(transform, tmp_path):
    x = np.random.default_rng(0).random((20, 6, 6)) < 0.5
    np.save(tmp_path / "binary.npy", x)
    loaded = load(path=str(tmp_path / "binary.npy"), transform=transform, order="all", steps=3)
    for drawn in (x_of(loaded, 0), x_of(loaded, 2), loaded.read("train", None)["x"]):
        np.testing.assert_array_equal(drawn[..., 0], x)


@BINARY
def test_what_has_no_greys_is_refused(transform, tmp_path):
    np.save(tmp_path / "vectors.npy", np.zeros((4, 3), np.uint8))
    np.save(tmp_path / "floats.npy", np.zeros((4, 3, 3), np.float32))
    np.save(tmp_path / "unbounded.npy", np.zeros((4, 3, 3), np.int16))
    paths = [{"path": str(tmp_path / f"{name}.npy")} for name in ("vectors", "floats", "unbounded")]
    for options in (*paths, {"name": "tiny_shakespeare"}, {"name": "gaussians", "variant": "ring"}):
        with pytest.raises(
            UserError, match=f"data.transform is '{transform}' and .* holds .*expected images .*known domain"
        ):
            load(transform=transform, **options)


def test_stacked_images_are_drawn_as_the_grey_ones_are():
    loaded = load(stack=3, transform="dynamic_binary", feed="streaming")
    assert x_of(loaded, 0).shape == (10, 8, 8, 3) and loaded.spec.info["dynamic_binary"] == [0, 16]


@FEEDS
@BINARY
def test_a_test_split_of_another_set(transform, feed, pictures):
    plain, whole = load(path=pictures, resize=8, transform=transform), load(transform="static_binary")
    loaded = load(path=pictures, resize=8, transform=transform, feed=feed)
    assert loaded.read("test", None) == {}
    with pytest.raises(UserError, match="data.test_split.*'tests'.*Did you mean 'test'"):
        load(path=pictures, resize=8, transform=transform, test_name="digits", test_split="tests")
    loaded = load(path=pictures, resize=8, transform=transform, feed=feed, test_name="digits")
    assert loaded.spec.sizes == {"train": 40, "test": 359} and loaded.spec.classes == ()
    assert loaded.spec.content not in (plain.spec.content, whole.spec.content)
    test = loaded.read("test", None)
    assert test.keys() == {"x"}  # only one of the two has labels
    np.testing.assert_array_equal(test["x"], whole.read("test", None)["x"])
    equal(loaded.read("train", None), plain.read("train", None))
    np.testing.assert_array_equal(x_of(loaded, 3), x_of(plain, 3))
    without = load(transform=transform, feed=feed, test_name="digits", resize=8)  # its own: labels stay
    equal(without.read("test", None), whole.read("test", None))
    assert without.spec.classes == whole.spec.classes


def test_labels_go_where_the_other_set_has_none(pictures):
    images = opening.open_source({**OPTIONS, "name": None, "path": pictures, "resize": 8})
    unlabelled = images._replace(
        sizes={"test": 40}, limits=(0, 16), rows=lambda split, indices: images.rows("train", indices)
    )
    digits = opening.open_source(OPTIONS)
    both = derived.joined(digits, unlabelled, "test")
    assert both.classes == () and both.sizes == {"train": 1438, "test": 40}
    assert all(both.rows(split, np.arange(3)).keys() == {"x"} for split in ("train", "test"))


def test_a_test_split_that_does_not_fit_is_refused(pictures):
    for options, message in {
        (("path", pictures),): r"is \(8, 8, 1\); expected \(16, 16, 1\)",
        (("path", pictures), ("resize", 8)): r"is \(0, 16\); expected \(0, 255\)",
        (("name", "tiny_shakespeare"),): "data.test_name is 'digits' and .* holds text data; expected image or vector",
        (("test_split", "train"),): "data.test_split of data.test_name 'digits' is 'train', as is data.split",
    }.items():
        with pytest.raises(UserError, match=message):
            load(test_name="digits", **dict(options))
    with pytest.raises(UserError) as by_name:
        load(name="digit")
    with pytest.raises(UserError) as by_test_name:
        load(test_name="digit")
    assert str(by_name.value) == str(by_test_name.value) and "'digit' is not prepared" in str(by_name.value)


@needs_mnist
def test_the_binary_digits_of_tfds_are_known_to_be_binary():
    options = {"name": "binarized_mnist", "data_dir": str(MNIST), "feed": "streaming"}
    if not (MNIST / "binarized_mnist").exists():
        pytest.skip(f"needs TFDS's binarized_mnist in {MNIST}")
    expected = x_of(load(**options, transform="none"), 0)
    for transform, low in {"signed": -1, "unit": 0, "static_binary": 0, "dynamic_binary": 0}.items():
        loaded = load(**options, transform=transform)
        assert (loaded.spec.low, loaded.spec.high, loaded.spec.classes) == (0, 1, ())
        np.testing.assert_array_equal(x_of(loaded, 0), low + (1 - low) * expected)
    joined = load(**{**options, "name": "mnist"}, transform="dynamic_binary", test_name="binarized_mnist")
    assert joined.spec.sizes == {"train": 60_000, "test": 10_000} and joined.at(0).keys() == {"x", "noise", "weight"}


@pytest.mark.study
def test_a_run_of_another_transform_is_refused(tmp_path):
    flags = [
        "--config",
        str(Path(__file__).parents[1] / "configs" / "gan.py"),
        "--workdir",
        str(tmp_path / "run"),
        "--quiet",
        "--config.eval_every=0",
    ]
    flags += [f"--config.model.{net}.hidden=(8,)" for net in ("generator", "discriminator")]
    flags += ["--config.save_every=2", "--config.batch_size=8", "--config.data.transform=dynamic_binary"]
    train.main(["train", *flags, "--config.steps=2"])
    assert set(np.unique(np.asarray(Image.open(tmp_path / "run" / "samples" / "2.png")))) == {0, 64, 255}
    with pytest.raises(UserError, match="data.transform was 'dynamic_binary'.*now 'static_binary'"):
        train.main(["train", *flags, "--config.steps=6", "--config.data.transform=static_binary"])
    config, spec = json.loads((tmp_path / "run" / "config.json").read_text()), directory.read_spec(tmp_path / "run")
    with pytest.raises(UserError, match="info of the data was {'dynamic_binary'.*now {'static_binary'"):
        directory.refuse_other(tmp_path / "run", config, config, spec._replace(info={"static_binary": [0, 16]}), None)
