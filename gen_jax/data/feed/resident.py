"""Decodes a split once into flat arrays on disk, on all cores; the arrays appear whole or not at all."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from gen_jax.data.cache import cache_folder, content_hash, made
from gen_jax.data.source import Source
from gen_jax.data.sources.opening import open_source
from gen_jax.errors import UserError

CHUNK = 256  # rows per read
CHECKSUMS = "checksums.json"  # of the arrays in a folder
ALONE = 5_000  # rows below which starting workers costs more than it saves


def resident_arrays(source: Source, options: Mapping[str, Any], split: str, quiet: bool) -> dict[str, np.ndarray]:
    """All rows of a split, memory-mapped from the cache, where they are written on first use.

    The cache key is the content of the source and the options that change its rows. Files whose bytes are not those that
    were written are written anew.
    """
    key = content_hash(source.content, source.name, list(source.shape), split)
    folder = cache_folder() / "arrays" / key
    if folder.exists():
        try:
            return _arrays(folder)
        except (OSError, ValueError, EOFError):
            shutil.rmtree(folder, ignore_errors=True)  # damaged
    made(folder.parent)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=folder.parent))
    try:
        _decode(source, options, split, unfinished, quiet)
        (unfinished / CHECKSUMS).write_text(json.dumps(_checksums(unfinished)))
        os.rename(unfinished, folder)
    except OSError as error:
        if not folder.exists():  # otherwise another process was faster, with the same bytes
            raise UserError(f"cannot write the decoded data to {folder}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return _arrays(folder)


def _checksums(folder: Path) -> dict[str, int]:
    """Returns the CRC-32 of each array file of a folder: of three gigabytes a second, which are read next anyway."""
    found = {}
    for path in sorted(folder.glob("*.npy")):
        found[path.name] = 0
        with open(path, "rb") as file:
            while chunk := file.read(1 << 24):
                found[path.name] = zlib.crc32(chunk, found[path.name])
    return found


def _arrays(folder: Path) -> dict[str, np.ndarray]:
    if json.loads((folder / CHECKSUMS).read_text()) != _checksums(folder):
        raise ValueError("a file is not as it was written")
    return {file.stem: np.load(file, mmap_mode="r") for file in sorted(folder.glob("*.npy"))}


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _decode(source: Source, options: Mapping[str, Any], split: str, folder: Path, quiet: bool) -> None:
    rows = source.sizes[split]
    for name, value in source.rows(split, np.arange(1)).items():
        file = folder / f"{name}.npy"
        np.lib.format.open_memmap(file, "w+", value.dtype, (rows, *value.shape[1:])).flush()
        _reserve(file)
    with tqdm(total=rows, desc=f"decoding {source.name} {split}", unit="row", disable=quiet) as bar:
        if rows < ALONE or source.tabular:  # which is in memory already
            fill(source, split, folder, range(rows), bar.update)
            return
        cuts = np.linspace(0, rows, cores() + 1).astype(int).tolist()
        jobs = [
            json.dumps([{**options, "content": source.content}, split, str(folder), *cut]) for cut in pairwise(cuts)
        ]
        command = [
            sys.executable,
            "-c",
            "from gen_jax.data.feed.resident import work; work(*__import__('sys').argv[1:])",
        ]
        workers = [
            subprocess.Popen([*command, job], stdout=subprocess.PIPE, text=True, start_new_session=True) for job in jobs
        ]
        try:
            for worker in workers:
                for line in worker.stdout:
                    bar.update(int(line))
            codes = [worker.wait() for worker in workers]
            if any(codes):
                raise UserError(f"{source.name}: decoding failed, its processes ended with {codes}; see above")
        finally:
            for worker in workers:
                worker.kill()


def _reserve(file: Path) -> None:
    """Takes the room of a file of zeros on the disk, for to write to a mapped page without room is a SIGBUS.

    Raises:
      OSError: where there is not so much; nothing on systems that cannot tell.
    """
    with open(file, "rb+") as handle:
        try:
            os.posix_fallocate(handle.fileno(), 0, file.stat().st_size)
        except (AttributeError, OSError) as error:
            if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise


def fill(source: Source, split: str, folder: Path, part: range, done: Callable[[int], Any]) -> None:
    """Writes the rows of `part` into the arrays of `folder`."""
    arrays = {file.stem: np.load(file, mmap_mode="r+") for file in folder.glob("*.npy")}
    for start in range(part.start, part.stop, CHUNK):
        indices = np.arange(start, min(start + CHUNK, part.stop))
        for name, value in source.rows(split, indices).items():
            arrays[name][indices] = value
        done(len(indices))
    for array in arrays.values():
        array.flush()


def work(job: str) -> None:
    """One worker: fills its part of the arrays and prints how many rows each read has added."""
    options, split, folder, start, stop = json.loads(job)
    try:
        fill(open_source(options), split, Path(folder), range(start, stop), lambda num: print(num, flush=True))
    except UserError as error:
        sys.exit(f"error: {error}")
