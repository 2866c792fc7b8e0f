"""Settings of a process that trains or samples: freed memory, and the folder of compiled code."""

import ctypes
import grp
import hashlib
import os
import platform
import pwd
import stat
from contextlib import suppress
from pathlib import Path

import jax

from gen_jax.data.cache import cache_folder, forget_oldest
from gen_jax.data.source import say_once

TRIM, MAP, ARENAS = -1, -3, -8  # of glibc's mallopt: how much free memory goes back, how large a block is mapped, heaps
COMPILED_BYTES = 2 << 30  # that JAX's compilation cache holds when a command begins
CHOSEN: set[str] = set()  # folders for compiled code that `start` has chosen


def start() -> None:
    """Keeps freed memory in the process, and turns on JAX's compilation cache, in the user's cache folder; once per process.

    A folder that the user has chosen, by `JAX_COMPILATION_CACHE_DIR` or `jax.config`, stays as it is.

    glibc gives the buffers of a step back to the system, and gets them anew from it page by page at the next: half of
    the time of a VAE's step on a CPU. A heap of a thread's own holds no block above 64 MiB: hence one
    heap for all, which threads that JAX has started before do not join.

    The folder is named after the processor: code compiled for one may not run on another that shares a home. What was used
    longest ago is deleted where all of it is more than `COMPILED_BYTES`; JAX's own bound needs a lock, and fails beside older files.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(ARENAS, 1)
        mallopt(TRIM, 2**30)
        mallopt(MAP, 2**30)
    if getattr(jax.config, "jax_compilation_cache_dir") not in (None, *CHOSEN):
        return  # the user's own, by JAX_COMPILATION_CACHE_DIR or in a program
    folder = compiled_folder()
    if folder is None:
        return
    forget_oldest(folder, COMPILED_BYTES)
    own = str(folder / processor())
    CHOSEN.add(own)
    jax.config.update("jax_compilation_cache_dir", own)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def processor() -> str:
    """Returns a short name of the kind of processor."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else [f"model name {platform.processor()}"]
    facts = [line for line in lines if line.startswith(("flags", "Features", "model name"))][:2]
    return hashlib.blake2b("".join([platform.machine(), *facts]).encode(), digest_size=6).hexdigest()


def compiled_folder() -> Path | None:
    """Returns the folder for compiled code, which nobody but its user can write: in the cache, or else in the user's home.

    Compiled code is native code, which is loaded and run: in a cache that several users share it could be anybody's.
    None, and a line that says why, if there is no such folder.
    """
    homes = [cache_folder()]
    with suppress(RuntimeError, KeyError):  # of a user without a home
        homes.append(Path.home() / ".cache" / "gen_jax")
    for home in homes:
        folder = home / "compiled"
        with suppress(OSError):
            home.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            if all(map(only_mine, (home, folder))):
                return folder
    say_once(
        f"compiled code is not kept: others may write to {homes[0]}; JAX_COMPILATION_CACHE_DIR names a folder for it"
    )
    return None


def only_mine(folder: Path) -> bool:
    """Whether nobody but this user, or a group of this user alone, can put files into a folder or take them away."""
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & stat.S_IWOTH:
        return False
    if not facts.st_mode & stat.S_IWGRP:
        return True
    try:
        group = grp.getgrgid(facts.st_gid)
        return group.gr_name == pwd.getpwuid(os.getuid()).pw_name and not {*group.gr_mem} - {group.gr_name}
    except KeyError:
        return False
