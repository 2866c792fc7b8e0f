"""Scores a run: the mean over its replicas, and its newest checkpoint beside the selected one."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gen_jax import files
from gen_jax.data.feed.rows import read_rows
from gen_jax.errors import UserError
from gen_jax.metrics import catalogue
from gen_jax.metrics.comparison import Scored
from gen_jax.metrics.features import Rows
from gen_jax.metrics.progress import counter
from gen_jax.metrics.scores import Scores, mean_scores, read_scores, save_scores
from gen_jax.metrics.tables.page import page
from gen_jax.storage import directory, loading
from gen_jax.verbs.score import Scorer, scorer_of


class Evaluation(NamedTuple):
    """The scores of a run at one step."""

    loaded: loading.Loaded
    scores: Scores
    samples: Rows | None  # the samples of a table, of which `keep` draws a page


def evaluate_run(
    workdir: str,
    *,
    names: Iterable[str] = (),
    num: int | None = None,
    num_samples: int | None = None,
    step: int | None = None,
    replica: int | None = None,
    features: str | None = None,
    sampler: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Scores a run.

    Args:
      workdir: directory of the run.
      names: of metrics; none for the metrics of its config, or if it names none, for all that apply.
      num: number of samples; None: as in its config.
      num_samples: latents of each row for the importance weighted bound; None: as in its config.
      step: checkpoint; None: the newest, or the selected one with the value of the newest as `last`.
      replica: which replica; None: the mean of all.
      features: TorchScript network whose features replace the features of the classifier.
      sampler: options of the sampler; by default as in the config of the run.

    Raises:
      UserError: for a directory without a run, data that have changed, or metrics that do not apply.
    """
    loaded = loading.load(workdir, step, replica)
    num = num or loaded.config["evaluate"]["num"]
    scorer = scorer_of(loaded, chosen_names(loaded, names), num, features, num_samples, sampler)
    samples = None
    if loaded.spec.tabular:
        samples = scorer.draw(loaded.model, loaded.state)
    scores = replica_scores(scorer, loaded, samples)
    if not scores:
        raise UserError(f"no metric applies to {loaded.spec.name}; expected data that a metric measures")
    if step is None and loaded.config.get("select"):
        newest = loading.load(workdir, None, replica, last=True)
        for name, entry in replica_scores(scorer, newest).items():
            scores[name]["last"] = entry["value"]
    return Evaluation(loaded, scores, samples)


def chosen_names(loaded: loading.Loaded, names: Iterable[str]) -> list[str]:
    """Returns the names of metrics: the given names, or those of the config of a run, or the name of all that apply.

    Args:
      loaded: the run.
      names: a name, or several names; by none, the names of the config.
    """
    if isinstance(names, str):
        return [names]
    return [*names] or [*catalogue.current(loaded.config["evaluate"]["metrics"])] or [catalogue.ALL]


def replica_scores(scorer: Scorer, loaded: loading.Loaded, samples: Rows | None = None) -> Scores:
    """Returns the scores of a run: of the replica that was loaded, or of all replicas as one.

    Args:
      scorer: the scorer.
      loaded: the run.
      samples: raw samples of the loaded replica; None: they are drawn.
    """
    others = range(1, loaded.config["replicas"]) if loaded.replica is None else range(0)
    scores = []
    with counter(1 + len(others), "replicas", "replica", visible=bool(others)) as bar:
        scores.append(scorer.score(loaded.model, loaded.state, samples))
        bar.update()
        for other in others:
            state = loading.load(loaded.workdir, loaded.step, other, model=loaded.model).state
            scores.append(scorer.score(loaded.model, state))
            bar.update()
    return mean_scores(scores)


def scored(loaded: loading.Loaded, scores: Scores) -> Scored:
    """Returns the scores of a run, for a comparison.

    Args:
      loaded: the run.
      scores: its scores.
    """
    seeds = seeds_of(loaded.config)
    if loaded.replica is not None:
        seeds = seeds[loaded.replica : loaded.replica + 1]
    return Scored(str(loaded.workdir), scores, seeds)


def stored(workdir: str) -> Scored:
    """Returns the stored scores of a run, for a comparison.

    Raises:
      UserError: for a run without scores.
    """
    return Scored(workdir, read_scores(workdir), seeds_of(directory.read_config(Path(workdir))))


def seeds_of(settings: Mapping[str, Any] | None) -> tuple[int, ...]:
    """Returns the seeds of the replicas of a run; none without its config."""
    if settings is None:
        return ()
    return tuple(range(settings["seed"], settings["seed"] + settings["replicas"]))


def keep(workdir: Path, evaluation: Evaluation) -> None:
    """Writes the scores of a run into `evaluation.json`, and for a table the page `table.png`.

    Raises:
      UserError: for a directory that cannot be written, or data that have changed.
    """
    loaded = evaluation.loaded
    save_scores(workdir, loaded.step, evaluation.scores)
    if evaluation.samples is not None:
        files.write(workdir / "table.png", table_page(loaded, evaluation.samples))


def table_page(loaded: loading.Loaded, samples: Rows) -> bytes:
    """Returns the page of samples of a table beside its test rows, or beside its training rows without a test split."""
    spec, options = loaded.spec, loaded.config["data"]
    splits = (options[name] for name in ("test_split", "split"))
    split = next(split for split in splits if spec.sizes.get(split))
    return page(spec, read_rows(spec, options, split)[1]["x"], samples["x"])
