"""Paired data: folders, halves, metadata, arrays and texts give rows of a target `x` beside its condition `c`."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import gen_jax as gj
from gen_jax.data.feed.rows import read_rows
from gen_jax.data.kinds import kind_of
from gen_jax.data.kinds.text import UNSEEN, read_text, reader, tokens_of
from gen_jax.data.source import resized, sampled
from gen_jax.data.spec import from_json, to_data, to_json, to_model
from gen_jax.errors import UserError

SHARED = Path(__file__).parents[2] / "shared" / "data"
if not SHARED.exists():
    SHARED = Path("/work/shared/data")
CLASSES = {"classes": ["road", "void", "car"], "colours": [[255, 0, 0], [0, 0, 0], [0, 0, 255]], "ignored": 1}
NUMBERS = np.array([[0, 0, 2, 2], [0, 1, 2, 2]] * 2, np.uint8)  # a map as a file holds it
CAPTIONS = ["Red heart", "blue heart, small", "kiss: woman, man", "red square"]
RNG = np.random.default_rng(0)


def photo(path: Path, height: int = 4, width: int = 4) -> np.ndarray:
    """Writes a picture of random colours, and returns its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def class_map(path: Path, numbers: np.ndarray = NUMBERS, way: str = "numbers"):
    """Writes a class map as a picture of numbers, of colours, or of a palette in another order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    colours = np.array(CLASSES["colours"], np.uint8)
    if way == "numbers":
        image = Image.fromarray(numbers)
    elif way == "colours":
        image = Image.fromarray(colours[numbers])
    else:
        image = Image.fromarray(2 - numbers)
        image.putpalette(colours[::-1].tobytes())
    image.save(path)


@pytest.fixture
def pairs(tmp_path):
    """Makes a folder of photos and class maps in two splits, with a list of classes."""
    for split, num in (("train", 3), ("test", 2)):
        for row in range(num):
            photo(tmp_path / "set" / split / "photo" / f"{row}.bmp")
            class_map(tmp_path / "set" / split / "map" / f"{row}.png", np.roll(NUMBERS, row, 1))
    (tmp_path / "set" / "classes.json").write_text(json.dumps(CLASSES))
    return tmp_path / "set"


def checked(data, split: str = "train") -> dict[str, np.ndarray]:
    """Returns the rows of a split, which both feeds give in model space, and which come back from it."""
    rows = data.rows(split)
    for key, spec in data.spec.fields.items():
        assert rows[key].shape[1:] == spec.shape and str(rows[key].dtype) == spec.dtype
        back = to_data(spec, to_model(spec, rows[key]))
        same = np.allclose if rows[key].dtype.kind == "f" else np.array_equal
        assert same(back, rows[key]) and back.dtype == rows[key].dtype
    assert from_json(json.loads(json.dumps(to_json(data.spec)))) == data.spec
    data.options["order"] = "once"
    batches = []
    for feed in ("resident", "streaming"):
        data.options["feed"] = feed
        batches.append({key: np.asarray(value) for key, value in data.batch(0, batch_size=2).items()})
    assert all(np.array_equal(value, batches[1][key]) for key, value in batches[0].items())
    for key, spec in data.spec.fields.items():
        assert np.array_equal(batches[0][key], to_model(spec, data.rows("train", 2)[key]))
    return rows


def test_two_folders_in_both_directions(pairs):
    """A list of classes in the folder makes pictures of numbers class maps; names agree but for the suffix."""
    data = gj.data.open(pairs, target="photo", condition="map")
    rows = checked(data)
    assert data.source.sizes == {"train": 3, "test": 2}
    assert (data.spec.kind, data.spec.condition.kind) == ("image", "class_map")
    assert data.spec.condition.vocabulary == ["road", "car"] and data.spec.condition.high == 2
    assert rows["c"][0].tolist() == [[0, 0, 1, 1], [0, 2, 1, 1]] * 2  # the class that counts nowhere is the last number
    assert np.array_equal(rows["c"][1], np.roll(rows["c"][0], 1, 1))
    reverse = gj.data.open(pairs, target="map", condition="photo")
    back = checked(reverse)
    assert np.array_equal(back["x"], rows["c"]) and np.array_equal(back["c"], rows["x"])
    assert reverse.source.content != data.source.content
    picture = np.asarray(kind_of(reverse.spec).picture(back["x"], reverse.spec))
    assert picture[0, 0].tolist() == [255, 0, 0] and picture[:, -2].max() == 255
    alone = gj.data.open(pairs, target="map")
    assert alone.spec.condition is None and np.array_equal(alone.rows("test")["x"], reverse.rows("test")["x"])


@pytest.mark.parametrize("way", ["colours", "palette"])
def test_class_maps_by_colour(pairs, way):
    for file in pairs.rglob("map/*.png"):
        class_map(file, np.asarray(Image.open(file)), way)
    data = gj.data.open(pairs, target="photo", condition="map")
    assert data.rows("train")["c"][0].tolist() == [[0, 0, 1, 1], [0, 2, 1, 1]] * 2


def test_a_folder_without_splits_holds_out_pairs(pairs, tmp_path):
    for row in range(40):
        photo(tmp_path / "own" / "a" / f"{row}.png", 2, 2)
        photo(tmp_path / "own" / "b" / "deep" / f"{row}.png", 2, 2)
    with pytest.raises(UserError, match=r"80 files \(a/0.png, a/1.png, a/10.png and 77 more\) without a partner"):
        gj.data.open(tmp_path / "own", target="a", condition="b")
    (tmp_path / "own" / "b" / "deep").rename(tmp_path / "own" / "deep")
    (tmp_path / "own" / "b").rmdir()
    (tmp_path / "own" / "deep").rename(tmp_path / "own" / "b")
    data = gj.data.open(tmp_path / "own", condition="b")  # the target is the other folder
    assert data.source.sizes == {"train": 36, "test": 4}
    test = data.rows("test")
    photo(tmp_path / "own" / "a" / "new.png", 2, 2), photo(tmp_path / "own" / "b" / "new.png", 2, 2)
    grown = gj.data.open(tmp_path / "own", target="a", condition="b")
    same = [any(np.array_equal(x, y) for y in grown.rows("test")["x"]) for x in test["x"]]
    assert sum(same) >= 3 and grown.source.content != data.source.content
    whole = gj.data.open(tmp_path / "own", target="a", condition="b", holdout=0.0)
    assert whole.source.sizes == {"train": 41}


def test_halves_of_pictures(tmp_path):
    whole = [photo(tmp_path / "set" / split / f"{row}.png", 4, 6) for split in ("train", "val") for row in range(2)]
    data = gj.data.open(tmp_path / "set", condition="left")
    rows = checked(data, "validation")
    assert data.source.sizes == {"train": 2, "validation": 2}
    assert np.array_equal(rows["c"], np.stack(whole[2:])[:, :, :3])
    assert np.array_equal(rows["x"], np.stack(whole[2:])[:, :, 3:])
    assert np.array_equal(
        gj.data.open(tmp_path / "set", target="left").rows("train")["x"], np.stack(whole[:2])[:, :, :3]
    )


def test_rectangles_show_the_same_part_of_both_pictures(pairs, tmp_path):
    """Photos are averaged; a map keeps the class in the middle of each cell, and its mean colour stays a class."""
    numbers = np.repeat(np.repeat(NUMBERS[:2], 6, 0), 6, 1)  # 12 x 24
    photo(tmp_path / "wide" / "photo" / "0.png", 12, 24)
    class_map(tmp_path / "wide" / "map" / "0.png", numbers)
    settings = {"classes": str(pairs / "classes.json"), "target": "photo", "condition": "map", "holdout": 0.0}
    data = gj.data.open(tmp_path / "wide", resize=2, width=4, **settings)
    rows = data.rows("train")
    assert rows["x"].shape == (1, 2, 4, 3) and rows["c"][0].tolist() == [[0, 0, 1, 1], [0, 2, 1, 1]]
    square = gj.data.open(tmp_path / "wide", resize=2, **settings)
    assert square.rows("train")["c"][0].tolist() == [[0, 1], [2, 1]] and square.source.content != data.source.content
    steps = np.tile(np.arange(24, dtype=np.uint8)[None, :, None] * 10, (12, 1, 1))
    part, cell = resized(steps, (3, 4))[1, :, 0], sampled(steps, (3, 4))[1, :, 0]
    assert cell.tolist() == [60, 100, 140, 180] and np.abs(part.astype(int) - cell).max() <= 15
    assert np.array_equal(sampled(NUMBERS, (4, 4)), NUMBERS) and sampled(NUMBERS, (2, 2)).tolist() == [[1, 2]] * 2


def test_the_pictures_of_a_condition_have_sides_of_their_own(pairs, tmp_path):
    both = {"target": "map", "condition": "photo", "resize": 2, "condition_scale": 2}
    data = gj.data.open(pairs, **both)
    rows, plain = checked(data), gj.data.open(pairs, **{**both, "condition_scale": None})
    assert (data.spec.shape, data.spec.condition.shape) == ((2, 2), (4, 4, 3))
    assert np.array_equal(rows["x"], plain.rows("train")["x"])
    whole = gj.data.open(pairs, target="map", condition="photo")  # photos of 4 pixels are not resized
    assert np.array_equal(rows["c"], whole.rows("train")["c"])
    contents = {other.source.content for other in (data, plain, gj.data.open(pairs, **{**both, "condition_scale": 1}))}
    assert len(contents) == 3 and data.source.content in contents
    halves = photo(tmp_path / "halves" / "0.png", 4, 8)
    data = gj.data.open(tmp_path / "halves", condition="left", resize=2, condition_scale=2, holdout=0.0)
    assert np.array_equal(data.rows("train")["c"][0], halves[:, :4]) and data.spec.shape == (2, 2, 3)
    small = np.stack([resized(halves[:, 4:], (2, 2))])
    data = gj.data.arrays(small, c=halves[None, :, :4], resize=2, condition_scale=2)
    assert np.array_equal(data.rows("train")["x"], small) and data.spec.condition.shape == (4, 4, 3)


@pytest.fixture
def captions(tmp_path):
    """Makes pictures with captions in a metadata file."""
    lines = [f'{row}.png,"{caption}",{row / 2}' for row, caption in enumerate(CAPTIONS)]
    for row in range(4):
        photo(tmp_path / "set" / f"{row}.png")
    (tmp_path / "set" / "metadata.csv").write_text("\n".join(["file_name,text,size", *lines]))
    return tmp_path / "set"


def test_captions_are_words(captions):
    data = gj.data.open(captions, condition="text", holdout=0.0)
    rows, spec = checked(data), data.spec.condition
    assert spec.vocabulary == [UNSEEN, "red", "heart", "blue", ",", "small", "kiss", ":", "woman", "man", "square"]
    assert rows["c_length"].tolist() == [2, 4, 5, 2]
    texts = [read_text(spec, c[:length]) for c, length in zip(rows["c"], rows["c_length"])]
    assert texts == ["red heart", *CAPTIONS[1:]]
    assert [tokens_of(spec, text).tolist() for text in texts] == [
        c[:n].tolist() for c, n in zip(rows["c"], rows["c_length"])
    ]
    assert "".join(map(reader(spec), rows["c"][1])) == "blue heart, small " + UNSEEN  # the padding is token 0
    with pytest.raises(
        UserError,
        match=r"unknown words 'hart' \(nearest: heart\), 'xyz' \(nearest: none\); expected the 10 words of set",
    ):
        tokens_of(spec, "red hart xyz")
    letters = gj.data.open(captions, condition="text", holdout=0.0, vocabulary="characters")
    assert letters.spec.condition.shape == (17,) and letters.source.content != data.source.content
    assert kind_of(gj.data.open(captions, target="text", condition="file_name").spec.condition).pixels
    size = gj.data.open(captions, condition="size", holdout=0.0)
    assert checked(size)["c"].tolist() == [[0.0], [0.5], [1.0], [1.5]]


def test_words_are_learnt_from_the_training_split(captions):
    lines = [
        f'{row}.png,"{caption}",{split}' for row, (caption, split) in enumerate(zip(CAPTIONS, ["train"] * 3 + ["tone"]))
    ]
    (captions / "metadata.csv").unlink()
    (captions.parent / "own.csv").write_text("\n".join(["file_name,text,split", *lines]))
    data = gj.data.open(captions, condition="text", metadata=str(captions.parent / "own.csv"), test_split="tone")
    assert data.source.sizes == {"train": 3, "tone": 1} and data.spec.condition.unseen == {"tone": 1}
    assert read_text(data.spec.condition, data.rows("tone")["c"][0][:2]) == f"red {UNSEEN}"


def test_another_file_has_the_vocabulary_of_the_run(captions, tmp_path):
    data = gj.data.open(captions, condition="text", holdout=0.0)
    spec = data.spec.condition
    photo(tmp_path / "own" / "a.png"), photo(tmp_path / "own" / "b.png")
    table = tmp_path / "own" / "metadata.csv"
    table.write_text("file_name,text\na.png,small red cat\nb.png,man")
    rows = read_rows(data.spec, data.options, path=str(tmp_path / "own"))[1]
    assert [read_text(spec, c[:length]) for c, length in zip(rows["c"], rows["c_length"])] == [
        f"small red {UNSEEN}",
        "man",
    ]
    assert rows["c"].shape == (2, *spec.shape) and rows["c"].dtype == spec.dtype
    table.write_text("file_name,text\na.png,a red red red red cat\nb.png,man")
    with pytest.raises(UserError, match="a text of .* has 6 tokens; expected at most 5"):
        read_rows(data.spec, data.options, path=str(tmp_path / "own"))
    table.write_text("file_name,text\na.png,1\nb.png,2")
    with pytest.raises(UserError, match=r"conditions of .* are of kind vector and shape \(1,\); expected kind text"):
        read_rows(data.spec, data.options, path=str(tmp_path / "own"))


def test_metadata_in_each_split(captions):
    for split in ("train", "test"):
        for row in range(2):
            photo(captions / split / f"{row}.png")
        (captions / split / "metadata.csv").write_text("file_name,text\n0.png,a cat\n1.png,a dog")
    for file in captions.glob("*.*"):
        file.unlink()
    data = gj.data.open(captions, condition="text")
    assert data.source.sizes == {"train": 2, "test": 2} and checked(data)["c"].tolist() == [[1, 2], [1, 3]]


@pytest.fixture
def archive(tmp_path):
    """Makes arrays of two styles, with records of captions and splits."""
    styles = {name: RNG.integers(0, 256, (4, 4, 4, 3), np.uint8) for name in ("noto", "twemoji")}
    np.savez(tmp_path / "set.npz", **styles)
    records = [{"caption": text, "split": "train" if row < 3 else "test_tone"} for row, text in enumerate(CAPTIONS)]
    (tmp_path / "set.json").write_text(json.dumps(records))
    return tmp_path / "set.npz"


def test_arrays_by_name(archive):
    settings = {"metadata": "set.json", "test_split": "test_tone"}
    data = gj.data.open(archive, target="noto", condition="twemoji", **settings)
    rows = checked(data, "test_tone")
    with np.load(archive) as arrays:
        assert np.array_equal(rows["x"], arrays["noto"][3:]) and np.array_equal(rows["c"], arrays["twemoji"][3:])
    assert data.source.sizes == {"train": 3, "test_tone": 1}
    caption = gj.data.open(archive, target="twemoji", condition="caption", resize=2, **settings)
    assert checked(caption)["c_length"].tolist() == [2, 4, 5] and caption.spec.shape == (2, 2, 3)
    hashes = {data.source.content, caption.source.content}
    hashes.add(gj.data.open(archive, target="twemoji", condition="noto", **settings).source.content)
    hashes.add(gj.data.open(archive, target="twemoji", condition="noto", resize=2, **settings).source.content)
    hashes.add(gj.data.open(archive, target="twemoji", condition="noto", resize=2, width=3, **settings).source.content)
    assert len(hashes) == 5


def test_a_condition_in_a_file_of_arrays(tmp_path):
    """Tokens have lengths; labels stay; a part of the rows is the test split."""
    c, lengths = np.array([[3, 1, 0], [2, 0, 0]] * 10), np.array([2, 1] * 10)
    np.savez(tmp_path / "own.npz", x=RNG.normal(size=(20, 5)), y=np.arange(20) % 2, c=c, c_length=lengths)
    data = gj.data.open(tmp_path / "own.npz")
    rows = checked(data)
    assert data.source.sizes == {"train": 18, "test": 2} and data.source.classes == ("0", "1")
    assert {*rows} == {"x", "y", "c", "c_length"} and set(rows["c_length"].tolist()) == {1, 2}
    assert data.spec.condition.vocabulary == ["0", "1", "2", "3"] and tokens_of(
        data.spec.condition, "3 1"
    ).tolist() == [3, 1]


def test_conditions_of_arrays_in_memory(pairs):
    x, c = RNG.normal(size=(6, 4)), RNG.integers(0, 256, (6, 2, 2, 3), np.uint8)
    data = gj.data.arrays(x[:4], np.arange(4) % 2, c=c[:4], test=(x[4:], np.arange(2), c[4:]))
    assert np.array_equal(data.rows("test")["c"], c[4:]) and np.array_equal(checked(data)["y"], [0, 1, 0, 1])
    maps = gj.data.arrays(x[:2], c=np.stack([NUMBERS] * 2), classes=str(pairs / "classes.json"))
    assert checked(maps)["c"][0, 1].tolist() == [0, 2, 1, 1] and maps.spec.condition.kind == "class_map"
    text = gj.data.arrays(x[:4], c=CAPTIONS)
    assert text.rows("train")["c_length"].tolist() == [2, 4, 5, 2]
    assert len({d.source.content for d in (data, maps, text)}) == 3
    with pytest.raises(UserError, match="labels y or conditions c are missing in one split"):
        gj.data.arrays(x[:4], c=c[:4], test=x[4:])
    with pytest.raises(UserError, match="'c' of arrays has 3 rows; expected 4"):
        gj.data.arrays(x[:4], c=c[:3])


@pytest.mark.parametrize("header", [True, False])
def test_pairs_of_texts(tmp_path, header):
    lines = (["english\tdeutsch"] if header else []) + [
        "A dog.\tEin Hund.",
        'The "cat"\tDie Katze',
        "A cat\tEine Katze",
    ]
    with gzip.open(tmp_path / "own.tsv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
    names = ("deutsch", "english") if header else ("2", "1")
    data = gj.data.open(tmp_path / "own.tsv.gz", target=names[0], condition=names[1])
    rows = checked(data)
    assert data.source.sizes == {"train": 2, "test": 1} and {*rows} == {"x", "length", "c", "c_length"}
    assert data.spec.vocabulary != data.spec.condition.vocabulary and data.spec.condition.kind == "text"


def test_lines_that_belong_together(tmp_path):
    for split in ("train", "val"):
        (tmp_path / f"{split}.en").write_text("a dog\na cat\n")
        with gzip.open(tmp_path / f"{split}.de.gz", "wt") as file:
            file.write("ein Hund\neine Katze")
    data = gj.data.open(tmp_path, target="de", condition="en")
    assert data.source.sizes == {"train": 2, "validation": 2} and checked(data)["c"].tolist() == [[1, 2], [1, 3]]
    (tmp_path / "val.en").write_text("a dog")
    with pytest.raises(UserError, match=r"numbers of lines of paired files are .*val.de.gz 2, .*val.en 1"):
        gj.data.open(tmp_path, target="de", condition="en")


def without_partner(folder: Path):
    for row in (0, 1):
        (folder / "train" / "photo" / f"{row}.bmp").unlink()


def another_size(folder: Path):
    photo(folder / "train" / "photo" / "0.bmp", 6, 4)


def another_size_later(folder: Path):
    photo(folder / "train" / "photo" / "2.bmp", 6, 4)


def another_colour(folder: Path):
    pixels = np.array(CLASSES["colours"], np.uint8)[NUMBERS]
    pixels[2, 1] = 250, 3, 3
    for file in folder.rglob("map/*.png"):
        Image.fromarray(pixels).save(file)


def another_number(folder: Path):
    class_map(folder / "train" / "map" / "1.png", np.where(NUMBERS == 1, 7, NUMBERS).astype(np.uint8))


def no_picture(folder: Path):
    (folder / "train" / "photo" / "0.bmp").write_text("a text")


def two_of_one_name(folder: Path):
    photo(folder / "train" / "photo" / "0.png")


def split_twice(folder: Path):
    for split in ("val", "validation"):
        for name in ("photo", "map"):
            (folder / split / name).mkdir(parents=True)


def nothing(folder: Path):
    pass


def bad_classes(content: object):
    def write(folder: Path):
        (folder / "classes.json").write_text(json.dumps(content))

    return write


BAD_FOLDERS = {
    "unpaired": (
        without_partner,
        {},
        r"2 files \(train/map/0.png, train/map/1.png\) without a partner; expected equal names",
    ),
    "sizes": (another_size, {}, r"photo/0.bmp has 4x6 pixels and .*map/0.png has 4x4; expected one size for the two"),
    "later size": (another_size_later, {}, r"photo/2.bmp has 4x6 pixels; expected 4x4, as in the first image"),
    "resized size": (another_size_later, {"resize": 2}, r"photo/2.bmp has 4x6 pixels and .*map/2.png has 4x4"),
    "colour": (
        another_colour,
        {},
        r"pixel in row 2, column 1 of .*map/0.png has colour \(250, 3, 3\), which is no class; expected a colour of .*classes.json. "
        r"The nearest is 'road', \(255, 0, 0\)",
    ),
    "number": (
        another_number,
        {},
        r"pixel in row 1, column 1 of .*map/1.png has number 7, which is no class.*expected 0 to 2",
    ),
    "no picture": (no_picture, {}, r"photo/0.bmp is not readable"),
    "two names": (two_of_one_name, {}, "holds two files named 0; expected one of each name"),
    "folder": (
        nothing,
        {"condition": "mapp"},
        "unknown data.condition of set: 'mapp'; expected one of map, photo, left, right. Did you mean 'map'",
    ),
    "target": (nothing, {"target": "foto"}, "unknown data.target of set: 'foto'"),
    "equal": (
        nothing,
        {"condition": "photo"},
        "data.condition of set is 'photo', as is data.target; expected another field: map",
    ),
    "width": (nothing, {"width": 4}, "data.width is 4 without data.resize"),
    "no width": (nothing, {"resize": 4, "width": 0}, "data.width is 0; expected a side of 1 to 16384 pixels"),
    "a side of kilometres": (
        nothing,
        {"resize": 100_000},
        "data.resize is 100000; expected a side of 1 to 16384 pixels",
    ),
    "a condition of kilometres": (
        nothing,
        {"resize": 48, "condition_scale": 100_000},
        "data.condition_scale is 100000 and data.resize is 48; expected a ratio from 1 to 341",
    ),
    "a text as a side": (nothing, {"resize": "4"}, "data.resize is 4; expected a side of 1 to 16384 pixels"),
    "half a pixel": (nothing, {"resize": 4.5}, "data.resize is 4.5; expected a side of 1 to 16384 pixels"),
    "half a ratio": (
        nothing,
        {"resize": 4, "condition_scale": 1.5},
        "data.condition_scale is 1.5 and data.resize is 4; expected a ratio from 1 to 4096",
    ),
    "a ratio below 0": (
        nothing,
        {"resize": 4, "condition_scale": -1},
        "data.condition_scale is -1 and data.resize is 4; expected a ratio from 1 to 4096",
    ),
    "metadata of folders": (
        nothing,
        {"metadata": "metadata.csv"},
        "data.metadata is metadata.csv and data.target and data.condition are folders or halves; expected columns",
    ),
    "one split twice": (split_twice, {}, "validation; expected one folder for each split"),
    "scale": (
        nothing,
        {"condition_scale": 2},
        "data.condition_scale is 2 and data.resize is None; expected a ratio from 1 up and the sides of the rows",
    ),
    "no scale": (
        nothing,
        {"resize": 2, "condition_scale": 0},
        "data.condition_scale is 0 and data.resize is 2; expected",
    ),
    "no condition": (
        nothing,
        {"resize": 2, "condition_scale": 2, "condition": None},
        "data.condition_scale is 2; expected pictures as data.condition",
    ),
    "vocabulary": (
        nothing,
        {"vocabulary": "words"},
        "data.vocabulary is 'words' and set holds image data; expected text",
    ),
    "window": (nothing, {"window": 2}, "data.window is 2 and set holds image data"),
    "stack": (nothing, {"stack": 2}, "data.stack is 2 and the rows of set have a condition"),
    "holdout": (nothing, {"classes": "none.json"}, "data.classes none.json does not exist"),
    "no classes": (
        bad_classes({"classes": []}),
        {},
        r"classes of .* are \[\]; expected a list of 1 to 254 different names",
    ),
    "colours": (bad_classes({**CLASSES, "colours": [[0, 0, 0]] * 3}), {}, "expected 3 different colours"),
    "ignored": (
        bad_classes({**CLASSES, "ignored": "void"}),
        {},
        "ignored of .* is 'void'; expected the number of a class",
    ),
}


@pytest.mark.parametrize("fault", BAD_FOLDERS)
def test_bad_folders_are_refused(pairs, fault):
    spoil, settings, message = BAD_FOLDERS[fault]
    spoil(pairs)
    with pytest.raises(UserError, match=message) as refusal:
        gj.data.open(pairs, **{"target": "photo", "condition": "map", **settings}).rows("train")
    assert "\n" not in str(refusal.value)


BAD_METADATA = {
    "column": (
        "file_name,text\n0.png,a",
        {"condition": "txt"},
        "unknown data.condition of set: 'txt'; expected one of file_name, text. Did you mean 'text'",
    ),
    "file": ("file_name,text\n9.png,a", {}, r"1 file \(9.png\) that do not exist; expected a picture for each row"),
    "row": ("file_name,text\n0.png,a", {}, r"3 files \(1.png, 2.png, 3.png\) without a row in metadata.csv"),
    "name": ("file,text\n0.png,a", {}, "unknown column of .*metadata.csv: 'file_name'"),
    "cells": ("file_name,text\n0.png,a,b", {}, "line 2 of .* has 3 cells; expected 2"),
    "empty": ("file_name,text", {}, "metadata.csv has no rows"),
    "text": ('file_name,text\n0.png,a\n1.png,"  "\n2.png,b\n3.png,c', {}, "row 2 of .* has no text"),
    "metadata": ("file_name,text\n0.png,a", {"metadata": "none.csv"}, "data.metadata none.csv does not exist"),
    "classes": (
        "file_name,text\n" + "\n".join(f"{row}.png,a" for row in range(4)),
        {"classes": "../classes.json"},
        "set holds no class maps",
    ),
}


@pytest.mark.parametrize("fault", BAD_METADATA)
def test_bad_metadata_are_refused(captions, fault, monkeypatch):
    text, settings, message = BAD_METADATA[fault]
    monkeypatch.chdir(captions)
    (captions / "metadata.csv").write_text(text)
    (captions.parent / "classes.json").write_text(json.dumps(CLASSES))
    with pytest.raises(UserError, match=message):
        gj.data.open(captions, **{"condition": "text", **settings})


BAD_ARRAYS = {
    "array": ({"target": "notto"}, "unknown data.target of set: 'notto'; expected .* Did you mean 'noto'"),
    "no target": ({}, "data.target of set is not set; expected one of noto, twemoji, caption"),
    "column": ({"target": "noto", "condition": "captoin"}, "Did you mean 'caption'"),
    "rows": (
        {"target": "noto", "condition": "caption", "metadata": "short.json"},
        "'noto' of .* has 4 rows; expected 1",
    ),
    "keys": ({"target": "noto", "metadata": "keys.json"}, "key 'split' of .* is in record 1 or in record 2 alone"),
    "no list": ({"target": "noto", "metadata": "map.json"}, "expected a list of records"),
}


def test_arrays_of_two_aspects_are_not_cut_apart(tmp_path):
    np.savez(tmp_path / "apart.npz", x=np.zeros((12, 16, 16, 3), np.uint8), c=np.zeros((12, 8, 16, 3), np.uint8))
    assert gj.data.open(tmp_path / "apart.npz").spec.condition.shape == (8, 16, 3)
    with pytest.raises(UserError, match="16x16 and 16x8 pixels; expected sides of one ratio"):
        gj.data.open(tmp_path / "apart.npz", resize=8)


def test_the_folder_of_the_shell_has_a_name(pairs, monkeypatch):
    monkeypatch.chdir(pairs)
    assert gj.data.open(".", target="map", condition="photo").spec.name == "set"


def test_a_list_of_classes_may_have_a_byte_order_mark(pairs):
    (pairs / "classes.json").write_text(json.dumps(CLASSES), encoding="utf-8-sig")
    assert gj.data.open(pairs, target="map", condition="photo").spec.kind == "class_map"


@pytest.mark.parametrize("fault", BAD_ARRAYS)
def test_bad_arrays_are_refused(archive, fault):
    settings, message = BAD_ARRAYS[fault]
    contents = {"short": [{"caption": "a", "split": "train"}], "keys": [{"split": "a"}, {}], "map": {}}
    for name, content in contents.items():
        (archive.parent / f"{name}.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=message):
        gj.data.open(archive, **{"metadata": "set.json", **settings})


def test_settings_of_pairs_are_refused_for_other_data(tmp_path):
    with pytest.raises(UserError, match="data.condition is 'left' and digits.* is a set by name; expected paired data"):
        gj.data.open("digits", condition="left")
    (tmp_path / "own.txt").write_text("some text")
    with pytest.raises(UserError, match="data.target is 'a' and data.path is .*; expected paired data: a folder"):
        gj.data.open(tmp_path / "own.txt", target="a")
    photo(tmp_path / "set" / "0.png", 3, 5)
    with pytest.raises(UserError, match="0.png is 5 pixels wide; expected an even width"):
        gj.data.open(tmp_path / "set", condition="left")


@pytest.mark.study
@pytest.mark.skipif(not (SHARED / "camvid").exists(), reason="needs ../shared/data/camvid")
def test_camvid():
    data = gj.data.open(SHARED / "camvid", target="label", condition="image", resize=24, width=32)
    assert data.source.sizes == {"train": 367, "validation": 101, "test": 233}
    x = data.rows("train")["x"]
    assert x.shape == (367, 24, 32) and len(data.spec.vocabulary) == 11 and 0.03 < (x == 11).mean() < 0.05
    half = gj.data.open(SHARED / "camvid", target="label", condition="image", resize=48, width=64).rows("test", 3)["x"]
    file = sorted((SHARED / "camvid" / "test" / "label").iterdir())[0]
    assert np.array_equal(half[0], np.asarray(Image.open(file))[1::2, 1::2])


@pytest.mark.skipif(not (SHARED / "emoji").exists(), reason="needs ../shared/data/emoji")
def test_emoji():
    settings = {"metadata": "emoji.json", "test_split": "test_tone"}
    data = gj.data.open(SHARED / "emoji" / "emoji_32.npz", target="noto", condition="caption", **settings)
    assert data.source.sizes == {"train": 2831, "test_colour": 6, "test_tone": 307, "test_gender": 90}
    assert data.spec.condition.shape == (11,) and not data.spec.condition.unseen  # all words occur in training captions
