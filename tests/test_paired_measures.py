"""Measures of samples against the true rows of their conditions: against brute force, at their floors and oracles."""

import numpy as np
import pytest
from conftest import make_spec

from gen_jax.data.spec import to_model
from gen_jax.errors import UserError
from gen_jax.metrics.features import real_data
from gen_jax.metrics.images import segmentation, segmenter, translation
from gen_jax.model import Model
from gen_jax.verbs.score import make_scorer

RANDOM = np.random.default_rng(0)
PHOTO = make_spec("image", (6, 8, 3))._replace(dtype="uint8", low=0, high=255, shift=127.5, scale=127.5)
SIZES = {"train": 20, "test": 7}
MAP = make_spec("class_map", (6, 8))._replace(
    dtype="uint8", low=0, high=3, info={"vocabulary": ["sky", "road", "tree"]}, sizes=SIZES, condition=PHOTO
)
IMAGE = PHOTO._replace(sizes=SIZES, condition=PHOTO)


def photos(num: int) -> np.ndarray:
    return RANDOM.integers(0, 256, (num, 6, 8, 3), dtype=np.uint8)


def maps(num: int) -> np.ndarray:
    """Maps whose class 3 is no class."""
    return RANDOM.integers(0, 4, (num, 6, 8), dtype=np.uint8)


MAPS = {split: {"x": maps(num), "c": photos(num)} for split, num in SIZES.items()}
PAIRS = {split: {"x": photos(num), "c": photos(num)} for split, num in SIZES.items()}


def scored(spec, rows: dict, names: list[str], x: np.ndarray, num: int = 100) -> dict:
    """Scores of a model that answers the conditions of the test rows, in their order, by the rows x."""
    real = real_data(
        spec, lambda split, num: {name: value[:num] for name, value in rows[split].items()}, ("train", "test")
    )
    asked = []

    def sample(key, state, num, given=None, how=None):
        asked.append(np.asarray(given["c"]))
        return {"x": to_model(spec, np.resize(x, (num, *x.shape[1:]))), "c": given["c"]}

    model = Model(init=None, step=None, sample=sample, given=("c",))
    scores = make_scorer(real, names, num=num, seed=0).score(model, None)
    count = min(num, len(rows["test"]["c"]))
    np.testing.assert_allclose(asked[0][:count], (rows["test"]["c"][:count] - 127.5) / 127.5, atol=1e-6)
    return scores


def miou_by_hand(x: np.ndarray, truth: np.ndarray) -> float:
    ratios = []
    for number in range(3):
        inside = truth < 3
        here, there = (x == number) & inside, (truth == number) & inside
        if (here | there).any():
            ratios.append((here & there).sum() / (here | there).sum())
    return float(np.mean(ratios))


def test_mean_intersection_over_union_is_that_of_sets():
    truth = MAPS["test"]["x"]
    x = np.where(RANDOM.random(truth.shape) < 0.6, truth.clip(0, 2), RANDOM.integers(0, 3, truth.shape)).astype(
        np.uint8
    )
    scores = scored(MAP, MAPS, ["miou", "pixel_accuracy", "miou_prior", "miou_nearest"], x)
    assert scores["miou"]["value"] == pytest.approx(miou_by_hand(x, truth))
    inside = truth < 3
    assert scores["pixel_accuracy"]["value"] == pytest.approx((x == truth)[inside].mean())
    assert scores["miou"]["oracle"] == scores["pixel_accuracy"]["oracle"] == 1
    assert scores["miou"]["protocol"]["samples"] == 7
    train = MAPS["train"]["x"]
    prior = np.stack([(train == number).sum(0) for number in range(3)]).argmax(0)
    assert scores["miou_prior"]["value"] == pytest.approx(miou_by_hand(np.broadcast_to(prior, truth.shape), truth))
    small = [segmentation.thumbnails(MAPS[split]["c"]) for split in ("test", "train")]
    nearest = np.square(small[0][:, None] - small[1][None]).sum(-1).argmin(1)
    copies = train[nearest].clip(0, 2)
    assert scores["miou_nearest"]["value"] == pytest.approx(miou_by_hand(copies, truth))
    by_class = scores["miou"]["details"]["iou_of_classes"]
    assert np.mean(list(by_class.values())) == pytest.approx(scores["miou"]["value"])


def test_absent_classes_and_pixels_without_a_class_count_nowhere():
    counts = segmentation.confusion(np.array([[[0, 1, 1]]]), np.array([[[0, 0, 3]]]), 3)
    assert counts.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert segmentation.segmentation_scores(counts) == {"miou": 0.25, "pixel_accuracy": 0.5}
    assert np.isnan(segmentation.overlaps(counts)[2])
    assert np.isnan([*segmentation.segmentation_scores(0 * counts).values()]).all()


def test_errors_and_retrieval_are_those_of_the_pairs():
    truth = PAIRS["test"]["x"]
    names = ["absolute_error", "retrieval", "absolute_error_mean", "absolute_error_copy"]
    scores = scored(IMAGE, PAIRS, names, truth[::-1])
    gap = np.abs(truth[::-1].astype(float) - truth).mean() / 127.5
    assert scores["absolute_error"]["value"] == pytest.approx(gap) and scores["absolute_error"]["oracle"] == 0
    assert scores["retrieval"]["value"] == pytest.approx(1 / 7) and scores["retrieval"]["oracle"] == 1
    copy = np.abs(PAIRS["test"]["c"].astype(float) - truth).mean() / 127.5
    assert scores["absolute_error_copy"]["value"] == pytest.approx(copy)
    other = IMAGE._replace(condition=IMAGE.condition._replace(high=IMAGE.condition.high / 2))
    assert "absolute_error_copy" not in scored(other, PAIRS, names[:3], truth)  # because a copy has another domain
    mean = PAIRS["train"]["x"].mean(0, keepdims=True)
    assert scores["absolute_error_mean"]["value"] == pytest.approx(np.abs(mean - truth).mean() / 127.5)
    assert translation.retrieval(truth, truth) == 1


def test_fewer_samples_are_scored_on_the_first_rows():
    scores = scored(IMAGE, PAIRS, ["absolute_error"], PAIRS["test"]["x"], num=3)
    assert scores["absolute_error"]["value"] == 0 and scores["absolute_error"]["protocol"]["samples"] == 3


def test_data_without_pairs_are_refused():
    with pytest.raises(UserError, match="does not fit metric 'miou'; expected class maps with a condition"):
        scored(IMAGE, PAIRS, ["miou"], PAIRS["test"]["x"])
    alone = IMAGE._replace(condition=None)
    with pytest.raises(UserError, match="does not fit metric 'absolute_error'; expected images with a condition"):
        scored(alone, PAIRS, ["absolute_error"], PAIRS["test"]["x"])
    untested = IMAGE._replace(sizes={"train": 20})
    with pytest.raises(UserError, match="does not fit metric 'absolute_error'"):
        scored(untested, PAIRS, ["absolute_error"], PAIRS["test"]["x"])


COLOURS = np.array([[200, 30, 30], [30, 200, 30], [30, 30, 200]])
DRAWN = PHOTO._replace(sizes=SIZES, shape=(16, 16, 3), condition=MAP._replace(shape=(16, 16), condition=None))


def blocks(num: int) -> dict[str, np.ndarray]:
    """Maps of two areas and photos in the colours of their classes, with noise; the first line has no class."""
    c = np.zeros((num, 16, 16), np.uint8)
    for each, (left, right) in zip(c, RANDOM.integers(0, 3, (num, 2))):
        each[:, :8], each[:, 8:] = left, right
    c[:, 0] = 3
    noise = RANDOM.normal(0, 20, (num, 16, 16, 3))
    return {"x": (COLOURS[c.clip(0, 2)] + noise).clip(0, 255).astype(np.uint8), "c": c}


@pytest.fixture
def judged(monkeypatch):
    """Real data whose segmenter learns quickly."""
    monkeypatch.setattr(segmenter, "RECIPE", segmenter.Recipe(steps=60, learning_rate=5e-3, channels=8))
    rows = {split: blocks(num) for split, num in SIZES.items()}
    reals = lambda split, num: {name: value[:num] for name, value in rows[split].items()}  # noqa: E731
    return rows, reals, real_data(DRAWN._replace(content="blocks"), reals, ("train", "test"))


@pytest.mark.study
def test_a_segmenter_reads_the_maps_of_photos_and_is_kept(judged, monkeypatch):
    rows, reals, real = judged
    x, c = rows["test"]["x"], rows["test"]["c"]
    features, read = real.segmenter().describe(x)
    assert features.shape[0] == len(x) and read.shape == c.shape
    assert (read == c)[c < 3].mean() > 0.95
    assert real.segmenter().protocol["segmenter_accuracy"] == pytest.approx((read == c)[c < 3].mean())
    np.testing.assert_array_equal(real.features.embed(x), features)
    monkeypatch.setattr(segmenter, "fit", None)  # the cache has it
    again = real_data(DRAWN._replace(content="blocks"), reals, ("train", "test"))
    np.testing.assert_array_equal(again.segmenter().describe(x)[1], read)


@pytest.mark.study
def test_drawn_photos_are_scored_by_the_maps_that_are_read_from_them(judged):
    rows, _, real = judged
    c = rows["test"]["c"]
    measure = segmentation.drawn_photos(real)
    split, oracle = measure.oracle(7)
    best = measure.values(oracle)
    assert split == "test" and best["segmented_miou"] > 0.9 and best["segmented_accuracy"] > 0.95
    others = {"x": COLOURS[(c.clip(0, 2) + 1) % 3].astype(np.uint8), "c": c}  # the right areas in wrong colours
    read = real.segmenter().describe(others["x"])[1]
    wrong = measure.values(others)
    assert wrong["segmented_miou"] == pytest.approx(miou_by_hand(read, c)) and wrong["segmented_miou"] < 0.3
    assert wrong["segmented_miou_painted"] == best["segmented_miou_painted"] > 0.9


def test_paint_has_the_mean_colour_of_each_class():
    x, c = blocks(9)["x"], blocks(9)["c"]
    colours = segmentation.class_colours(x, c, 4)
    for number in range(3):
        np.testing.assert_allclose(colours[number], x[c == number].mean(0))
    np.testing.assert_allclose(segmentation.class_colours(x, c.clip(1, 1), 4)[0], x.reshape(-1, 3).mean(0))
    paint = segmentation.painted(c, colours[:3], x.dtype)
    assert paint.dtype == np.uint8
    np.testing.assert_array_equal(paint[c == 1], np.tile(np.rint(colours[1]).astype(np.uint8), ((c == 1).sum(), 1)))
    np.testing.assert_array_equal(paint[c == 3][0], np.rint(colours[:3].mean(0)).astype(np.uint8))


def test_the_error_of_paint_stands_beside_that_of_drawn_photos():
    rows = {split: blocks(num) for split, num in SIZES.items()}
    reals = lambda split, num: {name: value[:num] for name, value in rows[split].items()}  # noqa: E731
    measure = translation.reconstruction_error(real_data(DRAWN, reals, ("train", "test")))
    test = rows["test"]
    scores = measure.values({"x": test["x"], "truth": test["x"]})
    colours = segmentation.class_colours(rows["train"]["x"], rows["train"]["c"], 3)
    paint = segmentation.painted(test["c"], colours, np.dtype("uint8")).astype(float)
    assert scores["absolute_error_painted"] == pytest.approx(np.abs(paint - test["x"]).mean() / 127.5)
    assert 0 < scores["absolute_error_painted"] < scores["absolute_error_mean"]
