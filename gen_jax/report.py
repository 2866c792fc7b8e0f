"""CLI: writes runs to one HTML page without other files, or the card of each run: samples, scores, settings, data.

python -m gen_jax.report runs/gan runs/vae --out report.html
python -m gen_jax.report runs/gan --card --licence apache-2.0

A card is README.md in the directory of the run. A hub of models reads it, so the directory can be published as it is.
"""

from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.errors import UserError
from gen_jax.files import write
from gen_jax.verbs.card import write_card
from gen_jax.verbs.reports import evaluation, page, read

FLAGS = {
    "DIR": ([], "directories of runs"),
    "out": ("report.html", "HTML file to write"),
    "card": (False, "write README.md into each directory in the place of an HTML file"),
    "licence": (None, "licence of the weights, for the card"),
    "data_licence": (None, "licence of the data, for the card; by default the one that gen_jax knows"),
}


def main(argv: list[str]) -> None:
    """Writes the report on the named runs into `--out`, or with `--card` the card of each run."""
    flags = command_line.parse(argv, FLAGS, required=None, positional=("DIR",))
    for name in ("out",) if flags.card else ("licence", "data_licence"):
        if flags[name].present:
            raise UserError(
                f"--{name} is set {'beside' if flags.card else 'without'} --card; expected one of the two forms"
            )
    runs = read(flags.DIR)
    if flags.card:
        for run in runs:
            print(write_card(str(run.folder), flags.licence, flags.data_licence))
    else:
        path = command_line.output_file(flags.out, "report.html", (".html",))
        write(path, page(runs))
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, open it in a browser")
    for run in runs:
        if run.scored is None:
            print(f"{run.folder} was never evaluated; its scores come from {evaluation(run)}")


if __name__ == "__main__":
    command(main)
