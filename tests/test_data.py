"""Data: our own sets, users' files, the order of rows, the two feeds, the cache, transforms and their inverses."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from gen_jax import config, data
from gen_jax.data import cache, transforms
from gen_jax.data.builders import gaussians
from gen_jax.data.builders.gaussians import MIXTURES
from gen_jax.data.feed.order import ORDERS, Plan, permutations
from gen_jax.data.sources import opening
from gen_jax.data.spec import from_json, to_data, to_json, to_model
from gen_jax.errors import UserError

MNIST = Path(__file__).parents[2] / "shared" / "data" / "tfds"
needs_mnist = pytest.mark.skipif(not MNIST.exists(), reason=f"needs TFDS's mnist in {MNIST}")


def load(batch_size=10, seed=0, steps=100, epochs=None, multiple=1, host=(0, 1), **options):
    defaults = config.plain(config.base_config())["data"]
    facts = {
        "batch_size": batch_size,
        "seed": seed,
        "steps": steps,
        "epochs": epochs,
        "multiple": multiple,
        "host": host,
    }
    return data.load({**defaults, **options}, **facts, quiet=True)


def batches(loaded, start, stop):
    return [loaded.batch(loaded.arrays, fed) for fed in loaded.stream(start, stop)]


def equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        assert left[name].dtype == right[name].dtype
        np.testing.assert_array_equal(left[name], right[name])


def test_digits_are_those_of_scikit_learn():
    digits, loaded = load_digits(), load()
    test = np.arange(1797) % 5 == 4
    for split, rows in {"train": ~test, "test": test}.items():
        read = loaded.read(split, None)
        np.testing.assert_array_equal(read["x"][..., 0], digits.images[rows])
        np.testing.assert_array_equal(read["y"], digits.target[rows])
    assert (loaded.spec.shape, loaded.spec.dtype, loaded.spec.low, loaded.spec.high) == ((8, 8, 1), "uint8", 0, 16)


@pytest.mark.parametrize("variant", MIXTURES)
def test_gaussians_are_the_mixture_they_claim(variant, tmp_path, monkeypatch):
    if variant != "ring":  # which other tests read
        monkeypatch.setenv("GEN_JAX_CACHE", str(tmp_path))
        monkeypatch.setattr(gaussians, "ROWS", {"train": 20_000, "test": 100})
    loaded = load(name="gaussians", variant=variant, transform="rms")
    means, deviation = MIXTURES[variant]
    x = loaded.read("train", None)["x"]
    assert len(x) == gaussians.ROWS["train"] and loaded.spec.info == {"means": means.tolist(), "deviation": deviation}
    nearest = np.square(x[:, None] - means[None]).sum(-1).argmin(1)
    counts = np.bincount(nearest, minlength=len(means))
    expected = len(x) / len(means)
    assert np.abs(counts - expected).max() < 4.5 * np.sqrt(expected)
    np.testing.assert_allclose((x - means[nearest]).std(0), deviation, rtol=0.02)
    assert np.sqrt(np.square(to_model(loaded.spec, x)).mean()) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("order", ["shuffle", "once", "all"])
def test_feeds_give_the_same_batches(order):
    steps = 1 if order == "all" else 100
    feeds = [load(feed=feed, order=order, steps=steps) for feed in ("resident", "streaming")]
    assert feeds[0].arrays and not feeds[1].arrays
    assert feeds[0].spec == feeds[1].spec
    for left, right in zip(*(batches(feed, 0, min(steps, 7)) for feed in feeds)):
        equal(left, right)


def test_a_batch_is_a_function_of_seed_and_step():
    loaded, again = load(), load()
    for step, fed in zip(range(150, 160), again.stream(150, 160)):
        equal(loaded.at(step), fed)
    assert not np.array_equal(loaded.at(0)["index"], load(seed=1).at(0)["index"])


def test_shuffle_visits_every_row_once_an_epoch():
    rows, size = 23, 5
    plan = Plan(0, rows, size, 10**9, permutations(0, rows))
    seen = np.concatenate([ORDERS["shuffle"].rows(plan, step)["index"] for step in range(23)])
    for epoch in range(5):
        assert sorted(seen[epoch * rows : (epoch + 1) * rows]) == list(range(rows))
    assert not np.array_equal(seen[:rows], seen[rows : 2 * rows])


def test_epochs_replace_steps_and_the_last_batch_is_padded():
    loaded = load(batch_size=1000, epochs=1.5)
    assert loaded.steps == 3  # 1,438 rows x 1.5 = 2,157
    assert [loaded.at(step)["weight"].sum() for step in range(3)] == [1000, 1000, 157]


def test_once_shows_each_row_once_and_refuses_a_second_pass():
    loaded = load(batch_size=1000, steps=2, order="once")
    weights = [loaded.at(step)["weight"] for step in range(2)]
    assert [weight.sum() for weight in weights] == [1000, 438]
    with pytest.raises(UserError, match="expected at most 2, .*--config.steps=2"):
        load(batch_size=1000, steps=3, order="once")


def test_batches_are_padded_to_the_devices_and_split_over_the_hosts():
    loaded = load(batch_size=10, multiple=8)
    fed = loaded.at(3)
    assert fed["weight"].tolist() == [1] * 10 + [0] * 6
    parts = [load(batch_size=10, multiple=8, host=(index, 2), feed="streaming").at(3) for index in range(2)]
    whole = load(batch_size=10, multiple=8, feed="streaming").at(3)
    for name, value in whole.items():
        np.testing.assert_array_equal(np.concatenate([part[name] for part in parts]), value)


@pytest.mark.parametrize("transform, low, high", [("signed", -1, 1), ("unit", 0, 1), ("none", 0, 16)])
def test_transforms_have_inverses(transform, low, high):
    loaded = load(transform=transform)
    raw = loaded.read("train", 100)["x"]
    x = to_model(loaded.spec, raw)
    assert x.dtype == np.float32 and (x.min(), x.max()) == (low, high)
    back = to_data(loaded.spec, x)
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, raw)
    far = to_data(loaded.spec, np.full((1, 8, 8, 1), 1e6, np.float32))
    assert far.max() == 16  # clipped to the domain, not wrapped around


def test_a_users_vectors_are_scaled_by_column_and_back(tmp_path):
    raw = np.random.default_rng(0).normal([5, -100, 7], [1, 30, 0], (50, 3))
    np.save(tmp_path / "data.npy", raw)
    loaded = load(path=str(tmp_path / "data.npy"))
    x = batches(loaded, 0, 5)
    assert loaded.spec.kind == "vector" and loaded.spec.sizes == {"train": 50}
    everything = np.concatenate([batch["x"] for batch in x])
    np.testing.assert_allclose(everything[:, :2].min(0), -1, atol=1e-5)
    np.testing.assert_allclose(everything[:, :2].max(0), 1, atol=1e-5)
    np.testing.assert_allclose(to_data(loaded.spec, to_model(loaded.spec, raw)), raw, rtol=1e-5)
    assert from_json(json.loads(json.dumps(to_json(loaded.spec)))) == loaded.spec
    assert loaded.read("test", None) == {}


@pytest.mark.parametrize("feed", ["resident", "streaming"])
@pytest.mark.parametrize("dtype", [np.float64, np.int64])
def test_large_numbers_lose_no_digits(tmp_path, feed, dtype):
    raw = (1_600_000_000_000 + np.arange(8)[:, None] * [1, 3]).astype(dtype)  # time stamps in milliseconds
    np.save(tmp_path / "data.npy", raw)
    loaded = load(path=str(tmp_path / "data.npy"), feed=feed, order="once", batch_size=8, steps=1)
    (batch,) = batches(loaded, 0, 1)
    np.testing.assert_allclose(batch["x"], np.linspace(-1, 1, 8)[:, None] * [1, 1], atol=1e-6)
    np.testing.assert_array_equal(np.round(to_data(loaded.spec, batch["x"])), raw)


@pytest.mark.parametrize("feed", ["resident", "streaming"])
def test_a_users_images_with_labels(tmp_path, feed):
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (20, 6, 5), dtype=np.uint8), random.integers(0, 3, 20)
    np.savez(tmp_path / "data.npz", x=x, y=y)
    loaded = load(path=str(tmp_path / "data.npz"), feed=feed, order="once", batch_size=20, steps=1)
    (batch,) = batches(loaded, 0, 1)
    np.testing.assert_array_equal(to_data(loaded.spec, batch["x"])[..., 0], x)
    np.testing.assert_array_equal(batch["y"], y)
    assert loaded.spec.shape == (6, 5, 1) and len(loaded.spec.classes) == 3


def test_a_folder_of_images_resized(tmp_path):
    for index, size in enumerate([(20, 10), (12, 12)]):
        Image.new("RGB", size, (index * 100, 50, 200)).save(tmp_path / f"{index}.png")
    with pytest.raises(UserError, match=r"1\.png has 12x12 pixels.*data.resize="):
        load(path=str(tmp_path))
    loaded = load(path=str(tmp_path), resize=8)
    x = loaded.read("train", None)["x"]
    assert x.shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(x[1], np.full((8, 8, 3), (100, 50, 200)))


def images_of(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), sum(map(ord, path)) % 256).save(folder / path)


def test_sub_folders_are_the_classes_of_images(tmp_path):
    images_of(tmp_path, "dog/a.png", "cat/b.png", "cat/deep/c.png", "eel/d.png", ".cache/dog/e.png")
    loaded = load(path=str(tmp_path))
    assert loaded.spec.classes == ("cat", "dog", "eel") and loaded.spec.sizes == {"train": 4}
    rows = loaded.read("train", None)
    assert rows["y"].tolist() == [0, 0, 1, 2]
    shades = [sum(map(ord, path)) % 256 for path in ("cat/b.png", "cat/deep/c.png", "dog/a.png", "eel/d.png")]
    assert rows["x"][:, 0, 0, 0].tolist() == shades
    content = loaded.spec.content
    (tmp_path / "dog/a.png").rename(tmp_path / "eel/a.png")
    assert load(path=str(tmp_path)).spec.content != content  # a row has another label


@pytest.mark.parametrize("paths", [("a.png", "b.png"), ("a.png", "cat/b.png", "dog/c.png"), ("all/a.png", "all/b.png")])
def test_images_outside_several_sub_folders_have_no_labels(paths, tmp_path, capsys):
    images_of(tmp_path, *paths)
    loaded = load(path=str(tmp_path))
    assert not loaded.spec.classes and set(loaded.read("train", None)) == {"x"}
    assert ("images have no labels, because 1 of them lie outside sub-folders" in capsys.readouterr().out) == (
        len(paths) == 3
    )


def test_sub_folders_with_the_names_of_splits_are_splits(tmp_path):
    images_of(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/dog/c.png", "val/cat/d.png", "val/dog/e.png")
    loaded = load(path=str(tmp_path))
    assert loaded.spec.sizes == {"train": 2, "validation": 2, "test": 1} and loaded.spec.classes == ("cat", "dog")
    assert [loaded.read(split, None)["y"].tolist() for split in ("train", "validation", "test")] == [
        [0, 1],
        [0, 1],
        [1],
    ]
    images_of(tmp_path, "test/dot/c.png")
    with pytest.raises(UserError, match="unknown class sub-folder in the test split of .*'dot'.*Did you mean 'dog'"):
        load(path=str(tmp_path))


def test_the_cache_follows_the_content(tmp_path):
    path = tmp_path / "data.npy"
    for value in (1.0, 2.0):
        np.save(path, np.arange(8.0).reshape(4, 2) * value)
        loaded = load(path=str(path))
        np.testing.assert_array_equal(loaded.read("train", None)["x"], np.load(path))
        np.testing.assert_allclose(to_data(loaded.spec, loaded.arrays["x"]), np.load(path), atol=1e-6)
    first = {folder for folder in os.listdir(cache.cache_folder() / "arrays")}
    load(path=str(path))
    assert {folder for folder in os.listdir(cache.cache_folder() / "arrays")} == first


def test_what_was_used_longest_ago_is_forgotten(tmp_path):
    (tmp_path / "older").mkdir()
    for name, read_and_written in {"new": (100, 2000), "older/oldest": (990, 980), "old": (1000, 100)}.items():
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, read_and_written)
    cache.forget_oldest(tmp_path, 300)
    assert (tmp_path / "older" / "oldest").exists()
    cache.forget_oldest(tmp_path, 299)
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["new", "old"]
    cache.forget_oldest(tmp_path / "none", 0)


def test_decoding_that_fails_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("GEN_JAX_CACHE", str(tmp_path / "cache"))  # which no other test writes to
    (tmp_path / "cache" / "arrays").mkdir(parents=True)
    tmp_path = tmp_path / "images"
    tmp_path.mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:40])
    before = set(os.listdir(cache.cache_folder() / "arrays"))
    with pytest.raises(UserError, match=r"1\.png is not readable"):
        load(path=str(tmp_path))
    assert set(os.listdir(cache.cache_folder() / "arrays")) - {".writable"} == before


@needs_mnist
def test_a_tfds_set_by_name_is_read_without_tensorflow():
    import sys

    loaded = load(name="mnist", data_dir=str(MNIST), split="test")
    assert (loaded.spec.shape, loaded.spec.low, loaded.spec.high) == ((28, 28, 1), 0, 255)
    assert loaded.spec.sizes == {"train": 60_000, "test": 10_000}
    streamed = load(name="mnist", data_dir=str(MNIST), split="test", feed="streaming")
    for left, right in zip(batches(loaded, 3, 6), batches(streamed, 3, 6)):
        equal(left, right)
    assert "tensorflow" not in sys.modules


def test_eight_bit_images_are_not_measured(forbid):
    forbid(transforms.measured_range)
    load()
    with pytest.raises(pytest.fail.Exception, match="measured_range was called"):
        load(name="gaussians", variant="ring")


@needs_mnist
def test_tfds_images_are_resized():
    loaded = load(name="mnist", data_dir=str(MNIST), resize=14, feed="streaming")
    assert loaded.batch({}, loaded.at(0))["x"].shape == (10, 14, 14, 1)


def test_stacked_images_are_drawn_from_the_grey_ones_with_their_labels(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (50, 6, 6, 1), dtype=np.uint8)
    np.savez(tmp_path / "grey.npz", x=x, y=np.arange(50) % 4)
    stacked = opening.open_source({"path": str(tmp_path / "grey.npz"), "stack": 3})
    rows = stacked.rows("train", np.array([7, 0, 127_999]))
    assert rows["x"].shape == (3, 6, 6, 3) and len(stacked.classes) == 64 and stacked.sizes == {"train": 128_000}
    for image, label in zip(rows["x"], rows["y"]):
        parts = [int(np.flatnonzero((x[..., 0] == image[None, ..., each]).all((1, 2)))[0]) for each in range(3)]
        assert label == sum(part % 4 * 4**place for part, place in zip(parts, (2, 1, 0)))
        assert stacked.classes[label] == " ".join(str(part % 4) for part in parts)
    again = stacked.rows("train", np.array([0]))
    assert np.array_equal(again["x"][0], rows["x"][1]) and not np.array_equal(rows["x"][0], rows["x"][1])
    with pytest.raises(UserError, match="data.stack is 5"):
        opening.open_source({"path": str(tmp_path / "grey.npz"), "stack": 5})
