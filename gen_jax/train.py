"""CLI: trains the experiment of a config.

python -m gen_jax.train --config configs/gan.py [--workdir DIR] [--config.a.b=VALUE ...] [--fork OTHER] [--quiet]

The file may also be config.json in the directory of a run, whose settings are then those of the new run.

In a notebook or a program, `gen_jax.fit(config, workdir)` does the same.
"""

import shlex
import sys
from pathlib import Path

from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import processes, startup
from gen_jax.training.fit import train
from gen_jax.training.prepare import prepare


def main(argv: list[str]) -> None:
    """Trains the experiment of `--config` in `--workdir`.

    Args:
      argv: the command and its arguments.
    """
    flags = command_line.parse(
        argv,
        {
            "workdir": (
                None,
                "directory of the run; by default runs/NAME for configs/NAME.py, or runs/NAME_again for NAME/config.json",
            ),
            "fork": (None, "directory of another run, whose newest checkpoint the changed run starts from"),
            "quiet": (False, "print a line at each log instead of the settings and a bar"),
        },
        required="config",
    )
    file = Path(command_line.config_file(argv))
    name = f"{file.resolve().parent.name}_again" if file.suffix == ".json" else file.stem
    workdir = Path(flags.workdir or f"runs/{name}")
    startup.start()
    with processes.joined():
        job = prepare(flags.config, workdir, flags.quiet)
        line = shlex.join([sys.executable, "-m", "gen_jax.train", *argv[1:]])
        again = line if processes.alone() else "the command that launched it"
        code = train(job, Path(flags.fork) if flags.fork else None, again)
    if code:
        sys.exit(code)


if __name__ == "__main__":
    command(main)
