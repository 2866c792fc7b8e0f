"""CLI: score a trained run, beside what real held-out data scores.

python -m gen_jax.evaluate --workdir runs/gan [--metrics frechet,coverage] [--against runs/other]
"""

from pathlib import Path

from gen_jax import files
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.feed.rows import read_rows
from gen_jax.devices import startup
from gen_jax.errors import UserError
from gen_jax.metrics import ALL, Rows
from gen_jax.metrics.scores import Scores, mean_scores, read_scores, refuse_other_protocol, save_scores, table
from gen_jax.metrics.tables.page import page
from gen_jax.storage import loading
from gen_jax.training import selection
from gen_jax.verbs.draw import draw
from gen_jax.verbs.score import scorer_of


def picture(loaded: loading.Run, file: Path, samples: Rows) -> None:
    """Writes the page of a table's samples beside the rows of its test split, or of its training split without one."""
    spec, splits = loaded.spec, [loaded.config["data"][name] for name in ("test_split", "split")]
    rows = read_rows(spec, loaded.config["data"], next(split for split in splits if spec.sizes.get(split)))[1]["x"]
    files.write(file, page(spec, rows, samples["x"]))


def main(argv: list[str]) -> None:
    """Scores `--workdir`, prints a table and writes `evaluation.json`; of a table also the page `table.png`."""
    flags = command_line.parse(
        argv,
        {
            "workdir": (None, "directory of the run"),
            "num": (None, "how many samples; as in its config where unset"),
            "metrics": (None, "names, separated by commas; those of its config, or all that apply, where unset"),
            "num_samples": (
                None,
                "latents a row, for the importance weighted bound nll_bound; as in its config where unset",
            ),
            "step": (None, "checkpoint to score; the newest, or the selected one beside it, where unset"),
            "replica": (
                None,
                "which of a run's replicas to score, a number or best; all of them, as mean and error, where unset",
            ),
            "features": (
                None,
                "TorchScript file of a network (Inception, for the FID) to compare by, not the classifier",
            ),
            "against": (None, "another run, whose stored scores are printed beside these"),
        },
        required="workdir",
    )
    others = read_scores(flags.against) if flags.against else None
    startup.start()
    step = command_line.integer("step", flags.step)
    one = None if flags.replica is None else selection.replica(flags.workdir, flags.replica)
    loaded = loading.load(flags.workdir, step, one or 0)
    settings = loaded.config["evaluate"]
    names = flags.metrics.split(",") if flags.metrics else settings["metrics"] or [ALL]
    num = command_line.integer("num", flags.num, 1) or settings["num"]
    score = scorer_of(loaded, names, num, flags.features, command_line.integer("num_samples", flags.num_samples, 1))
    others_of = range(1, loaded.config["replicas"]) if one is None else ()

    def scores_of(found: loading.Run, samples: Rows | None = None) -> Scores:
        states = (loading.load(flags.workdir, found.step, each).state for each in others_of)
        first = score(found.model, found.state, samples)
        return mean_scores([first, *(score(found.model, state) for state in states)])

    samples = None
    if loaded.spec.tabular:  # for the scores and the page
        samples = draw(loaded.model, loaded.state, loaded.spec, settings["seed"], num)
    scores = scores_of(loaded, samples)
    if not scores:
        raise UserError(f"no metric applies to {loaded.spec.name}")
    if step is None and loaded.config.get("select"):
        for name, each in scores_of(loading.load(flags.workdir, None, one or 0, last=True)).items():
            scores[name]["last"] = each["value"]
    print(f"step {loaded.step}, {num} samples")
    print(table(scores, others, Path(flags.against or "").name))
    try:
        save_scores(Path(flags.workdir), loaded.step, scores)
        if samples:
            picture(loaded, Path(flags.workdir) / "table.png", samples)
    except UserError as error:
        print(f"these scores are not kept: {error}")
    if others is not None:
        refuse_other_protocol(scores, others, flags.against)


if __name__ == "__main__":
    command(main)
