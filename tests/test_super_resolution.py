"""Bicubic resizing and its published figures, patches of photos, the net and the measure of super-resolution."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gen_jax import config
from gen_jax.data.feed.load import load
from gen_jax.data.resizing import bicubic, bicubic_matrix, cropped, enlarged, luminance, shrunk
from gen_jax.data.sources.opening import open_source
from gen_jax.data.sources.photo_patches import read_photo, starts
from gen_jax.data.spec import from_json, to_data, to_json, to_model
from gen_jax.errors import UserError
from gen_jax.metrics.images.super_resolution import peak_ratio
from gen_jax.model import Model
from gen_jax.models import gan
from gen_jax.nets.embedding import Embedded
from gen_jax.nets.subpixel import SuperResolver, depth_to_space, enlarge
from gen_jax.verbs.conditioning import request_of
from gen_jax.verbs.draw import draw_request
from gen_jax.verbs.score import make_scorer, real_data

PHOTOS = Path(__file__).parents[2] / "shared" / "data" / "super_resolution"
PUBLISHED = {"set5": (33.65, 30.39, 28.42), "set14": (30.23, 27.54, 26.00)}  # dB at scales 2, 3, 4
OPTIONS = config.base_config().data.to_dict()
SIDES = {"a": (40, 31), "b": (26, 50), "c": (24, 24), "d": (33, 47), "e": (10, 60)}  # height, width


def test_weights_of_the_kernel():
    quarters = np.array([-0.0703125, 0.8671875, 0.2265625, -0.0234375])  # at distances 1.25, 0.25, 0.75 and 1.75
    np.testing.assert_allclose(bicubic_matrix(12, 24)[11, 4:8], quarters, atol=1e-12)
    halves = np.array([-0.01171875, -0.03515625, 0.11328125, 0.43359375])
    np.testing.assert_allclose(bicubic_matrix(24, 12)[5, 7:15], [*halves, *halves[::-1]], atol=1e-12)
    np.testing.assert_array_equal(bicubic_matrix(7, 7), np.eye(7))
    for size, new_size in ((5, 15), (3, 1), (9, 4), (2, 8)):  # also photos that are smaller than the kernel
        matrix = bicubic_matrix(size, new_size)
        np.testing.assert_allclose(matrix.sum(1), 1)
        np.testing.assert_allclose(matrix, matrix[::-1, ::-1], atol=1e-12)


def test_luminance_is_that_of_matlab():
    colours = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    assert luminance(colours)[0, :, 0].tolist() == [16, 235, 81, 145, 41]
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3, 1)
    np.testing.assert_array_equal(luminance(grey), grey)


@pytest.mark.parametrize("name", PUBLISHED)
def test_bicubic_has_the_published_ratios(name):
    if not (PHOTOS / name).is_dir():
        pytest.skip(f"needs the photos in {PHOTOS / name}")
    photos = [read_photo(file, "luminance") for file in sorted((PHOTOS / name).glob("*.png"))]
    for scale, expected in zip((2, 3, 4), PUBLISHED[name]):
        whole = [cropped(photo, scale) for photo in photos]
        ratios = [peak_ratio(photo, enlarged(shrunk(photo, scale), scale), scale) for photo in whole]
        assert np.mean(ratios) == pytest.approx(expected, abs=0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns a folder with photos of the sides `SIDES`, of which d is grey, and a folder `test` with one photo."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    (root / "train").mkdir()
    (root / "test").mkdir()
    for name, (height, width) in SIDES.items():
        smooth = bicubic(random.integers(0, 256, (4, 4, 3)), height, width)
        image = Image.fromarray(np.clip(smooth, 0, 255).astype(np.uint8))
        (image.convert("L") if name == "d" else image).save(root / "train" / f"{name}.png")
    Image.fromarray(np.clip(bicubic(random.integers(0, 256, (4, 4, 3)), 37, 53), 0, 255).astype(np.uint8)).save(
        root / "test" / "t.png"
    )
    return root


def settings(folder, **changes):
    return {**OPTIONS, "path": str(folder / "train"), "patch": 12, "shrink": 3, "holdout": 0.2, **changes}


@pytest.mark.parametrize("channels", ["luminance", "rgb"])
def test_patches_are_cut_from_photos_that_were_shrunk_whole(folder, channels):
    source = open_source(settings(folder, channels=channels, holdout=0))
    rows = source.rows("train", np.arange(source.sizes["train"]))
    np.testing.assert_array_equal(rows["c"], source.condition.rows("train", np.arange(source.sizes["train"]))["x"])
    row = 0
    for name, (height, width) in SIDES.items():
        photo = cropped(read_photo(folder / "train" / f"{name}.png", channels), 3)
        small = shrunk(photo, 3)
        for top in starts(height // 3, 4, 2):
            for left in starts(width // 3, 4, 2):
                np.testing.assert_array_equal(rows["c"][row], small[top : top + 4, left : left + 4])
                part = photo[3 * top : 3 * top + 12, 3 * left : 3 * left + 12]
                np.testing.assert_array_equal(rows["x"][row], part)
                row += 1
    assert row == source.sizes["train"] == len(rows["x"])
    some = source.rows("train", np.array([row - 1, 0, 7]))
    np.testing.assert_array_equal(some["x"], rows["x"][[row - 1, 0, 7]])


def test_starts_reach_the_border():
    assert starts(10, 4, 2).tolist() == [0, 2, 4, 6]
    assert starts(11, 4, 2).tolist() == [0, 2, 4, 6, 7]
    assert starts(4, 4, 2).tolist() == [0] and starts(3, 4, 2).tolist() == []


def test_photos_are_held_out_whole(folder):
    alone = open_source(settings(folder))
    (held_out,) = alone.info["photos"]["test"]
    assert set(alone.sizes) == {"train", "test"} and Path(held_out).parent == folder / "train"
    both = open_source(settings(folder, test_path=str(folder / "test")))
    assert both.info["photos"] == {"validation": [held_out], "test": [str(folder / "test" / "t.png")]}
    assert both.sizes["validation"] == alone.sizes["test"] and both.sizes["train"] == alone.sizes["train"]
    contents = {alone.content, both.content, open_source(settings(folder, stride=12)).content}
    assert len(contents) == 3


def test_patches_are_fed_with_their_condition(folder):
    loaded = load(settings(folder), batch_size=5, seed=0, steps=2, quiet=True)
    batch = loaded.batch(loaded.arrays, loaded.at(1))
    assert batch["x"].shape == (5, 12, 12, 3) and batch["c"].shape == (5, 4, 4, 3)
    assert loaded.spec.condition.shape == (4, 4, 3) and from_json(to_json(loaded.spec)) == loaded.spec
    raw = loaded.read("train", None)
    found = (raw["x"] == to_data(loaded.spec, batch["x"])[:1]).all((1, 2, 3))
    np.testing.assert_array_equal(raw["c"][found][0], to_data(loaded.spec.condition, batch["c"])[0])


def test_images_of_one_size_beside_their_shrunk_images(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (6, 8, 12, 1), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(6) % 2)
    options = {**OPTIONS, "path": str(tmp_path / "x.npz")}
    source = open_source({**options, "shrink": 4})
    rows = source.rows("train", np.array([4, 1]))
    np.testing.assert_array_equal(rows["c"], [shrunk(x[4], 4), shrunk(x[1], 4)])
    assert source.condition.shape == (2, 3, 1)
    assert "y" not in rows and not source.classes  # whoever enlarges an image does not know its label
    with pytest.raises(UserError, match="shrink is 3; expected 2 or more that divides the sides 8 and 12"):
        open_source({**options, "shrink": 3})
    with pytest.raises(UserError, match="patch is 8 and x is not cut into patches"):
        open_source({**options, "patch": 8})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch": 13}, "data.patch is 13; expected a multiple of data.shrink, 3"),
        ({"patch": 0}, "data.patch is 0; expected a whole number, at least 1"),
        ({"stride": 4}, "data.stride is 4; expected a multiple of data.shrink, 3"),
        ({"patch": 300}, "no photo of the split 'train' of .*train is so large"),
        ({"channels": "grey"}, "data.channels"),
        ({"holdout": 1.0}, "data.holdout is 1.0; expected a share"),
        ({"resize": 8}, "data.resize is 8 beside data.patch"),
        ({"test_path": "nowhere"}, "data.test_path nowhere holds no images"),
        ({"patch": None}, "data.shrink is 3|pixels; expected .* as in the first image"),
        ({"test_path": ".", "test_split": "train"}, "data.test_split of data.test_path . is 'train'"),
    ],
)
def test_faulty_settings_are_refused(folder, changes, message):
    with pytest.raises(UserError, match=message):
        open_source(settings(folder, **changes))


@pytest.mark.study
def test_the_net_begins_with_the_bicubic_enlargement_at_any_size():
    net, random = SuperResolver((12, 12, 2), scale=3, width=6, inner=4, layers=1), np.random.default_rng(0)
    c = random.normal(size=(2, 4, 4, 2)).astype(np.float32)
    weights = net.init(jax.random.key(0), jnp.zeros((2, 0)), Embedded(image=c))
    apply = jax.jit(lambda weights, c: net.apply(weights, jnp.zeros((len(c), 0)), Embedded(image=c)))
    for sides in ((4, 4), (5, 9)):
        c = random.normal(size=(2, *sides, 2)).astype(np.float32)
        expected = [bicubic(image, 3 * sides[0], 3 * sides[1]) for image in c]
        np.testing.assert_allclose(apply(weights, c), expected, atol=2e-6)
    trained = jax.tree.map(lambda leaf: leaf + 0.1, weights)
    assert np.abs(apply(trained, c) - np.array(expected)).max() > 0.01
    with pytest.raises(UserError, match="condition of an sr net has no image of 2 channels"):
        net.init(jax.random.key(0), jnp.zeros((2, 0)), None)


def test_channels_become_squares_of_pixels():
    x = np.arange(2 * 4 * 3).reshape(1, 1, 2, 12)  # 3 channels at scale 2
    y = np.asarray(depth_to_space(jnp.asarray(x), 2))
    assert y.shape == (1, 2, 4, 3)
    np.testing.assert_array_equal(y[0, :, :2].reshape(-1), x[0, 0, 0])
    np.testing.assert_array_equal(y[0, :, 2:].reshape(-1), x[0, 0, 1])


def bicubic_sample(offset, spec, key, state, num, given=None, how=None):
    """Draws the bicubic enlargement of the condition, and adds an offset."""
    return {"x": enlarge(given["c"], 3) + offset}


@pytest.mark.parametrize("channels", ["luminance", "rgb"])
def test_the_ratio_of_a_model_stands_beside_that_of_bicubic(folder, channels):
    loaded = load(
        settings(folder, channels=channels, test_path=str(folder / "test")), batch_size=4, seed=0, steps=1, quiet=True
    )
    real = real_data(loaded.spec, loaded.read, ("train", "test"))
    scorer = make_scorer(real, ["psnr", "psnr_bicubic", "valid/psnr"], num=4, seed=0)
    models = [
        Model(init=None, step=None, sample=partial(bicubic_sample, offset, loaded.spec), given=("c",))
        for offset in (0.0, 0.1)
    ]
    scores, worse = (scorer.score(model, None) for model in models)
    photo = cropped(read_photo(folder / "test" / "t.png", channels), 3)
    floor = peak_ratio(photo, enlarged(shrunk(photo, 3), 3), 3)
    assert scores["psnr_bicubic"]["value"] == worse["psnr_bicubic"]["value"] == pytest.approx(floor)
    assert scores["psnr"]["value"] == pytest.approx(floor, abs=0.01)
    assert worse["psnr"]["value"] < floor - 1 and worse["valid/psnr"]["value"] < scores["valid/psnr"]["value"] - 1
    assert [*scores["psnr"]["details"]["photos"]] == ["t"]
    with pytest.raises(UserError, match="metric 'psnr' needs samples given a condition c"):
        scorer.score(models[0]._replace(given=()), None)


@pytest.mark.parametrize("channels", ["luminance", "rgb"])
def test_a_photo_of_a_user_is_enlarged_at_its_own_size(folder, channels):
    """The result is that of the photo alone, in a call of its own."""
    options = settings(folder, channels=channels)
    spec = load(options, batch_size=4, seed=0, steps=1, quiet=True).spec
    nums = []

    def sample(key, state, num, given=None, how=None):
        nums.append(num)
        return {"x": enlarge(given["c"], 3), "c": given["c"]}

    model = Model(init=None, step=None, sample=sample, given=("c",), options={})
    photo = read_photo(folder / "test" / "t.png", channels)
    drawn = draw_request(
        model, None, spec, 0, request_of(model, spec, {"data": options}, [f"image={folder / 'test'}"], 16)
    )
    assert nums == [1] and drawn["x"].shape == (1, 3 * photo.shape[0], 3 * photo.shape[1], photo.shape[2])
    np.testing.assert_array_equal(drawn["c"][0], photo)
    np.testing.assert_allclose(drawn["x"][0].astype(int), enlarged(photo, 3), atol=1)
    with pytest.raises(UserError, match="holds photos of several sizes; expected photos of one size"):
        request_of(model, spec, {"data": options}, [f"image={folder / 'train'}"], 16)


def test_the_scale_of_model_space_is_one_for_a_photo_and_its_shrunk_photo(folder):
    spec = load(settings(folder), batch_size=4, seed=0, steps=1, quiet=True).spec
    x = np.array([0, 16, 255], np.uint8)
    np.testing.assert_array_equal(to_model(spec, x), to_model(spec.condition, x))


@pytest.mark.study
def test_a_net_of_patches_enlarges_whole_photos(folder):
    loaded = load(settings(folder, test_path=str(folder / "test")), batch_size=8, seed=0, steps=1, quiet=True)
    spec, sizes = loaded.spec, {"width": 6, "inner": 4, "layers": 1}
    model = gan(
        spec,
        generator={"name": "sr", "scale": 3, **sizes},
        adversarial=0,
        reconstruction={"name": "l1", "weight": 1.0},
        latent_size=0,
        conditional=True,
    )
    batch = loaded.batch(loaded.arrays, loaded.at(0))
    state, step, losses = model.init(jax.random.key(0), batch), jax.jit(model.step), []
    for number in range(30):
        state, metrics = step(jax.random.key(number), state, batch)
        losses.append(float(metrics["l1"]))
    assert losses[-1] < 0.95 * losses[0]
    scorer = make_scorer(
        real_data(spec, loaded.read, ("train", "test")), ["psnr", "psnr_bicubic", "valid/psnr"], num=4, seed=0
    )
    scores = scorer.score(model, state)
    assert scores["psnr"]["value"] == pytest.approx(scores["psnr_bicubic"]["value"], abs=6)
    assert scores["psnr"]["value"] != scores["psnr_bicubic"]["value"] and scores["valid/psnr"]["value"] > 0
    c = np.zeros((2, 5, 9, 3), np.float32)  # sides of no patch
    assert model.sample(jax.random.key(0), state, 2, {"c": c})["x"].shape == (2, 15, 27, 3)
    other = gan(spec, generator={"name": "sr", "scale": 2, **sizes}, latent_size=0, conditional=True)
    with pytest.raises(UserError, match="generator SuperResolver gives an output of shape .*; expected"):
        other.sample(jax.random.key(0), other.init(jax.random.key(0), batch), 2, {"c": c[:, :4, :4]})
