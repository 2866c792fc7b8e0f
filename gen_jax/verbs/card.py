"""The card of a run: `README.md` in its directory, in the form that model hubs read (Mitchell et al. 2019, arXiv 1810.03993)."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gen_jax import files
from gen_jax.data.kinds import kind_of
from gen_jax.data.spec import Spec, levels, schema_lines
from gen_jax.errors import UserError
from gen_jax.metrics import catalogue
from gen_jax.metrics.scores import MARKS, legend, marked, real_data_cell
from gen_jax.models import MODELS
from gen_jax.verbs.reports import STEP, RunFacts, number, read

FILE = "README.md"
SIGNATURE = "<!-- written by gen_jax.report -->"
LICENCES = {  # data that are named, and not files of a user -> their licence
    **dict.fromkeys(
        ("digits", "iris", "wine", "breast_cancer", "adult"), "CC BY 4.0 (UCI Machine Learning Repository)"
    ),
    **dict.fromkeys(("gaussians", "sines", "rounds", "tones"), "made by gen_jax; no licence is needed"),
    "tiny_shakespeare": "public domain",
}
COPIES = ("memorisation", "duplicates", "longest_copy", "nearest_record")  # measures that find copies of training rows
SHOWN = 12  # columns or labels that are listed, at most


def write_card(folder: str, licence: str | None, data_licence: str | None) -> Path:
    """Writes the card of a run, and returns its path. A card of an earlier step is replaced.

    Args:
      folder: directory of the run.
      licence: licence of the weights; None if it is not stated.
      data_licence: licence of the data; None for the licence that gen_jax knows, if it knows one.

    Raises:
      UserError: for a directory without a run, or with a README.md that is no such card.
    """
    run = read([folder])[0]
    path = run.folder / FILE
    if path.is_symlink() or path.is_dir() or (path.exists() and SIGNATURE not in path.read_text(errors="replace")):
        raise UserError(f"{path} is no card of gen_jax.report; expected none. Move it, so that nothing is lost")
    files.write(path, card(run, licence, data_licence))
    return path


def card(run: RunFacts, licence: str | None = None, data_licence: str | None = None) -> str:
    """Returns the card of a run: Markdown with a head in YAML.

    Args:
      run: facts of the run.
      licence: licence of the weights; by default not stated.
      data_licence: licence of the data; by default the one that gen_jax knows.
    """
    family = str(run.settings.get("model.name") or "model")
    about = (MODELS[family].__doc__ or "").partition("\n")[0].removeprefix("Returns ") if family in MODELS else family
    sections = {
        "Samples": samples(run),
        "Data": data(run, data_licence),
        "Model": model(run),
        "Scores": scores(run),
        "Limits": limits(run),
        "Use": use(run),
    }
    about = about[:1].upper() + about[1:]
    parts = [head(run, family, licence), SIGNATURE, f"# {run.name}", about]
    parts += [f"## {name}\n\n{content}" for name, content in sections.items() if content]
    return "\n\n".join(parts) + "\n"


def head(run: RunFacts, family: str, licence: str | None) -> str:
    """Returns the head of a card: library, tags, licence, task and scores, as hubs index them.

    Args:
      run: facts of the run.
      family: name of the family.
      licence: licence of the weights, or None.
    """
    lines = ["library_name: gen_jax"]
    if licence is not None:
        lines.append(f"license: {json.dumps(licence)}")
    task = task_of(run.spec)
    if task:
        lines.append(f"pipeline_tag: {task}")
    lines += ["tags:", "- jax", f"- {json.dumps(family)}", f"- {json.dumps(run.spec.kind)}"]
    values = {name: entry["value"] for name, entry in run.scores.items() if np.isfinite(entry["value"] or 0)}
    values = {name: value for name, value in values.items() if value is not None}
    if values:
        lines += ["model-index:", f"- name: {json.dumps(run.name)}", "  results:", "  - task:"]
        lines += [f"      type: {task or 'other'}", "    dataset:"]
        lines += [f"      {key}: {json.dumps(run.spec.name)}" for key in ("type", "name")]
        lines.append("    metrics:")
        for name, value in values.items():
            lines += [f"    - type: {json.dumps(name)}", f"      value: {yaml_number(value)}"]
    return "\n".join(["---", *lines, "---"])


def yaml_number(value: float) -> str:
    """Returns a number as YAML reads it, which asks for a dot before an exponent.

    Args:
      value: a finite number.
    """
    mantissa, exponent, power = repr(value).partition("e")
    return f"{mantissa}{'' if '.' in mantissa or not exponent else '.0'}{exponent}{power}"


def task_of(spec: Spec) -> str | None:
    """Returns the name that hubs give to what a model of such data does; None where they have no name.

    Args:
      spec: facts of the data.
    """
    kind, condition = kind_of(spec), spec.condition
    reads = None if condition is None else kind_of(condition)
    if kind.sound:
        return "text-to-speech" if reads is not None and reads.tokens else "text-to-audio" if reads is None else None
    if kind.pixels:
        if reads is None:
            return "unconditional-image-generation"
        return "text-to-image" if reads.tokens else "image-to-image" if reads.still else None
    if kind.tokens and levels(spec):
        return "text-generation"
    return None


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table of Markdown.

    Args:
      heads: of the columns.
      rows: cells of each row.
    """
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def samples(run: RunFacts) -> str:
    """Returns the newest picture of samples, and links to other files of that step.

    Args:
      run: facts of the run.
    """
    names = [path for path in (run.folder / "samples").glob("*") if STEP.fullmatch(path.stem) and not path.is_symlink()]
    if not names:
        return ""
    step = max(int(path.stem) for path in names)
    suffixes = sorted(path.suffix for path in names if int(path.stem) == step)
    images = [f"![samples of step {step}](samples/{step}{suffix})" for suffix in suffixes if suffix in (".png", ".gif")]
    links = [
        f"[samples/{step}{suffix}](samples/{step}{suffix})" for suffix in suffixes if suffix not in (".png", ".gif")
    ]
    return "\n\n".join([*images, *links])


def listed(names: Sequence[str]) -> str:
    """Returns the first names with commas between them, and how many more there are.

    Args:
      names: the names.
    """
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def data(run: RunFacts, licence: str | None) -> str:
    """Returns the facts of the data.

    Args:
      run: facts of the run.
      licence: licence of the data, or None.
    """
    spec, path = run.spec, run.settings.get("data.path")
    known = None if path else LICENCES.get(str(run.settings.get("data.name")))
    rows = [
        ["name", spec.name],
        ["licence", licence or known or "not stated"],
        ["kind", spec.kind],
        ["shape of a row", " x ".join(map(str, spec.shape))],
        ["rows", ", ".join(f"{split} {size:,}" for split, size in spec.sizes.items())],
    ]
    if path:
        rows.append(["file", Path(path).name])
    if spec.classes:
        rows.append(["labels", listed(spec.classes)])
    if spec.condition is not None:
        rows.append(["condition", f"{spec.condition.kind} of shape {' x '.join(map(str, spec.condition.shape))}"])
    rows.append(["hash of the content", f"`{spec.content}`"])
    columns = schema_lines(spec) if spec.tabular else []
    about = "\n".join(f"- {line}" for line in columns[:SHOWN])
    more = f"\n- and {len(columns) - SHOWN} more columns" if len(columns) > SHOWN else ""
    return table(["", ""], rows) + (f"\n\nColumns:\n\n{about}{more}" if about else "")


def model(run: RunFacts) -> str:
    """Returns the progress of the run, and the settings of the model.

    Args:
      run: facts of the run.
    """
    last = run.metrics[-1] if run.metrics else {"step": 0, "seconds": 0}
    first, replicas = run.settings["seed"], run.settings["replicas"]
    seeds = str(first) if replicas == 1 else f"{first} to {first + replicas - 1}"
    rows = [
        ["steps", f"{last['step']:,} of {run.settings['steps']:,}"],
        ["rows in a step", str(run.settings["batch_size"])],
        ["seconds", f"{last['seconds']:,.0f}"],
        ["seeds", seeds],
    ]
    rows += [
        [f"`{name}`", f"`{json.dumps(value)}`"]
        for name, value in run.settings.items()
        if name.startswith("model.") and value is not None
    ]
    return table(["", ""], rows)


def scores(run: RunFacts) -> str:
    """Returns the scores beside those of real data, with the definition of each.

    Args:
      run: facts of the run.
    """
    if run.scored is None:
        return "The run was never evaluated. `python -m gen_jax.evaluate --workdir .` writes its scores, and `gen_jax.report` this card."
    rows = []
    for name, entry in run.scores.items():
        error, metric = entry.get("standard_error"), catalogue.metrics().get(name)
        value = number(entry["value"]) + ("" if error is None else f" ± {number(error)}")
        rows.append([marked(name, MARKS), value, real_data_cell(name, entry), metric.definition if metric else ""])
    lines = [
        f"Step {run.scored:,}. {legend(rows, MARKS)}".strip(),
        table(["metric", "value", "real data", "definition"], rows),
    ]
    return "\n\n".join(lines)


def limits(run: RunFacts) -> str:
    """Returns what the facts of the run do not show.

    Args:
      run: facts of the run.
    """
    last, steps = run.metrics[-1]["step"] if run.metrics else 0, run.settings["steps"]
    lines = []
    if last < steps:
        lines.append(f"Training has come to step {last:,} of {steps:,}.")
    if run.scored is not None and run.settings["replicas"] == 1:
        lines.append("The scores are of one seed. How much they vary between seeds is not known.")
    if not {*COPIES} & {*run.scores}:
        lines.append("Whether samples copy rows of the training data was not measured.")
    if run.scores and all(entry["oracle"] is None for entry in run.scores.values()):
        lines.append("No score of real data stands beside the scores.")
    if any(entry["value"] is None for entry in run.scores.values()):
        lines.append("A score that is a dash could not be computed.")
    lines.append(f"Samples resemble the rows of {run.spec.name}, with the biases and the gaps of these rows.")
    return "\n".join(f"- {line}" for line in lines)


def use(run: RunFacts) -> str:
    """Returns the commands and the program that draw samples, score the run, and train it again.

    Args:
      run: facts of the run.
    """
    suffix = kind_of(run.spec).suffixes[0] if kind_of(run.spec).suffixes else ".npz"
    test = str(run.settings.get("data.test_split"))
    split = test if run.spec.sizes.get(test) else run.spec.split
    conditional = run.spec.condition is not None and run.settings.get("model.conditional", True)
    given = f" --given split={split}" if conditional else ""
    num = min(16, run.spec.sizes.get(split, 16)) if conditional else 16
    lines = [
        f"python -m gen_jax.sample --workdir . --num {num}{given} --out samples{suffix}",
        "python -m gen_jax.evaluate --workdir .",
    ]
    repeats = not str(run.settings.get("data.name")).startswith("arrays:") and run.settings.get("model.name")
    if repeats:
        lines.append("python -m gen_jax.train --config config.json --workdir ../again")
    shell = "\n".join(lines)
    call = f"run.sample({num})" if not given else f'run.sample({num}, given="split={split}")'
    python = f'import gen_jax\n\nrun = gen_jax.load(".")\n{call}.save("samples{suffix}")'
    again = "The last command trains the same run again; the same machine gives the same bytes."
    if not repeats:
        again = "The data or the model are objects of the program that trained, which alone can train it again."
    elif run.settings.get("data.path"):
        again += " Add `--config.data.path=FILE` for the place of the data on your machine."
    return f"In this directory:\n\n```sh\n{shell}\n```\n\n{again}\n\n```python\n{python}\n```"
