import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_core_simplex import build, cases, example

from jax_occupancy.core import OccupancyTensor, concatenate, refinable_only, split, stack, unstack


def models(dtype="float32", n=3):
    """Copies of the example with different logits."""
    occ = example(dtype)
    ramp = jnp.linspace(-1, 1, occ.get_refinable_count(), dtype=dtype)
    return [occ.with_refinable_params(occ.refinable_params + 0.3 * i * ramp) for i in range(n)]


def parts(dtype="float32"):
    """Sets with a parent and fixed entries; groups and independent atoms; an entry without atoms and labels."""
    state = OccupancyTensor(
        [0.3, 0.1, 0.6, 1.0],
        altloc_groups=[[[], [2]], [[0], [1]]],
        parents=[None, (0, 0)],
        labels=["other", "pose 1", "pose 2"],
        dtype=dtype,
    )
    plain = OccupancyTensor([0.5, 0.5, 0.9, 0.2], [[0, 1]], refinable_mask=[True, True, False, True], dtype=dtype)
    return [state, example(dtype), plain]


# --- stacks ---


def test_a_stack_equals_vmap_and_the_loop(dtype):
    loop = models(dtype)
    stacked = stack(loop)
    assert stacked.shape == (3, 15)
    expected = np.stack([model() for model in loop])
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(stacked(), expected, rtol=tolerance)
    np.testing.assert_allclose(eqx.filter_vmap(lambda t: t())(stacked), expected, rtol=tolerance)
    np.testing.assert_allclose(jax.vmap(lambda t: t())(stacked), expected, rtol=tolerance)
    for one, back in zip(loop, unstack(stacked), strict=True):
        assert back.topology == one.topology
        assert np.array_equal(back.logits, one.logits)


def test_stacks_of_stacks(dtype):
    twice = stack([stack(models(dtype)), stack(models(dtype))])
    assert twice.shape == (2, 3, 15)
    assert [[one.shape for one in unstack(half)] for half in unstack(twice)] == [[(15,)] * 3] * 2


def test_initial_values_per_model():
    values = np.array([[0.2, 0.8, 0.4], [0.6, 0.4, 0.9], [0.5, 0.5, 0.5]], np.float32)
    one = functools.partial(OccupancyTensor, altloc_groups=[[[0], [1]]])
    stacked = stack([one(v) for v in values])
    np.testing.assert_allclose(stacked(), values, atol=1e-6)
    np.testing.assert_allclose(one(values[0]).with_occupancies(values).logits, stacked.logits, atol=1e-5)
    np.testing.assert_allclose(stacked.with_occupancies(values[::-1])(), values[::-1], atol=1e-6)


@pytest.mark.parametrize("optimizer", [optax.adam(0.1), optax.adamw(0.1, weight_decay=0.1), optax.sgd(0.5)])
def test_optax_on_a_stack_equals_the_loop(optimizer):
    wrapped = refinable_only(optimizer)
    target = jnp.linspace(0.1, 0.9, 15)

    @jax.jit
    def step(tensor, state):
        gradient = jax.grad(lambda t: jnp.sum((t() - target) ** 2))(tensor)
        updates, state = wrapped.update(gradient, state, tensor)
        return optax.apply_updates(tensor, updates), state

    def train(tensor):
        state = wrapped.init(tensor)
        for _ in range(3):
            tensor, state = step(tensor, state)
        return tensor

    start = stack(models())
    trained = train(start)
    for one, back in zip(models(), unstack(trained), strict=True):
        np.testing.assert_allclose(back.logits, train(one).logits, rtol=1e-4, atol=1e-5)
    assert np.array_equal(trained.fixed_values, start.fixed_values)


def test_stacks_under_jit_and_grad_do_not_recompile():
    traces = []

    @jax.jit
    def loss(several):
        traces.append(None)
        return jnp.sum(jax.vmap(lambda t: jnp.sum(t() ** 2))(stack(several)))

    loss(models())
    loss([jax.tree.map(lambda leaf: leaf + 1, one) for one in models()])
    assert len(traces) == 1
    gradients = jax.grad(loss)(models())
    for one, gradient in zip(models(), gradients, strict=True):
        alone = jax.jit(jax.grad(lambda t: jnp.sum(t() ** 2)))(one)
        np.testing.assert_allclose(gradient.logits, alone.logits, atol=1e-6)
    assert [one.shape for one in jax.jit(unstack)(stack(models()))] == [(15,)] * 3


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            example().freeze(np.arange(15) == 4),
            "tensors\\[0\\] and tensors\\[1\\] differ in the refinable mask .group 1",
        ),
        (example(complete=[False, False, True]), "whether the sum must be met in altloc_groups\\[0\\]"),
        (OccupancyTensor(np.full(14, 0.5, np.float32)), "15 atoms against 14"),
        (OccupancyTensor(np.full(15, 0.5, np.float32)), "7 sharing groups against 0"),
        (example(name="other"), "the name None against 'other'"),
        (stack([example()]), "tensors\\[0\\] has \\(15,\\) and tensors\\[1\\] has \\(1, 15\\)"),
    ],
)
def test_a_different_topology_is_an_error_that_says_where(other, message):
    with pytest.raises(ValueError, match=message):
        stack([example(), other])


@pytest.mark.parametrize("join", [stack, concatenate])
def test_bad_input(join):
    with pytest.raises(ValueError, match="at least one"):
        join([])
    with pytest.raises(TypeError, match="OccupancyTensor"):
        join([example(), np.ones(3)])
    with jax.enable_x64(True), pytest.raises(TypeError, match=r"float32 and float64 \(tensors\[1\]\)"):
        join([example("float32"), example("float64")])


def test_a_single_model_has_nothing_to_unstack():
    with pytest.raises(ValueError, match="shape \\(15,\\)"):
        unstack(example())


# --- concatenations ---


def test_concatenation_keeps_collapsed_order_constraints_masks_and_labels():
    state, rich, plain = separate = parts()
    whole = concatenate(separate, name="complex")
    topology = whole.topology
    assert topology.n_groups == sum(part.topology.n_groups for part in separate)
    assert topology.n_atoms == 4 + 15 + 4
    assert topology.name == "complex"
    # Groups, then independent atoms by atom, then entries without atoms.
    alone = topology.expansion_index[topology.group_map < 0]
    assert np.array_equal(alone, topology.n_groups + np.arange(alone.size))
    assert np.flatnonzero(topology.atom_counts == 0).tolist() == [topology.n_collapsed - 1]
    assert topology.labels[:4] == (*state.topology.labels, "group 3")
    assert topology.complete.tolist() == [True, True, True, False, True]
    assert np.flatnonzero(topology.parent >= 0).tolist() == [1, 4]
    assert np.array_equal(whole.get_frozen_atoms(), np.concatenate([part.get_frozen_atoms() for part in separate]))
    assert np.array_equal(
        whole.topology.sharing_groups[-1], plain.topology.sharing_groups[0] + state.shape[0] + rich.shape[0]
    )


def test_concatenation_is_what_the_constructor_makes():
    one = OccupancyTensor([0.7, 0.7, 0.3, 1.0], altloc_groups=[[[0, 1], [2]]])
    two = OccupancyTensor([0.9, 0.2, 0.4], altloc_groups=[[[1], [2]]], complete=False)
    by_hand = OccupancyTensor(
        [0.7, 0.7, 0.3, 1.0, 0.9, 0.2, 0.4], altloc_groups=[[[0, 1], [2]], [[5], [6]]], complete=[True, False]
    )
    assert concatenate([one, two]).topology == by_hand.topology
    np.testing.assert_array_equal(concatenate([one, two]).logits, by_hand.logits)


def test_values_and_gradients_equal_the_separate_ones(dtype):
    separate = parts(dtype)
    whole = concatenate(separate)
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(whole(), np.concatenate([part() for part in separate]), rtol=tolerance)
    weights = jnp.asarray(np.linspace(-1, 2, 23), dtype)

    def loss(occupancies, weights):
        return jnp.sum(weights * occupancies**2)

    gradients = split(jax.jit(jax.grad(lambda t: loss(t(), weights)))(whole), separate)
    through = jax.jit(jax.grad(lambda several: loss(concatenate(several)(), weights)))(separate)
    start = np.cumsum([0, *(part.shape[-1] for part in separate)])
    for i, part in enumerate(separate):
        alone = jax.jit(jax.grad(lambda t, i=i: loss(t(), weights[start[i] : start[i + 1]])))(part)
        np.testing.assert_allclose(gradients[i].logits, alone.logits, atol=tolerance)
        np.testing.assert_allclose(through[i].logits, alone.logits, atol=tolerance)


def test_split_gives_the_parts_back_with_new_logits_and_masks():
    separate = parts()
    whole = concatenate(separate, name="complex")
    for part, back in zip(separate, split(whole, separate), strict=True):
        assert back.topology == part.topology
        assert np.array_equal(back.logits, part.logits)
    trained = whole.with_refinable_params(whole.refinable_params + 0.5).freeze(np.arange(23) == 0)
    pieces = split(trained, [part.topology for part in separate])
    np.testing.assert_allclose(np.concatenate([piece() for piece in pieces]), trained(), rtol=1e-6)
    assert pieces[0].refinable_mask.tolist() == [True, False, True, True, True]
    assert pieces[1].topology == separate[1].topology


def test_concatenate_and_split_traced_and_stacked():
    separate = [stack([part, part.with_refinable_params(part.refinable_params - 0.7)]) for part in parts()]
    whole = jax.jit(concatenate)(separate)
    assert whole.shape == (2, 23)
    np.testing.assert_allclose(whole(), np.concatenate([part() for part in separate], -1), rtol=1e-6)
    for part, back in zip(separate, jax.jit(lambda t: split(t, parts()))(whole), strict=True):
        assert np.array_equal(back.logits, part.logits)
    np.testing.assert_array_equal(jax.vmap(lambda several: concatenate(several).logits)(separate), whole.logits)


def test_parts_that_do_not_fit():
    with pytest.raises(ValueError, match="use_sigmoid"):
        concatenate([OccupancyTensor([0.5]), OccupancyTensor([0.5], use_sigmoid=False)])
    with pytest.raises(ValueError, match=r"tensors\[1\] \(2, 15\)"):
        concatenate([example(), stack([example()] * 2)])
    whole = concatenate(parts())
    with pytest.raises(ValueError, match="19 atoms against 23"):
        split(whole, parts()[:2])
    with pytest.raises(ValueError, match="do not make up the tensor"):
        split(whole, parts()[::-1])
    with pytest.raises(ValueError, match="at least one"):
        split(whole, [])


@given(st.lists(cases(), min_size=1, max_size=3))
@settings(max_examples=4, deadline=None)
def test_any_topologies_concatenate_and_split(several):
    @jax.jit
    def evaluate(separate):
        """Values and gradients of the whole and of the parts, and the parts back."""
        whole = concatenate(separate)
        weights = np.cos(np.arange(whole.shape[0]))
        own = np.split(weights, np.cumsum([part.shape[0] for part in separate])[:-1])
        gradient = jax.grad(lambda t: jnp.sum(weights * t()))(whole)
        alone = jax.grad(lambda t: sum(jnp.sum(w * part()) for w, part in zip(own, t, strict=True)))(separate)
        values = whole(), jnp.concatenate([part() for part in separate])
        return values, (split(gradient, separate), alone), split(whole, separate)

    with jax.enable_x64(True):
        separate = [
            OccupancyTensor.from_logits(jnp.asarray(logits), topology) for topology, logits in map(build, several)
        ]
        values, gradients, back = evaluate(separate)
    np.testing.assert_allclose(*values, rtol=1e-12, atol=1e-300)
    assert jax.tree.structure(back) == jax.tree.structure(separate)
    assert jax.tree.all(jax.tree.map(np.array_equal, back, separate))
    for of_whole, of_part in zip(*gradients, strict=True):
        np.testing.assert_allclose(of_whole.logits, of_part.logits, atol=1e-12)


# --- ensembles of whole copies ---


def test_copies_with_one_weight_each():
    copies = np.arange(3 * 5).reshape(3, 5)
    ensemble = OccupancyTensor(np.repeat([0.5, 0.3, 0.2], 5), altloc_groups=[copies])
    assert ensemble.collapsed_shape == (3,)
    np.testing.assert_allclose(ensemble().reshape(3, 5), np.repeat([[0.5], [0.3], [0.2]], 5, axis=1), atol=1e-6)
    moved = ensemble.with_refinable_params(ensemble.refinable_params + jnp.array([2.0, -1.0, 0.5]))
    np.testing.assert_allclose(moved().reshape(3, 5).sum(0), np.ones(5), atol=1e-6)


def test_copies_with_one_weight_per_residue():
    residue_of_atom = np.array([0, 0, 1, 1, 1])
    copies = np.arange(3 * 5).reshape(3, 5)
    residues = [copies[:, residue_of_atom == residue] for residue in range(2)]
    ensemble = OccupancyTensor(np.full(15, 1 / 3), altloc_groups=residues)
    assert ensemble.collapsed_shape == (6,)
    moved = ensemble.set_group_occupancy(0, 0.6)().reshape(3, 5)
    np.testing.assert_allclose(moved.sum(0), np.ones(5), atol=1e-6)
    np.testing.assert_allclose(moved[:, [0, 4]], [[0.6, 1 / 3], [0.2, 1 / 3], [0.2, 1 / 3]], atol=1e-6)


def test_residues_that_split_within_a_copy():
    # Copy 0 holds a residue (atoms 3, 4) in two rotamers, which share out the weight of the copy.
    ensemble = OccupancyTensor(
        [0.6, 0.6, 0.6, 0.4, 0.2, 0.4, 0.4, 0.4],
        altloc_groups=[[[0, 1, 2], [5, 6, 7]], [[3], [4]]],
        parents=[None, (0, 0)],
    )
    moved = ensemble.set_group_occupancy(0, 0.9)()
    np.testing.assert_allclose(moved, [0.9, 0.9, 0.9, 0.6, 0.3, 0.1, 0.1, 0.1], atol=1e-6)
