"""Laws of the way of rows to a model: values in model space, orders, padded batches, windows."""

import json
import math

import numpy as np
from conftest import make_spec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, from_dtype
from strategies import SEEDS

from gen_jax import config
from gen_jax.data.feed import batches
from gen_jax.data.feed.load import spec_of
from gen_jax.data.feed.order import ORDERS, Plan, length_of_run, levels_of, permutations
from gen_jax.data.source import Source
from gen_jax.data.sources.windows import windowed
from gen_jax.data.spec import from_json, rows_to_model, to_data, to_json, to_model
from gen_jax.errors import UserError

OPTIONS = config.plain(config.base_config())["data"]
TYPES = "uint8 int8 uint16 int16 uint32 int32 uint64 int64 float16 float32 float64".split()


def source_of(x, kind):
    """Returns a source whose only split has the rows x."""
    return Source(
        "made-up", kind, x.shape[1:], x.dtype, {"train": len(x)}, lambda split, indices: {"x": x[indices]}, ""
    )


@st.composite
def raw_values(draw):
    """Draws values [N, D]: real numbers of any size, whole numbers of all sizes of their type, or near to one of them."""
    dtype = np.dtype(draw(st.sampled_from(TYPES)))
    elements = from_dtype(dtype, allow_nan=False, allow_infinity=False)
    if dtype.kind in "iu":
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        offset = draw(st.integers(least, most - 100))
        elements |= st.sampled_from((least, most))
        elements = draw(st.sampled_from((elements, st.integers(offset, offset + 100))))
    return draw(arrays(dtype, st.tuples(st.integers(1, 5), st.integers(1, 3)), elements=elements))


@settings(max_examples=300)
@given(x=raw_values(), transform=st.sampled_from(("signed", "unit", "rms", "none")))
def test_values_come_back_from_model_space_or_are_refused_as_too_large(x, transform):
    try:
        spec = spec_of(source_of(x, "vector"), OPTIONS | {"transform": transform}, {"x": x})
    except UserError:
        largest = {"signed": 4e307, "unit": 4e307, "rms": 1e153, "none": 3e38}  # half of what can be held, at least
        assert np.abs(x.astype(np.float64)).max() > largest[transform]
        return
    model = to_model(spec, x)
    back = to_data(spec, model)
    assert model.dtype == np.float32 and np.isfinite(model).all() and back.dtype == x.dtype
    exact, whole = x.astype(np.longdouble), x.dtype.kind in "iu"
    of_model = np.abs(model) * 2.0**-23 + np.finfo(np.float32).tiny
    of_type = np.abs(exact) * (2.0**-52 if whole else np.finfo(x.dtype).eps)
    least = 0.5 if whole else np.finfo(x.dtype).smallest_subnormal
    error = np.abs(back.astype(np.longdouble) - exact)
    assert (error <= np.asarray(spec.scale, np.longdouble) * of_model + of_type + least).all()
    again = from_json(json.loads(json.dumps(to_json(spec))))
    assert to_data(again, model).tobytes() == back.tobytes()


@st.composite
def columns_of_decimals(draw):
    """Draws the facts of columns of numbers, and values [N, D] with the decimals of their column, some missing."""
    num, schema, values = draw(st.integers(1, 6)), [], []
    for place in range(draw(st.integers(1, 3))):
        decimals, offset = draw(st.integers(0, 8)), draw(st.integers(-(2**45), 2**45))
        whole = draw(st.lists(st.none() | st.integers(offset, offset + 10**5), min_size=num - 1, max_size=num - 1))
        cells = [math.nan if number is None else number / 10**decimals for number in (offset, *whole)]
        kind = "continuous" if decimals else draw(st.sampled_from(("continuous", "integer", "date")))
        facts = {"name": f"x{place}", "kind": kind, "missing": True, "decimals": decimals}
        schema.append(facts | {"low": np.nanmin(cells), "high": np.nanmax(cells)})
        values.append(cells)
    return schema, np.array(values).T


@given(table=columns_of_decimals())
def test_decimals_of_a_table_come_back_exactly(table):
    schema, x = table
    source = source_of(x, "table")._replace(info={"columns": schema, "marginals": []})
    spec = spec_of(source, OPTIONS, {"x": x})
    batch = rows_to_model(spec, {"x": x})
    assert np.isfinite(batch["x"]).all() and (batch["mask"] == ~np.isnan(x)).all()
    np.testing.assert_array_equal(to_data(spec, np.where(batch["mask"], batch["x"], np.nan)), x)


@given(data=st.data(), name=st.sampled_from(("shuffle", "once", "all", "lanes")), rows=st.integers(1, 30), seed=SEEDS)
def test_every_order_reads_each_row_once_an_epoch_and_always_the_same(data, name, rows, seed):
    order = ORDERS[name]
    size = data.draw(st.integers(1, rows if order.lanes else 40))
    epochs = data.draw(st.floats(0, 1 if order.once else 3, exclude_min=True))
    length = length_of_run(order, rows, size, None, epochs)
    plan = Plan(seed, rows, length.size, length.last, permutations(seed, rows))
    steps = [order.rows(plan, step)["index"] for step in range(length.steps)]
    assert all(0 < len(step) <= length.size for step in steps)
    read = np.concatenate(steps)
    epoch = rows // size * size if order.lanes else rows
    if name in ("shuffle", "once"):
        assert len(read) == max(1, round(epochs * rows))
    for start in range(0, len(read), epoch):
        counts = np.bincount(read[start : start + epoch], minlength=rows)
        assert counts.max() == 1 and counts.sum() == min(epoch, len(read) - start)
    again = plan._replace(permutation=permutations(seed, rows))
    for step in reversed(range(length.steps)):
        np.testing.assert_array_equal(order.rows(again, step)["index"], steps[step])


@given(rows=st.integers(1, 30), size=st.integers(1, 20), epochs=st.floats(0.1, 3), hosts=st.integers(1, 4), seed=SEEDS)
def test_the_hosts_together_feed_a_step_padded_with_rows_of_weight_zero(rows, size, epochs, hosts, seed):
    order = ORDERS["shuffle"]
    length = length_of_run(order, rows, size, None, epochs)
    padded = -(-size // hosts) * hosts
    plans = tuple(Plan(replica, rows, size, length.last, permutations(replica, rows)) for replica in (seed, seed + 1))
    spec = make_spec("vector", (1,))._replace(dtype="uint8")
    feed = batches.resident(spec, {"x": np.arange(rows, dtype=np.uint8)[:, None]})
    parts = [slice(padded * host // hosts, padded * (host + 1) // hosts) for host in range(hosts)]
    for step in range(length.steps):
        fed = [batches.rows_of_step(batches.Batches(spec, order, plans, feed, padded, part), step) for part in parts]
        for replica, plan in enumerate(plans):
            index = order.rows(plan, step)["index"]
            blank = [0] * (padded - len(index))
            assert np.concatenate([part["index"][replica] for part in fed]).tolist() == [*index, *blank]
            assert np.concatenate([part["weight"][replica] for part in fed]).tolist() == [1] * len(index) + blank


@st.composite
def tables_of_levels(draw):
    """Draws levels [N, C], NaN where a cell is missing but never in a whole column, and the number of levels of a column."""
    sizes, num = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)), draw(st.integers(1, 12))
    columns = [draw(st.lists(st.integers(-1, size - 1), min_size=num, max_size=num)) for size in sizes]
    codes = np.array(columns, float).T
    codes[0, codes.max(0) < 0] = 0
    return np.where(codes < 0, np.nan, codes), sizes


@given(table=tables_of_levels(), size=st.integers(1, 50), seed=SEEDS, step=st.integers(0, 10**6))
def test_a_row_drawn_by_a_level_holds_this_level(table, size, seed, step):
    codes, sizes = table
    plan = Plan(seed, len(codes), size, 10**9, permutations(seed, len(codes)), levels_of(codes, sizes))
    rows = ORDERS["by_level"].rows(plan, step)
    ends = np.cumsum(sizes)
    column = np.searchsorted(ends, rows["y"], side="right")
    assert len(rows["y"]) == size
    np.testing.assert_array_equal(codes[rows["index"], column], rows["y"] - (ends - sizes)[column])
    again = ORDERS["by_level"].rows(plan._replace(levels=levels_of(codes, sizes)), step)
    np.testing.assert_array_equal(rows["index"], again["index"])


@given(lengths=st.lists(st.integers(0, 9), min_size=1, max_size=5), window=st.integers(1, 12), seed=SEEDS)
def test_the_windows_of_a_sequence_are_the_sequence(lengths, window, seed):
    x = 1 + np.arange(len(lengths) * 9 * 2).reshape(len(lengths), 9, 2)
    source = source_of(x, "series")._replace(
        rows=lambda split, indices: {"x": x[indices], "y": indices.astype(np.int32)},
        lengths=lambda split: np.array(lengths),
    )
    cut = windowed(source, window)
    assert cut.shape == (window, 2) and cut.sizes["train"] == sum(math.ceil(length / window) for length in lengths)
    order = np.random.default_rng(seed).permutation(cut.sizes["train"])  # pieces may be asked for in any order
    pieces = {name: value[np.argsort(order)] for name, value in cut.rows("train", order).items()}
    assert pieces["length"].tolist() == cut.lengths("train").tolist()
    assert not pieces["x"][np.arange(window)[None] >= pieces["length"][:, None]].any()
    for row, length in enumerate(lengths):
        places = np.flatnonzero(pieces["y"] == row)
        frames = [pieces["x"][place, : pieces["length"][place]] for place in places]
        assert [*map(list, np.concatenate([x[:0, 0], *frames]))] == x[row, :length].tolist()
        assert pieces["reset"][places].tolist() == [place == places[0] for place in places]
