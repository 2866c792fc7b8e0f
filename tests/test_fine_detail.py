"""The measures of the sharpness of enlarged photos: energy of fine detail, and critics that have not seen the photo."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from gen_jax import config
from gen_jax.data.feed.load import load
from gen_jax.data.resizing import enlarged, shrunk
from gen_jax.data.spec import Spec
from gen_jax.metrics.images import classifier
from gen_jax.metrics.images.fine_detail import CLASSES, PATCH, area_of_critics, fine_energy, patches_of
from gen_jax.model import Model
from gen_jax.nets.subpixel import enlarge
from gen_jax.verbs.score import make_scorer, real_data

NAMES = ("patch_auc", "patch_auc_bicubic", "fine_energy", "fine_energy_bicubic")


def test_patches_tile_a_photo_within_its_border():
    photo = np.random.default_rng(0).integers(0, 256, (3 + 2 * PATCH + 5, 3 + 3 * PATCH + 3, 1), dtype=np.uint8)
    patches = patches_of(photo, 3)
    assert patches.shape == (6, PATCH, PATCH, 1)
    np.testing.assert_array_equal(patches[4], photo[3 + PATCH : 3 + 2 * PATCH, 3 + PATCH : 3 + 2 * PATCH])


@pytest.mark.parametrize(("cycles", "fine"), [(2, 0.0), (4, 0.0), (8, 1.0), (11, 1.0)])
def test_energy_is_fine_above_half_of_the_highest_frequency(cycles, fine):
    wave = 10 * np.cos(2 * np.pi * cycles * np.arange(PATCH) / PATCH)
    window = np.multiply.outer(np.hanning(PATCH + 2)[1:-1], np.hanning(PATCH + 2)[1:-1])
    for axis in ((None, slice(None)), (slice(None), None)):
        patch = 100 + np.broadcast_to(wave[axis], (PATCH, PATCH))
        whole = PATCH**2 * np.square((patch - patch.mean()) * window).sum()  # Parseval
        assert fine_energy(patch[None, :, :, None]) / whole == pytest.approx(fine, abs=0.01)


def photos(folder, num):
    """Writes photos of noise and returns their folder."""
    random = np.random.default_rng(0)
    folder.mkdir()
    for number in range(num):
        noise = random.integers(0, 256, (75, 102), dtype=np.uint8)
        Image.fromarray(noise).save(folder / f"{number}.png")
    return folder


def sharp_sample(spec, key, state, num, given=None, how=None):
    """Draws the bicubic enlargement of the condition with fresh noise, which has fine detail."""
    x = np.asarray(enlarge(given["c"], 3))
    return {"x": x + np.random.default_rng(x.shape[1]).normal(0, 0.5, x.shape).astype(np.float32)}


def test_sharpness_stands_beside_that_of_bicubic(tmp_path, short):
    options = {
        **config.base_config().data.to_dict(),
        "path": str(photos(tmp_path / "train", 3)),
        "test_path": str(photos(tmp_path / "test", 4)),
        "patch": 24,
        "shrink": 3,
    }
    loaded = load(options, batch_size=4, seed=0, steps=1, quiet=True)
    scorer = make_scorer(real_data(loaded.spec, loaded.read, ("train", "test")), NAMES, num=4, seed=0)
    model = Model(init=None, step=None, sample=partial(sharp_sample, loaded.spec), given=("c",))
    scores = {name: score["value"] for name, score in scorer.score(model, None).items()}
    assert scores["patch_auc_bicubic"] > 0.9 and scores["fine_energy_bicubic"] < 0.1
    assert scores["patch_auc"] < scores["patch_auc_bicubic"]
    assert scores["fine_energy_bicubic"] + 0.2 < scores["fine_energy"] < 1.5


@pytest.mark.study
def test_critics_of_other_photos_tell_blur_and_cannot_tell_the_same(monkeypatch):
    monkeypatch.setattr(classifier, "RECIPE", classifier.RECIPE._replace(least_steps=300))
    random = np.random.default_rng(0)
    real = [random.integers(0, 256, (60, PATCH, PATCH, 1), dtype=np.uint8) for _ in range(4)]
    again = [random.integers(0, 256, (60, PATCH, PATCH, 1), dtype=np.uint8) for _ in range(4)]
    blurred = [np.stack([enlarged(shrunk(patch, 2), 2) for patch in photo]) for photo in real]
    spec = Spec("noise", "image", (PATCH, PATCH, 1), "uint8", 0.0, 1.0, 0.0, 255.0, CLASSES, {}, "noise", {})
    assert area_of_critics(spec, real, blurred, "critics") > 0.99
    assert area_of_critics(spec, real, again, "critics") == pytest.approx(0.5, abs=0.06)
