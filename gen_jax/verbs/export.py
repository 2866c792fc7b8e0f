"""Writes the sampler of a run as one file that draws with JAX alone, by `jax.export`."""

import inspect
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from typing import Any

import jax
import jaxlib
import numpy as np

from gen_jax.conditions import Conditions, example_conditions
from gen_jax.data import domain as domain_module
from gen_jax.data.domain import named_labels
from gen_jax.data.kinds.sample_files import arrays
from gen_jax.data.spec import Spec, domain, levels, to_model
from gen_jax.errors import UserError, choose, first_line
from gen_jax.keys import root
from gen_jax.model import Batch, Model
from gen_jax.storage.loading import Loaded
from gen_jax.verbs import exported
from gen_jax.verbs.draw import chunk_of, draw

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
MONTHS = 6  # for which JAX promises to read a file: https://docs.jax.dev/en/latest/export/export.html
BUILT = {  # days on which jaxlib was built, from the wheels; jaxlib itself does not tell
    "0.10.0": date(2026, 4, 16),
    "0.10.1": date(2026, 5, 18),
    "0.10.2": date(2026, 6, 17),
    "0.11.0": date(2026, 7, 16),
    "0.11.1": date(2026, 8, 17),
    "0.12.0": date(2026, 10, 16),
    "0.12.0.1": date(2026, 10, 20),
}
MAIN = "import sys\n\nfrom exported import main\n\nmain(sys.argv)\n"
TIME = (1980, 1, 1, 0, 0, 0)  # of all members, so that the same run gives the same bytes
ON_THE_HOST = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def make_sampler(
    loaded: Loaded, how: Mapping[str, Any], length: int | None = None, platforms: Sequence[str] = ("cpu",)
) -> bytes:
    """Returns an exported sampler, a zip file. It draws what `gen_jax.sample` draws, by the seed.

    Args:
      loaded: the run.
      how: options of the sampler, which the file fixes.
      length: length of sequences, in tokens or frames; by default the length of the data.
      platforms: the platforms on which it can draw, of `PLATFORMS`; by default the CPU.

    Raises:
      UserError: if flatbuffers is missing, for an unknown platform, for platforms without that of this process, or for a
        model whose sampler works on the host.
    """
    if find_spec("flatbuffers") is None:
        raise UserError('package flatbuffers is missing; expected it for an export. Run pip install "gen_jax[export]"')
    for platform in platforms:
        choose("platform", platform, PLATFORMS)
    here = jax.export.default_export_platform()
    if here not in platforms:
        raise UserError(f"platforms are {', '.join(platforms)}; expected {here} among them, where the file is verified")
    model, spec = loaded.model, loaded.spec
    size = chunk_of(spec)
    fixed = {} if length is None else {"length": np.full(size, length, np.int32)}
    leaves, structure = jax.tree.flatten(jax.device_get(loaded.state))
    drawing = partial(chunk, model, structure, size, fixed, dict(how))
    places, programs = {}, {}
    for names in asked_names(model):
        name = "-".join(["sampler", *names])
        try:
            places[name], programs[name] = program(drawing, leaves, conditions_of_zeros(spec, names, size), platforms)
        except NotImplementedError as error:
            raise UserError(
                f"a {loaded.config['model']['name']} cannot be exported for {', '.join(platforms)}: "
                f"{first_line(error)}; expected a sampler of operations that can be. Name fewer platforms by --platforms"
            ) from None
        except ON_THE_HOST:
            raise UserError(
                f"a {loaded.config['model']['name']} cannot be exported, because parts of its sampler run on the host; "
                "expected a model whose sampler is one compiled function. Use gen_jax.sample"
            ) from None
    conditions = conditions_of_zeros(spec, asked_names(model)[-1], 1)
    facts = {
        "title": f"Samples of {spec.name} by {loaded.config['model']['name']}, step {loaded.step}",
        "promise": promise(),
        "domain": domain(spec),
        "classes": list(spec.classes),
        "label_type": spec.label_type,
        "chunk": size,
        "programs": places,
        "given": {name: value.shape[1:] for name, value in conditions.items()},
    }
    weights = {str(place): leaves[place] for place in sorted({*chain(*places.values())})}
    return packed(facts, weights, programs)


def asked_names(model: Model) -> list[tuple[str, ...]]:
    """Returns the names of the conditions of each program. A model may draw labels itself, but no other condition.

    Args:
      model: the model.
    """
    needed = tuple(name for name in ("c", "c_length") if name in model.given)
    return [needed, *([(*needed, "y")] if "y" in model.given else [])]


def conditions_of_zeros(spec: Spec, names: Sequence[str], num: int) -> dict[str, Any]:
    """Returns conditions of zeros, in model space.

    Args:
      spec: facts of the data.
      names: names of the conditions.
      num: number of rows.
    """
    rows = example_conditions(Conditions(len(spec.classes), spec.condition), num) or {}
    return {name: np.asarray(rows[name]) for name in names}


def chunk(
    model: Model,
    structure: Any,
    size: int,
    fixed: Mapping[str, np.ndarray],
    how: Mapping[str, Any],
    leaves: Sequence[Any],
    seed: Any,
    number: Any,
    given: Batch,
) -> Batch:
    """Returns a chunk of samples, as `verbs.draw` draws it.

    Args:
      model: the model.
      structure: structure of the state.
      size: number of samples of a chunk.
      fixed: conditions that are always given.
      how: options of the sampler.
      leaves: arrays of the state.
      seed: seed of the samples, [] uint32.
      number: number of the chunk, [] uint32.
      given: conditions of the samples.
    """
    key = jax.random.fold_in(root(seed, "samples"), number)
    state = jax.tree.unflatten(structure, leaves)
    return model.sample(key, state, size, {**fixed, **given} or None, dict(how) or None)


def program(
    drawing: Callable[..., Batch], leaves: Sequence[np.ndarray], given: Batch, platforms: Sequence[str]
) -> tuple[list[int], bytes]:
    """Returns the places of the arrays of the state that a sampler reads, and its program, which takes these arrays.

    Args:
      drawing: function of the last four arguments of `chunk`.
      leaves: arrays of the state.
      given: conditions of the samples.
      platforms: the platforms.
    """
    write = partial(jax.export.export, platforms=platforms)
    number = np.uint32(0)
    read = write(jax.jit(drawing))(leaves, number, number, given).module_kept_var_idx
    places = [place for place in read if place < len(leaves)]

    def with_places(values: Sequence[jax.Array], *arguments: Any) -> Batch:
        values_at = dict(zip(places, values))
        return drawing([values_at.get(place, leaf) for place, leaf in enumerate(leaves)], *arguments)

    written = write(jax.jit(with_places))([leaves[place] for place in places], number, number, given)
    return places, bytes(written.serialize())


def promise(version: str = jaxlib.__version__) -> str:
    """Returns the sentence that tells until when JAX promises to read a file.

    Args:
      version: version of jaxlib that wrote the file; by default the installed one.
    """
    built = BUILT.get(version)
    until = f"within {MONTHS} months of that version"
    if built is not None:
        months = built.month - 1 + MONTHS
        until = f"up to {built.replace(year=built.year + months // 12, month=months % 12 + 1, day=min(built.day, 28))}"
    return f"Written by JAX {version}. Later versions of JAX that are built {until} can read it; export the run again after that"


def packed(facts: Mapping[str, Any], weights: Mapping[str, np.ndarray], programs: Mapping[str, bytes]) -> bytes:
    """Returns the members of an exported sampler as a zip file, which Python runs.

    Args:
      facts: facts of the sampler, see `exported.Sampler`.
      weights: arrays of the state, by place.
      programs: programs by name.
    """
    saved, file = io.BytesIO(), io.BytesIO()
    np.savez(saved, **weights)  # type: ignore[arg-type]  # no array is named allow_pickle
    files = (Path(inspect.getfile(module)) for module in (exported, domain_module))
    modules = {path.name: path.read_text() for path in files}
    members: dict[str, str | bytes] = {
        "__main__.py": MAIN,
        **{name: text.replace("gen_jax.data.domain", "domain") for name, text in modules.items()},
        exported.FACTS: json.dumps(facts, indent=1),
        exported.WEIGHTS: saved.getvalue(),
        **{f"{name}.bin": content for name, content in programs.items()},
    }
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name, TIME), content, zipfile.ZIP_DEFLATED)
    return file.getvalue()


def verify(content: bytes, loaded: Loaded, how: Mapping[str, Any], length: int | None = None) -> None:
    """Draws two chunks by each program of an exported sampler in a fresh process, and compares them with the run's own.

    Args:
      content: the exported sampler.
      loaded: the run.
      how: options of the sampler.
      length: length of sequences; by default the length of the data.

    Raises:
      UserError: if the file fails, or an array differs in one byte.
    """
    spec = loaded.spec
    num = chunk_of(spec) + 2
    fixed = {} if length is None else {"length": np.full(num, length, np.int32)}
    with tempfile.TemporaryDirectory() as folder:
        file, out, conditions = (Path(folder) / name for name in ("sampler.zip", "out.npz", "given.npz"))
        file.write_bytes(content)
        for names in asked_names(loaded.model):
            raw = example_rows(spec, names, num)
            np.savez(conditions, **raw)
            command = [sys.executable, str(file), f"--num={num}", "--seed=1", f"--out={out}", f"--given={conditions}"]
            done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
            if done.returncode:
                raise UserError(f"the exported sampler fails: {done.stderr.strip()[-300:]}; expected samples")
            given = dict(raw)
            if "y" in raw:
                given["y"] = np.arange(num, dtype=np.int32) % len(spec.classes)
            if spec.condition is not None and "c" in raw:
                given["c"] = np.asarray(to_model(spec.condition, raw["c"]))
            samples = draw(loaded.model, loaded.state, spec, 1, num, {**fixed, **given}, how)
            with np.load(out) as drawn, np.load(io.BytesIO(arrays(samples, spec))) as expected:
                refuse_difference(dict(drawn), dict(expected))


def example_rows(spec: Spec, names: Sequence[str], num: int) -> dict[str, Any]:
    """Returns made-up conditions in the domain of the data, by which a sampler is tried.

    Args:
      spec: facts of the data.
      names: names of the conditions.
      num: number of rows.
    """
    random = np.random.default_rng(0)
    rows: dict[str, Any] = {}
    condition = spec.condition
    if "y" in names:
        rows["y"] = named_labels(spec.classes, spec.label_type, np.arange(num) % len(spec.classes))
    if condition is not None and "c" in names:
        shape, values = (num, *condition.shape), levels(condition)
        low, high = (0, values - 1) if values else (np.asarray(condition.low), np.asarray(condition.high))
        dtype = np.dtype("int32" if values else condition.dtype)
        drawn = low + random.random(shape) * (high - low)
        rows["c"] = (drawn if dtype.kind == "f" else np.rint(drawn)).astype(dtype)
    if condition is not None and "c_length" in names:
        rows["c_length"] = random.integers(1, condition.shape[0] + 1, num, dtype=np.int32)
    return rows


def refuse_difference(samples: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Refuses samples that are not the expected ones.

    Args:
      samples: arrays by name.
      expected: the expected arrays by name.

    Raises:
      UserError: for an array that is missing, or differs in one byte.
    """
    for name, values in expected.items():
        array = samples.get(name, np.zeros(0))
        if (array.dtype, array.shape) != (values.dtype, values.shape):
            raise UserError(
                f"{name} of the exported sampler is {array.dtype} {[*array.shape]} and of gen_jax.sample {values.dtype} "
                f"{[*values.shape]}; expected equal arrays. Please report this"
            )
        if array.tobytes() != values.tobytes():
            raise UserError(
                f"{name} of the exported sampler differs from that of gen_jax.sample in {np.mean(array != values):.2%} of its "
                "values; expected equal bytes. Please report this"
            )
