"""Prints the commands, the families and the configs: `python -m gen_jax`."""

import ast
from pathlib import Path

from gen_jax.cli.process import command

HOME = Path(__file__).parent
CONFIGS = Path("configs")  # folder of configs in the current directory
PREFIX = "CLI: "  # beginning of the first line of the file of a command


def first_line(path: Path) -> str:
    """Returns the first line of the docstring of a Python file.

    Args:
      path: the file.
    """
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.partition("\n")[0]


def lines() -> list[str]:
    """Returns the lines of the overview."""
    from gen_jax.models import MODELS  # slow to import

    commands = {path.stem: first_line(path) for path in sorted(HOME.glob("*.py"))}
    overview = ["commands, each with --help:"]
    overview += [
        f"  python -m gen_jax.{name:<13}{text.removeprefix(PREFIX)}"
        for name, text in commands.items()
        if text.startswith(PREFIX)
    ]
    overview.append("families, as gen_jax.models.NAME(spec, ...) and as config.model.name:")
    for name, family in MODELS.items():
        text = (family.__doc__ or "").partition("\n")[0]
        overview.append(f"  {name:<15}{text.removeprefix('Returns ')}")
    files = sorted(CONFIGS.glob("*.py"))
    if files:
        overview.append("configs, as python -m gen_jax.train --config FILE (add --help for their settings):")
        overview += [f"  {path!s:<32}{first_line(path)}" for path in files]
    return overview


def main(argv: list[str]) -> None:
    """Prints the overview.

    Args:
      argv: the command, without arguments.
    """
    print("\n".join(lines()))


if __name__ == "__main__":
    command(main)
