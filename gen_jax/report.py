"""CLI: writes runs to one HTML page without other files: samples over time, scores, curves and differing settings.

python -m gen_jax.report runs/gan runs/vae --out report.html
"""

from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.files import write
from gen_jax.verbs.reports import evaluation, page, read

FLAGS = {"DIR": ([], "directories of runs"), "out": ("report.html", "HTML file to write")}


def main(argv: list[str]) -> None:
    """Writes the report on the named runs into `--out`."""
    flags = command_line.parse(argv, FLAGS, required=None, positional=("DIR",))
    path = command_line.output_file(flags.out, "report.html", (".html",))
    runs = read(flags.DIR)
    write(path, page(runs))
    for run in runs:
        if run.scored is None:
            print(f"{run.folder} was never evaluated; its scores come from {evaluation(run)}")
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, open it in a browser")


if __name__ == "__main__":
    command(main)
