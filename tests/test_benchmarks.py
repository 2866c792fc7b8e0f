"""The runner of `benchmarks/`: its figures, its lines; and the formulas of its pairs, which know nothing of ours."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

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
