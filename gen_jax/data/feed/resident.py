"""Decodes a split once into flat arrays on disk, on all cores. The arrays appear complete or not at all."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gen_jax.data.cache import cache_folder, content_hash, make_folder
from gen_jax.data.source import Source
from gen_jax.data.sources.opening import IN_MEMORY, open_source
from gen_jax.errors import UserError

CHUNK = 256  # number of rows of a read
CHECKSUMS = "checksums.json"  # file with the checksums of the arrays in a folder
ALONE = 5_000  # number of rows below which starting workers costs more than it saves


def resident_arrays(source: Source, options: Mapping[str, Any], split: str, quiet: bool) -> dict[str, np.ndarray]:
    """Returns all rows of a split, memory-mapped from the cache. The first use writes them to the cache.

    Arrays that a program holds in memory stay in memory. The key of the cache is the content of the source, which
    depends on the options that change its rows. Damaged files are written again.

    Args:
      source: the rows.
      options: the `data` section of a config, by which worker processes open the source.
      split: name of the split.
      quiet: whether the progress bar is hidden.

    Raises:
      UserError: for rows that cannot be decoded, or a cache that cannot be written.
    """
    if (options.get("name") or "").startswith(IN_MEMORY) and options.get("path") is None:
        return source.rows(split, np.arange(source.sizes[split]))
    key = content_hash(source.content, source.name, list(source.shape), split)
    folder = cache_folder() / "arrays" / key
    if folder.exists():
        try:
            return _arrays(folder)
        except (OSError, ValueError, EOFError):
            shutil.rmtree(folder, ignore_errors=True)  # damaged
    make_folder(folder.parent)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=folder.parent))
    try:
        _decode(source, options, split, unfinished, quiet)
        (unfinished / CHECKSUMS).write_text(json.dumps(_checksums(unfinished)))
        os.rename(unfinished, folder)
    except OSError as error:
        if not folder.exists():  # otherwise another process has written the same bytes first
            raise UserError(
                f"cannot write the decoded data to {folder} ({error.strerror or error}); expected a folder with free "
                "space. Set GEN_JAX_CACHE=FOLDER"
            ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return _arrays(folder)


def _checksums(folder: Path) -> dict[str, int]:
    """Returns the CRC-32 of each array file of a folder.

    It is cheap: it reads 3 GB a second, and the files are read next anyway.
    """
    checksums = {}
    for path in sorted(folder.glob("*.npy")):
        checksums[path.name] = 0
        with open(path, "rb") as file:
            while chunk := file.read(1 << 24):
                checksums[path.name] = zlib.crc32(chunk, checksums[path.name])
    return checksums


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    if json.loads((folder / CHECKSUMS).read_text()) != _checksums(folder):
        raise ValueError("a file is not as it was written")
    return {file.stem: np.load(file, mmap_mode="r") for file in sorted(folder.glob("*.npy"))}


def cores() -> int:
    """Returns the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode(source: Source, options: Mapping[str, Any], split: str, folder: Path, quiet: bool) -> None:
    """Writes the rows of a split into arrays in a folder, by several processes if there are many rows."""
    rows = source.sizes[split]
    for name, value in source.rows(split, np.arange(1)).items():
        file = folder / f"{name}.npy"
        np.lib.format.open_memmap(file, "w+", value.dtype, (rows, *value.shape[1:])).flush()
        _reserve(file)
    with tqdm(total=rows, desc=f"decoding {source.name} {split}", unit="row", disable=quiet) as bar:
        if rows < ALONE or source.tabular:  # because the rows of a table are in memory already
            fill(source, split, folder, range(rows), bar.update)
            return
        cuts = np.linspace(0, rows, cores() + 1).astype(int).tolist()
        facts = {**options, "content": source.content}
        jobs = [json.dumps([facts, split, str(folder), start, stop]) for start, stop in pairwise(cuts)]
        codes = _work_together(jobs, bar.update)
    if any(codes):
        raise UserError(
            f"decoding of {source.name} ended with the exit codes {codes}; expected 0. See the errors above"
        )


def _work_together(jobs: Sequence[str], done: Callable[[int], Any]) -> list[int]:
    """Runs a process for each job, see `work`, and returns the exit codes.

    `done` is called with numbers of finished rows.
    """
    command = [sys.executable, "-c", "from gen_jax.data.feed.resident import work; work(*__import__('sys').argv[1:])"]
    workers = [
        subprocess.Popen([*command, job], stdout=subprocess.PIPE, text=True, start_new_session=True) for job in jobs
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None  # because it is a pipe
            for line in worker.stdout:
                done(int(line))
        return [worker.wait() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()


def _reserve(file: Path) -> None:
    """Reserves disk space for a file of zeros.

    Writing to a memory-mapped page kills the process with SIGBUS if the disk is full.

    Raises:
      OSError: if there is not enough space; never on systems that cannot reserve space.
    """
    with open(file, "rb+") as handle:
        try:
            os.posix_fallocate(handle.fileno(), 0, file.stat().st_size)
        except (AttributeError, OSError) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise


def fill(source: Source, split: str, folder: Path, part: range, done: Callable[[int], Any]) -> None:
    """Writes rows into the arrays of a folder.

    Args:
      source: the rows.
      split: name of the split.
      folder: the folder of the arrays.
      part: row numbers to write.
      done: function that is called with the number of rows of each read.
    """
    arrays = {file.stem: np.load(file, mmap_mode="r+") for file in folder.glob("*.npy")}
    for start in range(part.start, part.stop, CHUNK):
        indices = np.arange(start, min(start + CHUNK, part.stop))
        for name, value in source.rows(split, indices).items():
            arrays[name][indices] = value
        done(len(indices))
    for array in arrays.values():
        array.flush()


def work(job: str) -> None:
    """Fills a part of the arrays in a separate process, and prints the number of rows of each read.

    Args:
      job: options, split, folder, start and stop, as JSON.
    """
    options, split, folder, start, stop = json.loads(job)
    try:
        fill(open_source(options), split, Path(folder), range(start, stop), lambda num: print(num, flush=True))
    except UserError as error:
        sys.exit(f"error: {error}")
