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

from gen_jax.data.domain import drawn_in_domain, in_model_space, named_labels

FACTS, WEIGHTS = "facts.json", "weights.npz"


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
    """Draws samples in the domain of the data: the bytes that `gen_jax.sample` draws on the same machine.

    Args:
      sampler: the sampler.
      num: number of samples.
      seed: seed of the samples, from 0; by default 0.
      given: conditions of the samples, arrays with the leading axis `num`; by default None. They are labels `y`, and
        `c` with `c_length` in the domain of the data.

    Raises:
      ValueError: for conditions that the sampler does not take, or of another shape.
    """
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
        chunks.append(
            jax.device_get(
                sampler.programs[name](sampler.weights[name], np.uint32(seed), np.uint32(number), conditions)
            )
        )
    return drawn_in_domain(facts["domain"], chunks, num)


def condition_rows(facts: Mapping[str, Any], name: str, value: np.ndarray, num: int) -> np.ndarray:
    """Returns a condition of all samples, as the programs take it.

    Args:
      facts: facts of the sampler.
      name: name of the condition.
      value: the condition [num, ...]. Shorter sequences than those of the program are padded.
      num: number of samples.

    Raises:
      ValueError: for another shape, or a label that is no class.
    """
    shape, classes = facts["given"][name], len(facts["classes"])
    if name == "c" and facts["domain"]["condition"]["tokens"] and value.ndim == 2 and value.shape[1] < shape[0]:
        value = np.pad(value, ((0, 0), (0, shape[0] - value.shape[1])))
    if list(value.shape) != [num, *shape]:
        raise ValueError(f"shape of {name} is {[*value.shape]}; expected {[num, *shape]}")
    if name == "c":
        return np.asarray(in_model_space(facts["domain"]["condition"], value))
    if name == "y" and not ((value >= 0) & (value < classes)).all():
        raise ValueError(f"y holds {value.min()} to {value.max()}; expected classes from 0 to {classes - 1}")
    return value.astype(np.int32)


def conditions_in(facts: Mapping[str, Any], texts: Sequence[str], num: int) -> dict[str, np.ndarray]:
    """Returns the conditions that values of `--given` ask for.

    Args:
      facts: facts of the sampler.
      texts: `y=CLASS` by number or name, `y=all` for all classes in turn, or the name of an `.npz` file of arrays.
      num: number of samples.

    Raises:
      ValueError: for another text.
    """
    given: dict[str, np.ndarray] = {}
    classes = facts["classes"]
    for text in texts:
        label = text.removeprefix("y=")
        if text.endswith(".npz"):
            with np.load(text, allow_pickle=False) as arrays:
                given |= {name: arrays[name] for name in arrays.files}
        elif label != text and label == "all":
            given["y"] = np.arange(num) % max(len(classes), 1)
        elif label != text and (label in classes or label.isdecimal()):
            given["y"] = np.full(num, classes.index(label) if label in classes else int(label))
        else:
            raise ValueError(
                f"--given is {text}; expected y=CLASS, y=all or a file .npz; classes: {', '.join(classes)}"
            )
    return given


def main(argv: Sequence[str]) -> None:
    """Writes samples to an `.npz` file.

    Args:
      argv: the sampler file and the arguments.
    """
    try:
        sampler = load(argv[0])
    except (ValueError, ImportError, KeyError, OSError) as error:
        sys.exit(f"error: cannot read {argv[0]}: {error}")
    facts = sampler.facts
    told = f"{facts['title']}. {facts['promise']}"
    parser = argparse.ArgumentParser(prog=f"python {argv[0]}", description=told)
    parser.add_argument("--num", type=int, default=64, help="number of samples; by default 64")
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples; by default 0")
    parser.add_argument("--given", action="append", default=[], help="y=CLASS, y=all, or a file of arrays (.npz)")
    parser.add_argument("--out", default="samples.npz", help="file to write (.npz); by default samples.npz")
    flags = parser.parse_args(argv[1:])
    for name, low in (("num", 1), ("seed", 0)):
        if not low <= getattr(flags, name) < 2**31:
            parser.error(f"--{name} is {getattr(flags, name)}; expected {low} to {2**31 - 1}")
    if not flags.out.endswith(".npz"):
        parser.error(f"--out is {flags.out}; expected a file such as samples.npz")
    try:
        samples = draw(sampler, flags.num, flags.seed, conditions_in(facts, flags.given, flags.num))
        if "y" in samples:
            samples["y"] = named_labels(facts["classes"], facts["label_type"], samples["y"])
        np.savez(flags.out, **samples)  # type: ignore[arg-type]  # no array is named allow_pickle
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        parser.error(str(error))
    print(f"{flags.num} samples in {flags.out}")
