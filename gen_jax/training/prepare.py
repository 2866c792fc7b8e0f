"""Prepares a run: the checked settings, the data, the model, and the shapes of its step before it is compiled."""

from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from ml_collections import ConfigDict

from gen_jax import config, data
from gen_jax.conditions import sampler_options
from gen_jax.data.feed.order import ORDERS
from gen_jax.data.source import Source
from gen_jax.data.spec import Spec, levels
from gen_jax.devices import placement, processes, replicas
from gen_jax.errors import UserError
from gen_jax.keys import root
from gen_jax.model import Model, State
from gen_jax.models import build_model, complete_settings, example_batch, state_shapes
from gen_jax.storage import directory
from gen_jax.storage.registration import registered
from gen_jax.verbs.conditioning import needs_condition, request_of
from gen_jax.verbs.draw import chosen_options
from gen_jax.verbs.score import Scorer, scorer_while_training

LARGE = 1 << 18  # numbers in the rows of a step from which its memory is planned, because a plan costs a compilation
OF_MODEL = "model_"  # prefix of the names of the facts of the model in the `info` of a spec
WORTH_SAYING = 1 << 28  # bytes of memory above which a line is printed


class Job(NamedTuple):
    """Holds all parts of a run, checked against the data and each other.

    No file is written yet, and no step is compiled.
    """

    settings: ConfigDict
    workdir: Path
    mesh: Mesh
    data: data.Data
    model: Model
    init_key: jax.Array  # [N] if there are N > 1 replicas
    step_key: jax.Array  # [N] if there are N > 1 replicas
    replicas: int
    state: State  # shapes and shardings only; [N, ...] if there are N > 1 replicas
    metrics: tuple[str, ...]  # names of the metrics of a step
    scorer: Scorer | None
    quiet: bool


class Traced(NamedTuple):
    """Holds the facts of a model's functions before they are compiled."""

    state: State  # shapes of the state of one replica
    metrics: tuple[str, ...]


def prepare(
    settings: ConfigDict,
    workdir: Path,
    quiet: bool = False,
    model: Model | None = None,
    source: Source | None = None,
) -> Job:
    """Checks the settings, opens the data, builds the model and traces its step.

    Args:
      settings: the config of the run.
      workdir: directory of the run. If the run has begun, its settings are binding.
      quiet: whether the progress bar is hidden; by default False.
      model: the model; by default None, built by the settings.
      source: the raw rows; by default None, opened by the settings.

    Returns:
      The job.

    Raises:
      UserError: for any fault that the user can mend.
    """
    settings, before = checked_settings(settings, workdir)
    mesh = mesh_of(settings.replicas)
    opened = open_data(settings, mesh, quiet, source)
    plain = config.plain(settings)
    if model is not None:
        refuse_other_data(model, opened.spec)
    model, spec = build(plain["model"], opened.spec, None if before is None else directory.read_spec(workdir), model)
    opened = opened._replace(spec=spec)
    init_key, step_key = run_keys(settings.seed, settings.replicas)
    traced = trace(model, opened, settings)
    refuse_condition(model, opened, settings, traced)
    scorer = scorer_while_training(plain, opened.spec, opened.read)
    state = placement.abstract_state(mesh, traced.state, settings.replicas, settings.sharding is not None)
    return Job(
        settings=settings,
        workdir=workdir,
        mesh=mesh,
        data=opened,
        model=model,
        init_key=init_key,
        step_key=step_key,
        replicas=settings.replicas,
        state=state,
        metrics=traced.metrics,
        scorer=scorer,
        quiet=quiet,
    )


def checked_settings(settings: ConfigDict, workdir: Path) -> tuple[ConfigDict, dict | None]:
    """Checks the settings of a run, and compares them with the settings of a begun run.

    Args:
      settings: the config of the run.
      workdir: directory of the run.

    Returns:
      The settings with all options of the model, and the settings with which the run was begun; None for a new run.

    Raises:
      UserError: for the first setting that is out of range or has changed.
    """
    config.check(settings)
    settings = complete_settings(settings)
    settings.registered = ConfigDict(registered(config.plain(settings)))
    before = directory.begun_config(workdir)
    if before is not None:
        config.refuse_changes(before, config.plain(settings), workdir)
    return settings, before


def build(settings: dict, spec: Spec, begun: Spec | None, model: Model | None) -> tuple[Model, Spec]:
    """Returns the model of a run, and the facts of the data with the facts of the model that the run stores.

    Args:
      settings: the `model` section of the config.
      spec: facts of the data.
      begun: facts with which the run was begun; None for a new run. A run of an earlier version stored fewer facts.
      model: the model, if it is built already; else None.

    Raises:
      UserError: in the cases of `build_model`.
    """
    stored = {} if begun is None else {name: fact for name, fact in begun.info.items() if name.startswith(OF_MODEL)}
    model = model or build_model(settings, spec._replace(info={**spec.info, **stored}))
    facts = {OF_MODEL + name: fact for name, fact in model.extras.get("facts", dict)().items()}
    kept = {name: fact for name, fact in facts.items() if begun is None or name in stored}
    return model, spec._replace(info={**spec.info, **kept})


def refuse_other_data(model: Model, spec: Spec) -> None:
    """Refuses a model that is built for rows of another kind or shape than those of the run.

    Args:
      model: the model. A model of a function that is not registered as a family does not know its data.
      spec: facts of the data of the run.

    Raises:
      UserError: with the first fact that differs.
    """
    if model.spec is None:
        return
    facts = {
        "kind": (model.spec.kind, spec.kind),
        "shape": ([*model.spec.shape], [*spec.shape]),
        "number of levels": (levels(model.spec), levels(spec)),
        "number of labels": (len(model.spec.classes), len(spec.classes)),
    }
    for name, (expected, value) in facts.items():
        if expected != value:
            raise UserError(
                f"the {name} of {spec.name} is {value}; expected {expected}, for which the model is built. Build the model "
                f"with the spec of these data: data.spec"
            )


def mesh_of(number: int) -> Mesh:
    """Returns the devices of a run: all devices, or the largest number of devices that divides the number of replicas.

    Args:
      number: number of replicas.

    Raises:
      UserError: if there are several replicas and several processes.
    """
    mesh = placement.make_mesh()
    if number == 1:
        return mesh
    if not processes.alone():
        raise UserError(
            f"replicas is {number} in a run of several processes; expected 1, because replicas share the devices of "
            "one process"
        )
    most = max(count for count in range(1, mesh.size + 1) if number % count == 0)
    return placement.make_mesh([*mesh.devices.flat[:most]])


def open_data(settings: ConfigDict, mesh: Mesh, quiet: bool, source: Source | None) -> data.Data:
    """Returns the data of a run, in batches that the devices divide.

    Args:
      settings: the config of the run.
      mesh: the devices.
      quiet: whether the progress bar is hidden.
      source: the raw rows, or None.

    Raises:
      UserError: in the cases of `data.load`.
    """
    options, size, seed, replicas = config.plain(settings.data), settings.batch_size, settings.seed, settings.replicas
    multiple = mesh.size if replicas == 1 else 1
    return data.load(
        options,
        batch_size=size,
        seed=seed,
        steps=settings.steps,
        epochs=settings.epochs,
        multiple=multiple,
        host=processes.hosts(),
        replicas=replicas,
        quiet=quiet,
        source=source,
    )


def run_keys(seed: int, number: int) -> tuple[jax.Array, jax.Array]:
    """Returns the key of `init`, and the key into which every step folds its number.

    Both are [N] if there are N > 1 replicas.

    Args:
      seed: seed of the first replica. The other replicas have the seeds after it.
      number: number of replicas.
    """
    roots = [root(seed + replica, "training") for replica in range(number)]
    keys = jnp.stack([jax.random.split(key) for key in roots])  # [N, 2]
    init_key, step_key = keys[0] if number == 1 else keys.T
    return init_key, step_key


def trace(model: Model, opened: data.Data, settings: ConfigDict) -> Traced:
    """Traces `init` and `step` of a model on a batch of the run.

    Args:
      model: the model.
      opened: the data of the run.
      settings: the config of the run.

    Raises:
      UserError: for a batch on which the model cannot be trained.
    """
    rows = opened.at(0)["weight"].shape[-1] * processes.hosts()[1]
    lanes = ORDERS[settings.data.order].lanes
    state = state_shapes(model, opened.spec, rows, lanes)
    key = root(settings.seed, "training")  # only its shape is read
    _, metrics = jax.eval_shape(model.step, key, state, example_batch(opened.spec, rows, lanes))
    return Traced(state, tuple(metrics))


def refuse_condition(model: Model, opened: data.Data, settings: ConfigDict, traced: Traced) -> None:
    """Refuses a wrong condition of a run's samples before the run begins, instead of at its first picture.

    Args:
      model: the model.
      opened: the data of the run.
      settings: the config of the run.
      traced: shapes of the model's functions.

    Raises:
      UserError: for a condition that cannot be read, that the model does not honour, or that has ranges or lists.
    """
    how, spec = settings.sample, opened.spec
    sampler_options(chosen_options(how), model.options)  # because a wrong option should be refused before the run
    if how.beam and spec.end is None:
        raise UserError(
            f"sample.beam is {how.beam} and {spec.name} has no symbol that ends a text; expected 0, or data.end=True"
        )
    if how.given is None and needs_condition(model):  # because its pictures take conditions of the data
        return
    texts = [] if how.given is None else [how.given]
    request = request_of(model, spec, config.plain(settings), texts, 1, how.length)
    if request.fits:
        raise UserError(
            f"sample.given is {how.given}; expected NAME=VALUE while a run trains. For ranges and lists, use "
            "gen_jax.sample --given on the trained run"
        )
    if request.given:
        key = root(settings.seed, "training")  # only its shape is read
        # Because some families read numbers of their state after they have checked the condition, tracing may fail.
        with suppress(jax.errors.JAXTypeError):
            jax.eval_shape(lambda state: model.sample(key, state, request.num, request.given), traced.state)


def work_bytes(job: Job) -> int:
    """Returns the bytes of memory that a step needs in addition to its state and its rows, as XLA plans it.

    It is 0 unless a step trains on many rows at once, because a plan costs a compilation.

    Args:
      job: the prepared run.
    """
    numbers = sum(array.size for array in job.data.arrays.values())
    if not ORDERS[job.settings.data.order].whole or not processes.alone() or numbers < LARGE:
        return 0

    def step(key: jax.Array, state: State, arrays: dict, fed: dict) -> tuple[State, dict]:
        return job.model.step(key, state, job.data.batch(arrays, fed))

    arguments = job.step_key, job.state, job.data.at(0)
    if job.replicas > 1:
        arguments = jax.eval_shape(lambda trees: replicas.replica(trees, 0, job.replicas), arguments)
    key, state, fed = arguments
    plan = jax.jit(step).lower(key, state, job.data.arrays, fed).compile().memory_analysis()
    return plan.temp_size_in_bytes * job.replicas // job.mesh.size if plan else 0


def refuse_too_large(job: Job) -> None:
    """Refuses a step that needs more memory than is free. Prints the memory that it needs if that is much.

    Args:
      job: the prepared run.

    Raises:
      UserError: if less memory is free.
    """
    need, free = work_bytes(job), placement.free_bytes(job.mesh)
    if need > WORTH_SAYING:
        available = f", {free / 1e9:.1f} GB are free" if free else ""
        print(f"memory: a step works with {need / 1e9:.1f} GB beside the data{available}")
    if free is not None and need > free:
        raise UserError(
            f"a step works with {need / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free; expected less. Set "
            "--config.replicas=1, or --config.data.order=once --config.batch_size=1000 (and --config.model.batches "
            "of a mixture), or choose a smaller model"
        )
