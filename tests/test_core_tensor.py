import copy
import pickle

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_core_simplex import example

from jax_occupancy.core import OccupancyTensor

GUIDE = {
    "initial_values": np.array([1.0, 1.0, 1.0, 0.8, 0.8, 0.8, 0.6, 0.6, 0.4, 0.2]),
    "sharing_groups": [[0, 1, 2], [3, 4, 5], [6, 7]],
}


def test_collapsed_storage_of_the_guide():
    occ = OccupancyTensor(**GUIDE)
    assert occ.shape == (10,)
    assert occ.collapsed_shape == (5,)
    assert occ.refinable_params.size == 5
    assert occ.expansion_mask.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 3, 4]
    assert [group.tolist() for group in occ.sharing_groups] == GUIDE["sharing_groups"]
    assert occ.group_map.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, -1, -1]
    # Refinable ones are lifted off the boundary by the margin.
    np.testing.assert_allclose(occ(), np.clip(GUIDE["initial_values"], 0, 1 - 1e-4), atol=1e-6)


def test_the_guides_debugging_recipe():
    occ = OccupancyTensor(**GUIDE, refinable_mask=GUIDE["initial_values"] < 0.7)
    collapsed = occ.fixed_values.at[occ.refinable_mask].set(occ.refinable_params)
    assert np.array_equal(jax.nn.sigmoid(collapsed[occ.expansion_mask]), occ())


def test_a_group_starts_at_the_mean_of_its_occupancies_not_of_its_logits():
    occ = OccupancyTensor([0.0, 1.0, 1.0, 0.9, 0.5], [[0, 1, 2], [3, 4]])
    np.testing.assert_allclose(occ.group_occupancies, [2 / 3, 0.7], atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_fixed_bounds_are_exact_and_refinable_ones_can_move(value, dtype):
    fixed = OccupancyTensor([value, 0.5], refinable_mask=[False, True], dtype=dtype)
    assert float(fixed()[0]) == value
    free = OccupancyTensor([value, 0.5], dtype=dtype)
    np.testing.assert_allclose(free()[0], abs(value - 1e-4), atol=1e-7)
    assert jax.grad(lambda occ: occ()[0])(free).logits[0] > 0
    np.testing.assert_allclose(OccupancyTensor([value], margin=0.01)()[0], abs(value - 0.01), atol=1e-6)


def test_dtype_follows_the_input():
    with jax.enable_x64(True):
        assert OccupancyTensor(np.array([0.5], np.float32)).dtype == np.float32
        assert OccupancyTensor(np.array([0.5])).dtype == np.float64
        assert OccupancyTensor([1, 0]).dtype == np.float64
        assert OccupancyTensor(np.array([0.5]), dtype=jnp.float32).dtype == np.float32
    with jax.enable_x64(False):
        assert OccupancyTensor(np.array([0.5])).dtype == np.float32
        assert OccupancyTensor(np.array([True, False])).dtype == np.float32
        with pytest.raises(ValueError, match="enable_x64"):
            OccupancyTensor([0.5], dtype=np.float64)
    for kind in (np.float16, jnp.bfloat16):
        with pytest.raises(TypeError, match="float32 or float64"):
            OccupancyTensor(jnp.asarray([0.5], kind))


def test_requires_grad_name_device_and_raw_storage():
    occ = OccupancyTensor([0.5, 0.7], requires_grad=False, name="ligand", device=jax.devices()[0])
    assert occ.get_refinable_count() == 0
    assert occ.unfreeze_all().get_refinable_count() == 2
    assert "'ligand'" in repr(occ)
    assert occ.logits.device == jax.devices()[0]
    raw = OccupancyTensor([0.5, 1.7, -0.2], [[0, 1]], use_sigmoid=False)
    np.testing.assert_allclose(raw(), [1.1, 1.1, -0.2], rtol=1e-6)
    np.testing.assert_allclose(raw.clamp(0, 1)(), [1, 1, 0], rtol=1e-6)


def test_one_leaf_and_no_surprises_under_transformations(dtype):
    occ = example(dtype)
    assert len(jax.tree.leaves(occ)) == 1
    value = np.asarray(occ())
    np.testing.assert_allclose(jax.jit(lambda occ: occ())(occ), value, rtol=1e-6)
    np.testing.assert_allclose(eqx.filter_jit(lambda occ: occ())(occ), value, rtol=1e-6)
    np.testing.assert_allclose(jax.checkpoint(lambda occ: occ())(occ), value, rtol=1e-6)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, occ)
    assert doubled.topology == occ.topology
    tangent = jax.jvp(lambda occ: occ(), (occ,), (occ,))[1]
    transposed = jax.vjp(lambda occ: occ(), occ)[1](jnp.ones(15, dtype))[0]
    np.testing.assert_allclose(jnp.sum(tangent), jnp.sum(transposed.logits * occ.logits), atol=1e-5)


def test_stacked_equals_loop_and_vmap(dtype):
    occ = example(dtype)
    shifts = [0.0, 0.5, -1.0]
    models = [
        occ.with_refinable_params(occ.refinable_params + shift * jnp.arange(occ.refinable_params.size))
        for shift in shifts
    ]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *models)
    assert stacked.shape == (3, 15)
    loop = np.stack([model() for model in models])
    np.testing.assert_allclose(stacked(), loop, rtol=1e-6)
    np.testing.assert_allclose(eqx.filter_vmap(lambda occ: occ())(stacked), loop, rtol=1e-6)
    np.testing.assert_allclose(stacked.get_group_occupancy(1), loop[:, 3], rtol=1e-6)
    edits = [
        lambda occ: occ.set_group_occupancy(0, 0.31),
        lambda occ: occ.clamp(0.01, 0.7),
        lambda occ: occ.freeze(np.arange(15) == 3),
        lambda occ: occ.unfreeze_all(),
        lambda occ: occ.with_occupancies(np.full(15, 0.2)),
    ]
    for edit in edits:
        np.testing.assert_allclose(
            np.broadcast_to(edit(stacked)(), loop.shape), np.stack([edit(model)() for model in models]), atol=1e-6
        )


def test_new_logits_and_equal_topologies_do_not_recompile():
    traces = []

    @jax.jit
    def total(occ):
        traces.append(None)
        return occ().sum()

    occ = example()
    total(occ)
    total(jax.tree.map(lambda leaf: leaf + 1, occ))
    total(example())
    assert len(traces) == 1
    total(occ.freeze_all())
    assert len(traces) == 2


def test_traced_constructor_is_refused_and_with_occupancies_is_not():
    with pytest.raises(TypeError, match="with_occupancies"):
        jax.jit(lambda values: OccupancyTensor(values)())(jnp.array([0.5]))
    occ = example()
    values = jnp.full(15, 0.3)
    eager = occ.with_occupancies(values)()
    np.testing.assert_allclose(jax.jit(lambda v: occ.with_occupancies(v)())(values), eager, rtol=1e-6)
    batch = jnp.stack([values, values / 2])
    np.testing.assert_allclose(
        jax.vmap(lambda v: occ.with_occupancies(v)())(batch), occ.with_occupancies(batch)(), atol=1e-6
    )
    gradient = jax.grad(lambda v: occ.with_occupancies(v)().sum())(values)
    assert np.all(np.isfinite(gradient))


def test_with_occupancies_round_trip_and_fixed_entries(dtype):
    occ = example(dtype)
    again = occ.with_occupancies(occ())
    np.testing.assert_allclose(again(), occ(), atol=1e-6 if dtype == "float32" else 1e-14)
    fixed = ~occ.refinable_mask
    assert np.array_equal(again.logits[fixed], occ.logits[fixed])
    at_bound = OccupancyTensor([0.5, 0.5, 0.4], altloc_groups=[[[0], [1]]]).with_occupancies([1.0, 0.0, 0.0], margin=0)
    assert at_bound().tolist() == [1.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="from 0 to 1"):
        occ.with_occupancies(np.full(15, np.nan))
    with pytest.raises(ValueError, match="15 entries"):
        occ.with_occupancies(np.ones(3))


def test_reduced_vector_round_trip():
    occ = example()
    vector = jnp.arange(float(occ.get_refinable_count()))
    again = occ.with_refinable_params(vector)
    assert np.array_equal(again.refinable_params, vector)
    assert np.array_equal(again.fixed_values, occ.fixed_values)
    with pytest.raises(ValueError, match="refinable entry"):
        occ.with_refinable_params(jnp.zeros(3))


def test_placeholders_live_in_the_tree():
    occ = example()
    shapes = jax.eval_shape(lambda: occ)
    assert shapes.shape == (15,)
    for placeholder in (None, True, "label"):
        tree = jax.tree.unflatten(jax.tree.structure(occ), [placeholder])
        assert "OccupancyTensor" in repr(tree)
    swapped = eqx.tree_at(lambda occ: occ.logits, occ, jnp.zeros_like(occ.logits))
    assert swapped.topology == occ.topology


def test_repr_is_short_and_hashing_free_for_a_large_tensor(monkeypatch):
    occ = OccupancyTensor(np.full(100_000, 0.5), np.arange(100_000) // 7)
    assert len(repr(occ).splitlines()) < 10
    assert len(repr(occ.topology).splitlines()) < 10
    assert len(repr(occ)) < 400

    # Equality and hash read the digest alone: neither may look at the arrays.
    def forbidden(*args, **kwargs):
        raise AssertionError("an array was compared")

    other = OccupancyTensor(np.full(100_000, 0.5), np.arange(100_000) // 7)
    monkeypatch.setattr(np, "array_equal", forbidden)
    assert occ.topology == other.topology
    assert hash(occ.topology) == hash(other.topology)
    assert occ.topology is not other.topology


def test_empty_and_single_atom():
    empty = OccupancyTensor([])
    assert empty().shape == (0,)
    assert empty.freeze_all().get_fixed_count() == 0
    one = OccupancyTensor([0.3], [[0]])
    np.testing.assert_allclose(one(), [0.3], rtol=1e-6)
    assert one.group_map.tolist() == [0]


def test_strict_dtype_promotion(dtype):
    occ = example(dtype)
    with jax.numpy_dtype_promotion("strict"):
        assert occ().dtype == dtype
        assert jax.grad(lambda occ: occ().sum())(occ).dtype == dtype
        assert occ.freeze_all().unfreeze_all().dtype == dtype
        assert occ.with_occupancies(occ()).dtype == dtype


def test_debug_nans_stays_silent(dtype):
    with jax.debug_nans(True):
        occ = OccupancyTensor(
            [0.0, 1.0, 1.0, 0.0, 0.0],
            altloc_groups=[[[2], [3]]],
            refinable_mask=[False, False, True, True, True],
            dtype=dtype,
        )
        assert np.all(np.isfinite(jax.grad(lambda occ: occ().sum())(occ).logits))
        assert np.all(np.isfinite(occ.freeze_all().unfreeze_all().clamp(0.1, 0.9).set_group_occupancy(0, 0.0)()))
        assert np.all(np.isfinite(occ.with_occupancies(jnp.zeros(5, dtype))()))


def test_a_leaf_of_the_wrong_length_is_refused():
    wrong = eqx.tree_at(lambda occ: occ.logits, example(), jnp.zeros(2))
    with pytest.raises(ValueError, match="9 entries"):
        wrong()


def test_copies_and_pickles_keep_the_topology_read_only():
    occ = example()
    for other in (copy.deepcopy(occ), pickle.loads(pickle.dumps(occ))):
        assert other.topology == occ.topology
        assert np.array_equal(other(), occ())
        with pytest.raises(ValueError, match="read-only"):
            other.topology.expansion_index[0] = 3
