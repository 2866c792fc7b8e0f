"""Trains on this machine in several processes, each with simulated CPU devices: what a cluster does, to try it.

    python launch/local.py --processes 2 --devices 2 -- --config configs/gan.py --workdir runs/gan

Everything behind `--` goes to `gen_jax.train`. Where a process fails the others end within `GRACE` seconds.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from typing import IO

GRACE = 5.0  # seconds
LOST = {6, -signal.SIGABRT}  # exits that another process caused: gen_jax.devices.processes.Lost, and JAX's own


def environment(number: int, processes: int, devices: int, port: int) -> dict[str, str]:
    """What `gen_jax.train` must find to be one of the processes."""
    flags = os.environ.get("XLA_FLAGS", "").split()
    return {
        **os.environ,
        "XLA_FLAGS": " ".join(flag for flag in flags if "host_platform_device_count" not in flag),
        "GEN_JAX_DISTRIBUTED": "supervised",
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": str(processes),
        "JAX_PROCESS_ID": str(number),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
    }


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait(processes: list[subprocess.Popen]) -> list[int]:
    """Waits for all; once one has failed the others have `GRACE` seconds to say so too. Returns their exit codes."""
    deadline = None
    while any(process.poll() is None for process in processes):
        if deadline is None and any(process.poll() for process in processes):
            deadline = time.monotonic() + GRACE
        if deadline is not None and time.monotonic() > deadline:
            break
        time.sleep(0.05)
    codes = [process.poll() for process in processes]
    for process in processes:
        process.kill()
        process.wait()
    return [min(LOST) if code is None else code for code in codes]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--devices", type=int, default=1, help="of each process")
    parser.add_argument("arguments", nargs="*", metavar="-- ARGS", help="of gen_jax.train")
    given = parser.parse_args()
    for name in ("processes", "devices"):
        if getattr(given, name) < 1:
            parser.error(f"--{name} {getattr(given, name)}: expected at least 1")
    with ExitStack() as stack:
        errors = [None, *(stack.enter_context(tempfile.TemporaryFile()) for _ in range(1, given.processes))]
        return supervise(given.devices, errors, [sys.executable, "-m", "gen_jax.train", *given.arguments])


def supervise(devices: int, errors: list[IO | None], command: list[str]) -> int:
    """Runs a command in so many processes as there are places for their errors; None is the screen.

    Returns the exit code of the process that failed first, or 0; says what has ended it.
    """
    port = free_port()
    started = [
        subprocess.Popen(command, env=environment(number, len(errors), devices, port), stderr=place)
        for number, place in enumerate(errors)
    ]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all
    signal.signal(signal.SIGTERM, lambda number, frame: started[0].send_signal(number))
    codes = wait(started)
    failed = [number for number, code in enumerate(codes) if code and code not in LOST]
    failed += [number for number, code in enumerate(codes) if code]
    if not failed:
        return 0
    number, code = failed[0], codes[failed[0]]
    if number:
        errors[number].seek(0)
        sys.stderr.write(errors[number].read().decode(errors="replace"))
    if code < 0:
        ended = (
            f"error: process {number} of {len(errors)} was ended by {signal.Signals(-code).name}, and with it the run"
        )
        print(f"{ended}: the same command goes on from the newest checkpoint", file=sys.stderr)
    return code if code > 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
