"""Clips: files of videos, cuts and first frames, pictures and GIFs, nets, measures, and a run from end to end."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import gen_jax
from gen_jax import evaluate, nets, sample, train
from gen_jax.config import base_config, plain
from gen_jax.data.feed.augmentation import changed, changes_of, changes_of_step
from gen_jax.data.kinds import kind_of, pictures
from gen_jax.data.source import Source
from gen_jax.data.sources.opening import open_source
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.metrics.features import real_data
from gen_jax.metrics.images import classifier
from gen_jax.metrics.images.motion import drift, motion, order, shuffled
from gen_jax.nets.embedding import Embedded
from gen_jax.verbs.draw import chunk_of

RANDOM = np.random.default_rng(0)
LENGTHS = {"train/left/a": 12, "train/right/b": 9, "test/left/c": 10, "test/right/d": 7}
SIDE = 8


def film(length: int, right: bool, shade: int) -> np.ndarray:
    """A bright square that moves to the right or to the left over a ground, [length, SIDE, SIDE, 3]."""
    x = np.full((length, SIDE, SIDE, 3), shade, np.uint8)
    for frame in range(length):
        column = frame if right else -frame - 2
        x[frame, 3:5, [column % SIDE, (column + 1) % SIDE]] = 255
    return x


FILMS = {name: film(length, "right" in name, 40 * at) for at, (name, length) in enumerate(LENGTHS.items())}


def strips(folder):
    for name, frames in FILMS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate([*frames], 1)).save(folder / f"{name}.png")


def folders(folder):
    for name, frames in FILMS.items():
        (folder / name).mkdir(parents=True)
        for number, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / name / f"{number:03}.png")


def gifs(folder):
    for name, frames in FILMS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        first, *others = (Image.fromarray(frame) for frame in frames)
        first.save(folder / f"{name}.gif", save_all=True, append_images=others, duration=80)


def options(path, **more) -> dict:
    config = base_config()
    config.data.path, config.data.kind, config.data.frames = str(path), "video", 4
    config.data.update(more)
    return plain(config.data)


@pytest.fixture
def path(tmp_path):
    strips(tmp_path / "films")
    return tmp_path / "films"


@pytest.mark.parametrize("write", [strips, folders, gifs])
def test_videos_are_strips_gifs_or_folders_of_frames(write, tmp_path):
    write(tmp_path / "films")
    source = open_source(options(tmp_path / "films"))
    assert (source.kind, source.shape, source.classes) == ("video", (4, SIDE, SIDE, 3), ("left", "right"))
    assert source.sizes == {"train": 9 + 6, "test": 7 + 4} and source.lengths is None
    assert source.info["clips"] == {"train": [9, 6], "test": [7, 4]}
    rows = source.rows("train", np.array([0, 8, 9, 14]))
    expected = [
        FILMS["train/left/a"][:4],
        FILMS["train/left/a"][8:],
        FILMS["train/right/b"][:4],
        FILMS["train/right/b"][5:],
    ]
    np.testing.assert_array_equal(rows["x"], np.stack(expected))
    assert rows["y"].tolist() == [0, 0, 1, 1]


def test_videos_without_labels_and_other_shares_held_out(tmp_path):
    for number in range(10):
        (tmp_path / "films" / f"{number}").mkdir(parents=True)
        for frame in range(5):
            pixels = np.full((6, 6, 3), 20 * number + frame, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "films" / f"{number}" / f"{frame}.png")
    sources = {share: open_source(options(tmp_path / "films", holdout=share)) for share in (0.1, 0.5, 0.0)}
    assert [source.classes for source in sources.values()] == [()] * 3
    assert [source.sizes["train"] for source in sources.values()] == [18, 10, 20]
    assert len({source.content for source in sources.values()}) == 3


def test_one_frame_and_colours_of_videos_are_read_or_refused(tmp_path):
    (tmp_path / "films").mkdir()
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(tmp_path / "films" / "a.gif")
    source = open_source(options(tmp_path / "films", frames=1, holdout=0.0))
    assert source.rows("train", np.arange(1))["x"].shape == (1, 1, 6, 6, 3)
    (tmp_path / "strips").mkdir()
    Image.fromarray(np.zeros((6, 30), np.uint8)).save(tmp_path / "strips" / "a.png")
    Image.fromarray(np.zeros((6, 30, 3), np.uint8)).save(tmp_path / "strips" / "b.png")
    with pytest.raises(UserError, match="b.png has 3 channels and the first video has 1"):
        open_source(options(tmp_path / "strips", holdout=0.0)).rows("train", np.arange(4))


def test_clips_skip_frames_and_begin_apart(path):
    source = open_source(options(path, frames=3, every=2, stride=3))
    assert source.info["clips"] == {"train": [3, 2], "test": [2, 1]}
    rows = source.rows("train", np.arange(5))
    np.testing.assert_array_equal(rows["x"][1], FILMS["train/left/a"][[3, 5, 7]])
    np.testing.assert_array_equal(rows["x"][4], FILMS["train/right/b"][[3, 5, 7]])


def test_first_frames_are_the_condition(path):
    source = open_source(options(path, frames=5, first=2))
    assert source.shape == (3, SIDE, SIDE, 3) and source.condition.shape == (2, SIDE, SIDE, 3)
    rows = source.rows("test", np.arange(3))
    np.testing.assert_array_equal(rows["c"][1], FILMS["test/left/c"][1:3])
    np.testing.assert_array_equal(rows["x"][1], FILMS["test/left/c"][3:6])
    np.testing.assert_array_equal(source.condition.rows("test", np.arange(3))["x"], rows["c"])


def test_arrays_are_videos_too(tmp_path):
    x = np.stack([FILMS["train/left/a"][:9], FILMS["train/right/b"]])
    np.savez(tmp_path / "x.npz", x=x, y=np.array([0, 1]))
    source = open_source(options(tmp_path / "x.npz", frames=9))
    np.testing.assert_array_equal(source.rows("train", np.arange(2))["x"], x)
    assert source.limits == (0, 255)
    source = open_source(options(tmp_path / "x.npz", frames=9, resize=4))
    assert source.rows("train", np.arange(2))["x"].shape == (2, 9, 4, 4, 3)
    np.savez(tmp_path / "long.npz", x=x, length=np.array([9, 10]))
    with pytest.raises(UserError, match="length of .* does not fit; expected 2 whole numbers from 1 to 9"):
        open_source(options(tmp_path / "long.npz"))
    np.savez(tmp_path / "c.npz", x=x, c=np.zeros((2, 3)))
    with pytest.raises(UserError, match="have a condition of kind vector; expected videos without one"):
        open_source(options(tmp_path / "c.npz"))


def test_frames_are_resized(path):
    source = open_source(options(path, resize=4))
    assert source.shape == (4, 4, 4, 3)
    np.testing.assert_allclose(
        source.rows("train", np.arange(1))["x"][0, 0].mean(), FILMS["train/left/a"][0].mean(), atol=3
    )


@pytest.mark.parametrize(
    "more, line",
    [
        ({"frames": 0}, "data.frames is 0; expected at least 1"),
        ({"every": 0}, "data.every is 0; expected at least 1"),
        ({"first": 4}, "data.first is 4; expected fewer than the 4 frames of a clip"),
        ({"frames": 20}, "the videos of train of films have at most 12 frames; expected 20 or more"),
        ({"kind": "vidio"}, "unknown data.kind 'vidio'.*video"),
        ({"window": 4}, "data.window is 4 and films holds video data"),
        ({"condition": "text"}, "data.condition is 'text' and data.path is .*films, a folder of videos"),
        ({"frames": 11}, "the videos of test of films have at most 10 frames; expected 11 or more"),
        ({"augment": "light", "resize": 4}, None),
    ],
)
def test_faulty_settings_are_refused(more, line, path):
    if line is None:
        with pytest.raises(UserError, match="no condition of films is a photo"):
            changes_of(spec_of(open_source(options(path))), "light")
        return
    with pytest.raises(UserError, match=line):
        open_source(options(path, **more))


def test_a_folder_without_videos_or_with_odd_frames_is_refused(tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="holds no videos; expected strips of frames, .gif files, or folders"):
        open_source(options(tmp_path / "none"))
    strips(tmp_path / "odd")
    Image.fromarray(np.zeros((6, 60, 3), np.uint8)).save(tmp_path / "odd/train/right/z.png")
    with pytest.raises(UserError, match="frames of .*z.png have 6x6 pixels; expected 8x8"):
        source = open_source(options(tmp_path / "odd"))
        source.rows("train", np.arange(source.sizes["train"]))
    strips(tmp_path / "damaged")
    (tmp_path / "damaged/train/left/y.gif").write_bytes(b"GIF89a damaged")
    with pytest.raises(UserError, match="y.gif is not readable"):
        open_source(options(tmp_path / "damaged"))


def spec_of(source: Source) -> Spec:
    facts = [source.name, source.kind, source.shape, "uint8", 127.5, 127.5, 0, 255, source.classes, source.sizes]
    condition = None if source.condition is None else spec_of(source.condition)
    return Spec(*facts, source.content, dict(source.info), condition=condition)


def test_clips_are_mirrored_with_their_first_frames(path):
    source = open_source(options(path, first=1))
    spec, batch = spec_of(source), source.rows("train", np.arange(6))
    assert changes_of(spec, "flip,shift") == ("flip", "shift")
    numbers = changes_of_step(spec, ("flip",), 0, 1, 6)
    after = changed(spec, {**batch, **numbers})
    mirrored = numbers["columns"][:, 0] > 0
    assert 0 < mirrored.sum() < 6
    for name in ("x", "c"):
        np.testing.assert_array_equal(after[name][mirrored], batch[name][mirrored][:, :, :, ::-1])
        np.testing.assert_array_equal(after[name][~mirrored], batch[name][~mirrored])


def test_clips_are_a_gif_and_a_picture_with_a_clip_a_line(path):
    source = open_source(options(path, frames=6, first=2))
    spec, rows = spec_of(source), source.rows("test", np.arange(4))
    with Image.open(io.BytesIO(kind_of(spec).write[".gif"](rows, spec))) as moving:
        assert moving.n_frames == 6
        assert moving.size == (2 * 57, 2 * 57)
    drawn = pictures.picture_of(rows, spec)
    assert drawn.size == (6 * 57, 4 * 57)
    first = np.asarray(drawn)[: 7 * SIDE : 7, : 7 * SIDE : 7]
    np.testing.assert_array_equal(first, rows["c"][0, 0])


CONDITIONS = {
    "none": None,
    "label": Embedded(vector=jax.nn.one_hot(jnp.arange(3) % 2, 2)),
    "frames": Embedded(image=jax.random.normal(jax.random.key(5), (3, SIDE, SIDE, 6))),
}


@pytest.mark.study
@pytest.mark.parametrize("name", CONDITIONS)
def test_nets_read_their_conditions_row_by_row(name):
    c, shape = CONDITIONS[name], (8, SIDE, SIDE, 3)
    rolled = jax.tree.map(lambda each: jnp.roll(each, 1, 0), c)
    generator, critic = nets.VideoGenerator(shape, (8, 4)), nets.VideoDiscriminator((8, 4), norm="none")
    denoiser = nets.VideoTransformer(shape, patch=4, units=16, layers=1)
    z, level = jax.random.normal(jax.random.key(0), (3, 6)), jnp.zeros(3)
    params = generator.init(jax.random.key(1), z, c)
    big = jax.tree.map(lambda each: 20 * each, params)
    x = generator.apply(big, z, c)
    assert x.shape == (3, *shape) and float(jnp.abs(jnp.diff(x, axis=1)).max()) > 1e-3
    np.testing.assert_allclose(generator.apply(big, z[:1], jax.tree.map(lambda each: each[:1], c)), x[:1], atol=1e-4)
    inputs = {"critic": (critic, (x, c)), "denoiser": (denoiser, (x, c, level))}
    for net, arguments in inputs.values():
        weights = net.init(jax.random.key(2), *arguments)
        weights = jax.tree.map(lambda each: each + 0.1 * RANDOM.normal(size=each.shape).astype(np.float32), weights)
        out = net.apply(weights, *arguments)
        assert out.shape == ((3, 2) if net is critic else (3, *shape))
        other = net.apply(weights, x, rolled, *arguments[2:])
        assert (name == "none") == bool(jnp.allclose(out, other, atol=1e-6))
        turned = net.apply(weights, x[:, ::-1], *arguments[1:])
        turned = turned if net is critic else turned[:, ::-1]
        assert not np.allclose(out, turned, atol=1e-5)  # the order of frames matters


@pytest.mark.study
def test_the_logit_of_the_frames_does_not_depend_on_their_order():
    critic = nets.VideoDiscriminator((8, 4))
    x = jax.random.normal(jax.random.key(0), (3, 8, SIDE, SIDE, 3))
    variables = critic.init(jax.random.key(1), x)
    there, back = critic.apply(variables, x), critic.apply(variables, x[:, ::-1])
    np.testing.assert_allclose(there[:, 0], back[:, 0], atol=1e-6)


def test_sizes_that_do_not_fit_are_refused():
    x = jnp.zeros((1, 4, SIDE, SIDE, 3))
    for options, line in [
        ({"patch": 3}, "patch of video is 3; expected a divisor of both sides of frames of 8x8"),
        ({"span": 3}, "span of video is 3; expected a divisor of the 4 frames"),
        ({"units": 10}, "units of video is 10 with 4 heads"),
    ]:
        with pytest.raises(UserError, match=line):
            nets.VideoTransformer(x.shape[1:], **options).init(jax.random.key(0), x, None, jnp.zeros(1))
    with pytest.raises(UserError, match="images of video have the base size; expected at least twice the base"):
        nets.VideoGenerator((4, 6, 6, 3)).init(jax.random.key(0), jnp.zeros((1, 2)))
    with pytest.raises(UserError, match="the generator video is for clips, and a row has the shape \\[8, 8, 3\\]"):
        nets.VideoGenerator((8, 8, 3)).init(jax.random.key(0), jnp.zeros((1, 2)))


@pytest.fixture
def real(path, monkeypatch):
    """The clips, with judges of 150 steps."""
    monkeypatch.setattr(classifier, "RECIPE", classifier.RECIPE._replace(least_steps=150, epochs=0))
    source = open_source(options(path))
    rows = lambda split, num: source.rows(split, np.arange(min(num or 99, source.sizes[split])))
    return real_data(spec_of(source), rows, ("train", "test"))


def test_motion_is_compared_with_training_clips_of_the_label(real):
    values, train_rows = motion(real).values, real.rows("train")
    assert values(train_rows)["motion_error"] == pytest.approx(0, abs=1e-6)
    still = {**train_rows, "x": np.repeat(train_rows["x"][:, :1], 4, 1)}
    assert values(still)["motion_error"] == 1
    left = train_rows["y"] == 0
    half = np.where(left[:, None, None, None, None], still["x"], train_rows["x"])
    scores = values({**train_rows, "x": half})
    assert scores["motion_ratio"] == pytest.approx({"left": 0, "right": 1}) and scores["motion_error"] == 1
    assert values({"x": still["x"]})["motion_error"] == 1 and values({"x": train_rows["x"]})["motion_error"] < 1e-6
    assert values({"x": train_rows["x"][left], "y": train_rows["y"][left]})["motion_error"] < 1e-6
    expected = np.abs(np.diff(FILMS["train/right/b"].astype(float), axis=0)).mean() / 127.5
    assert scores["motion"]["right"] == pytest.approx(expected, rel=0.1)


@pytest.mark.study
def test_drift_is_that_of_real_clips_or_of_mixed_ones(real):
    values, train_rows = drift(real).values, real.rows("train")
    scores = values(train_rows)
    assert scores["drift"] == pytest.approx(1) and scores["drift_mixed"] > 1.1
    mixed = np.concatenate([train_rows["x"][:3, :2], train_rows["x"][-3:, 2:]], 1)
    assert values({"x": mixed})["drift"] > 1.1


@pytest.mark.study
def test_the_label_of_a_direction_is_read(real):
    """The judge of labels mirrors nothing."""
    judge = real.classifier()
    assert (judge.describe(real.rows("train")["x"])[1].argmax(1) == real.rows("train")["y"]).mean() > 0.9


def test_shuffled_frames_are_never_in_order():
    x = np.tile(np.arange(3)[None], (500, 1))
    mixed = shuffled(x, 0)
    assert not (mixed == x).all(1).any() and (np.sort(mixed, 1) == x).all()


@pytest.mark.study
def test_order_is_read_from_the_frames(real):
    scores = order(real).values(real.rows("train"))
    assert scores["order"] > 0.9 and scores["order_shuffled"] < 0.3


def test_a_few_clips_do_not_cost_hundreds(path):
    spec = spec_of(open_source(options(path)))
    assert chunk_of(spec) == chunk_of(spec._replace(kind="series")) < chunk_of(spec._replace(kind="image"))


@pytest.mark.study
def test_clips_are_drawn_scored_and_continued(path, tmp_path, short, capsys):
    """The config of clips, from files to a GIF; then the frames after given first frames."""
    flags = ["--config.data.resize=8", "--config.data.frames=4", "--config.data.every=1", "--config.steps=2"]
    flags += ["--config.model.generator.channels=(4,)", "--config.model.discriminator.channels=(4,)"]
    flags += [f"--config.data.path={path}", "--config.batch_size=4", "--config.eval_every=0", "--quiet"]
    workdir = tmp_path / "run"
    train.main(["train", "--config", "configs/video.py", "--workdir", str(workdir), *flags])
    assert (workdir / "samples" / "2.gif").exists() and (workdir / "samples" / "2.png").exists()
    out = tmp_path / "clips.gif"
    sample.main(["sample", "--workdir", str(workdir), "--num", "3", "--given", "y=right", "--out", str(out)])
    with Image.open(out) as moving:
        assert moving.n_frames == 4
    metrics = "motion_error,drift,order,label_accuracy,frechet"
    evaluate.main(["evaluate", "--workdir", str(workdir), "--num", "10", f"--metrics={metrics}"])
    assert "motion_error" in capsys.readouterr().out
    continued = tmp_path / "continued"
    train.main(["train", "--config", "configs/video.py", "--workdir", str(continued), "--config.data.first=1", *flags])
    for given in ("split=test", f"video={path / 'test/right/d.png'}"):
        sample.main(["sample", "--workdir", str(continued), "--num", "3", "--given", given, "--out", str(out)])
        with Image.open(out) as moving:
            assert moving.n_frames == 4
    assert gen_jax.load(continued).sample(2, given=f"video={path / 'test/right/d.png'}")["c"].shape == (
        2,
        1,
        8,
        8,
        3,
    )
    with pytest.raises(UserError, match="video=FILE, video=FOLDER or split=NAME"):
        sample.main(["sample", "--workdir", str(continued), "--num", "3", "--out", str(out)])
