"""Rebuilds a run from its directory alone."""

from pathlib import Path
from typing import Any, NamedTuple

from gen_jax.data.feed.order import ORDERS
from gen_jax.data.spec import Spec
from gen_jax.errors import UserError
from gen_jax.model import Model
from gen_jax.references import lost_objects
from gen_jax.storage.directory import BEST, read_config, read_spec, refuse_incomplete, steps_in


class Loaded(NamedTuple):
    """Holds a trained run that was loaded from its directory."""

    model: Model
    state: Any
    spec: Spec
    config: dict
    step: int
    workdir: Path
    replica: int | None = None  # number of the replica; None: replica 0 stands for all replicas of the run


def load(
    workdir: str | Path,
    step: int | None = None,
    replica: int | None = None,
    last: bool = False,
    model: Model | None = None,
) -> Loaded:
    """Rebuilds a run from its directory alone, with its best or its newest intact checkpoint.

    If the config of the run selects by a metric, the best checkpoint is loaded. Otherwise it is the newest checkpoint.

    Args:
      workdir: directory of the run.
      step: step of the checkpoint; by default None, the best or the newest checkpoint.
      replica: number of the replica, from 0; by default None, the state of replica 0 for all replicas.
      last: whether to load the newest checkpoint even if a metric selects; by default False.
      model: the model, if the config holds objects that no other process can build; by default None.

    Raises:
      UserError: if there is no run or no intact checkpoint, if the run has no such replica, or if it needs a `model`.
    """
    import jax

    from gen_jax import models
    from gen_jax.devices import placement, replicas
    from gen_jax.storage import checkpoint
    from gen_jax.storage.registration import restore_trusted

    workdir = Path(workdir)
    config = read_config(workdir)
    if config is None:
        state = "is empty" if workdir.exists() else "does not exist"
        raise UserError(f"no run in {workdir}, which {state}; expected the directory of a run")
    refuse_incomplete(config, workdir)
    seeds = config["replicas"]
    if replica is not None and not 0 <= replica < seeds:
        raise UserError(f"replica is {replica}; expected 0 to {seeds - 1}, as {workdir} has {seeds}")
    spec = read_spec(workdir)
    if model is None:
        restore_trusted(config, workdir)
    lost = lost_objects(config["model"], "model")
    if model is None and lost:
        raise UserError(
            f"{workdir} was trained with {lost[0]}, an object that only the program that made it has; expected the "
            f"model, as in gen_jax.load({str(workdir)!r}, model=model)"
        )
    model = model or models.build_model(config["model"], spec)
    lanes = ORDERS[config["data"]["order"]].lanes
    shapes = models.state_shapes(model, spec, config["batch_size"], lanes)
    abstract = placement.abstract_state(placement.make_mesh(jax.devices()[:1]), shapes, seeds)
    selected = steps_in(workdir / BEST)
    if selected and not last and (step is None or step in selected):
        step_and_state = checkpoint.newest_in(workdir / BEST, abstract, step)
    else:
        step_and_state = checkpoint.newest_in(workdir / "checkpoints", abstract, step)
    if step_and_state is None:
        raise UserError(
            f"{workdir} has no checkpoint yet, because it was stopped before the first save; expected one. Resume the "
            "run"
        )
    number, state = step_and_state
    state = replicas.replica(state, replica or 0, seeds)
    return Loaded(model, state, spec, config, number, workdir, replica)
