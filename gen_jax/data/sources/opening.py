"""Where rows come from: TFDS sets, ours and any other, or a user's files. No order, no device, no transform."""

import fcntl
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from functools import lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from gen_jax.data.builders import BUILDERS, find
from gen_jax.data.cache import cache_folder, content_hash, folder_hash, made
from gen_jax.data.kinds import KINDS
from gen_jax.data.kinds.text import text_source
from gen_jax.data.source import Source, image_or_vector, resized
from gen_jax.data.sources.binary import BINARY, binarised
from gen_jax.data.sources.derived import joined, stacked
from gen_jax.data.sources.files import open_files
from gen_jax.data.sources.windows import windowed
from gen_jax.data.tables.sets import TABLES, open_set
from gen_jax.errors import UserError, choose
from gen_jax.files import own_file

CLASS_NAMES = (
    "pythonClassName",
    "python_class_name",
    "type",
    "proto_cls",
)  # keys of features.json, by which TFDS imports
OF_TFDS = re.compile(r"tensorflow_datasets(\.\w+)+")
DOMAINS = {"binarized_mnist": (0, 1)}  # of sets of TFDS's that use less than their 8 bits


def open_source(options: Mapping[str, Any]) -> Source:
    """Opens what the `data` section of a config names; `path` beats `name`.

    A user's files are read once to know their content, unless `options["content"]` says that it is known.

    Raises:
      UserError: for what does not exist, is not prepared, or holds nothing that can be modelled.
    """
    path, resize, stack, transform, test_name = map(options.get, ("path", "resize", "stack", "transform", "test_name"))
    if resize is not None and resize < 1:
        raise UserError(f"data.resize {resize}: expected a side of at least 1 pixel")
    if path is None:
        source = open_set(options) if options["name"] in TABLES else _tfds(options)
    else:
        source = open_files(Path(path), options)
    for option in dict.fromkeys(option for kind in KINDS.values() for option in kind.options):
        value = options.get(option)
        kinds = [name for name, kind in KINDS.items() if option in kind.options]
        if value is not None and source.kind not in kinds:
            raise UserError(f"data.{option} {value!r} is for {' or '.join(kinds)}; {source.name} holds {source.kind}")
    source = source if options.get("window") is None else windowed(source, options["window"])
    source = source if stack is None else stacked(source, stack)
    source = binarised(source, transform) if transform in BINARY else source
    if test_name is None:
        return source
    if options["test_split"] == options["split"]:
        raise UserError(f"data.test_name {test_name!r}: data.test_split is {options['split']!r}, as is data.split")
    test = open_source({**options, "path": None, "name": test_name, "variant": None, "test_name": None})
    return joined(source, test, options["test_split"])


def _tfds(options: Mapping[str, Any]) -> Source:
    name, variant, data_dir, resize = (options.get(key) for key in ("name", "variant", "data_dir", "resize"))
    elsewhere = data_dir is not None and _versions(Path(data_dir).expanduser() / name)
    own = name in BUILDERS and not elsewhere
    builder = _own_builder(name, variant) if own else _prepared_builder(name, variant, data_dir)
    features = builder.info.features
    if features is None or not hasattr(features, "items"):
        raise UserError(f"{name}: its features are not named: {features}")
    sizes = {split: facts.num_examples for split, facts in builder.info.splits.items()}
    content = content_hash(
        builder.info.full_name, sizes, {k: facts.num_bytes for k, facts in builder.info.splits.items()}
    )
    if not own:  # whose rows its version does not say
        content = content_hash(content, folder_hash(Path(builder.data_dir)))
    texts = [key for key, feature in features.items() if type(feature).__name__ == "Text"]
    if len(texts) == len(features):

        def documents(split: str) -> list[bytes]:
            with _readable(builder.data_dir):
                return [record[texts[0]] for record in builder.as_data_source(split=split)]

        return text_source(builder.info.full_name, documents, list(sizes), options, content)
    labels = [key for key, feature in features.items() if type(feature).__name__ == "ClassLabel"]
    shapes = {key: feature.shape for key, feature in features.items() if key not in labels}
    usable = [key for key, shape in shapes.items() if shape is not None and len(shape) in (1, 2, 3)]
    if not usable:
        raise UserError(f"{name}: none of its features ({', '.join(features)}) is an image or a vector")
    x_key = max(usable, key=lambda key: len(shapes[key]))  # an image before a vector
    info = dict(builder.info.metadata or {})
    said = info.pop("kind", None)
    kind, shape = (said, shapes[x_key]) if said else image_or_vector(name, shapes[x_key], resize)
    sources = {
        split: lru_cache(lambda split=split: builder.as_data_source(split=split)) for split in builder.info.splits
    }

    def rows(split: str, indices: np.ndarray) -> dict[str, np.ndarray]:
        with _readable(builder.data_dir):
            records = sources[split]().__getitems__([int(index) for index in indices])
        batch = {"x": np.stack([resized(record[x_key], resize) for record in records])}
        if labels:
            batch["y"] = np.array([record[labels[0]] for record in records], np.int32)
        return batch

    dtype = np.dtype(features[x_key].np_dtype)
    known = DOMAINS.get(name, (0, 255)) if dtype == np.uint8 else None
    limits = (info.pop("low"), info.pop("high")) if "low" in info else known
    classes = tuple(features[labels[0]].names) if labels else None
    return Source(builder.info.full_name, kind, shape, dtype, sizes, rows, content, classes, limits, info)


def _own_builder(name: str, variant: str | None) -> Any:
    _tfds_module()
    cls = find(name)
    variants = [config.name for config in cls.BUILDER_CONFIGS]
    if variant is not None:
        choose(f"data.variant of {name}:", variant, variants)
    home = made(cache_folder() / "tfds")
    open_builder = partial(cls, data_dir=str(home), config=variant, file_format="array_record")
    with open(home / f".{name}.lock", "w", opener=own_file) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second process waits here, and then finds it prepared
        with _readable(home / name):
            builder = open_builder()
        if not (Path(builder.data_dir) / "dataset_info.json").exists():
            print(f"preparing {name} in {builder.data_dir}")
            try:
                with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
                    builder.download_and_prepare()
            except (OSError, RuntimeError) as error:
                raise UserError(f"cannot prepare {name} in {builder.data_dir}: {error}") from None
            builder = open_builder()
    return builder


@contextmanager
def _readable(folder: Path | str) -> Iterator[None]:
    """Says in one line that a prepared set is damaged."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (a torn file makes TFDS and array_record raise all kinds)
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} is damaged ({reason}): remove it, and prepare the data set again") from None


def _tfds_module() -> ModuleType:
    import tensorflow_datasets  # takes a second, and a run whose arrays are cached in memory never needs it
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # it advises OpenCV for every decoded image
    tensorflow_datasets.disable_progress_bar()
    return tensorflow_datasets


def _prepared_builder(name: str, variant: str | None, data_dir: str | None) -> Any:
    tfds = _tfds_module()
    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets").expanduser()
    full = f"{name}/{variant}" if variant else name
    versions = _versions(root / full)
    python = shlex.quote(sys.executable)
    if not versions:
        variants = [path.name for path in (root / name).glob("*") if _versions(path)]
        if variants and variant is None:
            raise UserError(f"{name} has variants in {root}: choose one by --config.data.variant={variants[0]}")
        raise UserError(
            f"data set {full!r} is not prepared in {root}; built in: {', '.join([*BUILDERS, *TABLES])}. "
            f"Prepare it once, with network: "
            f'{python} -m pip install tensorflow && {python} -c "import tensorflow_datasets as tfds; '
            f"tfds.builder('{full}', data_dir='{root}', file_format='array_record').download_and_prepare()\""
        )
    refuse_foreign_classes(versions[-1] / "features.json")
    try:
        builder = tfds.builder_from_directory(versions[-1])
        written = builder.info.file_format.value
    except Exception as error:  # noqa: BLE001 (as it pleases TFDS)
        raise UserError(f"{versions[-1]} is not a whole TFDS data set: {error}") from None
    if written != "array_record":
        raise UserError(
            f"{versions[-1]} is written as {written}, which cannot be read by index. Convert it once: {python} -m pip "
            f"install tensorflow && tfds convert_format --dataset_version_dir={versions[-1]} "
            f"--out_file_format=array_record --out_dir=CONVERTED/{versions[-1].relative_to(root)} "
            f"and then give --config.data.data_dir=CONVERTED"
        )
    return builder


def refuse_foreign_classes(file: Path) -> None:
    """Refuses a prepared set whose features name classes of other packages, which TFDS would import.

    Raises:
      UserError: naming the class, or for a file that cannot be read.
    """
    try:
        waiting = [json.loads(file.read_text())]
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: not readable features of a TFDS data set ({error})") from None
    while waiting:
        part = waiting.pop()
        for name, value in part.items() if isinstance(part, dict) else ():
            if name in CLASS_NAMES and isinstance(value, str) and not OF_TFDS.fullmatch(value):
                raise UserError(f"{file} names the class {value!r}; expected classes of tensorflow_datasets alone")
        waiting += [*(part.values() if isinstance(part, dict) else part if isinstance(part, list) else ())]


def _versions(folder: Path) -> list[Path]:
    """The prepared versions of a data set, the newest last."""
    found = (path for path in folder.glob("*") if (path / "dataset_info.json").exists())
    return sorted(found, key=lambda path: [int(part) for part in path.name.split(".") if part.isdecimal()])
