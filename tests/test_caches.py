"""What is kept on disk to be used again: its key holds all that it is made of, and what was received is not run."""

import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from gen_jax import config, data
from gen_jax.data import source
from gen_jax.data.sources import opening
from gen_jax.errors import UserError

DEFAULTS = config.plain(config.base_config())["data"]


class Grey(tfds.core.GeneratorBasedBuilder):
    """Images all of whose pixels are `FIRST` plus their number."""

    VERSION = tfds.core.Version("1.0.0")
    FIRST = 0

    def _info(self):
        pixels = tfds.features.Tensor(shape=(4, 4, 1), dtype=np.uint8)
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"image": pixels}))

    def _split_generators(self, dl_manager):
        return {"train": ((at, {"image": np.full((4, 4, 1), self.FIRST + at, np.uint8)}) for at in range(20))}

    def _generate_examples(self):
        raise NotImplementedError


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    def prepare(name, first):
        monkeypatch.setattr(Grey, "FIRST", first)
        Grey(data_dir=str(tmp_path / name), file_format="array_record").download_and_prepare()
        return tmp_path / name

    return prepare


def rows(**options):
    source.say_once.cache_clear()
    loaded = data.load({**DEFAULTS, "order": "once", **options}, batch_size=4, seed=0, steps=1, quiet=True)
    return loaded.spec.content, np.sort(loaded.read("train", None)["x"].reshape(-1))


def test_two_prepared_sets_of_one_name_and_size_are_two(prepared):
    one, two = prepared("one", 0), prepared("two", 100)
    facts = [(folder / "grey" / "1.0.0" / "dataset_info.json").read_text() for folder in (one, two)]
    assert facts[0] == facts[1]  # by which alone they are the same
    content, x = rows(name="grey", data_dir=str(one))
    other, y = rows(name="grey", data_dir=str(two))
    assert content != other and x.max() == 19 and y.max() == 119
    shutil.copytree(one, one.parent / "copy")
    assert rows(name="grey", data_dir=str(one.parent / "copy"))[0] == content


def test_a_prepared_set_that_changes_is_another(prepared):
    folder = prepared("one", 0)
    before = rows(name="grey", data_dir=str(folder))
    shutil.rmtree(folder)
    prepared("one", 50)
    after = rows(name="grey", data_dir=str(folder))
    assert before[0] != after[0] and after[1].max() == 69


@pytest.mark.parametrize(
    "change",
    {
        "a cell": lambda text: (text.replace("7,", "8,", 1), {}),
        "the separator": lambda text: (text, {"separator": ";"}),
        "the decimals": lambda text: (text, {"decimal": ","}),
        "the schema": lambda text: (text, {"schema": '{"a": {"kind": "categorical"}}'}),
        "the holdout": lambda text: (text, {"holdout": 0.2}),
        "the split": lambda text: (text, {"test_split": "validation"}),
    }.items(),
    ids=lambda change: change[0],
)
def test_the_content_of_a_table_depends_on_all_that_its_rows_depend_on(change, tmp_path):
    lines = [f"{at},{at % 7}.{at % 3}\n" for at in range(200)]
    text = "a,b\n" + "".join(lines)
    (tmp_path / "t.csv").write_text(text)
    before = rows(path=str(tmp_path / "t.csv"))[0]
    new, options = change[1](text)
    (tmp_path / "t.csv").write_text(new if "separator" not in options else new.replace(",", ";"))
    assert rows(path=str(tmp_path / "t.csv"), **options)[0] != before
    (tmp_path / "t.csv").write_text(text)
    assert rows(path=str(tmp_path / "t.csv"))[0] == before


@pytest.mark.parametrize(
    ("arrays", "options"),
    [
        ({"x": np.arange(80).reshape(20, 4), "y": np.arange(20) % 2}, {}),
        ({"x": np.arange(80).reshape(20, 4), "y": np.arange(20) % 2 + 5}, {}),
        ({"x": np.arange(80).reshape(20, 4), "y": np.arange(20) // 10}, {}),
        ({"x": np.arange(80, dtype=np.uint8).reshape(20, 4)}, {}),
        ({"x": np.arange(320, dtype=np.uint8).reshape(20, 4, 4)}, {}),
        ({"x": np.arange(320, dtype=np.uint8).reshape(20, 4, 4)}, {"kind": "series"}),
        ({"x": np.arange(320, dtype=np.uint8).reshape(20, 4, 4)}, {"kind": "series", "window": 2}),
        ({"x": np.arange(320, dtype=np.uint8).reshape(20, 4, 4)}, {"resize": 2}),
        ({"x": np.arange(320, dtype=np.uint8).reshape(20, 4, 4)}, {"stack": 3}),
        ({"x": np.arange(320, dtype=np.uint8).reshape(20, 4, 4)}, {"transform": "static_binary"}),
        ({"x": np.arange(320, dtype=np.uint8).reshape(20, 4, 4)}, {"transform": "dynamic_binary"}),
    ],
)
def test_rows_from_the_cache_are_those_that_were_asked_for(arrays, options, tmp_path):
    """All cases have one file name, so that a key that lacked something would find the rows of another case."""
    file = tmp_path / "same.npz"
    np.savez(file, **arrays)
    opened = opening.open_source({**DEFAULTS, "path": str(file), **options})
    direct = opened.rows("train", np.arange(opened.sizes["train"]))
    options = {**DEFAULTS, "path": str(file), **options}
    cached = data.load(options, batch_size=4, seed=0, steps=1, quiet=True).read("train", None)
    direct = {name: value for name, value in direct.items() if name != "grey"}
    assert cached.keys() == direct.keys()
    for name, value in direct.items():
        np.testing.assert_array_equal(cached[name], value)


FOREIGN = {
    "the whole": {"pythonClassName": "evil.Features"},
    "one feature": {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {"features": {"x": {"python_class_name": "evil.Image"}}},
    },
    "of an older version": {"type": "evil.Features", "content": {}},
    "in a list": {"content": [{"type": "evil.Features"}]},
    "a name that only begins alike": {"type": "tensorflow_datasets_evil.Features"},
    "a path": {"type": "tensorflow_datasets./evil.Features"},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_prepared_set_imports_nothing_of_its_own(name, prepared, tmp_path, monkeypatch):
    folder = prepared("one", 0)
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    monkeypatch.syspath_prepend(tmp_path)
    (folder / "grey" / "1.0.0" / "features.json").write_text(json.dumps(FOREIGN[name]))
    with pytest.raises(UserError, match="expected classes of tensorflow_datasets alone"):
        rows(name="grey", data_dir=str(folder))
    (folder / "grey" / "1.0.0" / "features.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="expected features"):
        rows(name="grey", data_dir=str(folder))
