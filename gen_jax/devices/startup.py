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

# Parameters of glibc's mallopt: free memory above which memory is returned, size above which a block is mapped, arenas.
TRIM, MAP, ARENAS = -1, -3, -8
COMPILED_BYTES = 2 << 30  # largest size of JAX's compilation cache when a command begins
CHOSEN: set[str] = set()  # folders for compiled code that `start` has chosen


def start() -> None:
    """Keeps freed memory in the process, and turns on JAX's compilation cache in the user's cache folder.

    Calling it once in a process is enough. A folder that the user has chosen, by `JAX_COMPILATION_CACHE_DIR` or
    `jax.config`, is not changed.

    By default glibc returns the buffers of a step to the system, and gets them back page by page in the next step. That
    is half of the time of a VAE's step on a CPU. Per-thread malloc arenas cannot hold blocks above 64 MiB, so a single
    arena is used. Threads that JAX started earlier keep their arenas.

    The folder is named after the processor, because code compiled for one processor may not run on another one that
    shares the home folder. If the cache is larger than `COMPILED_BYTES`, the least recently used files are deleted.
    JAX's own limit needs a lock, and fails if the folder has older files.
    """
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(ARENAS, 1)
        mallopt(TRIM, 2**30)
        mallopt(MAP, 2**30)
    if getattr(jax.config, "jax_compilation_cache_dir") not in (None, *CHOSEN):
        return  # because the user has chosen a folder
    folder = compiled_folder()
    if folder is None:
        return
    forget_oldest(folder, COMPILED_BYTES)
    own = str(folder / processor())
    CHOSEN.add(own)
    jax.config.update("jax_compilation_cache_dir", own)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def processor() -> str:
    """Returns a short hash that names the kind of processor."""
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else [f"model name {platform.processor()}"]
    facts = [line for line in lines if line.startswith(("flags", "Features", "model name"))][:2]
    return hashlib.blake2b("".join([platform.machine(), *facts]).encode(), digest_size=6).hexdigest()


def compiled_folder() -> Path | None:
    """Returns the folder for compiled code, to which only the user can write: in the cache, or else in the user's home.

    Compiled code is native code that is loaded and run. In a cache that several users share, any user could have
    written it. If there is no such folder, a line states the reason, and the result is None.
    """
    homes = [cache_folder()]
    with suppress(RuntimeError, KeyError):  # because a user may have no home
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
    """Returns whether only this user, or a group of only this user, can add files to a folder or remove files from it.

    Args:
      folder: the folder.
    """
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
