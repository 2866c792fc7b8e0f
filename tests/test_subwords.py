"""Subwords: every text comes back to the byte; texts that end; batches of rows of similar length."""

import gzip
import json

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import gen_jax as gj
from gen_jax.data.feed.load import load
from gen_jax.data.feed.order import ORDERS, Plan, length_of_run, permutations, widths_of
from gen_jax.data.feed.rows import read_rows
from gen_jax.data.kinds import subwords
from gen_jax.data.kinds.text import read_text, reader, tokens_of
from gen_jax.data.spec import from_json, levels, to_json
from gen_jax.errors import UserError

TEXTS = ["a man is on a mat", "ein Mann ist auf einer Matte", "the mat is new", "Käse und Brot"] * 5


def spec_of(**options):
    """The facts of the texts, as they come back from `spec.json`."""
    settings = {**gj.config.base_config().data.to_dict(), **options}
    data = load(settings, batch_size=2, seed=0, steps=1, quiet=True)
    return from_json(json.loads(json.dumps(to_json(data.spec)))), data


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{text}\t{text[::-1] * (row % 3 + 1)}\n" for row, text in enumerate(TEXTS)))
    return {
        "path": str(path),
        "condition": "1",
        "target": "2",
        "holdout": 0.2,
        "vocabulary": "subwords",
        "subwords": 320,
    }


MODEL = subwords.learnt("texts", TEXTS, 300)


@given(text=st.text() | st.sampled_from(["▁ literal ▁▁", "a\0\n\tb", "  two  spaces  ", "</s><unk><0x41>", "👩🏽‍🌾 é"]))
def test_any_text_comes_back(text):
    numbers = subwords.encoded(MODEL, text)
    assert b"".join(subwords.decoded(MODEL, numbers)).decode() == text and subwords.END not in numbers


def test_the_same_texts_give_the_same_subwords_and_a_text_has_fewer_of_them_than_characters():
    assert subwords.learnt("texts", TEXTS, 300) == MODEL
    assert len(subwords.encoded(MODEL, TEXTS[0])) < len(TEXTS[0]) / 2
    assert len(subwords.symbols(MODEL)) <= 300


def test_long_texts_and_texts_without_letters():
    long = subwords.learnt("texts", ["a man is on a mat\n" * 100_000], 300)  # 1.8 million characters
    assert len(subwords.encoded(long, TEXTS[0])) < len(TEXTS[0]) / 2
    with pytest.raises(UserError, match="the texts of texts hold no letters"):
        subwords.learnt("texts", ["\n"], 300)
    assert subwords.encoded(MODEL, "a\udc80") == subwords.encoded(MODEL, "a?")


@pytest.mark.parametrize(
    ("texts", "num", "message"),
    [
        (TEXTS, 299, "data.subwords is 299; expected at least 300, because 256 of them are bytes"),
        (
            [chr(number) for number in range(0x4E00, 0x4F00)],
            300,
            "texts of texts have 256 characters; expected at least 514",
        ),
    ],
)
def test_too_few_subwords_are_refused(texts, num, message):
    with pytest.raises(UserError, match=message):
        subwords.learnt("texts", texts, num)


def test_both_texts_of_a_pair_have_one_vocabulary_and_the_target_alone_ends(pairs):
    spec, data = spec_of(**pairs, end=True)
    condition = spec.condition
    assert spec.vocabulary == condition.vocabulary and (spec.end, condition.end) == (subwords.END, None)
    rows = data.read("train", None)
    for x, length, c, size in zip(rows["x"], rows["length"], rows["c"], rows["c_length"]):
        assert x[length - 1] == spec.end and not (x[: length - 1] == spec.end).any()
        assert read_text(spec, x) in read_text(condition, c[:size])[::-1] * 3  # the text up to its end
        assert read_text(spec, x[: length - 1]) == read_text(spec, x)


@pytest.mark.parametrize("vocabulary", ["characters", "bytes", "words", "subwords"])
def test_a_text_ends_in_every_vocabulary(pairs, vocabulary):
    spec, data = spec_of(**{**pairs, "vocabulary": vocabulary}, end=True)
    plain, _ = spec_of(**{**pairs, "vocabulary": vocabulary})
    assert levels(spec) == levels(plain) + (vocabulary != "subwords") and spec.shape[0] == plain.shape[0] + 1
    assert spec.content != plain.content
    rows = data.read("train", 4)
    text = read_text(spec, rows["x"][0])
    assert text and "<end>" not in text
    stream = reader(spec)
    told = "".join(stream(jax.numpy.asarray(token)) for token in [*rows["x"][0], *rows["x"][1]])
    assert told == text  # nothing after the end
    np.testing.assert_array_equal(tokens_of(spec, text), rows["x"][0][: rows["length"][0] - 1])


def test_a_file_of_the_user_has_the_subwords_of_the_run(pairs, tmp_path):
    spec, _ = spec_of(**pairs, end=True)
    (tmp_path / "other.tsv").write_text("a new mat\ttam wen a\nBrot\ttorB\n")
    options = {**gj.config.base_config().data.to_dict(), **pairs, "end": True}
    rows = read_rows(spec, options, None, str(tmp_path / "other.tsv"))[1]
    assert {read_text(spec, x) for x in rows["x"]} <= {"tam wen a", "torB"}  # one of them is held out
    assert len(rows["x"]) == 1 and (rows["c_length"] < 8).all()


def test_two_folders_of_texts_have_one_vocabulary(tmp_path):
    for name, reverse in (("in", 1), ("out", -1)):
        (tmp_path / name).mkdir()
        for row, text in enumerate(TEXTS):
            (tmp_path / name / f"{row}.txt").write_text(text[::reverse])
    spec, _ = spec_of(path=str(tmp_path), condition="in", target="out", vocabulary="subwords", subwords=320, end=True)
    assert spec.vocabulary == spec.condition.vocabulary and (spec.end, spec.condition.end) == (subwords.END, None)


def test_epochs_by_length_read_each_row_as_often():
    lengths = np.arange(1, 55)
    length = length_of_run(ORDERS["by_length"], 54, 16, None, 3)
    plan = Plan(0, 54, 16, length.last, permutations(0, 54), widths=widths_of(lengths))
    rows = np.concatenate([ORDERS["by_length"].rows(plan, step)["index"] for step in range(length.steps)])
    assert np.bincount(rows).tolist() == [3] * 54


def test_batches_by_length_read_each_row_once_and_are_cut_to_the_longest(pairs):
    settings = {**gj.config.base_config().data.to_dict(), **pairs, "order": "by_length"}
    data = load(settings, batch_size=4, seed=1, steps=8, quiet=True)
    seen, widths = [], set()
    for step in range(4):  # 16 rows in the train split
        fed = data.at(step)
        batch = data.batch(data.arrays, fed)
        seen += fed["index"][fed["weight"] > 0].tolist()
        width = batch["x"].shape[1]
        assert batch["c"].shape[1] == min(width, data.spec.condition.shape[0]) and "frames" not in batch
        assert max(batch["length"].max(), batch["c_length"].max()) <= width
        widths.add(width)
    assert sorted(seen) == list(range(16)) and len(widths) > 1
    other = load(settings, batch_size=4, seed=2, steps=8, quiet=True)
    assert [data.at(step)["frames"].shape for step in range(8)] == [other.at(step)["frames"].shape for step in range(8)]
    assert data.at(0)["index"].tolist() != data.at(4)["index"].tolist()
    with pytest.raises(UserError, match="digits.* has rows of one length; expected rows of different lengths"):
        load(
            {**gj.config.base_config().data.to_dict(), "order": "by_length"}, batch_size=4, seed=0, steps=1, quiet=True
        )


@given(
    lengths=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    size=st.integers(1, 20),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 3),
)
def test_an_epoch_by_length_is_a_permutation(lengths, size, seed, epoch):
    lengths = np.array(lengths)
    widths = widths_of(lengths)
    assert (widths >= lengths).all() and widths.max() == lengths.max()
    assert (widths[lengths > 8] <= 1.5 * lengths[lengths > 8]).all()
    plan = Plan(seed, len(lengths), size, 10**9, permutations(seed, len(lengths)), widths=widths)
    batches = -(-len(lengths) // size)
    steps = [ORDERS["by_length"].rows(plan, epoch * batches + turn) for turn in range(batches)]
    assert sorted(np.concatenate([rows["index"] for rows in steps]).tolist()) == list(range(len(lengths)))
    ordered = sorted((widths[rows["index"]].min(), widths[rows["index"]].max()) for rows in steps)
    assert all(before[1] <= after[0] for before, after in zip(ordered, ordered[1:]))


@pytest.mark.parametrize(
    "names", [("train.txt", "val.txt", "test.txt"), ("train.abc.gz", "validation.abc.gz", "test.abc.gz")]
)
def test_a_folder_has_a_text_for_each_split(tmp_path, names):
    for name, text in zip(names, ("abc " * 50, "cab ", "bac ")):
        write = gzip.open if name.endswith("gz") else open
        with write(tmp_path / name, "wt") as file:
            file.write(text)
    (tmp_path / "README").write_text("not a split")
    spec, data = spec_of(path=str(tmp_path), window=8)
    assert spec.sizes == {"train": 25, "validation": 1, "test": 1} and spec.shape == (8,)
    assert read_text(spec, data.read("test", 1)["x"][0][:4]) == "bac "
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "photo.png")  # then the text lists the photos
    assert gj.data.open(tmp_path).spec.kind == "image"


@pytest.mark.parametrize("vocabulary", ["subwords", "characters"])
def test_texts_in_memory_have_one_vocabulary_and_the_target_alone_ends(vocabulary):
    sources = [text[::-1] for text in TEXTS]
    data = gj.data.arrays(
        TEXTS, c=sources, test=(TEXTS[:2], None, sources[:2]), vocabulary=vocabulary, end=True, subwords=320
    )
    spec, condition = data.spec, data.spec.condition
    assert (spec.vocabulary == condition.vocabulary) == (vocabulary == "subwords")
    assert spec.end is not None and condition.end is None
    rows = data.rows("test")
    assert [read_text(spec, x) for x in rows["x"]] == TEXTS[:2]
    lengths = zip(rows["c"], rows["c_length"])
    assert [read_text(condition, c[:length]) for c, length in lengths] == sources[:2]
