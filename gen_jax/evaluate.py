"""CLI: scores a trained run, beside the scores of real held-out data.

python -m gen_jax.evaluate --workdir runs/gan [--metrics frechet,coverage] [--against runs/other]
"""

import sys
from pathlib import Path
from typing import Any

from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.devices import startup
from gen_jax.errors import UserError
from gen_jax.metrics.comparison import comparison_table, refuse_other_protocol
from gen_jax.metrics.scores import heading, marks_for, table
from gen_jax.verbs import best_replica
from gen_jax.verbs.draw import HOW, options_in
from gen_jax.verbs.evaluation import evaluate_run, keep, scored, stored
from gen_jax.verbs.result_file import check_result, write_result

FLAGS: dict[str, tuple[Any, str]] = {
    "workdir": (None, "directory of the run"),
    "num": (None, "number of samples; by default as in the config"),
    "metrics": (None, "names of metrics, separated by commas; by default as in the config, or else all that apply"),
    "num_samples": (
        None,
        "number of latents for each row in the importance weighted bound nll_bound; by default as in the config",
    ),
    "temperature": (None, "temperature of the samples, as in gen_jax.sample; by default as in the config"),
    "beam": (None, "number of hypotheses of a beam search, as in gen_jax.sample; by default as in the config"),
    "how": ([], HOW),
    "step": (None, "step of the checkpoint; by default the newest checkpoint, and the selected checkpoint beside it"),
    "replica": (
        None,
        "number of the replica, from 0, or best; by default the mean of all replicas, with its standard error",
    ),
    "features": (None, "TorchScript file of a network that replaces the classifier, such as Inception for the FID"),
    "against": (
        None,
        "directory of another run, whose stored scores are printed beside the scores, with the differences",
    ),
    "record": (None, "new file results/NAME.json for the scores, with commit, flags, seeds, hardware and seconds"),
    "config": (None, "config file of the run, for --record; by default configs/NAME.py for runs/NAME"),
}


def main(argv: list[str]) -> None:
    """Scores `--workdir`, prints a table and writes `evaluation.json`, and for a table of rows the page `table.png`."""
    flags = command_line.parse(argv, FLAGS, required="workdir")
    other_run = stored(flags.against) if flags.against else None
    if flags.record:
        check_result(Path(flags.record), Path(flags.workdir), flags.config)
    startup.start()
    replica = None if flags.replica is None else best_replica.replica(flags.workdir, flags.replica)
    evaluation = evaluate_run(
        flags.workdir,
        names=flags.metrics.split(",") if flags.metrics else (),
        num=command_line.integer("num", flags.num, 1),
        num_samples=command_line.integer("num_samples", flags.num_samples, 1),
        step=command_line.integer("step", flags.step),
        replica=replica,
        features=flags.features,
        sampler={
            "temperature": command_line.number("temperature", flags.temperature),
            "beam": command_line.integer("beam", flags.beam),
            **options_in(flags.how),
        },
    )
    marks = marks_for(sys.stdout)
    print(heading(evaluation.loaded.step, evaluation.scores))
    print(table(evaluation.scores, marks))
    try:
        keep(Path(flags.workdir), evaluation)
    except UserError as error:
        print(f"these scores are not kept: {error}")
    if flags.record:
        write_result(Path(flags.record), evaluation, replica, flags.config)
    if other_run is not None:
        print("\n" + comparison_table(scored(evaluation.loaded, evaluation.scores), other_run, marks))
        refuse_other_protocol(evaluation.scores, other_run.scores, other_run.name)


if __name__ == "__main__":
    command(main)
