"""The runner of `benchmarks/`: its figures, its lines; and the formulas of its pairs, which know nothing of ours."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gen_jax.config import load_file
from gen_jax.errors import UserError
from gen_jax.metrics.images.distances import frechet_distance
from gen_jax.metrics.images.neighbours import neighbour_statistics


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    return lambda name: importlib.import_module(name)


def test_measures_are_their_formulas(benchmark):
    pair, random = benchmark("pairs.metrics"), np.random.default_rng(0)
    x, y = random.normal(0.3, 1, (60, 5)), random.normal(0, 1, (50, 5))
    np.testing.assert_allclose(frechet_distance(x, y), pair.frechet(x, y), rtol=1e-6)
    found = neighbour_statistics(x, y, pair.NEIGHBOURS)
    np.testing.assert_allclose([*found.values()], pair.prdc(x, y), rtol=1e-12)


def test_a_line_of_the_table(benchmark):
    results = benchmark("measurements")
    ours = results.summary((0.5, 10), [0.1, 0.3, 0.2, 0.2, 0.2], 2 * 10**9)
    assert ours["median"] == 0.2 and ours["spread"] == 0.0 and ours["compile"] == pytest.approx(3.0)
    theirs, other = results.summary((0.4, 1), [0.2, 0.6], 10**9), results.summary((0.1, 1), [0.1], 10**9)
    found = {"name": "a", "work": "b", "rate": "", "peers": ["them", "absent"]}
    line = results.row({**found, "programs": {"gen_jax": ours, "them": theirs, "bare": other}})
    cells = "`a` | b | 200 ms ± 0 %; bare 100 ms ± 0 % | them 400 ms ± 25 % | 2 | 3.0 / 0.0 | 2.00 / 1.00"
    assert line == f"| {cells} |"
    assert results.figure(0.02, "rows") == "50 rows/s"


def test_pairs_are_a_measured_result(benchmark, monkeypatch):
    measurements = benchmark("measurements")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "results")
    schema, render = importlib.import_module("schema"), importlib.import_module("render")
    ours = measurements.summary((0.5, 10), [0.1, 0.3, 0.2, 0.2, 0.2], 2 * 10**9)
    theirs, other = measurements.summary((0.4, 1), [0.2, 0.6], 10**9), measurements.summary((0.1, 1), [0.1], 10**9)
    facts = {"name": "a", "work": "b", "rate": "", "peers": ["them"], "device": "cpu", "date": "2026-01-02 03:04 UTC"}
    facts |= {"load": [1.0, 2.0], **measurements.machine()}
    record = measurements.record([{**facts, "programs": {"gen_jax": ours, "them": theirs, "bare": other}}])
    record = schema.read(json.dumps(record))
    assert schema.faults(record) == []
    lines = render.matrix({"speed": record}, "speed", "group", "duration", "ratio", "compiling", "memory").splitlines()
    assert lines[2:] == [
        "| `a`: b | gen_jax | 200.0 ms ± 0 % |  | 3.0 | 2.0 |",
        "|  | bare | 100.0 ms ± 0 % |  |  |  |",
        "|  | them | 400.0 ms ± 25 % | 2.0 | 0.0 | 1.0 |",
    ]
    with pytest.raises(UserError, match="nothing was measured"):
        measurements.record([])


def test_what_the_runner_refuses(benchmark, tmp_path, monkeypatch):
    run = benchmark("run")
    monkeypatch.chdir(tmp_path)
    for flags, said in (
        (["--only", "dcgam"], "Did you mean 'dcgan'"),
        (["--device", "tpu"], "cpu, gpu"),
        (["--rounds", "0"], "at least 1"),
        (["--table"], "nothing was measured yet"),
    ):
        with pytest.raises(UserError, match=said):
            run.main(["run.py", *flags])
    assert not list(tmp_path.iterdir())


def leaves(options, name):
    """Returns the numbers of a name in options, in order."""
    if not isinstance(options, dict):
        return []
    return [number for key, value in options.items() for number in ([value] if key == name else leaves(value, name))]


def test_members_of_the_atlas_are_their_configs_on_the_data_of_the_arena(benchmark):
    atlas, arenas = benchmark("atlas"), benchmark("arenas")
    for arena in arenas.ARENAS.values():
        for member in arena.members.values():
            original = load_file(arenas.CONFIGS / member.config)
            config = atlas.experiment(arena, member, 3, 1234, None)
            assert (config.seed, config.steps, config.replicas) == (3, 1234, 1)
            assert {name: config.data[name] for name in arena.data} == arena.data
            assert config.model.name == original.model.name
            ratio = 1234 * config.batch_size / (original.steps * original.batch_size)
            before, after = (leaves(each.model.to_dict(), "examples") for each in (original, config))
            np.testing.assert_allclose(after, [ratio * number for number in before], atol=0.5)
    assert atlas.experiment(arenas.ADULT, arenas.ADULT.members["vae, TVAE"], 0, 9, None).batch_size == 200
    config = atlas.experiment(arenas.CHORALES, arenas.CHORALES.members["hmm"], 0, 60, "/folder")
    assert (config.data.path, config.data.data_dir) == ("/folder/JSB_Chorales.mat", None)


def test_each_member_of_the_atlas_is_chosen_by_its_name(benchmark, monkeypatch, tmp_path, capsys):
    atlas, arenas = benchmark("atlas"), benchmark("arenas")
    measured = {"scores": {"nll": {"value": 1.0}}, "figures": {}, "commit": "abc"}
    monkeypatch.setattr(atlas, "affordable_steps", lambda *given: 5)
    monkeypatch.setattr(atlas, "measured", lambda *given: measured)
    flags = SimpleNamespace(add=None, seeds=1, data_dir=None)
    for title, arena in arenas.ARENAS.items():
        for name in arena.members:
            flags.members = atlas.slug(name)
            found = atlas.meeting(arena, flags, 5.0, tmp_path / title / flags.members)
            assert list(found) == [name]
    flags.members = "autoregressive_lstn,markov"
    with pytest.raises(UserError, match="Did you mean 'autoregressive_lstm'"):
        atlas.meeting(arenas.SHAKESPEARE, flags, 5.0, tmp_path)


def test_the_time_to_a_goal_is_that_of_the_first_checkpoint_that_reaches_it(benchmark, monkeypatch, tmp_path):
    atlas, arenas = benchmark("atlas"), benchmark("arenas")
    lines = [{"step": step, "seconds": 2.0 * step} for step in (10, 20, 30, 40)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for step in (15, 25, 40):
        (tmp_path / "checkpoints" / str(step)).mkdir(parents=True)
    values = {15: 60.0, 25: 49.0}
    run = lambda step: SimpleNamespace(score=lambda name, num: {name: {"value": values[step]}})
    monkeypatch.setattr(atlas.gj, "load", lambda workdir, step: run(step))
    assert atlas.seconds_to_goal(arenas.MNIST, tmp_path, 30.0) == 50.0  # a Frechet distance of at most 50
    values[25] = 51.0
    assert atlas.seconds_to_goal(arenas.MNIST, tmp_path, 30.0) == 80.0
    assert atlas.seconds_to_goal(arenas.MNIST, tmp_path, 50.1) is None
    assert atlas.seconds_to_goal(arenas.GRID, tmp_path, 0.5) == 30.0  # here more is better


def test_an_arena_is_a_measured_result(benchmark, monkeypatch):
    atlas, arenas = benchmark("atlas"), benchmark("arenas")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "results")
    schema, render = importlib.import_module("schema"), importlib.import_module("render")

    def entry(value, seconds, config="vae.py"):
        scores = {"frechet": {"value": value, "oracle": 1.5, "protocol": {"samples": 5000, "shape": [1]}}}
        figures = {"train_seconds": 300.0, "goal_seconds": seconds, "sampling": 0.5, "memory": 1.0, "steps": 9}
        facts = {"likelihood": "a bound", "given": ["x", "mask"], "encodes": True}
        return {"scores": scores, "figures": figures, "facts": facts, "commit": "abc", "config": config}

    entries = {
        "vae, convolutions": [entry(10.0, 80.0), entry(12.0, None)],
        "gan": [entry(20.0, None, "/home/me/my_gan.py")],
    }
    record = schema.read(json.dumps(atlas.record(arenas.MNIST, entries, 5.0)))
    assert schema.faults(record) == []
    assert atlas.record(arenas.CHORALES, entries, 5.0)["shared"]["data"] == "JSB_Chorales.mat"
    lines = render.matrix({"a": record}, "a", "frechet", "goal_seconds", "group").splitlines()
    assert lines[2].startswith("| real data | 1.5 |")
    assert [each["config"] for each in record["results"].values()] == ["configs/vae.py", "/home/me/my_gan.py"]
    assert lines[3].startswith("| `vae`, convolutions | 11 ± 1.0 (10, 12) |")
    assert lines[3].endswith("| bound of the likelihood; given x, mask; has latents of rows |")
    assert "goal_seconds" not in record["results"]["vae_convolutions"]["metrics"]  # a seed did not reach it
    with pytest.raises(UserError, match="expected NAME=CONFIG"):
        atlas.added("mine=absent.py")


def test_metrics_that_a_family_lacks_are_left_out(benchmark):
    def score(names, num):
        if "recall" in names:
            raise UserError("recall needs images")
        return {name: {"value": num} for name in (*names, "another")}

    scores = benchmark("atlas").scores_of(SimpleNamespace(score=score), ("coverage", "recall", "modes"), 7)
    assert scores == {"coverage": {"value": 7}, "modes": {"value": 7}}


def test_the_atlas_refuses_no_seeds(benchmark):
    with pytest.raises(UserError, match="--seeds is 0"):
        benchmark("atlas").main(["atlas", "--only=grid", "--seeds=0"])
