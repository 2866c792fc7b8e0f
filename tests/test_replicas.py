"""Replicas: several seeds in one run are the runs of those seeds, on one device and on several."""

import shutil
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import host

import gen_jax
from gen_jax import evaluate, sample, train
from gen_jax.devices import placement, replicas
from gen_jax.errors import UserError
from gen_jax.storage import metrics_file

CONFIGS = Path(__file__).parents[1] / "configs"
SMALL = {
    "gan": [f"--config.model.{net}.hidden=(16,)" for net in ("generator", "discriminator")],
    "dcgan": [f"--config.model.{net}.channels=(4,)" for net in ("generator", "discriminator")],
}
FEW = ["--config.steps=6", "--config.batch_size=16", "--config.log_every=2", "--config.save_every=3"]
FEW += ["--config.eval_every=0", "--config.sample_every=0", "--config.data.name=digits", "--quiet"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a config for 6 steps on digits, on so many devices; equal runs once. Returns the directory."""
    folder, done = tmp_path_factory.mktemp("replicas"), {}

    def run(config="gan", devices=1, name="run", **settings):
        key = (config, devices, name, *settings.items())
        if key not in done:
            mesh, few = placement.make_mesh, jax.devices()[:devices]
            flags = [f"--config.{setting}={value}" for setting, value in settings.items()]
            workdir = folder / f"{config}-{devices}-{name}-{settings.get('seed', 0)}-{settings.get('replicas', 1)}"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(placement, "make_mesh", lambda given=None: mesh(few if given is None else given))
                path = str(CONFIGS / f"{config}.py")
                train.main(["train", "--config", path, "--workdir", str(workdir), *FEW, *SMALL[config], *flags])
            done[key] = workdir
        return done[key]

    return run


def state_of(workdir, replica=0):
    return host(gen_jax.load(workdir, replica=replica).state)


@pytest.mark.study
def test_replicas_are_the_runs_of_their_seeds(run):
    """On two devices; on one it is a law of every family."""
    both = run(devices=2, replicas=2)
    for replica in (0, 1):
        alone = state_of(run(seed=replica))
        chex.assert_trees_all_close(state_of(both, replica), alone, rtol=1e-3, atol=1e-5)


@pytest.mark.study
@pytest.mark.parametrize("config, devices, replicas", [("gan", 2, 2), ("dcgan", 2, 4)])
def test_what_is_not_vmapped_is_exactly_the_runs_of_their_seeds(config, devices, replicas, run):
    """One replica a device, or on a CPU convolving ones, any number a device."""
    together = run(config, devices=devices, replicas=replicas)
    for replica in range(replicas):
        chex.assert_trees_all_equal(state_of(together, replica), state_of(run(config, seed=replica)))


@pytest.mark.study
def test_metrics_of_replicas_are_means_with_standard_errors(run):
    one, other = (metrics_file.read_metrics(run(seed=seed))[-1]["d_loss"] for seed in (0, 1))
    both = metrics_file.read_metrics(run(replicas=2))[-1]
    assert both["d_loss"] == pytest.approx((one + other) / 2, rel=1e-4)
    assert both["d_loss_se"] == pytest.approx(abs(one - other) / 2, rel=1e-2)


def test_replicas_resume_to_the_bit(run):
    run(devices=2, name="broken", replicas=2, steps=3)
    broken = run(devices=2, name="broken", replicas=2)
    for replica in (0, 1):
        chex.assert_trees_all_equal(state_of(broken, replica), state_of(run(devices=2, replicas=2), replica))


@pytest.mark.study
def test_replicas_are_sampled_apart(run, tmp_path):
    draws = []
    for replica in (0, 1):
        out = tmp_path / f"{replica}.npz"
        sample.main(["sample", "--workdir", str(run(replicas=2)), "--num=3", f"--replica={replica}", "--out", str(out)])
        draws.append(np.load(out)["x"])
    assert not np.array_equal(*draws)
    with pytest.raises(UserError, match="replica is 2; expected 0 to 1"):
        gen_jax.load(run(replicas=2), replica=2)


@pytest.mark.study
def test_replicas_are_scored_and_compared_as_the_command_does(run, capsys, short):
    workdir = run(replicas=2)
    names, num = ["recall"], 60
    both = gen_jax.load(workdir)
    scores = both.score(names, num)["recall"]
    apart = [gen_jax.load(workdir, replica=replica).score(names, num)["recall"]["value"] for replica in (0, 1)]
    assert scores["values"] == apart and scores["value"] == pytest.approx(np.mean(apart))
    assert scores["standard_error"] == pytest.approx(np.std(apart, ddof=1) / 2**0.5)
    with pytest.raises(UserError, match="scores of .* are missing"):
        both.compare(workdir, names, num)
    evaluate.main(["evaluate", "--workdir", str(workdir), "--metrics=recall", f"--num={num}"])
    capsys.readouterr()
    for other in (workdir, both):
        compared = both.compare(other, names, num)
        facts = {"difference": 0, "standard_error": 0, "pairs": 2}
        assert compared["recall"] == {"value": scores["value"], "other": scores["value"], **facts}
    evaluate.main(["evaluate", "--workdir", str(workdir), "--metrics=recall", f"--num={num}", f"--against={workdir}"])
    assert capsys.readouterr().out.endswith(f"\n\n{compared!r}\n")
    one = both.compare(gen_jax.load(workdir, replica=1), names, num)["recall"]
    assert one["difference"] == pytest.approx(scores["value"] - apart[1]) and one["pairs"] == 0
    with pytest.raises(UserError, match="samples of recall is 50; expected 60, as in"):
        both.compare(workdir, names, 50)
    (workdir / "best").mkdir()
    (workdir / "best" / "replicas.json").write_text('{"metric": "recall", "values": [0.1, 0.2]}')
    assert gen_jax.load(workdir, replica="best").replica == 1
    shutil.rmtree(workdir / "best")


def convolved(x):
    return jax.lax.conv_general_dilated(x, jnp.ones((1, 1, 3)), (1,), "SAME")


@jax.custom_vjp
def with_its_own_gradient(x):
    return convolved(x)


with_its_own_gradient.defvjp(lambda x: (convolved(x), x), lambda x, gradient: (gradient,))


def named_like_conv_general_dilated(x):
    return jnp.sin(x)


@pytest.mark.parametrize(
    "function, expected",
    [
        (convolved, True),
        (jax.jit(convolved), True),
        (jax.grad(lambda x: jnp.sum(jax.checkpoint(convolved)(x) ** 2)), True),
        (with_its_own_gradient, True),
        (lambda x: jax.lax.cond(x[0, 0, 0] > 0, jnp.sin, convolved, x), True),
        (lambda x: jax.lax.fori_loop(0, 3, lambda _, y: jax.jit(convolved)(y), x), True),
        (lambda x: jax.lax.scan(lambda y, _: (convolved(y), None), x, None, length=3)[0], True),
        (jax.jit(named_like_conv_general_dilated), False),
        (lambda x: x @ x[0], False),
    ],
)
def test_a_convolution_is_found_at_any_depth(function, expected):
    assert replicas.convolves(function, [jax.ShapeDtypeStruct((1, 1, 1), np.float32)]) == expected
