"""CLI and function: draw from a trained run.

python -m gen_jax.sample --workdir runs/gan --num 64 --out digits.png [--given y=3]
python -m gen_jax.sample --workdir runs/mingru --num 4 --out plays.txt [--given prefix=ROMEO:] [--length 1000] [--temperature 0.8]
python -m gen_jax.sample --workdir runs/mixture --given 'species=setosa' --out rows.csv
python -m gen_jax.sample --workdir runs/forest --given 'age>60,city in Wien,Graz' --out rows.csv
python -m gen_jax.sample --workdir runs/mixture --given patients.csv --out completed.csv [--completions 5]
python -m gen_jax.sample --workdir runs/mingru --stream [--given prefix=ROMEO:] [--length 1000]
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from operator import itemgetter
from pathlib import Path

import jax
import numpy as np
from absl.flags import FlagValues
from tqdm import tqdm

from gen_jax import best, command_line, config, run, sharding
from gen_jax.data import evidence
from gen_jax.data.samples import SUFFIXES, encode
from gen_jax.data.source import say_once
from gen_jax.data.spec import SEQUENCES, Spec, to_data
from gen_jax.data.tables import for_spreadsheets, formulas
from gen_jax.data.texts import reader, tokens_of
from gen_jax.errors import UserError, choose, command, whole_number
from gen_jax.files import write
from gen_jax.keys import root
from gen_jax.model import Model, State

fold_in = jax.jit(jax.random.fold_in)  # by itself it takes a third of a millisecond a chunk
CHUNK = 256  # samples per compiled call: one compilation whatever `num`, and sample i depends on (seed, i) alone
SHORT = 16  # of sequences
MOST_DRAWN, RAREST = 2**18, 1e-4  # rows after which it is an error that less than such a share of them fits a condition
FLAGS = {
    "workdir": (None, "directory of the run"),
    "num": (64, "how many samples"),
    "seed": (0, "of the draw"),
    "step": (None, "checkpoint to draw from; the newest, or the selected one, where unset"),
    "replica": ("0", "which of a run's replicas to draw from: a number, or best"),
    "given": (
        None,
        "a condition: y=CLASS, or y=all for each class in turn; prefix=TEXT of text; of a table NAME=VALUE, NAME>VALUE, "
        + "NAME in LOW..HIGH, NAME in VALUE,VALUE, several between commas, or a CSV or Parquet file whose empty cells are drawn",
    ),
    "completions": (1, "how often the file of --given is completed: from 2 on into as many files, OUT-1, OUT-2, ..."),
    "length": (None, "of sequences, in tokens or frames; where unset as in the run's config, or its data"),
    "temperature": (None, "of sequences: below 1 is bolder towards the likely, 0 takes the likeliest"),
    "top_k": (None, "of tokens: only the so many likeliest are drawn"),
    "top_p": (None, "of tokens: only the likeliest that together have this probability are drawn"),
    "spreadsheet": (
        False,
        "of a CSV file: an apostrophe before cells that a spreadsheet would run as formulas, such as =1+1",
    ),
    "stream": (False, "print one text while it is written, with --out or without"),
    "out": (None, "file to write: .npz holds arrays, .png a picture, .txt text, .mid music, .wav sound, .csv rows"),
}


def draw(
    model: Model,
    state: State,
    spec: Spec,
    seed: int,
    num: int,
    given: Mapping[str, np.ndarray] | None = None,
    stream: Callable[[np.ndarray], None] | None = None,
    size: int | None = None,
    known: np.ndarray | None = None,
    fits: Callable[[np.ndarray], np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """`num` samples in the data's own domain: `x` [num, *shape] of the data's type, and whatever else is modelled.

    The leaves of `given` lead with `num`. `stream` is called with each frame of the samples when it is drawn. `size` is how
    many are drawn together, `CHUNK` where None, and of sequences `SHORT`. `known` [num, D] are the cells of a table that
    `given` holds fixed, as they are in the data's own domain, NaN elsewhere. `fits` tells which rows x [N, D] of a table
    stay: the samples are the first `num` of them, and exact, because what is drawn is the model's; then all rows of
    `given` are alike.

    Raises:
      UserError: where next to no row fits.
    """
    size = size or (SHORT if spec.kind in SEQUENCES else CHUNK)
    asked = {**(given or {}), **({"stream": stream} if stream else {})}
    chunks = _chunks(model, state, seed, None if fits else num, asked, size)
    if fits:
        return _first_that_fit(spec, chunks, num, known, fits)
    found: list[dict] = []
    for chunk in chunks:
        found.append(chunk)
        found[-2:-1] = jax.device_get(found[-2:-1])  # while the next is drawn
    return _together(spec, jax.device_get(found), num, known)


def _chunks(
    model: Model, state: State, seed: int, num: int | None, given: dict, size: int
) -> Iterator[dict[str, jax.Array]]:
    """Yields samples, `size` at a time, until there are `num`; without end, all given the first row, if `num` is None."""
    key = root(seed, "samples")
    for number in count() if num is None else range(-(-num // size)):
        rows = np.minimum(
            np.arange(number * size, (number + 1) * size), 0 if num is None else num - 1
        )  # all chunks are whole
        asked = {name: each if callable(each) else jax.tree.map(itemgetter(rows), each) for name, each in given.items()}
        yield model.sample(fold_in(key, number), state, size, asked or None)


def _together(spec: Spec, chunks: Sequence[dict], num: int, known: np.ndarray | None) -> dict[str, np.ndarray]:
    """Returns the first `num` samples of some chunks in the data's own domain, with the cells that are known as they are."""
    samples = {name: np.concatenate([chunk[name] for chunk in chunks])[:num] for name in chunks[0]}
    x = to_data(spec, samples["x"])
    return {**samples, "x": x if known is None else np.where(np.isnan(known), x, known)}


def _first_that_fit(
    spec: Spec, chunks: Iterable[dict], num: int, known: np.ndarray | None, fits: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    found, fitting, drawn = [], 0, 0
    with tqdm(total=num, desc="rows that fit", unit="row", delay=2) as bar:
        for chunk in chunks:
            size = len(chunk["x"])
            part = _together(spec, [jax.device_get(chunk)], size, None if known is None else known[:1])
            stays = fits(part["x"])
            found.append({name: value[stays] for name, value in part.items()})
            fitting, drawn = fitting + int(stays.sum()), drawn + size
            bar.update(int(stays.sum()))
            if fitting >= num:
                break
            if drawn >= MOST_DRAWN and fitting < RAREST * drawn:
                raise UserError(
                    f"given: {fitting} of {drawn:,} drawn rows fit; expected a condition that more rows fit"
                )
    print(f"{fitting / drawn:.2%} of the drawn rows fit")
    return {name: np.concatenate([part[name] for part in found])[:num] for name in found[0]}


def parse_given(text: str | None, num: int, spec: Spec, length: int | None = None) -> dict[str, np.ndarray] | None:
    """What `--given` and `--length` ask for.

    Args:
      text: `y=CLASS` by number or name, or `y=all`, class i mod classes for sample i; of text, `prefix=TEXT`; of a table
        what `evidence.said` reads.
      length: of the sequences, in tokens or frames.

    Raises:
      UserError: for anything else, data without labels, an unknown class or character, a length of what is no sequence.
    """
    if length is not None and spec.kind not in SEQUENCES:
        raise UserError(f"--length {length}: {spec.name} holds {spec.kind} data, no sequences")
    if length is not None and not 1 <= length < config.LARGEST:
        raise UserError(f"--length {length}: expected 1 to {config.LARGEST - 1}")
    given = {} if length is None else {"length": np.full(num, length, np.int32)}
    if text is not None and spec.kind == "table":
        return evidence.said(spec, text, num)
    if text is not None:
        name, _, value = text.partition("=")
        kinds = {"y": _labels, "prefix": _prefix} if spec.kind == "text" else {"y": _labels}
        if name not in kinds or not value:
            raise UserError(f"--given {text}: expected y=CLASS or y=all" + ", or prefix=TEXT" * (len(kinds) > 1))
        given |= kinds[name](text, value, num, spec, length)
    return given or None


def _prefix(text: str, value: str, num: int, spec: Spec, length: int | None) -> dict[str, np.ndarray]:
    x = tokens_of(spec, value)
    rest = max(0, (length or spec.shape[0]) - len(x))
    mask = np.arange(len(x) + rest) < len(x)
    return {"x": np.tile(np.pad(x, (0, rest)), (num, 1)), "mask": np.tile(mask, (num, 1))}


def _labels(text: str, value: str, num: int, spec: Spec, length: int | None) -> dict[str, np.ndarray]:
    if not spec.classes:
        raise UserError(f"--given {text}: {spec.name} has no labels")
    if value == "all":
        return {"y": np.arange(num, dtype=np.int32) % len(spec.classes)}
    if value in spec.classes:
        value = str(spec.classes.index(value))
    elif spec.info.get("labels", "U") in "biu":  # whose names are numbers: no other number is a class
        choose(f"class of {spec.name}", value, spec.classes)
    number = whole_number(value)
    if number is None or number >= len(spec.classes):
        choose(f"class of {spec.name}", value, spec.classes)
    return {"y": np.full(num, number, np.int32)}


def main(argv: list[str]) -> None:
    """Draws `--num` samples from `--workdir` into `--out`, or one text onto the screen, as it is written."""
    flags = command_line.parse(argv, FLAGS, required="workdir")
    if flags.stream and flags["num"].present and flags.num != 1:
        raise UserError(f"--num={flags.num}: --stream prints one text, expected 1")
    num, saved = 1 if flags.stream else flags.num, flags.out is not None or not flags.stream
    if saved:
        suffixes = (".npz", *{each: 0 for kind in SUFFIXES.values() for each in kind})
        command_line.output_file(flags.out, "samples.png", suffixes)
    limits = {"num": (1, config.LARGEST - 1), "seed": (0, config.LARGEST - 1), "completions": (1, 10_000)}
    command_line.check_bounds(flags, limits)
    sharding.start()
    loaded = run.load(
        flags.workdir, command_line.integer("step", flags.step), best.replica(flags.workdir, flags.replica)
    )
    length = command_line.integer("length", flags.length, 1) or loaded.config["sample"].get("length")
    if evidence.is_file(flags.given):
        complete(flags, loaded)
        return
    if flags["completions"].present:
        raise UserError(f"--completions={flags.completions}: expected a file in --given, whose rows are completed")
    given = parse_given(flags.given, num, loaded.spec, length)
    choice = {name: command_line.number(name, flags[name].value) for name in ("temperature", "top_k", "top_p")}
    given = {**(given or {}), **{name: np.full(num, each) for name, each in choice.items() if each is not None}}
    if saved:
        command_line.output_file(flags.out, "samples.npz", (".npz", *SUFFIXES[loaded.spec.kind]))
    stream = printer(loaded.spec) if flags.stream else None
    known = evidence.said_cells(loaded.spec, flags.given, num) if flags.given and loaded.spec.kind == "table" else None
    fits = evidence.said_within(loaded.spec, flags.given)
    samples = draw(loaded.model, loaded.state, loaded.spec, flags.seed, num, given, stream, known=known, fits=fits)
    if flags.stream:
        print()
    if saved:
        out = Path(flags.out)
        for suffix, content in encode(samples, loaded.spec, out.suffix).items():
            write(out.with_suffix(suffix), safe(flags, loaded.spec, suffix, content))
        print(f"{num} samples of step {loaded.step} in {out}")


def complete(flags: FlagValues, loaded: run.Run) -> None:
    """Writes the rows of the file that `--given` names with their empty cells drawn, `--completions` times.

    Raises:
      UserError: where the run's data are no table, and as `evidence.read_file`.
    """
    spec, times, out = loaded.spec, flags.completions, Path(flags.out)
    if spec.kind != "table":
        raise UserError(f"--given {flags.given}: {spec.name} holds {spec.kind} data, and only tables are completed")
    choose("file type of completed rows", out.suffix, (".csv", ".npz"))
    if flags["num"].present:
        raise UserError(f"--num={flags.num}: --given {flags.given} says which rows are drawn; see --completions")
    table = evidence.read_file(spec, flags.given)
    known = np.tile(table.x, (times, 1))
    given = evidence.as_given(spec, known)
    drawn = draw(loaded.model, loaded.state, spec, flags.seed, len(known), given, known=known)
    files = [out] if times == 1 else [out.with_name(f"{out.stem}-{each + 1}{out.suffix}") for each in range(times)]
    for file, x in zip(files, np.split(drawn["x"], times)):
        content = evidence.completed(spec, table, x, out.suffix)
        write(file, safe(flags, spec, out.suffix, content))
    cells = f"{np.isnan(table.x).sum()} cells of {len(table.x)} rows drawn by step {loaded.step}"
    print(f"{cells}, in {', '.join(map(str, files))}")


def safe(flags: FlagValues, spec: Spec, suffix: str, content: bytes) -> bytes:
    """Returns the content of a file as `--spreadsheet` asks for; says once if a spreadsheet would run some of its levels."""
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
    """A function that prints the first of the tokens [num] that it is called with, one time after the other.

    Raises:
      UserError: where the data are no text.
    """
    if spec.kind != "text":
        raise UserError(f"--stream prints text, and {spec.name} holds {spec.kind} data")
    read = reader(spec)
    return lambda tokens: print(read(tokens[0]), end="", flush=True)


if __name__ == "__main__":
    command(main)
