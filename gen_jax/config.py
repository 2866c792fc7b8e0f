"""Experiments as ml_collections configs: the settings that every config has, and the checks of changed settings."""

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder

from gen_jax.errors import UserError, choose, readable
from gen_jax.references import described, place_of, run_file

FREE = (  # settings that a resumed run may change
    "sample.",
    "evaluate.",
    "log_every",
    "sample_every",
    "eval_every",
    "save_every",
    "keep",
    "sharding",
    "data.data_dir",
    "data.feed",
)
GROWING = ("steps",)  # settings that a resumed run may raise
JSON_TYPES = {float: (int, float), tuple: (list, tuple)}  # type of a setting -> types of its values in JSON
LARGEST = 2**31  # exclusive upper limit of seeds and counts
LEAST = {
    "batch_size": 1,
    "replicas": 1,
    "steps": 0,
    "keep": 1,
    "sample.num": 1,
    "sample.length": 1,
    "sample.temperature": 0,
    "sample.beam": 0,
    "sample.num_samples": 1,
    "evaluate.num": 1,
    "seed": 0,
    "sample.seed": 0,
    "evaluate.seed": 0,
}
PERIODS = ("log_every", "sample_every", "eval_every", "save_every")


OPEN_SECTIONS = ("model", "registered")  # sections of a config whose settings depend on the experiment


def base_config() -> ConfigDict:
    """Returns the settings that every experiment has, with their defaults. A config file changes some of them.

    A period of 0 means never. An unset string or number is a placeholder that a flag can set. `MEANINGS` describes the
    settings.
    """
    return ConfigDict(
        {
            "seed": 0,
            "replicas": 1,
            "steps": 1000,
            "epochs": placeholder(float),
            "batch_size": 64,
            "log_every": 100,
            "sample_every": 1000,
            "eval_every": 0,
            "save_every": 1000,
            "keep": 3,
            "sharding": placeholder(str),
            "select": placeholder(str),
            "data": {
                "name": "digits",
                "variant": placeholder(str),
                "data_dir": placeholder(str),
                "set": placeholder(str),
                "path": placeholder(str),
                "test_path": placeholder(str),
                "holdout": 0.1,
                "schema": placeholder(str),
                "separator": placeholder(str),
                "decimal": placeholder(str),
                "kind": placeholder(str),
                "window": placeholder(int),
                "vocabulary": placeholder(str),
                "subwords": placeholder(int),
                "end": placeholder(bool),
                "encoding": placeholder(str),
                "frames": placeholder(int),
                "mel": placeholder(str),
                "label": placeholder(str),
                "target": placeholder(str),
                "condition": placeholder(str),
                "metadata": placeholder(str),
                "classes": placeholder(str),
                "condition_scale": placeholder(int),
                "resize": placeholder(int),
                "augment": placeholder(str),
                "width": placeholder(int),
                "patch": placeholder(int),
                "shrink": placeholder(int),
                "hole": placeholder(float),
                "stride": placeholder(int),
                "every": placeholder(int),
                "first": placeholder(int),
                "channels": placeholder(str),
                "stack": placeholder(int),
                "transform": placeholder(str),
                "split": "train",
                "test_split": "test",
                "test_name": placeholder(str),
                "feed": "auto",
                "order": "shuffle",
            },
            "model": {"name": placeholder(str)},
            "registered": {},
            "sample": {
                "num": 64,
                "seed": 0,
                "given": placeholder(str),
                "length": placeholder(int),
                "temperature": placeholder(float),
                "beam": placeholder(int),
                "how": placeholder(str),
                "num_samples": 100,
            },
            "evaluate": {"num": 1000, "seed": 0, "metrics": (), "target": placeholder(str)},
        }
    )


MEANINGS = {  # meaning of each setting of `base_config`
    "seed": "seed of the weights, the order of the rows and all samples; further replicas take the next seeds",
    "replicas": "number of independent runs that are trained together, with the seeds from `seed` on",
    "steps": "number of training steps",
    "epochs": "number of passes over the rows; replaces steps if set",
    "batch_size": "number of rows in a step",
    "log_every": "number of steps between two lines of metrics; 0: only after the last step",
    "sample_every": "number of steps between two pictures of samples; 0: never",
    "eval_every": "number of steps between two evaluations; 0: never",
    "save_every": "number of steps between two checkpoints; 0: only after the last step",
    "keep": "number of newest checkpoints that are kept",
    "sharding": "fsdp: each device holds a part of the state; unset: each device holds the whole state",
    "select": "metric whose best checkpoint is kept beside the newest checkpoints; commands then load the best checkpoint",
    "data.name": "name of a TFDS data set or of a built-in data set",
    "data.variant": "TFDS config of the data set; numbers: the table without its class",
    "data.data_dir": "folder of prepared TFDS data sets; unset: $TFDS_DATA_DIR",
    "data.set": "name of the binary data set in data_dir, if data.name is binary",
    "data.path": "your file or folder; replaces data.name",
    "data.test_path": "file with the test rows of a table, or folder with the test photos",
    "data.holdout": "share of the rows of a table, of the pairs, photos, recordings or videos that become the test split, if there are no test rows",
    "data.schema": "kinds of the columns of a table: a JSON file, or JSON itself",
    "data.separator": "separator of the columns of a CSV file; unset: guessed",
    "data.decimal": "decimal mark of the numbers of a CSV file: comma or point; unset: guessed",
    "data.kind": "kind of an array file: series [N, T, D], tokens [N, T], image, vector or video [N, F, H, W, C]; unset: image or vector by its shape. video for a folder of videos",
    "data.window": "number of frames or tokens in a row of a sequence; unset: whole sequences",
    "data.vocabulary": "tokens of text: characters, bytes, words, symbols between spaces, or subwords",
    "data.subwords": "number of subwords, which are learnt from the training split; unset: 4000",
    "data.end": "whether each text ends with a symbol of its own, at which a sample ends too",
    "data.encoding": "encoding of recordings: mu_law, waveform, log_mel for spectrograms, or instantaneous_frequency for spectrograms with phases",
    "data.frames": "number of frames of a spectrogram that is a picture, of samples of a waveform of one length (unset: series of all of them), or of frames of a clip (unset: 16)",
    "data.mel": "window and hop of spectrograms in samples, and number of mels; unset: window=512,hop=128,mels=64",
    "data.label": "label of recordings: digit or speaker of the archive, or the name of an array of labels",
    "data.resize": "height and width of images, in pixels",
    "data.target": "what is modelled in paired data: a sub-folder, left or right, an array, or a column of the metadata",
    "data.condition": "what it is modelled from: another of these",
    "data.metadata": "CSV file or JSON list with a record a row; unset: metadata.csv in a folder of pictures",
    "data.classes": "JSON file with the classes and colours of class maps; unset: classes.json in a folder",
    "data.condition_scale": "ratio of the sides of the pictures of a condition and of the rows, beside data.resize; unset: 1",
    "data.width": "of images in pixels, beside data.resize",
    "data.patch": "side of the squares that photos of any sizes in a folder are cut into; whole photos are held out",
    "data.shrink": "ratio of an image and the shrunk image that is its condition, for super-resolution",
    "data.stride": "pixels between two patches of a photo, or frames between the starts of two clips; unset: half a patch, or 1",
    "data.every": "step from a frame of a video to the next frame of a clip; unset: 1",
    "data.first": "number of first frames of a clip that are its condition; unset: 0",
    "data.channels": "of the patches of photos: luminance, or rgb; unset: as the first photo",
    "data.augment": "random changes of rows in training. Music: transpose. Images and clips: flip, turn (squares are turned and mirrored), shift and zoom change a row and its condition alike, light changes the photo that is a condition; for example flip,shift",
    "data.hole": "sides of a square hole in images, as a share of their sides; the image with the hole is the condition",
    "data.stack": "number of random grey images that form the channels of one image",
    "data.transform": "transform of the values: signed, unit, rms, none, static_binary or dynamic_binary; of tables: standard or modes",
    "data.split": "split for training",
    "data.test_split": "split for scores",
    "data.test_name": "name of another TFDS data set, whose test split replaces the test split of this data set",
    "data.feed": "place of the rows: resident on the devices, streaming from the host, or auto (by size)",
    "data.order": "order of the rows: shuffle, once, all, lanes, by_level or by_length",
    "sample.num": "number of samples in a picture",
    "sample.seed": "seed of the samples in pictures",
    "sample.given": "condition of the samples, as --given of gen_jax.sample",
    "sample.length": "length of the samples in tokens or frames, as --length of gen_jax.sample",
    "sample.how": "options of the sampler, as --how of gen_jax.sample, with commas between them; samples are also scored so",
    "sample.temperature": "temperature of the samples, as --temperature of gen_jax.sample; they are also scored so",
    "sample.beam": "number of hypotheses of a beam search, as --beam of gen_jax.sample; its texts are also scored",
    "sample.num_samples": "number of latents for each row in the importance weighted bound, nll_bound",
    "evaluate.num": "number of samples that are scored",
    "evaluate.seed": "seed of the samples that are scored",
    "evaluate.metrics": "names of metrics; none: the fast metrics during training, and all that apply in gen_jax.evaluate",
    "evaluate.target": "column of a table that classifiers predict; unset: the last column with levels",
}


def load_file(path: str | Path) -> ConfigDict:
    """Returns the config of a file. Settings that the file builds from one dict become separate, with separate flags.

    Args:
      path: a Python file with a function `get_config`, or `config.json` of a run, which gives the settings of the run.

    Raises:
      UserError: if the file does not run or does not give a config.
    """
    if Path(path).suffix == ".json":
        return config_of_run(Path(path))
    try:
        return referenced(unshared(run_file(Path(path)).get_config()))
    except UserError:
        raise
    except Exception as error:  # noqa: BLE001 (a user's file may raise anything)
        raise UserError(
            f"{path} does not give a config ({type(error).__name__}: {error}); expected a function get_config() that "
            "returns it"
        ) from None


def config_of_run(path: Path) -> ConfigDict:
    """Returns the settings that a run has stored, as a config.

    Args:
      path: `config.json` of a run.

    Raises:
      UserError: for a file that is no such file.
    """
    with readable(str(path), "the config.json of a run"):
        settings = json.loads(path.read_text())
    refuse_types(settings, path)
    config = base_config()
    for name in flat(settings, inner=True):
        if name.partition(".")[0] not in OPEN_SECTIONS:
            choose(f"setting in {path}:", name, flat(config, inner=True))
    for section in OPEN_SECTIONS:
        with readable(f"{path}: {section}", "settings with names without dots"):
            config[section] = ConfigDict(tuples(settings.get(section, {})))
    for name, value in settings.items():
        for setting, part in value.items() if isinstance(value, Mapping) and name not in OPEN_SECTIONS else ():
            config[name][setting] = tuples(part)
        if not isinstance(value, Mapping):
            config[name] = value
    return config


def tuples(value: Any) -> Any:
    """Returns plain data with tuples in the place of lists, as config files have them.

    Args:
      value: the data.
    """
    if isinstance(value, Mapping):
        return {name: tuples(part) for name, part in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value


def unshared(config: ConfigDict) -> ConfigDict:
    """Returns a copy of a config in which no two settings hold the same object.

    Args:
      config: the config.
    """
    copy = ConfigDict()
    for key, value in config.items(preserve_field_references=True):
        copy[key] = unshared(value) if isinstance(value, ConfigDict) else value
    return copy


def referenced(config: ConfigDict, place: str = "") -> ConfigDict:
    """Replaces nets, functions and classes in the `model` section of a config by references to their definitions.

    Args:
      config: the config, which is changed.
      place: name of the section; by default empty, for the whole config.

    Returns:
      The config.

    Raises:
      UserError: for an object that another process could not build.
    """
    for key, value in config.items(preserve_field_references=True):
        name = f"{place}.{key}" if place else key
        if isinstance(value, ConfigDict) and name.startswith("model"):
            referenced(value, name)
        elif place and not is_plain(value):
            reference = described(value)
            if isinstance(reference, Mapping) and reference.get("object", "") is None:
                raise UserError(
                    f"config.{name} is an object of type {place_of(value)}, which no other process can build; expected a "
                    f"section with a name, or the name MODULE:NAME of a function that returns it"
                )
            with config.ignore_type():
                config[key] = reference
    return config


def is_plain(value: Any) -> bool:
    """Returns whether a value of a setting is plain data, or a placeholder.

    Args:
      value: the value.
    """
    if isinstance(value, list | tuple):
        return not hasattr(value, "_fields") and all(map(is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | Mapping | ConfigDict | FieldReference)


def settings_of(function: Callable[..., Any]) -> ConfigDict:
    """Returns the parameters of a function that have defaults, as settings.

    None becomes a placeholder of the other type that the parameter may have, which a flag can set.

    Args:
      function: the function.
    """
    settings = ConfigDict()
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.default is not parameter.empty:
            settings[name] = setting_of(parameter)
    return settings


def setting_of(parameter: inspect.Parameter) -> Any:
    """Returns the default of a parameter as a setting; for None or without a default, a placeholder of the right type.

    Args:
      parameter: the parameter.
    """
    value = parameter.default
    if isinstance(value, Mapping):
        return ConfigDict(value)
    if value is not None and value is not parameter.empty:
        return value
    kinds = (*get_args(parameter.annotation), parameter.annotation)
    if any(get_origin(kind) in (Sequence, tuple) for kind in kinds):
        return placeholder(tuple)
    return placeholder(next((kind for kind in (int, str) if kind in kinds), float))


def check(config: ConfigDict) -> None:
    """Refuses a config whose common settings are missing, unknown or out of range.

    Args:
      config: the config.

    Raises:
      UserError: with the setting, its value and the expected value.
    """
    common, given = flat(base_config(), inner=True), flat(config, inner=True)
    for key in given:
        if not key.startswith(("model.", "registered.")):
            choose("config key", key, common)
    for key in common:
        if key not in given:
            raise UserError(
                f"{key!r} is missing in the config; expected all settings of a config. Start it from "
                "gen_jax.config.base_config()"
            )
    for key, least in LEAST.items():
        value = given[key]
        if value is not None and not least <= value < LARGEST:
            raise UserError(f"{key} is {value}; expected {least} to {LARGEST - 1}")
    for key in PERIODS:
        if given[key] < 0:
            raise UserError(f"{key} is {given[key]}; expected a number of steps, or 0 for never")
    if config.epochs is not None and config.epochs <= 0:
        raise UserError(f"epochs is {config.epochs}; expected more than 0")
    refuse_sharding(config)


def refuse_sharding(config: ConfigDict) -> None:
    """Refuses an unknown way of sharding, and sharding of replicas.

    Args:
      config: the config.

    Raises:
      UserError: for such a setting.
    """
    if config.sharding is None:
        return
    choose("sharding", config.sharding, ("fsdp",))
    if config.replicas > 1:
        raise UserError(
            f"sharding is {config.sharding} with {config.replicas} replicas; expected replicas=1, because a device "
            "holds whole replicas"
        )


def refuse_types(settings: Mapping[str, Any], file: Path) -> None:
    """Refuses settings from a file whose common settings have values of wrong types.

    Args:
      settings: settings in the file.
      file: the file, for the error.

    Raises:
      UserError: with the setting, its value and the expected type.
    """
    refuse_types_in(base_config(), settings, "", file)


def refuse_types_in(expected: ConfigDict, given: Any, prefix: str, file: Path) -> None:
    """Refuses values of wrong types in one section of the settings, see `refuse_types`.

    Args:
      expected: settings of the right types.
      given: values in the file.
      prefix: name of the section with a dot at its end, or an empty text.
      file: the file, for the error.

    Raises:
      UserError: with the setting, its value and the expected type.
    """
    if not isinstance(given, Mapping):
        raise UserError(f"{file}: {prefix.rstrip('.')} is {str(given)[:80]!r}; expected a section of settings")
    for key in expected.keys() & given.keys():
        kind, value = expected.get_type(key), given[key]
        if kind is ConfigDict:
            refuse_types_in(expected[key], value, f"{prefix}{key}.", file)
        elif value is not None and not has_type(value, kind):
            raise UserError(f"{file}: {prefix}{key} is {str(value)[:80]!r}; expected {kind.__name__}")


def has_type(value: Any, kind: type) -> bool:
    """Returns whether a value from JSON has the type of a setting. True is not a number.

    Args:
      value: the value.
      kind: type of the setting.
    """
    return isinstance(value, JSON_TYPES.get(kind, kind)) and isinstance(value, bool) == (kind is bool)


def plain(config: Any) -> Any:
    """Returns a config as plain data, in the form in which JSON would return it.

    Args:
      config: the config.
    """
    return json.loads(json.dumps(config.to_dict() if isinstance(config, ConfigDict) else config))


def flat(config: Any, prefix: str = "", inner: bool = False) -> dict[str, Any]:
    """Returns settings in sections as one dictionary, such as `{"a": {"b": 1}}` as `{"a.b": 1}`.

    Args:
      config: settings in sections.
      prefix: prefix of all keys; by default empty.
      inner: whether sections have entries too, here `a`; by default False.
    """
    items: dict[str, Any] = {}
    for key, value in config.items():
        nested = isinstance(value, Mapping | ConfigDict)
        if inner or not nested:
            items[f"{prefix}{key}"] = value
        if nested:
            items.update(flat(value, f"{prefix}{key}.", inner))
    return items


def refuse_changes(old: dict, new: dict, workdir: Path) -> None:
    """Refuses to resume a run whose settings changed. `FREE` settings may change, and `GROWING` settings may grow.

    Args:
      old: settings with which the run was begun.
      new: settings with which the run is to resume.
      workdir: directory of the run, for the error.

    Raises:
      UserError: with the first changed setting and both values.
    """
    old, new = flat(old), flat(new)
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if before == after or key.startswith(FREE):
            continue
        if key in GROWING and before is not None and after is not None and after > before:
            continue
        expected = "more, because a run can only grow" if key in GROWING else "the same value"
        raise UserError(
            f"{key} was {before!r} in {workdir} and is now {after!r}; expected {expected}. "
            f"Choose another --workdir, or start a changed run from this one with --fork {workdir}"
        )
