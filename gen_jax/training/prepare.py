"""All that a run needs before its first step: the checked settings, the data, the model, and the state it starts from."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from orbax.checkpoint import CheckpointManager

from gen_jax import config, data, files
from gen_jax.data.feed.order import ORDERS
from gen_jax.data.tables.network_source import with_network
from gen_jax.devices import placement, processes, replicas
from gen_jax.errors import UserError
from gen_jax.keys import root
from gen_jax.model import Model, State
from gen_jax.models import build_model, example_batch, state_shapes
from gen_jax.storage import checkpoint, directory
from gen_jax.verbs.given import parse_given
from gen_jax.verbs.score import scorer_while_training

LARGE = 1 << 18  # numbers in the rows of a step, from which its memory is asked for: to plan a step is to compile it
WORTH_SAYING = 1 << 28  # bytes


class Job(NamedTuple):
    """All that a run needs, checked against the data and against itself; nothing is written or compiled yet."""

    settings: ConfigDict
    workdir: Path
    mesh: Mesh
    data: data.Data
    model: Model
    init_key: jax.Array  # of each replica [N], where there are several
    step_key: jax.Array
    replicas: int
    state: State  # shapes and places only, behind an axis of the replicas where there are several
    metrics: tuple[str, ...]
    scorer: Callable | None
    quiet: bool


def prepare(settings: ConfigDict, workdir: Path, quiet: bool = False) -> Job:
    """Checks the settings, opens the data, builds the model and traces its step.

    Raises:
      UserError: for whatever the user can mend.
    """
    config.check(settings)
    plain = config.plain(settings)
    before = directory.begun_config(workdir)
    if before is not None:
        config.refuse_changes(before, plain, workdir)
    replicas, mesh = settings.replicas, placement.make_mesh()
    if replicas > 1 and not processes.alone():
        raise UserError(f"replicas {replicas}: expected 1 in a run of several processes; they share the devices of one")
    if replicas > 1:
        most = max(number for number in range(1, mesh.size + 1) if replicas % number == 0)
        mesh = placement.make_mesh(mesh.devices.flat[:most])
    multiple = mesh.size if replicas == 1 else 1
    size, seed = settings.batch_size, settings.seed
    feed = data.load(
        plain["data"],
        batch_size=size,
        seed=seed,
        steps=settings.steps,
        epochs=settings.epochs,
        multiple=multiple,
        host=processes.hosts(),
        replicas=replicas,
        quiet=quiet,
    )
    if plain["model"].get("bif") is not None:
        known = None if before is None else directory.read_spec(workdir)
        feed = feed._replace(spec=with_network(feed.spec, plain["model"]["bif"], known))
    model = build_model(plain["model"], feed.spec)
    each = [root(seed + replica, "training") for replica in range(replicas)]
    keys = jnp.stack([jax.random.split(key) for key in each])  # [N, 2]
    rows, lanes = feed.at(0)["weight"].shape[-1] * processes.hosts()[1], ORDERS[settings.data.order].lanes
    shapes = state_shapes(model, feed.spec, rows, lanes)
    metrics = jax.eval_shape(model.step, keys[0, 1], shapes, example_batch(feed.spec, rows, lanes))[1]
    request = parse_given(settings.sample.given, 1, feed.spec, settings.sample.length)
    if request.fits:
        raise UserError(
            f"sample.given {settings.sample.given}: expected NAME=VALUE while a run trains; gen_jax.sample --given takes ranges "
            f"and lists of a trained run"
        )
    if request.given:  # a wrong one is said here, not by the first picture
        with suppress(jax.errors.JAXTypeError):  # of a family that looks at its state, after the condition
            jax.eval_shape(lambda state: model.sample(keys[0, 0], state, 1, request.given), shapes)
    scorer = scorer_while_training(plain, feed.spec, feed.read)
    init_key, step_key = keys[0] if replicas == 1 else keys.T
    state = placement.abstract_state(mesh, shapes, replicas, settings.sharding is not None)
    return Job(settings, workdir, mesh, feed, model, init_key, step_key, replicas, state, tuple(metrics), scorer, quiet)


def first_state(job: Job, manager: CheckpointManager, fork: Path | None) -> tuple[int, State]:
    """Where the run continues: its newest whole checkpoint, or as a new run that of `fork`, or the initial state.

    A new run is written down only once its state is known to fit; a fork keeps its first state at once.
    """
    settings, spec, leads = config.plain(job.settings), job.data.spec, processes.leads()
    if directory.begun_config(job.workdir) is not None:
        directory.refuse_other(job.workdir, settings, spec, fork)
        found = checkpoint.newest(manager, job.state, repair=True)
        if leads:
            files.write_json(job.workdir / "config.json", settings)
        return found
    if fork is None:
        if leads:
            directory.claim(job.workdir, spec)
            directory.settle(job.workdir, settings, None)
        return 0, initial_state(job)
    found = forked_state(job, fork)
    if leads:
        directory.claim(job.workdir, spec)
    checkpoint.save(manager, *found)
    checkpoint.finish(manager)
    if leads:
        directory.settle(job.workdir, settings, {"from": str(fork.resolve()), "step": found[0]})
    print(f"forked from step {found[0]} of {fork}")
    return found


def initial_state(job: Job) -> State:
    """The state before the first step, of every replica."""
    fed, places = placement.place_rows(job.mesh, job.data.at(0)), replicas.places(job.state)

    def init(key: jax.Array, arrays: dict, fed: dict) -> State:
        return job.model.init(key, job.data.batch(arrays, fed))

    first = init if job.replicas == 1 else jax.vmap(init, in_axes=(0, None, 0))
    return jax.jit(first, out_shardings=places)(job.init_key, place_arrays(job), fed)


def work_bytes(job: Job) -> int:
    """Returns the memory that a step works with beside its state and its rows, as XLA plans it; 0 unless it learns from many rows at once."""
    if (
        not ORDERS[job.settings.data.order].whole
        or not processes.alone()
        or sum(each.size for each in job.data.arrays.values()) < LARGE
    ):
        return 0

    def step(key: jax.Array, state: State, arrays: dict, fed: dict) -> tuple[State, dict]:
        return job.model.step(key, state, job.data.batch(arrays, fed))

    own = job.step_key, job.state, job.data.at(0)
    key, state, fed = (
        own if job.replicas == 1 else jax.eval_shape(lambda trees: replicas.replica(trees, 0, job.replicas), own)
    )
    plan = jax.jit(step).lower(key, state, job.data.arrays, fed).compile().memory_analysis()
    return plan.temp_size_in_bytes * job.replicas // job.mesh.size if plan else 0


def refuse_too_large(job: Job) -> None:
    """Says how much memory a step works with if that is much.

    Raises:
      UserError: if so much is not free.
    """
    need, free = work_bytes(job), placement.free_bytes(job.mesh)
    if need > WORTH_SAYING:
        print(
            f"memory: a step works with {need / 1e9:.1f} GB beside the data"
            + (f", {free / 1e9:.1f} GB are free" if free else "")
        )
    if free is not None and need > free:
        raise UserError(
            f"a step works with {need / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: expected fewer replicas "
            f"(--config.replicas=1), fewer rows a step (--config.data.order=once --config.batch_size=1000, and of a mixture "
            f"--config.model.batches), or a smaller model"
        )


def forked_state(job: Job, fork: Path) -> tuple[int, State]:
    """The newest checkpoint of another run; what it carries for each lane begins anew where their number changes.

    Raises:
      UserError: where there is none, or it does not fit this model.
    """
    old, rows = directory.begun_config(fork), job.settings.batch_size
    if old is None:
        raise UserError(f"--fork {fork}: there is no run with a checkpoint to start from")
    lanes = ORDERS[job.settings.data.order].lanes and ORDERS[old["data"]["order"]].lanes
    if not lanes or old["batch_size"] == rows:
        return checkpoint.newest_in(fork / "checkpoints", job.state)
    shapes = state_shapes(job.model, job.data.spec, old["batch_size"], lanes=True)
    abstract = placement.abstract_state(job.mesh, shapes, job.replicas, job.settings.sharding is not None)
    step, state = checkpoint.newest_in(fork / "checkpoints", abstract)
    print(f"batch_size was {old['batch_size']} in {fork} and is {rows}: every lane begins anew, with nothing carried")
    return step, jax.tree.map(lambda a, b: a if a.shape == b.shape else b, state, initial_state(job))


def place_arrays(job: Job) -> dict[str, jax.Array]:
    """The resident rows on the devices; nothing where the feed streams."""
    return placement.place_whole(job.mesh, {name: np.asarray(value) for name, value in job.data.arrays.items()})
