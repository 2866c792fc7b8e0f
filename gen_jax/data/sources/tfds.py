"""Data sets of TFDS, built-in and prepared, read without TensorFlow."""

import fcntl
import json
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gen_jax.data.builders import BUILDERS, find
from gen_jax.data.cache import cache_folder, content_hash, folder_hash, make_folder
from gen_jax.data.kinds.text import text_source
from gen_jax.data.source import Size, Source, image_or_vector, resized, size_of
from gen_jax.data.sources.tone_letters import TONES
from gen_jax.data.tables.sets import TABLES
from gen_jax.errors import UserError, choose
from gen_jax.files import own_file

# Keys of features.json that name classes, which TFDS imports.
CLASS_NAMES = ("pythonClassName", "python_class_name", "type", "proto_cls")
OF_TFDS = re.compile(r"tensorflow_datasets(\.\w+)+")
DOMAINS = {"binarized_mnist": (0, 1)}  # domains of data sets of TFDS that do not use all of their 8 bits


def open_tfds(options: Mapping[str, Any]) -> Source:
    """Opens the data set that `data.name` names.

    It is a built-in set, unless `data.data_dir` holds a prepared set of that name.

    Args:
      options: the `data` section of a config.

    Raises:
      UserError: for a set that is not prepared, is damaged, or cannot be modelled.
    """
    name, variant, data_dir = options["name"], options.get("variant"), options.get("data_dir")
    elsewhere = data_dir is not None and _versions(Path(data_dir).expanduser() / name)
    ours = name in BUILDERS and not elsewhere
    builder = _our_builder(name, variant) if ours else _prepared_builder(name, variant, data_dir)
    features = builder.info.features
    if features is None or not hasattr(features, "items"):
        raise UserError(f"features of {name} are {features}; expected features with names")
    content = _content_of(builder, ours)
    texts = _named_features(builder, "Text")
    if len(texts) == len(features):
        documents = partial(_documents, builder, texts[0])
        return text_source(builder.info.full_name, documents, list(builder.info.splits), options, content)
    return _row_source(builder, options, content)


def _content_of(builder: Any, ours: bool) -> str:
    """Returns the hash of everything that the rows depend on.

    The files of a set that is not built in are read, because its version does not determine its rows.
    """
    splits = builder.info.splits.items()
    sizes = {split: facts.num_examples for split, facts in splits}
    content = content_hash(builder.info.full_name, sizes, {split: facts.num_bytes for split, facts in splits})
    return content if ours else content_hash(content, folder_hash(Path(builder.data_dir)))


def _named_features(builder: Any, kind: str) -> list[str]:
    """Returns the names of the features whose class is named `kind`."""
    return [name for name, feature in builder.info.features.items() if type(feature).__name__ == kind]


def _documents(builder: Any, feature: str, split: str) -> list[bytes]:
    with _readable(builder.data_dir):
        return [record[feature] for record in builder.as_data_source(split=split)]


def _row_source(builder: Any, options: Mapping[str, Any], content: str) -> Source:
    """Returns a set of images, vectors or frames as a source.

    An image is preferred to a vector, and the first label is `y`.
    """
    name, resize, features = options["name"], size_of(options), builder.info.features
    labels = _named_features(builder, "ClassLabel")
    shapes = {key: feature.shape for key, feature in features.items() if key not in labels}
    usable = [key for key, shape in shapes.items() if shape is not None and len(shape) in (1, 2, 3)]
    if not usable:
        raise UserError(f"features of {name} are {', '.join(features)}; expected an image or a vector among them")
    x_name = max(usable, key=lambda key: len(shapes[key]))
    info = dict(builder.info.metadata or {})
    if "kind" in info:
        kind, shape = info.pop("kind"), shapes[x_name]
    else:
        kind, shape = image_or_vector(name, shapes[x_name], resize)
    dtype = np.dtype(features[x_name].np_dtype)
    limits = DOMAINS.get(name, (0, 255)) if dtype == np.uint8 else None
    if "low" in info:
        limits = (info.pop("low"), info.pop("high"))
    return Source(
        name=builder.info.full_name,
        kind=kind,
        shape=shape,
        dtype=dtype,
        sizes={split: facts.num_examples for split, facts in builder.info.splits.items()},
        rows=_rows_reader(builder, x_name, labels[0] if labels else None, resize),
        content=content,
        classes=tuple(features[labels[0]].names) if labels else (),
        limits=limits,
        info=info,
    )


def _rows_reader(
    builder: Any, x_name: str, y_name: str | None, resize: Size | None
) -> Callable[[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns the function (split, row numbers [n]) -> rows `x` [n, *shape], with labels `y` [n] if `y_name` is set."""
    data_source = lru_cache(lambda split: builder.as_data_source(split=split))

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        with _readable(builder.data_dir):
            records = data_source(split).__getitems__([int(index) for index in indices])
        batch = {"x": np.stack([resized(record[x_name], resize) for record in records])}
        if y_name:
            batch["y"] = np.array([record[y_name] for record in records], np.int32)
        return batch

    return rows


def _our_builder(name: str, variant: str | None) -> Any:
    """Returns the builder of a built-in data set, and prepares the set in the cache if it is not there.

    Raises:
      UserError: for an unknown variant, or a cache that cannot be written.
    """
    _tfds_module()
    cls = find(name)
    variants = [config.name for config in cls.BUILDER_CONFIGS]
    if variant is not None:
        choose(f"data.variant of {name}:", variant, variants)
    home = make_folder(cache_folder() / "tfds")

    def open_builder() -> Any:
        return cls(data_dir=str(home), config=variant, file_format="array_record")

    with open(home / f".{name}.lock", "w", opener=own_file) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits here until the set is prepared
        with _readable(home / name):
            builder = open_builder()
        if not (Path(builder.data_dir) / "dataset_info.json").exists():
            print(f"preparing {name} in {builder.data_dir}")
            try:
                with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                    builder.download_and_prepare()
            except (OSError, RuntimeError) as error:
                raise UserError(
                    f"cannot prepare {name} in {builder.data_dir} ({error}); expected network and a folder that can "
                    "be written"
                ) from None
            builder = open_builder()
    return builder


@contextmanager
def _readable(folder: Path | str) -> Iterator[None]:
    """Turns an error of reading into one line.

    Raises:
      UserError: with the message that the prepared set is damaged.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 (a damaged file makes TFDS and array_record raise any error)
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{folder} is damaged ({reason}); expected a whole data set. Remove it, and prepare the data set again"
        ) from None


def _tfds_module() -> ModuleType:
    import tensorflow_datasets  # takes a second
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # because TFDS advises OpenCV for every decoded image
    tensorflow_datasets.disable_progress_bar()
    return tensorflow_datasets


def _prepared_builder(name: str, variant: str | None, data_dir: str | None) -> Any:
    """Returns the builder of a data set that TFDS has prepared in `data_dir`, or in the default folder of TFDS.

    Raises:
      UserError: for a set that is not there, is damaged, or is not written as array_record.
    """
    tfds = _tfds_module()
    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets").expanduser()
    full = f"{name}/{variant}" if variant else name
    versions = _versions(root / full)
    python = shlex.quote(sys.executable)
    if not versions:
        variants = [path.name for path in (root / name).glob("*") if _versions(path)]
        if variants and variant is None:
            raise UserError(
                f"data.variant of {name} is missing; expected one of {', '.join(variants)} in {root}. Choose one, for "
                f"example --config.data.variant={variants[0]}"
            )
        raise UserError(
            f"data set {full!r} is not prepared in {root}; expected it there, or one of those built in: {', '.join([*BUILDERS, TONES, *TABLES])}. "
            f"Prepare it once, with network: "
            f'{python} -m pip install tensorflow && {python} -c "import tensorflow_datasets as tfds; '
            f"tfds.builder('{full}', data_dir='{root}', file_format='array_record').download_and_prepare()\""
        )
    refuse_foreign_classes(versions[-1] / "features.json")
    try:
        builder = tfds.builder_from_directory(versions[-1])
        file_format = builder.info.file_format.value
    except Exception as error:  # noqa: BLE001 (TFDS raises any error)
        raise UserError(f"{versions[-1]} is not readable ({error}); expected a whole TFDS data set") from None
    if file_format != "array_record":
        raise UserError(
            f"{versions[-1]} is written as {file_format}; expected array_record, which is read by index. Convert it once: "
            f"{python} -m pip install tensorflow && tfds convert_format --dataset_version_dir={versions[-1]} "
            f"--out_file_format=array_record --out_dir=CONVERTED/{versions[-1].relative_to(root)} and then give "
            "--config.data.data_dir=CONVERTED"
        )
    return builder


def refuse_foreign_classes(file: Path) -> None:
    """Refuses a prepared data set whose features name classes of other packages, because TFDS would import them.

    Args:
      file: the file features.json of the set.

    Raises:
      UserError: for such a class, or a file that cannot be read.
    """
    try:
        waiting = [json.loads(file.read_text())]
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is not readable ({error}); expected features of a TFDS data set") from None
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting += part
        if not isinstance(part, dict):
            continue
        for name, value in part.items():
            if name in CLASS_NAMES and isinstance(value, str) and not OF_TFDS.fullmatch(value):
                raise UserError(f"{file} names the class {value!r}; expected classes of tensorflow_datasets alone")
        waiting += part.values()


def _versions(folder: Path) -> list[Path]:
    """Returns the folders of the prepared versions of a data set, with the newest last."""
    versions = (path for path in folder.glob("*") if (path / "dataset_info.json").exists())
    return sorted(versions, key=lambda path: [int(part) for part in path.name.split(".") if part.isdecimal()])
