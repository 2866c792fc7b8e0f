"""The directory of a run: its contents, and the lock for the process that writes to it."""

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gen_jax.config import base_config, plain, refuse_changes, refuse_types
from gen_jax.data.spec import Spec, from_json, schema_of, to_json
from gen_jax.errors import UserError
from gen_jax.files import own_file, read_json, write_json

BEST = "best"  # folder of the checkpoint that a metric selects
SCHEMA = "schema.json"  # schema of a table in the form of data.schema, for the user; no program reads this file
NETWORKS = {"network", "model_network"}  # facts of a spec that come from a file
UNFINISHED = {"spec.json", "fork.json", SCHEMA}  # files that a killed start may leave without a config.json


def read_config(workdir: Path) -> dict | None:
    """Returns the config of a run; None if its directory is absent, empty or holds an unfinished start.

    Options of the model that the file lacks get their defaults, because earlier versions did not write them.

    Args:
      workdir: directory of the run.

    Raises:
      UserError: if the directory holds anything but a run.
    """
    if not str(workdir).isprintable():
        raise UserError(f"directory of the run is {str(workdir)!r}; expected characters that can be printed")
    if not workdir.exists():
        return None
    if not workdir.is_dir():
        raise UserError(f"{workdir} is a file; expected the directory of a run")
    if (workdir / "config.json").exists():
        from gen_jax.models import default_settings, rename_old_parts  # slow to import

        config = read_json(workdir / "config.json")
        refuse_types(config, workdir / "config.json")
        config.setdefault("registered", {})  # because runs of earlier versions lack it
        if "model" in config:
            rename_old_parts(config["model"])
            config["model"] = {**plain(default_settings(config["model"].get("name"))), **config["model"]}
        return config
    others = {path.name for path in workdir.iterdir() if not path.name.startswith(".")} - UNFINISHED
    if (workdir / "spec.json").exists() or not any((workdir / "checkpoints").glob("*")):
        others -= {"checkpoints"}  # a folder of gen_jax or an empty folder; a folder of another program is refused
    if others:
        raise UserError(
            f"{workdir} holds {min(others)!r} but no config.json; expected a run, or an empty directory. Choose "
            "another --workdir"
        )
    return None


def begun_config(workdir: Path) -> dict | None:
    """Returns the config of a run as `read_config` does, but None if the run never saved a state.

    Such a run may start anew with other settings.

    Args:
      workdir: directory of the run.

    Raises:
      UserError: in the cases of `read_config`, and if a run has lost its checkpoints.
    """
    config = read_config(workdir)
    if config is None or steps_in(workdir / "checkpoints"):
        return config
    if steps_in(workdir / BEST) and (not (workdir / "checkpoints").exists() or _went_beyond_a_save(workdir, config)):
        raise UserError(
            f"{workdir / 'checkpoints'} holds no checkpoint any more, and {workdir / BEST} does; expected both. Put "
            "it back, or choose another --workdir (gen_jax.sample and gen_jax.evaluate read the best one)"
        )
    return None


def steps_in(folder: Path) -> list[int]:
    """Returns the steps of the checkpoints in a folder.

    Args:
      folder: the folder.
    """
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())


def _went_beyond_a_save(workdir: Path, config: dict) -> bool:
    from gen_jax.storage.metrics_file import read_metrics  # here, because it imports this file

    return any(each["step"] > config["save_every"] > 0 for each in read_metrics(workdir))


def read_spec(workdir: Path) -> Spec:
    """Returns the facts of the data on which a run was trained.

    Args:
      workdir: directory of the run.

    Raises:
      UserError: if the file is unreadable, or another version of gen_jax wrote it.
    """
    try:
        return from_json(read_json(workdir / "spec.json"))
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{workdir / 'spec.json'} was written by other code than this ({error}); expected facts of data. Use that code"
        ) from None


@contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Keeps every other training process out of a directory while the body runs.

    Args:
      workdir: directory of the run.

    Raises:
      UserError: if another process holds the directory, or it cannot be written or locked.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        handle = own_file(str(workdir / ".lock"), os.O_RDWR | os.O_CREAT)
    except FileExistsError:
        raise UserError(
            f"{workdir} is a file, or a link to nothing; expected a folder, or a new name for one"
        ) from None
    except OSError as error:
        raise UserError(
            f"cannot write to {workdir} ({error.strerror}); expected a directory that can be written"
        ) from None
    with os.fdopen(handle, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = file.read().strip() or "unknown"
            raise UserError(
                f"{workdir} is in use by process {owner}; expected no other process. Stop it first, or choose another "
                "--workdir"
            ) from None
        except OSError as error:
            raise UserError(
                f"files in {workdir} cannot be locked ({error.strerror}); expected a file system with locks. Choose "
                "another --workdir"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()} on {platform.node()}")
        file.flush()
        yield


def refuse_other(workdir: Path, begun: dict, config: dict, spec: Spec, fork: Path | None) -> None:
    """Refuses to resume a run with other settings, on other data, or as a fork of another run.

    Args:
      workdir: directory of the run.
      begun: settings with which the run was started, see `begun_config`.
      config: settings with which the run is to resume.
      spec: facts of the data with which the run is to resume.
      fork: directory of the run of which this run is to be a fork, or None.

    Raises:
      UserError: with the first difference and both values.
    """
    refuse_changes(begun, config, workdir)
    origin = read_json(workdir / "fork.json")["from"] if (workdir / "fork.json").exists() else None
    if fork is not None and str(fork.resolve()) != origin:
        raise UserError(
            f"{workdir} has begun already and is no fork of {fork}; expected a new directory. Choose another --workdir"
        )
    old, new = to_json(read_spec(workdir)), json.loads(json.dumps(to_json(spec)))
    for info in (old["info"], new["info"]):
        for network in NETWORKS & info.keys():
            info[network] = {**info[network], "path": None}  # because only the content of the file is compared
    for name in new:
        if old[name] != new[name]:
            raise UserError(
                f"{name} of the data was {old[name]!r} in {workdir} and is now {new[name]!r}; expected the same data. "
                "Choose another --workdir"
            )


def claim(workdir: Path, spec: Spec) -> None:
    """Marks a directory as the start of a new run.

    Args:
      workdir: directory of the run.
      spec: facts of the data.
    """
    write_json(workdir / "spec.json", to_json(spec))
    if spec.tabular:
        write_json(workdir / SCHEMA, schema_of(spec))


def settle(workdir: Path, config: dict, fork: dict | None) -> None:
    """Completes a claimed directory: writes `fork.json` for a fork, and `config.json` last.

    Args:
      workdir: directory of the run.
      config: settings of the run.
      fork: origin of a fork, or None.
    """
    if fork is not None:
        write_json(workdir / "fork.json", fork)
    write_json(workdir / "config.json", config)


def refuse_incomplete(config: dict, workdir: Path) -> None:
    """Refuses settings of a run that lack a common key, because another version of gen_jax wrote them.

    Args:
      config: settings of the run.
      workdir: directory of the run.

    Raises:
      UserError: for the first missing key.
    """
    lacking = base_config().keys() - config.keys()
    if lacking:
        raise UserError(
            f"{workdir / 'config.json'} lacks {min(lacking)!r}; expected all settings. Use the code that wrote it"
        )
