"""MADE: masks, orders, densities, the conditions that it takes and refuses."""

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_spec, table_spec
from families import complete_table

from gen_jax.errors import UserError
from gen_jax.models.autoregressive import autoregressive
from gen_jax.models.autoregressive.entries import order_log_prob, order_loss
from gen_jax.nets.causal_patches import CausalPatches
from gen_jax.nets.embedding import Embedded
from gen_jax.nets.made import Layout, Made

KEY = jax.random.key(0)
FIVE = Layout(np.arange(5), 5, 2)
BITS = make_spec("image", (3, 2, 1))._replace(dtype="uint8", low=0, high=1)
LEVELS = BITS._replace(high=2)
NOISY = 0.5  # deviation of what is added to fresh weights, so that every connection counts


def noisy(weights):
    leaves, tree = jax.tree.flatten(weights)
    keys = jax.random.split(KEY, len(leaves))
    return tree.unflatten([leaf + NOISY * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves)])


def made_model(spec, **options):
    model = autoregressive(spec, net={"name": "made", "hidden": (16,), **options})
    state = model.init(KEY, {"x": jnp.zeros((1, *spec.shape))})
    return model, state._replace(average=noisy(state.params))


@pytest.mark.parametrize(
    "options",
    [{}, {"orders": 3}, {"direct": False, "hidden": (7, 5)}, {"hidden": (3,), "orders": 2}, {"hidden": (40, 8, 40)}],
)
@pytest.mark.parametrize("owner", [[0, 1, 2, 3, 4], [0, 0, 1, 2, 2, 2, 3, 4, 4]])
def test_an_output_depends_on_all_inputs_of_earlier_entries_and_on_no_others(options, owner):
    made, layout = Made(**{"hidden": (16,), **options}), Layout(np.array(owner), 5, 2)
    x = jax.random.uniform(KEY, (1, len(owner)), minval=1, maxval=2)
    for place in made.places(layout):
        weights = jax.tree.map(lambda leaf: abs(leaf), noisy(made.init(KEY, x, None, layout, jnp.asarray(place))))
        slopes = jax.jacobian(lambda x: made.apply(weights, x, None, layout, jnp.asarray(place))[0])(x)[:, :, 0]
        read = np.abs(slopes).max(1) > 0  # [D, L]
        earlier = place[layout.owner][None] < place[:, None]
        assert not read[~earlier].any()
        if made.direct or min(made.hidden) >= 4:  # else a degree has no unit
            assert read[earlier].all()


def noisy_patches(**options):
    """A net over images of 4 x 4 pixels and 2 channels, its layout, an image, and weights that connect everything."""
    net = CausalPatches(**{"patch": 2, "hidden": 16, "units": 8, "layers": 2, "heads": 2, **options})
    layout, x = Layout(np.arange(32), 32, 3, (4, 4, 2)), jax.random.normal(KEY, (2, 32))
    place = jnp.asarray(net.places(layout)[0])
    return net, layout, x, place, noisy(net.init(KEY, x, None, layout, place))


@pytest.mark.study
def test_an_entry_reads_earlier_patches_and_earlier_entries_of_its_patch_and_no_others():
    net, layout, x, place, weights = noisy_patches()
    slopes = jax.jit(jax.jacobian(lambda x: net.apply(weights, x[None], None, layout, place)[0]))(x[0])  # [D, W, D]
    read, earlier = np.abs(slopes).max(1) > 0, np.asarray(place)[None] < np.asarray(place)[:, None]
    assert not read[~earlier].any() and read[earlier].mean() > 0.9
    order = np.argsort(place)
    np.testing.assert_array_equal(order[:8], [0, 1, 2, 3, 8, 9, 10, 11])  # the first patch, line by line
    np.testing.assert_array_equal(order[8:10], [4, 5])  # then the patch on its right


@pytest.mark.study
@pytest.mark.parametrize("conditional", [False, True])
def test_entries_of_patches_one_by_one_are_those_of_one_pass(conditional):
    net, layout, x, place, _ = noisy_patches()
    c = Embedded(jax.random.normal(KEY, (2, 5))) if conditional else None
    weights = noisy(net.init(KEY, x, c, layout, place))
    whole = net.apply(weights, x, c, layout, place)
    apply = partial(net.apply, weights)
    progress = apply(x, c, layout, method="begin")
    at = jax.jit(lambda progress, entry, time: apply(progress, c, layout, entry, time, method="at"))
    add = jax.jit(lambda progress, entry, time: apply(progress, c, layout, entry, time, x, method="add"))
    for time, entry in enumerate(np.argsort(place)):
        rows = jnp.full(2, entry)
        np.testing.assert_allclose(at(progress, rows, jnp.int32(time)), whole[:, entry], atol=1e-4)
        progress = add(progress, rows, jnp.int32(time))


def test_orders_are_permutations_that_differ_and_one_order_is_that_of_the_data():
    places = Made(orders=6).places(FIVE)
    assert (np.sort(places, 1) == np.arange(5)).all() and len({tuple(place) for place in places}) == 6
    np.testing.assert_array_equal(Made().places(FIVE), [np.arange(5)])
    np.testing.assert_array_equal(Made(orders=6).places(FIVE), places)


def test_the_density_is_the_mean_over_the_orders_and_the_loss_is_that_of_one():
    model, state = made_model(LEVELS, orders=4)
    x = jnp.asarray([*product(range(3), repeat=6)][::97], jnp.float32).reshape(-1, 3, 2, 1)
    entries = model.log_prob.args[0]
    each = [order_log_prob(entries, state.average, x, None, jnp.asarray(place)) for place in entries.places]
    expected = jax.nn.logsumexp(jnp.stack(each), 0) - np.log(4)
    np.testing.assert_allclose(model.log_prob(KEY, state, {"x": x}), expected, rtol=1e-5)
    loss = order_loss(entries, state.average, None, {"x": x}, jnp.asarray(entries.places[1]))
    np.testing.assert_allclose(loss, -each[1].mean(), rtol=1e-5)
    assert np.abs(each[1] - each[0]).min() > 1e-3


@pytest.mark.study
def test_the_orders_take_turns():
    model = autoregressive(
        LEVELS, net={"name": "made", "hidden": (8,), "orders": 3}, optimizer={"name": "sgd", "learning_rate": 0.0}
    )
    batch = {"x": jnp.asarray(np.random.default_rng(0).integers(0, 3, (5, 3, 2, 1)), jnp.float32)}
    state = model.init(KEY, batch)
    state, seen = state._replace(params=noisy(state.params)), []
    for _ in range(6):
        state, metrics = model.step(KEY, state, batch)
        seen.append(float(metrics["nats_per_row"]))
    assert seen[:3] == seen[3:] and len({*seen}) == 3


@pytest.mark.study
@pytest.mark.parametrize("orders", [1, 3])
def test_draws_of_a_row_do_not_depend_on_the_other_rows(orders):
    model, state = made_model(LEVELS, orders=orders)
    few, many = (np.asarray(model.sample(KEY, state, num)["x"]) for num in (3, 9))
    np.testing.assert_array_equal(few, many[:3])


@pytest.mark.study
def test_entries_that_are_given_stay_and_the_draws_follow_them():
    model, state = made_model(BITS)
    x, mask = np.ones((4, 3, 2, 1)), np.zeros((4, 3, 2, 1))
    mask[:, :1] = 1
    drawn = np.asarray(model.sample(KEY, state, 4, {"x": x, "mask": mask})["x"])
    assert (drawn[:, :1] == 1).all() and set(np.unique(drawn)) <= {0, 1}
    with pytest.raises(UserError, match="given mask hides an entry before one that is observed.*--mask lower"):
        model.sample(KEY, state, 4, {"x": x, "mask": 1 - mask})
    shuffled, its_state = made_model(BITS, orders=2)
    assert shuffled.given == ()
    with pytest.raises(UserError, match="cannot be conditioned on 'x'"):
        shuffled.sample(KEY, its_state, 4, {"x": x, "mask": mask})


@pytest.mark.study
def test_the_first_patches_of_an_image_are_given_and_no_other_entries():
    spec = make_spec("image", (4, 4, 1))._replace(dtype="uint8", low=0, high=1)
    net = {"name": "patches", "patch": 2, "hidden": 8, "units": 8, "layers": 1, "heads": 2}
    model = autoregressive(spec, net=net)
    state = model.init(KEY, {"x": jnp.zeros((1, 4, 4, 1))})
    x, first, line = np.ones((3, 4, 4, 1)), np.zeros((3, 4, 4, 1)), np.zeros((3, 4, 4, 1))
    first[:, :2, :2] = 1  # the first patch, which is not the first entries of the row
    line[:, :1] = 1
    drawn = np.asarray(model.sample(KEY, state, 3, {"x": x, "mask": first})["x"])
    assert (drawn[:, :2, :2] == 1).all() and (drawn == 0).any()
    with pytest.raises(UserError, match="with whole lines of patches for the net patches"):
        model.sample(KEY, state, 3, {"x": x, "mask": line})


@pytest.mark.study
def test_levels_of_a_table_that_a_column_lacks_are_never_drawn():
    model, state = made_model(complete_table(2, 5, 3))
    drawn = np.asarray(model.sample(KEY, state, 2000)["x"])
    assert (drawn.max(0) == [1, 4, 2]).all() and (drawn.min(0) == 0).all()
    with pytest.raises(UserError, match="row 0, column 0 of x is 2; expected a level from 0 to 1"):
        model.log_prob(KEY, state, {"x": jnp.asarray([[2.0, 0, 0]])})
    with pytest.raises(UserError, match="the batch has missing cells"):
        model.log_prob(KEY, state, {"x": jnp.zeros((1, 3)), "mask": jnp.asarray([[True, False, True]])})


TEXT = make_spec("text", (4,))._replace(info={"vocabulary": ["a", "b"]})
REFUSED = [
    (
        BITS,
        {"net": {"name": "gru"}},
        "net is 'gru' and .* holds image data, no sequences; expected 'made' or 'patches'",
    ),
    (TEXT, {"net": {"name": "made"}}, "'made'"),
    (TEXT, {"net": {"name": "gru"}, "likelihood": {"name": "bernoulli"}}, "likelihood is set and .* holds sequences"),
    (BITS, {"net": {"name": "made", "hidden": ()}}, "hidden of made is empty"),
    (BITS, {"net": {"name": "made", "hidden": (8, 0)}}, "a width in hidden of made is 0"),
    (BITS, {"net": {"name": "made", "orders": 0}}, "orders of made is 0"),
    (BITS, {"net": {"name": "made", "dropout": 1.0}}, "dropout of made is 1.0; expected a share"),
    (BITS, {"net": {"name": "made", "order": 2}}, "'orders'"),
    (BITS, {"net": {"name": "made"}, "accumulate": 2}, "expected no head, label_smoothing, copies or accumulate"),
    (LEVELS, {"net": {"name": "made"}, "likelihood": {"name": "gaussian"}}, "'gaussian' gives no exact probability"),
    (table_spec(2, 3), {"net": {"name": "made"}}, "cells of column 'x0' may be missing"),
    (complete_table(2, None), {"net": {"name": "made"}}, "column 'x1' of .* holds numbers; expected levels"),
    (BITS, {"net": {"name": "patches"}}, r"patch of patches is 4 and a row has the shape \[3, 2, 1\]; expected images"),
    (BITS, {"net": {"name": "patches", "patch": 1, "units": 0}}, "units of patches is 0"),
    (
        complete_table(2, 3),
        {"net": {"name": "patches"}},
        "patch of patches is 4 and a row has the shape .*expected images",
    ),
    (make_spec("class_map", (2, 2)), {"net": {"name": "made"}}, "holds class_map data; expected images, vectors"),
]


@pytest.mark.parametrize("spec, options, line", REFUSED)
def test_faulty_models_are_refused(spec, options, line):
    with pytest.raises(UserError, match=line):
        autoregressive(spec, **options)
