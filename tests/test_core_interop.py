"""An OccupancyTensor among other people's pytrees: equinox, optax and JAX's own transformations, unfiltered."""

import io

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_occupancy import OccupancyTensor, is_occupancy_tensor, refinable_only


def tensor(dtype="float32"):
    """Three groups of unequal size, one fixed atom, a complete set and an incomplete one."""
    return OccupancyTensor(
        [0.5, 0.5, 0.5, 0.3, 0.3, 0.2, 0.4, 0.1, 0.1, 1.0],
        altloc_groups=[[[0, 1, 2], [3, 4], [5]], [[6], [7, 8]]],
        complete=[True, False],
        refinable_mask=np.arange(10) < 9,
        dtype=dtype,
    )


class Crystal(eqx.Module):
    """A model of somebody else: a tensor, numbers of its own and static things."""

    occ: OccupancyTensor
    b_factors: jax.Array
    scale: jax.Array
    name: str = eqx.field(static=True)
    activation: object = jax.nn.relu

    def __call__(self, s):
        return self.scale * jnp.sum(self.occ() * jnp.exp(-self.b_factors * s))


class Shared(eqx.Module):
    """Somebody else's layer whose weights are the logits of a tensor."""

    weights: jax.Array

    def __call__(self):
        return jnp.sum(self.weights**2)


def crystal():
    return Crystal(tensor(), jnp.linspace(1.0, 2.0, 10), jnp.array(3.0), "mine")


def square(occ):
    return jnp.sum(occ() ** 2)


def gradient_of(loss):
    """Compiled as a whole: one compilation is quicker than one for each operation."""
    return jax.jit(jax.grad(loss))


def assert_sums_hold(occ):
    q = np.asarray(occ())
    assert q[..., 0] + q[..., 3] + q[..., 5] == pytest.approx(1, abs=1e-6)
    assert np.all(q[..., 6] + q[..., 7] <= 1 + 1e-6)
    assert np.all(q[..., 9] == 1)


def test_logits_are_a_leaf_that_other_modules_can_hold():
    occ = tensor()
    layer = Shared(occ.logits)
    gradient = jax.grad(lambda layer: layer())(layer)
    np.testing.assert_allclose(gradient.weights, 2 * occ.logits)
    tied = eqx.nn.Shared((occ, layer), lambda pair: pair[1].weights, lambda pair: pair[0].logits)
    both = eqx.filter_jit(eqx.filter_grad(lambda tied: tied()[1]() + jnp.sum(tied()[0]() ** 2)))(tied)
    apart = gradient.weights + gradient_of(square)(occ).logits
    np.testing.assert_allclose(both.pytree[0].logits, apart, rtol=1e-6)


def test_tree_at_replaces_the_logits_and_keeps_the_topology():
    occ = tensor()
    moved = eqx.tree_at(lambda occ: occ.logits, occ, occ.logits.at[0].add(1.0))
    assert moved.topology is occ.topology
    assert moved()[0] > occ()[0]
    assert_sums_hold(moved)
    whole = eqx.tree_at(lambda crystal: crystal.occ.logits, crystal(), replace_fn=lambda x: x + 1)
    np.testing.assert_array_equal(whole.occ.logits, occ.logits + 1)
    # A new topology is made by methods such as freeze.
    with pytest.raises(TypeError, match="is not a leaf of the pytree"):
        eqx.tree_at(lambda occ: occ.topology, occ, occ.freeze().topology)


def test_logits_of_another_length_are_refused_at_the_call():
    longer = eqx.tree_at(lambda occ: occ.logits, tensor(), jnp.zeros(3))
    with pytest.raises(ValueError, match=r"logits must have 6 entries on the last axis, not shape \(3,\)"):
        longer()


def test_partition_and_combine():
    whole = crystal()
    arrays, rest = eqx.partition(whole, eqx.is_inexact_array)
    assert rest.occ.logits is None
    assert eqx.tree_equal(eqx.combine(arrays, rest), whole)
    only, others = eqx.partition(whole, jax.tree.map(is_occupancy_tensor, whole, is_leaf=is_occupancy_tensor))
    assert [leaf.shape for leaf in jax.tree.leaves(only)] == [(6,)]
    gradient = gradient_of(lambda only: eqx.combine(only, others)(0.1))(only)
    expected = eqx.filter_jit(eqx.filter_grad(lambda whole: whole(0.1)))(whole)
    np.testing.assert_allclose(gradient.occ.logits, expected.occ.logits, rtol=1e-6)


def test_serialised_leaves_come_back_to_the_bit():
    whole = crystal()
    file = io.BytesIO()
    eqx.tree_serialise_leaves(file, whole)
    file.seek(0)
    empty = jax.tree.map(lambda leaf: jnp.zeros_like(leaf) if eqx.is_array(leaf) else leaf, whole)
    assert eqx.tree_equal(eqx.tree_deserialise_leaves(file, empty), whole)
    file.seek(0)
    with pytest.raises((ValueError, RuntimeError)):
        eqx.tree_deserialise_leaves(file, OccupancyTensor([0.5, 0.5]))


def test_filtered_transformations_agree_with_the_plain_ones():
    occ = tensor()

    def loss(occ):
        return jnp.sum(jnp.arange(10) * occ() ** 2)

    plain = jax.jit(jax.value_and_grad(loss))(occ)
    filtered = eqx.filter_jit(eqx.filter_value_and_grad(loss))(occ)
    assert isinstance(filtered[1], OccupancyTensor)
    np.testing.assert_allclose(filtered[0], plain[0], rtol=1e-6)
    np.testing.assert_allclose(filtered[1].logits, plain[1].logits, rtol=1e-6)


def test_multi_transform_by_labels():
    params = {"occ": tensor(), "b": jnp.full(10, 20.0), "scale": jnp.array(1.0)}
    optimizer = optax.multi_transform(
        {"occ": refinable_only(optax.adam(0.1)), "b": optax.sgd(1.0), "none": optax.set_to_zero()},
        {"occ": "occ", "b": "b", "scale": "none"},
    )

    def loss(params):
        return params["scale"] * jnp.sum(params["occ"]() * params["b"] * jnp.arange(10))

    state = optimizer.init(params)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return eqx.apply_updates(params, updates), state

    new = params
    for _ in range(3):
        new, state = step(new, state)
    assert new["scale"] == 1
    assert np.all(new["b"][1:] < 20)
    assert new["occ"]()[0] > params["occ"]()[0]
    assert new["occ"].logits[5] == params["occ"].logits[5]
    assert_sums_hold(new["occ"])


def test_tree_map_and_both_ways_to_apply_updates():
    occ = tensor()
    doubled = jax.tree.map(lambda leaf: 2 * leaf, occ)
    np.testing.assert_array_equal(doubled.logits, 2 * occ.logits)
    assert_sums_hold(doubled.with_refinable_params(doubled.refinable_params))
    step = jax.tree.map(jnp.ones_like, occ)
    for apply_updates in (eqx.apply_updates, optax.apply_updates):
        np.testing.assert_array_equal(apply_updates(occ, step).logits, occ.logits + 1)
    leaves, structure = jax.tree.flatten(occ)
    assert [leaf.shape for leaf in leaves] == [(6,)]
    assert jax.tree.unflatten(structure, leaves).topology is occ.topology
    assert jax.tree_util.keystr(jax.tree_util.tree_leaves_with_path(occ)[0][0]) == ".logits"


def test_checkpoint_gives_the_same_gradient():
    def loss(occ):
        return jnp.sum(jnp.arange(10) * occ() ** 3)

    expected = gradient_of(loss)(tensor())
    remat = gradient_of(jax.checkpoint(loss))(tensor())
    # In float32 a gradient that cancels within a set is good to some units in the last place of its terms.
    np.testing.assert_allclose(remat.logits, expected.logits, rtol=1e-6, atol=1e-6)


def test_scan_carries_the_tensor_and_its_optimiser():
    occ = tensor()
    optimizer = refinable_only(optax.adam(0.05))

    def loss(occ):
        return jnp.sum((occ() - 0.25) ** 2)

    def step(carry, _):
        occ, state = carry
        value, gradient = jax.value_and_grad(loss)(occ)
        updates, state = optimizer.update(gradient, state, occ)
        return (optax.apply_updates(occ, updates), state), value

    (scanned, _), values = jax.jit(lambda occ: jax.lax.scan(step, (occ, optimizer.init(occ)), length=20))(occ)
    assert values[-1] < values[0]
    assert scanned.topology == occ.topology
    assert_sums_hold(scanned)
    looped, state = occ, optimizer.init(occ)
    compiled = jax.jit(step)
    for _ in range(20):
        (looped, state), _ = compiled((looped, state), None)
    np.testing.assert_allclose(scanned.logits, looped.logits, rtol=1e-5, atol=1e-6)


def test_while_and_cond_take_it_too():
    occ = tensor()

    @jax.jit
    def program(occ, flag):
        raised = jax.lax.while_loop(lambda o: o()[0] < 0.8, lambda o: jax.tree.map(lambda x: x.at[0].add(0.1), o), occ)
        return raised, jax.lax.cond(flag, lambda o: o.set_group_occupancy(0, 0.6), lambda o: o, occ)

    raised, chosen = program(occ, True)
    assert 0.8 <= raised()[0] < 0.9
    assert chosen()[0] == pytest.approx(0.6, abs=1e-6)
    assert_sums_hold(chosen)


def test_vmap_over_the_tensor_is_the_loop():
    occ = tensor()
    starts = jnp.stack([occ.logits + shift for shift in (-1.0, 0.0, 2.0)])
    stack = jax.vmap(lambda logits: eqx.tree_at(lambda o: o.logits, occ, logits))(starts)
    assert stack.shape == (3, 10)
    batched = jax.jit(jax.vmap(lambda occ: occ()))(stack)
    gradients = jax.jit(jax.vmap(jax.grad(square)))(stack)
    one_gradient = gradient_of(square)
    for model in range(3):
        one = jax.tree.map(lambda leaf, model=model: leaf[model], stack)
        np.testing.assert_allclose(batched[model], one(), rtol=1e-6)
        np.testing.assert_allclose(gradients.logits[model], one_gradient(one).logits, rtol=1e-5, atol=1e-6)


def test_shapes_can_be_evaluated_and_placeholders_pass():
    occ = tensor()
    assert jax.eval_shape(lambda occ: occ(), occ).shape == (10,)
    empty = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), occ)
    assert jax.jit(lambda occ: occ()).lower(empty).out_info.shape == (10,)
    assert jax.tree.map(lambda leaf: None, occ).logits is None
