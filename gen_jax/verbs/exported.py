"""Draws samples from an exported sampler. Such a file holds this module, so it needs JAX, flatbuffers and NumPy alone.

python sampler.zip --num 64 --out samples.npz [--seed 1] [--given y=3] [--given conditions.npz]

In a program: `sys.path.insert(0, "sampler.zip")`, `import exported`, `exported.draw(exported.load("sampler.zip"), 64)`.
"""

import argparse
import io
import json
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export

from gen_jax.data.domain import class_number, drawn_in_domain, in_model_space, named_labels

FACTS, WEIGHTS = "facts.json", "weights.npz"
LARGEST = 2**31  # exclusive upper limit of seeds and numbers of samples


class Sampler(NamedTuple):
    """Holds an exported sampler: plain facts, the weights of each program, and the programs by names of conditions."""

    facts: dict[str, Any]
    weights: dict[str, list[np.ndarray]]
    programs: dict[str, Any]


def load(path: str | Path) -> Sampler:
    """Reads an exported sampler.

    Args:
      path: the file that `gen_jax.export` wrote.
    """
    with zipfile.ZipFile(path) as archive:
        facts = json.loads(archive.read(FACTS))
        with np.load(io.BytesIO(archive.read(WEIGHTS)), allow_pickle=False) as arrays:
            leaves = {int(name): arrays[name] for name in arrays.files}
        programs = {
            name: jax.jit(export.deserialize(bytearray(archive.read(f"{name}.bin"))).call) for name in facts["programs"]
        }
    weights = {name: [leaves[number] for number in kept] for name, kept in facts["programs"].items()}
    return Sampler(facts, weights, programs)


def draw(
    sampler: Sampler, num: int, seed: int = 0, given: Mapping[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Draws samples in the domain of the data: the bytes that `gen_jax.sample` writes on the same machine.

    Args:
      sampler: the sampler.
      num: number of samples.
      seed: seed of the samples, from 0; by default 0.
      given: conditions of the samples in the domain of the data, arrays with the leading axis `num`; by default None.
        They are labels `y`, and `c` with `c_length`.

    Raises:
      ValueError: for a number or a seed out of its range, conditions that the sampler does not take, or wrong values.
    """
    for name, value, low in (("num", num, 1), ("seed", seed, 0)):
        if not low <= value < LARGEST:
            raise ValueError(f"{name} is {value}; expected {low} to {LARGEST - 1}")
    facts, given = sampler.facts, dict(given or {})
    name = "-".join(["sampler", *(each for each in facts["given"] if each in given)])
    if name not in sampler.programs or not given.keys() <= facts["given"].keys():
        choices = [program.split("-")[1:] for program in sampler.programs]
        names = " or ".join(", ".join(each) or "nothing" for each in choices)
        raise ValueError(f"given holds {', '.join(given) or 'nothing'}; expected {names}")
    rows = {each: condition_rows(facts, each, np.asarray(value), num) for each, value in given.items()}
    size, chunks = facts["chunk"], []
    for number in range(-(-num // size)):
        places = np.minimum(np.arange(number * size, (number + 1) * size), num - 1)
        conditions = {each: value[places] for each, value in rows.items()}
        arguments = (sampler.weights[name], np.uint32(seed), np.uint32(number), conditions)
        chunks.append(jax.device_get(sampler.programs[name](*arguments)))
    samples = drawn_in_domain(facts["domain"], chunks, num)
    if "y" in samples:
        samples["y"] = named_labels(facts["classes"], facts["label_type"], samples["y"])
    return samples


def condition_rows(facts: Mapping[str, Any], name: str, value: np.ndarray, num: int) -> np.ndarray:
    """Returns a condition of all samples, as the programs take it.

    Args:
      facts: facts of the sampler.
      name: name of the condition.
      value: the condition [num, ...]. Shorter texts than those of the program are padded.
      num: number of samples.

    Raises:
      ValueError: for another shape or type, an unknown label or token, or a length out of its range.
    """
    shape, condition = facts["given"][name], facts["domain"]["condition"]
    tokens = name == "c" and condition["tokens"]
    if tokens and value.ndim == 2 and value.shape[1] < shape[0]:
        value = np.pad(value, ((0, 0), (0, shape[0] - value.shape[1])))
    if list(value.shape) != [num, *shape]:
        raise ValueError(f"shape of {name} is {[*value.shape]}; expected {[num, *shape]}")
    if name == "y":
        return label_numbers(facts, value)
    if name == "c" and not tokens:
        if value.dtype.kind not in "iuf":
            raise ValueError(f"type of c is {value.dtype}; expected numbers")
        return np.asarray(in_model_space(condition, value))
    low, high = (0, tokens - 1) if tokens else (1, facts["given"]["c"][0])
    if value.dtype.kind not in "iu" or ((value < low) | (value > high)).any():
        raise ValueError(f"{name} holds other values than whole numbers from {low} to {high}; expected such numbers")
    return value.astype(np.int32)


def label_numbers(facts: Mapping[str, Any], y: np.ndarray) -> np.ndarray:
    """Returns the numbers of labels, from 0.

    Args:
      facts: facts of the sampler.
      y: labels as in the data [N].

    Raises:
      ValueError: for a label that the data do not have.
    """
    classes = facts["classes"]
    names = named_labels(classes, facts["label_type"], np.arange(len(classes))).tolist()
    numbers = {label: number for number, label in enumerate(names)}
    unknown = [label for label in y.tolist() if label not in numbers]
    if unknown:
        raise ValueError(f"y holds {unknown[0]!r}; expected labels of the data: {', '.join(map(str, names))}")
    return np.array([numbers[label] for label in y.tolist()], np.int32)


def conditions_in(facts: Mapping[str, Any], texts: Sequence[str], num: int) -> dict[str, np.ndarray]:
    """Returns the conditions that values of `--given` ask for.

    Args:
      facts: facts of the sampler.
      texts: `y=CLASS` by name or, if the names are no numbers, by number from 0; `y=all` for all classes in turn; or
        the name of an `.npz` file of arrays.
      num: number of samples.

    Raises:
      ValueError: for another text, or a file that cannot be read.
    """
    given: dict[str, np.ndarray] = {}
    classes = facts["classes"]
    names = named_labels(classes, facts["label_type"], np.arange(len(classes)))
    for text in texts:
        name, _, label = text.partition("=")
        number = class_number(classes, facts["label_type"], label) if name == "y" else None
        if text.endswith(".npz"):
            given |= arrays_in(text)
        elif text == "y=all" and classes:
            given["y"] = names[np.arange(num) % len(classes)]
        elif number is not None:
            given["y"] = names[np.full(num, number)]
        else:
            expected = f"y=all, or y=CLASS of {', '.join(classes)}" if classes else "no label"
            raise ValueError(f"--given is {text}; expected {expected}, or a file of arrays (.npz)")
    return given


def arrays_in(path: str) -> dict[str, np.ndarray]:
    """Returns the arrays of an `.npz` file by name.

    Args:
      path: the file.

    Raises:
      ValueError: for a file that cannot be read, or another kind of file.
    """
    try:
        with zipfile.ZipFile(path), np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is another kind of file"
        raise ValueError(f"cannot read {path}: {reason}; expected a file of arrays (.npz)") from None


def main(argv: Sequence[str]) -> None:
    """Writes samples to an `.npz` file.

    Args:
      argv: the sampler file and the arguments.
    """
    try:
        sampler = load(argv[0])
    except (ValueError, ImportError, KeyError, OSError, zipfile.BadZipFile) as error:
        sys.exit(f"error: cannot read {argv[0]}: {error}")
    facts = sampler.facts
    told = f"{facts['title']}. {facts['promise']}"
    parser = argparse.ArgumentParser(prog=f"python {argv[0]}", description=told)
    parser.add_argument("--num", type=int, default=64, help="number of samples; by default 64")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples; by default 0")
    parser.add_argument("--given", action="append", default=[], help="y=CLASS, y=all, or a file of arrays (.npz)")
    parser.add_argument("--out", default="samples.npz", help="file to write (.npz); by default samples.npz")
    flags = parser.parse_args(argv[1:])
    if not flags.out.endswith(".npz"):
        parser.error(f"--out is {flags.out}; expected a file such as samples.npz")
    try:
        samples = draw(sampler, flags.num, flags.seed, conditions_in(facts, flags.given, flags.num))
        np.savez(flags.out, **samples)  # type: ignore[arg-type]  # no array is named allow_pickle
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"{flags.num} samples in {flags.out}")
