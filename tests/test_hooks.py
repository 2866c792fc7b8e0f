"""The hooks of the loop: what a user's hook sees, that it changes nothing, and when it is called."""

import signal

import jax
import numpy as np
import pytest
from conftest import host, state_bytes

import gen_jax
from gen_jax.config import load_file
from gen_jax.devices import placement
from gen_jax.errors import UserError
from gen_jax.storage import metrics_file
from gen_jax.training import loop


@pytest.fixture
def fit(config_file, tmp_path, one_device):
    """Trains 12 steps of a GAN in `tmp_path/NAME` by `gen_jax.fit`, with hooks and changed settings."""

    def fit(name="run", hooks=(), **changes):
        settings = load_file(config_file)
        settings.update(changes)
        gen_jax.fit(settings, tmp_path / name, hooks=hooks)
        return tmp_path / name

    return fit


def logged(workdir, *without):
    return [
        {name: value for name, value in line.items() if name not in ("seconds", *without)}
        for line in metrics_file.read_metrics(workdir)
    ]


def same(one, other):
    one, other = (jax.tree.leaves(host(tree)) for tree in (one, other))
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_hook_sees_the_run_and_its_copies_stay_valid(fit, tmp_path):
    snapshots = []
    workdir = fit(hooks=[gen_jax.every(2, snapshots.append)])
    assert [(moment.step, moment.total) for moment in snapshots] == [(step, 12) for step in range(2, 13, 2)]
    lines = {line.pop("step"): line for line in logged(workdir)}
    for moment in snapshots:
        assert moment.metrics == lines[moment.step]
        assert (moment.spec, moment.workdir) == (gen_jax.load(workdir).spec, tmp_path / "run")
        assert int(host(moment.state).step) == moment.step
    for moment in snapshots[1::2]:
        assert same(moment.states, [gen_jax.load(workdir, moment.step).state]) and same(moment.state, moment.states)
    drawn = moment.model.sample(jax.random.key(0), moment.state, 5)["x"]
    assert drawn.shape == (5, 2)


def meddle(moment):
    """Does what it can to disturb the run that calls it."""
    np.random.seed(0)
    moment.metrics.clear()
    jax.jit(moment.model.step)(
        jax.random.key(1), moment.state, {"x": np.ones((16, 2), np.float32), "weight": np.ones(16)}
    )
    for leaf in jax.tree.leaves(moment.state):
        leaf.delete()
    for part in moment.state:
        if isinstance(part, dict):
            part.clear()


@pytest.mark.study
def test_a_hook_cannot_change_the_training(fit):
    whole, meddled = fit("whole", eval_every=6), fit("meddled", [gen_jax.every(1, meddle)], eval_every=6)
    assert state_bytes(whole) == state_bytes(meddled) and logged(whole) == logged(meddled)


@pytest.mark.study
def test_hooks_run_before_the_log_in_their_order_and_after_the_scores(fit):
    def count(moment):
        seen.append((moment.step, "modes" in moment.metrics, "first" in moment.metrics))
        return {"second": 1}

    seen, first = [], gen_jax.every(3, lambda moment: {"first": moment.step / 2, "broken": np.nan})
    workdir = fit(hooks=[first, gen_jax.every(6, count)], eval_every=6, log_every=4)
    assert seen == [(6, True, True), (12, True, True)]
    lines = {line["step"]: line for line in logged(workdir)}
    assert lines[3] == {"step": 3, "first": 1.5, "broken": None}
    assert "second" in lines[6] and "modes" in lines[6] and "d_loss" not in lines[6]
    assert "first" not in lines[8] and "d_loss" in lines[8]
    assert lines[12].keys() >= {"first", "second", "modes", "d_loss"}


def test_hooks_run_at_the_same_steps_when_the_run_is_resumed(fit):
    def called(steps):
        return [gen_jax.every(5, lambda moment: steps.append(moment.step))]

    whole, parts = [], []
    fit("whole", called(whole))
    fit("parts", called(parts), steps=7)
    fit("parts", called(parts))
    fit("parts", called(parts))  # the run is complete
    assert whole == [5, 10, 12] and parts == [5, 7, 10, 12]


@pytest.mark.study
def test_a_hook_that_fails_is_named_and_costs_nothing(fit, undisturbed):
    def my_plot(moment):
        return {}["no such key"]

    with pytest.raises(UserError, match="hook 'my_plot' failed after step 6 .KeyError: 'no such key'") as error:
        fit("run", [gen_jax.every(6, my_plot)])
    assert isinstance(error.value.__cause__, KeyError)
    assert state_bytes(fit("run")) == state_bytes(undisturbed())


@pytest.mark.study
def test_a_hook_stops_a_run_that_goes_on_later(fit, undisturbed, capsys):
    def enough(moment):
        assert moment.config["steps"] == 12 and moment.config["model"]["name"] == "gan"
        return gen_jax.STOP if moment.step == 6 else None

    workdir = fit("run", [gen_jax.every(3, enough)], save_every=0)
    assert gen_jax.load(workdir).step == 6 and [line["step"] for line in logged(workdir)][-1] == 6
    assert "stopped by hook 'enough': step 6 of 12 is saved; resume with" in capsys.readouterr().out
    assert state_bytes(fit("run")) == state_bytes(undisturbed())


@pytest.mark.study
@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)], ids=["Ctrl-C", "SIGTERM"]
)
def test_a_signal_saves_the_run_and_ends_the_program(fit, tmp_path, number, error):
    with pytest.raises(error) as raised:
        fit("run", [gen_jax.every(4, lambda moment: signal.raise_signal(number))])
    assert gen_jax.load(tmp_path / "run").step == 5
    assert error is KeyboardInterrupt or raised.value.code == 128 + signal.SIGTERM


@pytest.mark.study
@pytest.mark.parametrize(
    "returned, message",
    [
        ([1], r"returned \[1\]; expected None, gen_jax.STOP, or numbers by name"),
        ({"d_loss": 1}, "returned a number named 'd_loss'; expected a name that is not logged already"),
        ({"step": 1}, "returned a number named 'step'"),
        ({1: 1}, "returned a number named 1"),
        ({"width": "wide"}, "returned 'width' as 'wide'; expected a number"),
    ],
)
def test_what_cannot_be_logged_is_refused(fit, returned, message):
    def width(moment):
        return returned

    with pytest.raises(UserError, match=f"hook 'width' {message}"):
        fit("run", [gen_jax.every(1, width)])


def test_what_is_no_hook_is_refused(fit, tmp_path):
    for period in (0, -1, 2.5, "100", True):
        with pytest.raises(UserError, match=f"every\\(\\) is {period!r}; expected a whole number of steps"):
            gen_jax.every(period, print)
    with pytest.raises(UserError, match="every\\(\\) is 'print'; expected a function"):
        gen_jax.every(100, "print")
    for hooks in (gen_jax.every(1, print), print, [print]):
        with pytest.raises(UserError, match=r"expected a list, as in hooks=\[gen_jax.every\(100, function\)\]"):
            fit("run", hooks)
    assert not (tmp_path / "run").exists()


@pytest.mark.study
def test_metrics_are_fetched_only_if_a_hook_is_due(fit, monkeypatch):
    steps, numbers = [], loop.finite_numbers

    def spy(job, manager, metrics, broken):
        steps.append(None)
        return numbers(job, manager, metrics, broken)

    monkeypatch.setattr(loop, "finite_numbers", spy)
    fit("few", log_every=6, save_every=12)
    assert len(steps) == 2
    fit("some", [gen_jax.every(4, print)], log_every=6, save_every=12)
    assert len(steps) == 2 + 4  # 4, 6, 8 and 12


@pytest.mark.study
def test_a_hook_sees_every_replica(fit):
    snapshots = []
    workdir = fit(hooks=[gen_jax.every(12, snapshots.append)], replicas=2)
    (moment,) = snapshots
    for replica, state in enumerate(moment.states):
        assert same(state, gen_jax.load(workdir, replica=replica).state)
    assert same(moment.state, moment.states[0]) and not same(*moment.states)
    assert {"d_loss", "d_loss_se"} <= moment.metrics.keys()


@pytest.mark.parametrize("sharding", [None, "fsdp"])
def test_a_hook_sees_a_state_of_several_devices_whole(fit, monkeypatch, sharding):
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()[:4]), ("data",))
    monkeypatch.setattr(placement, "make_mesh", lambda devices=None: mesh)
    snapshots = []
    workdir = fit(hooks=[gen_jax.every(12, snapshots.append)], sharding=sharding)
    monkeypatch.undo()
    assert same(snapshots[0].state, gen_jax.load(workdir).state)
    assert all(len(leaf.devices()) == 1 for leaf in jax.tree.leaves(snapshots[0].state))
