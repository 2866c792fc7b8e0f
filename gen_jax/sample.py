"""CLI: draws samples from a trained run.

python -m gen_jax.sample --workdir runs/gan --num 64 --out digits.png [--given y=3]
python -m gen_jax.sample --workdir runs/mingru --num 4 --out plays.txt [--given prefix=ROMEO:] [--length 1000] [--temperature 0.8]
python -m gen_jax.sample --workdir runs/mixture --given 'species=setosa' --out rows.csv
python -m gen_jax.sample --workdir runs/forest --given 'age>60,city in Wien,Graz' --out rows.csv
python -m gen_jax.sample --workdir runs/mixture --given patients.csv --out completed.csv [--completions 5]
python -m gen_jax.sample --workdir runs/mingru --stream [--given prefix=ROMEO:] [--length 1000]
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from absl.flags import FlagValues

from gen_jax import config
from gen_jax.cli import command_line
from gen_jax.cli.process import command
from gen_jax.data.kinds import KINDS, kind_of
from gen_jax.data.kinds.sample_files import encode
from gen_jax.data.source import say_once
from gen_jax.data.spec import Spec
from gen_jax.data.tables import evidence
from gen_jax.data.tables.csv_files import for_spreadsheets, formulas
from gen_jax.devices import startup
from gen_jax.errors import UserError, choose
from gen_jax.files import write
from gen_jax.storage import loading
from gen_jax.verbs import best_replica
from gen_jax.verbs.conditioning import needs_condition, request_of
from gen_jax.verbs.draw import HOW, chosen_options, draw, draw_request, options_in
from gen_jax.verbs.given import Request

FLAGS: dict[str, tuple[Any, str]] = {
    "workdir": (None, "directory of the run"),
    "num": (64, "number of samples"),
    "seed": (0, "seed of the samples"),
    "step": (None, "step of the checkpoint; by default the selected checkpoint, or else the newest"),
    "replica": ("0", "number of the replica, from 0, or best"),
    "given": (
        [],
        "condition: y=CLASS, or y=all for each class in turn; prefix=TEXT for text; for paired data image=FILE, image=FOLDER, "
        + "text=WORDS, text=@FILE, numbers=A,B or split=NAME, and a further --given for a label; for a table NAME=VALUE, "
        + "NAME>VALUE, NAME in LOW..HIGH, NAME in VALUE,VALUE, with commas between conditions, or a CSV or Parquet file whose "
        + "missing cells are drawn",
    ),
    "completions": (
        1,
        "number of completions of the file of --given; several completions are written to OUT-1, OUT-2, ...",
    ),
    "length": (None, "length of sequences, in tokens or frames; by default as in the config, or else as in the data"),
    "temperature": (None, "temperature of sequences: below 1 favours likely values, 0 takes the likeliest value"),
    "top_k": (None, "number of likeliest tokens from which a token is drawn"),
    "top_p": (None, "total probability of the likeliest tokens from which a token is drawn"),
    "beam": (
        None,
        "number of hypotheses of a beam search for the likeliest text, for texts that end with a symbol; 0 draws texts",
    ),
    "length_penalty": (
        None,
        "exponent of the lengths that a beam search compares: higher favours longer texts; by default 0.6",
    ),
    "how": ([], HOW),
    "spreadsheet": (
        False,
        "write an apostrophe before cells of a CSV file that a spreadsheet would run as formulas, such as =1+1",
    ),
    "stream": (False, "print one text while it is drawn; --out is then optional"),
    "out": (
        None,
        "file to write: arrays (.npz), picture (.png), text (.txt, .tsv), music (.mid), sound (.wav) or rows (.csv)",
    ),
}


def main(argv: list[str]) -> None:
    """Draws `--num` samples from `--workdir` into `--out`, or prints one text while it is drawn.

    Args:
      argv: the command and its arguments.
    """
    flags = command_line.parse(argv, FLAGS, required="workdir")
    if flags.stream and flags["num"].present and flags.num != 1:
        raise UserError(f"--num is {flags.num} with --stream; expected 1, because --stream prints one text")
    num, saved = 1 if flags.stream else flags.num, flags.out is not None or not flags.stream
    if saved:
        suffixes = dict.fromkeys(suffix for kind in KINDS.values() for suffix in kind.suffixes)
        command_line.output_file(flags.out, "samples.png", (".npz", *suffixes))
    limits = {"num": (1, config.LARGEST - 1), "seed": (0, config.LARGEST - 1), "completions": (1, 10_000)}
    command_line.check_bounds(flags, limits)
    startup.start()
    loaded = loading.load(
        flags.workdir, command_line.integer("step", flags.step), best_replica.replica(flags.workdir, flags.replica)
    )
    length = command_line.integer("length", flags.length, 1) or loaded.config["sample"].get("length")
    if len(flags.given) == 1 and not needs_condition(loaded.model) and evidence.is_file(flags.given[0]):
        complete(flags, loaded, flags.given[0])
        return
    request, how = asked_for(flags, loaded, num, length), options_of(flags, loaded)
    if saved:
        command_line.output_file(flags.out, "samples.npz", (".npz", *kind_of(loaded.spec).suffixes))
    samples = draw_request(loaded.model, loaded.state, loaded.spec, flags.seed, request, how)
    if flags.stream:
        print()
    if saved:
        out = Path(flags.out)
        for suffix, content in encode(samples, loaded.spec, out.suffix).items():
            write(out.with_suffix(suffix), safe(flags, loaded.spec, suffix, content))
        title = "1 sample" if request.num == 1 else f"{request.num} samples"
        print(f"{title} of step {loaded.step} in {out}")


def options_of(flags: FlagValues, loaded: loading.Loaded) -> dict[str, Any]:
    """Returns the options of the sampler, by the flags and the config of the run.

    Args:
      flags: the flags of the command.
      loaded: the run.

    Raises:
      UserError: for a flag that is no number, or an option in another form.
    """
    options: dict[str, Any] = {
        name: command_line.number(name, flags[name].value) for name in ("temperature", "top_k", "top_p")
    }
    options |= {
        "beam": command_line.integer("beam", flags.beam),
        "length_penalty": command_line.number("length_penalty", flags.length_penalty),
    }
    options |= options_in(flags.how)
    if flags.stream:
        options["stream"] = printer(loaded.spec)
    return chosen_options(loaded.config["sample"], options)


def asked_for(flags: FlagValues, loaded: loading.Loaded, num: int, length: int | None) -> Request:
    """Returns the conditions of the flag `--given`.

    Args:
      flags: the flags of the command.
      loaded: the run.
      num: number of samples.
      length: length of sequences, or None.

    Raises:
      UserError: for `--completions` without a file, and as `request_of`.
    """
    if flags["completions"].present:
        raise UserError(
            f"--completions is {flags.completions} without a file in --given; expected a file, whose rows are completed"
        )
    counted = bool(flags["num"].present or flags.stream)
    return request_of(loaded.model, loaded.spec, loaded.config, flags.given, num, length, counted)


def complete(flags: FlagValues, loaded: loading.Loaded, path: str) -> None:
    """Writes the rows of the file that `--given` names with their missing cells drawn, `--completions` times.

    Args:
      flags: the flags of the command.
      loaded: the run.
      path: the file.

    Raises:
      UserError: if the data of the run are not a table, and in the cases of `evidence.read_file`.
    """
    spec, times, out = loaded.spec, flags.completions, Path(flags.out)
    if not spec.tabular:
        raise UserError(
            f"--given is {path} and {spec.name} holds {spec.kind} data; expected a table, whose rows are completed"
        )
    choose("file type of completed rows", out.suffix, (".csv", ".npz"))
    if flags["num"].present:
        raise UserError(
            f"--num is {flags.num} with --given {path}; expected no --num, because a file has its number of "
            "rows. See --completions"
        )
    table = evidence.read_file(spec, path)
    known = np.tile(table.x, (times, 1))
    given = evidence.as_given(spec, known)
    how = options_of(flags, loaded)
    drawn = draw(loaded.model, loaded.state, spec, flags.seed, len(known), given, how, fixed_cells=known)
    files = [out] if times == 1 else [out.with_name(f"{out.stem}-{each + 1}{out.suffix}") for each in range(times)]
    for file, x in zip(files, np.split(drawn["x"], times)):
        content = evidence.completed(spec, table, x, out.suffix)
        write(file, safe(flags, spec, out.suffix, content))
    cells = f"{np.isnan(table.x).sum()} cells of {len(table.x)} rows drawn by step {loaded.step}"
    print(f"{cells}, in {', '.join(map(str, files))}")


def safe(flags: FlagValues, spec: Spec, suffix: str, content: bytes) -> bytes:
    """Returns the content of a file in the form that `--spreadsheet` demands.

    Prints once if a spreadsheet would run levels of the data.

    Args:
      flags: the flags of the command.
      spec: facts of the data.
      suffix: suffix of the file.
      content: content of the file.
    """
    if suffix != ".csv":
        return content
    if flags.spreadsheet:
        return for_spreadsheets(content)
    found = formulas(spec)
    if found:
        say_once(
            f"a spreadsheet would run cells such as {found[0]!r} as formulas; --spreadsheet writes an apostrophe before them"
        )
    return content


def printer(spec: Spec) -> Callable[[np.ndarray], None]:
    """Returns a function of tokens [num] that prints the first token. It is called once for each time step.

    Args:
      spec: facts of the data.

    Raises:
      UserError: if the data are not text.
    """
    stream = kind_of(spec).stream
    if stream is None:
        raise UserError(f"{spec.name} holds {spec.kind} data; expected text for --stream")
    read = stream(spec)
    return lambda tokens: print(read(tokens[0]), end="", flush=True)


if __name__ == "__main__":
    command(main)
