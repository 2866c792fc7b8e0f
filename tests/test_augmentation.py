"""Random changes of images: the same for a row and its condition, and a pure function of seed and step."""

import numpy as np
import pytest

import gen_jax as gj
from gen_jax.data.feed.augmentation import changes_of_step
from gen_jax.data.resizing import shrunk
from gen_jax.errors import UserError

X = np.random.default_rng(0).integers(0, 256, (20, 12, 24, 1), dtype=np.uint8)


def opened(**settings):
    return gj.data.arrays(X, c=255 - X, **settings)


def rows_like(image: np.ndarray) -> list[np.ndarray]:
    """Rows of the data that an image without a shift shows, flipped or not."""
    levels = np.rint(image * 127.5 + 127.5)
    return [row for row in X for view in (row, row[:, ::-1]) if np.array_equal(levels, view)]


def test_a_row_and_its_condition_change_alike():
    data = opened(augment="flip,shift")
    batch = data.batch(3, batch_size=16, seed=1)
    np.testing.assert_allclose(batch["c"], -np.asarray(batch["x"]), atol=1e-6)
    assert set(batch) == {"x", "c", "weight"}
    np.testing.assert_array_equal(batch["x"], data.batch(3, batch_size=16, seed=1)["x"])
    assert not np.array_equal(batch["x"], data.batch(4, batch_size=16, seed=1)["x"])
    assert not np.array_equal(batch["x"], opened().batch(3, batch_size=16, seed=1)["x"])


def test_a_flip_shows_rows_or_their_mirror_images():
    plain, flipped = (opened(**settings).batch(0, batch_size=16) for settings in ({}, {"augment": "flip"}))
    mirrored = [not np.array_equal(*pair) for pair in zip(plain["x"], flipped["x"])]
    assert 2 < sum(mirrored) < 14
    for before, after, turned in zip(plain["x"], flipped["x"], mirrored):
        np.testing.assert_array_equal(after, np.asarray(before)[:, ::-1] if turned else before)
        assert rows_like(np.asarray(after))


def lays(image: np.ndarray) -> list[np.ndarray]:
    """The eight ways to lay a square image."""
    return [np.rot90(view, turns) for view in (image, image[:, ::-1]) for turns in range(4)]


def test_a_turn_lays_a_square_and_its_condition_in_one_of_eight_ways():
    squares = np.random.default_rng(0).integers(0, 256, (300, 12, 12, 3), dtype=np.uint8)
    plain, turned = (
        gj.data.arrays(squares, c=255 - squares, **settings).batch(0, batch_size=300)
        for settings in ({}, {"augment": "turn"})
    )
    np.testing.assert_allclose(turned["c"], -np.asarray(turned["x"]), atol=1e-6)
    ways = []
    for before, after in zip(np.asarray(plain["x"]), np.asarray(turned["x"])):
        (way,) = [way for way, view in enumerate(lays(before)) if np.array_equal(view, after)]
        ways.append(way)
    assert np.bincount(ways, minlength=8).min() > 20  # of 37.5


@pytest.mark.parametrize("change", ["flip", "turn", "flip,turn"])
def test_an_image_is_shrunk_before_and_after_it_is_laid_with_the_same_outcome(change):
    squares = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), dtype=np.uint8)
    plain, data = (gj.data.arrays(squares, shrink=3, **settings) for settings in ({}, {"augment": change}))
    batch = data.batch(0, batch_size=40)
    x = np.rint(np.asarray(batch["x"]) * 127.5 + 127.5).astype(np.uint8)
    assert not np.array_equal(batch["x"], plain.batch(0, batch_size=40)["x"])
    shrunk_rows = np.stack([shrunk(row, 3) for row in x])
    np.testing.assert_allclose(np.asarray(batch["c"]) * 127.5 + 127.5, shrunk_rows, atol=1e-3)


def test_a_shift_repeats_the_border_and_stays_small():
    pixels = changes_of_step(opened().spec, ("shift",), 0, 0, 1000)
    assert set(np.unique(pixels["lines"] - np.arange(12))) <= {-1, 0, 1}
    assert set(np.unique(pixels["columns"] - np.arange(24))) <= {-2, -1, 0, 1, 2}
    assert pixels["lines"].min() == 0 and pixels["lines"].max() == 11


def test_a_larger_condition_shows_the_same_part_of_the_scene():
    """Each pixel of a condition of twice the sides holds a number of its own row, so that a shift of both is seen."""
    small = np.arange(24 * 48, dtype=np.float32).reshape(1, 24, 48, 1).repeat(40, 0) / (24 * 48)
    large = small.repeat(2, 1).repeat(2, 2)
    for change in ("flip", "shift", "flip,shift"):
        data = gj.data.arrays(small, c=large, augment=change)
        batch = data.batch(0, batch_size=40)
        x, c = np.asarray(batch["x"]), np.asarray(batch["c"])
        assert sum(not np.array_equal(row, x[0]) for row in x) > 10
        inside = c.reshape(40, 24, 2, 48, 2, 1)[:, 2:-2, :, 4:-4]  # a pixel of the border is repeated once, not twice
        np.testing.assert_allclose(inside, np.broadcast_to(x[:, 2:-2, None, 4:-4, None], inside.shape), atol=1e-6)
    numbers = changes_of_step(gj.data.arrays(small, c=large).spec, ("zoom",), 0, 0, 1000)
    for axis in ("lines", "columns"):
        spans, wide = np.ptp(numbers[axis], 1), np.ptp(numbers[f"c_{axis}"], 1)
        np.testing.assert_allclose(wide, 2 * spans + 1, atol=2)


def test_a_zoom_shows_the_middle_larger():
    pixels = changes_of_step(opened().spec, ("zoom",), 0, 0, 1000)
    for places in (pixels["lines"], pixels["columns"]):
        side = places.shape[1]
        span = places[:, -1] - places[:, 0]
        assert (np.diff(places, axis=1) >= 0).all() and (np.diff(places, axis=1) <= 1).all()
        assert span.max() == side - 1 and (side - 1) / 1.4 - 1 <= span.min() < (side - 1) / 1.25
        np.testing.assert_allclose(places[:, 0] + places[:, -1], side - 1, atol=1)  # the middle stays
    lines, columns = (np.ptp(pixels[name], 1) for name in ("lines", "columns"))
    assert np.corrcoef(lines, columns)[0, 1] > 0.6  # both sides by the same ratio, in whole pixels


def test_rows_of_both_feeds_change_alike():
    batches = [opened(augment="flip,shift", feed=feed).batch(2, batch_size=8) for feed in ("resident", "streaming")]
    for name in ("x", "c"):
        np.testing.assert_array_equal(batches[0][name], batches[1][name])


def test_the_light_changes_the_condition_alone_by_one_line_of_each_row():
    plain, lit = (opened(**settings).batch(1, batch_size=16) for settings in ({}, {"augment": "light"}))
    np.testing.assert_array_equal(lit["x"], plain["x"])
    lines = []
    for before, after in zip(np.asarray(plain["c"]), np.asarray(lit["c"])):
        inside = np.abs(after) < 1
        slope, offset = np.polyfit(before[inside], after[inside], 1)
        np.testing.assert_allclose(after[inside], slope * before[inside] + offset, atol=1e-5)
        lines.append((slope, offset))
    slopes, offsets = np.array(lines).T
    assert (
        0.7 < slopes.min() < 0.9
        and 1.1 < slopes.max() < 1.3
        and -0.4 < offsets.min() < -0.1 < 0.1 < offsets.max() < 0.4
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gj.data.arrays(X, augment="flop").spec, "unknown data.augment 'flop'.*Did you mean 'flip'"),
        (lambda: gj.data.arrays(X[:, 0, :, 0], augment="flip").spec, "holds vector data; expected images"),
        (lambda: gj.data.arrays(X, c=X[:, ::2], augment="flip").spec, "have sides .*; expected equal sides"),
        (lambda: gj.data.arrays(X, augment="flip,light").spec, "is flip,light and no condition of .* is a photo"),
        (lambda: gj.data.arrays(X, shrink=3, augment="flip,shift").spec, "flip and turn alone for images beside"),
        (lambda: gj.data.arrays(X, augment="turn").spec, r"turn and the sides of an image are \(12, 24\); .* square"),
        (
            lambda: gj.data.arrays(X, hole=0.5, augment="light").spec,
            "light and no condition of .* is a photo of its own",
        ),
    ],
)
def test_changes_that_no_data_can_have_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
