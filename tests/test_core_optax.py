"""Fixed entries keep their bits under every optimiser, and the free ones end where the reduced problem ends."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_core_simplex import example

from jax_occupancy.core import OccupancyTensor, is_occupancy_tensor, refinable_only, zero_fixed

TARGET = np.linspace(0.1, 0.9, 15)


def loss(occ):
    return jnp.sum((occ() - TARGET.astype(occ.dtype)) ** 2)


def adaptive_clipping():
    return optax.chain(optax.adaptive_grad_clip(0.1), optax.sgd(0.5))


OPTIMIZERS = {
    "sgd": lambda: optax.sgd(0.5),
    "momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "adam": lambda: optax.adam(0.05),
    "adamw": lambda: optax.adamw(0.05, weight_decay=0.1),
    "lamb": lambda: optax.lamb(0.05, weight_decay=0.1),
    "lars": lambda: optax.lars(0.05, weight_decay=0.1),
    "adafactor": lambda: optax.adafactor(0.05),
    "noise": lambda: optax.chain(optax.add_noise(0.1, 0.5, 0), optax.sgd(0.1)),
    "clip_by_global_norm": lambda: optax.chain(optax.clip_by_global_norm(0.01), optax.sgd(0.5)),
    "adaptive_clipping": adaptive_clipping,
    "multi_steps": lambda: optax.MultiSteps(optax.adam(0.05), every_k_schedule=2),
    "schedule_free": lambda: optax.contrib.schedule_free_sgd(0.5),
}


def train(params, optimizer, loss, steps, state=None, jit=jax.jit):
    state = optimizer.init(params) if state is None else state

    @jit
    def step(params, state):
        gradient = jax.grad(loss)(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    for _ in range(steps):
        params, state = step(params, state)
    return params, state


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_fixed_entries_keep_their_bits(name):
    import optax.contrib  # noqa: F401

    occ = example("float32")
    trained, _ = train(occ, refinable_only(OPTIMIZERS[name]()), loss, 6)
    fixed = ~occ.refinable_mask
    assert fixed.sum() == 2
    assert np.array_equal(trained.logits[fixed], occ.logits[fixed])
    atoms = occ.get_frozen_atoms()
    assert np.array_equal(trained()[atoms], occ()[atoms])
    assert not np.array_equal(trained()[~atoms], occ()[~atoms])


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"noise", "adafactor"}))
def test_free_entries_follow_the_reduced_problem(name):
    """The same optimiser on the vector of refinable logits alone takes the same steps."""
    import optax.contrib  # noqa: F401

    occ = example("float32")
    trained, _ = train(occ, refinable_only(OPTIMIZERS[name]()), loss, 8)
    reduced, _ = train(occ.refinable_params, OPTIMIZERS[name](), lambda v: loss(occ.with_refinable_params(v)), 8)
    np.testing.assert_allclose(trained.refinable_params, reduced, rtol=1e-4, atol=1e-5)


def test_why_the_wrapper_is_needed():
    """What optax does on its own, so that this test goes red should it ever change."""
    occ = example("float32")
    fixed = ~occ.refinable_mask
    plain, _ = train(occ, optax.adamw(0.05, weight_decay=0.1), loss, 3)
    assert not np.array_equal(plain.logits[fixed], occ.logits[fixed])


def test_zero_fixed_is_a_masked_transform_for_any_tree():
    occ = example("float32")
    params = {"occ": occ, "scale": jnp.array(2.0)}
    gradient = jax.tree.map(jnp.ones_like, params)
    updates, _ = zero_fixed().update(gradient, zero_fixed().init(params))
    assert np.array_equal(updates["occ"].logits != 0, occ.refinable_mask)
    assert updates["scale"] == 1


@pytest.mark.parametrize("jit", [jax.jit, eqx.filter_jit])
def test_inside_a_larger_tree_with_two_different_tensors(jit):
    first = example("float32")
    second = OccupancyTensor([0.5, 1.0, 0.3], [[0, 1]], refinable_mask=[False, False, True])
    params = {"a": first, "b": [second, jnp.array(1.5)], "c": (jnp.ones(2), None)}

    def total(params):
        return loss(params["a"]) + jnp.sum(params["b"][0]() ** 2) * params["b"][1] ** 2 + jnp.sum(params["c"][0] ** 2)

    trained, _ = train(params, refinable_only(optax.adamw(0.05, weight_decay=0.1)), total, 5, jit=jit)
    for old, new in ((first, trained["a"]), (second, trained["b"][0])):
        assert np.array_equal(new.logits[~old.refinable_mask], old.logits[~old.refinable_mask])
        assert not np.any(new.logits[old.refinable_mask] == old.logits[old.refinable_mask])
    assert trained["b"][1] != 1.5
    assert np.all(trained["c"][0] != 1)


@pytest.mark.parametrize("combine", ["multi_transform", "partition"])
def test_labels_by_leaf_and_by_node(combine):
    params = {"occ": example("float32"), "scale": jnp.array(2.0)}
    transforms = {"occ": refinable_only(optax.adam(0.1)), "rest": optax.sgd(0.1)}

    def total(params):
        return params["scale"] ** 2 * loss(params["occ"])

    by_node = jax.tree.map(lambda n: "occ" if is_occupancy_tensor(n) else "rest", params, is_leaf=is_occupancy_tensor)
    by_leaf = {"occ": jax.tree.map(lambda _: "occ", params["occ"]), "scale": "rest"}
    results = []
    for labels in (by_node, by_leaf):
        trained, _ = train(params, getattr(optax, combine)(transforms, labels), total, 3)
        fixed = ~params["occ"].refinable_mask
        assert np.array_equal(trained["occ"].logits[fixed], params["occ"].logits[fixed])
        assert trained["scale"] != 2
        results.append(trained["occ"].logits)
    assert np.array_equal(*results)


def test_outside_of_a_multi_transform_and_of_masks():
    params = {"occ": example("float32"), "scale": jnp.array(2.0)}
    labels = {"occ": jax.tree.map(lambda _: "occ", params["occ"]), "scale": "rest"}
    inner = optax.multi_transform({"occ": optax.adamw(0.1), "rest": optax.set_to_zero()}, labels)
    trained, _ = train(params, refinable_only(inner), lambda p: p["scale"] * loss(p["occ"]), 3)
    fixed = ~params["occ"].refinable_mask
    assert np.array_equal(trained["occ"].logits[fixed], params["occ"].logits[fixed])
    assert trained["scale"] == 2


def test_nan_gradient_at_a_fixed_entry_harms_nothing():
    occ = OccupancyTensor([0.5, 0.8, 0.3], refinable_mask=[True, False, True])
    bad = jax.tree.map(lambda g: g.at[1].set(jnp.nan), jax.grad(lambda o: o().sum())(occ))
    optimizer = refinable_only(optax.chain(optax.clip_by_global_norm(0.1), optax.adamw(0.1)))
    updates, state = optimizer.update(bad, optimizer.init(occ), occ)
    trained = optax.apply_updates(occ, updates)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((trained, state)))
    assert np.array_equal(trained.logits[1], occ.logits[1])
    assert trained.logits[0] != occ.logits[0]


@pytest.mark.parametrize(
    "name", ["momentum", "adam", "adamw", "lamb", "adafactor", "multi_steps", "clip_by_global_norm"]
)
def test_state_carries_over_a_freeze_and_back(name):
    occ = example("float32")
    optimizer = refinable_only(OPTIMIZERS[name]())
    moving, state = train(occ, optimizer, loss, 4)
    mask = np.arange(15) == 11
    frozen = moving.freeze(mask)
    after, state = train(frozen, optimizer, loss, 4, state)
    assert np.array_equal(after.logits[~frozen.refinable_mask], frozen.logits[~frozen.refinable_mask])
    assert not np.array_equal(after()[0], frozen()[0])
    thawed, _ = train(after.unfreeze(mask), optimizer, loss, 4, state)
    assert not np.array_equal(thawed()[11], after()[11])


def test_momentum_survives_the_freeze_of_another_entry():
    """Adam's moments of what stays free are the ones it had, not fresh ones."""
    occ = OccupancyTensor([0.5, 0.4, 0.3])
    optimizer = refinable_only(optax.adam(0.1))

    def pull(occ):
        return jnp.sum((occ() - 0.9) ** 2)

    moving, state = train(occ, optimizer, pull, 5)
    straight, _ = train(moving, optimizer, pull, 3, state)
    with_freeze, _ = train(moving.freeze([False, True, False]), optimizer, pull, 3, state)
    np.testing.assert_allclose(with_freeze()[np.array([0, 2])], straight()[np.array([0, 2])], rtol=1e-6)
    assert with_freeze()[1] == moving()[1]


def test_a_state_of_other_parameters_is_an_error():
    optimizer = refinable_only(optax.adam(0.1))
    state = optimizer.init(OccupancyTensor([0.5, 0.5]))
    other = OccupancyTensor([0.5, 0.5, 0.5])
    with pytest.raises(ValueError, match="call init again"):
        optimizer.update(other, state, other)


def lbfgs(params, optimizer, loss, steps):
    """Train with a line search, which evaluates the loss itself."""
    value_and_grad = optax.value_and_grad_from_state(loss)

    @jax.jit
    def step(params, state):
        value, gradient = value_and_grad(params, state=state)
        updates, state = optimizer.update(gradient, state, params, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params


def test_lbfgs_on_the_reduced_vector():
    occ = example("float32")

    def reduced(vector):
        return loss(occ.with_refinable_params(vector))

    vector = lbfgs(occ.refinable_params, optax.lbfgs(), reduced, 40)
    best = occ.with_refinable_params(vector)
    assert np.array_equal(best.fixed_values, occ.fixed_values)
    assert np.max(np.abs(jax.grad(reduced)(vector))) < 1e-3
    by_adam, _ = train(occ, refinable_only(optax.adam(0.05)), loss, 1500)
    np.testing.assert_allclose(best(), by_adam(), atol=2e-3)


def test_placeholders_and_stacks_pass_through():
    occ = example("float32")
    masked = jax.tree.map(lambda _: optax.MaskedNode(), occ)
    nothing = jax.tree.unflatten(jax.tree.structure(occ), [None])
    for node in (masked, nothing):
        updates, _ = zero_fixed().update({"occ": node}, zero_fixed().init({"occ": node}))
        assert jax.tree.leaves(updates) == []
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf + 0.1]), occ)
    trained, _ = train(stacked, refinable_only(optax.adamw(0.1)), lambda o: jnp.sum(o() ** 2), 3)
    fixed = ~occ.refinable_mask
    assert np.array_equal(trained.logits[:, fixed], stacked.logits[:, fixed])


def test_works_under_vmap_over_models():
    occ = example("float32")
    optimizer = refinable_only(optax.adam(0.05))
    shifts = jnp.array([0.0, 0.4])

    def fit(shift):
        model = occ.with_refinable_params(occ.refinable_params + shift)
        updates, _ = optimizer.update(jax.grad(loss)(model), optimizer.init(model), model)
        return optax.apply_updates(model, updates)()

    batched = jax.vmap(fit)(shifts)
    np.testing.assert_allclose(batched, np.stack([fit(shift) for shift in shifts]), rtol=1e-5)


def test_a_line_search_in_the_whole_tensor_sees_the_true_fixed_entries():
    occ = example("float32")
    trained = lbfgs(occ, refinable_only(optax.lbfgs()), loss, 40)
    reduced = lbfgs(occ.refinable_params, optax.lbfgs(), lambda v: loss(occ.with_refinable_params(v)), 40)
    np.testing.assert_allclose(loss(trained), loss(occ.with_refinable_params(reduced)), atol=1e-4)
    assert np.array_equal(trained.fixed_values, occ.fixed_values)


@pytest.mark.parametrize("name", ["adam", "novograd", "schedule_free"])
def test_state_carries_over_when_one_of_two_equal_tensors_is_frozen(name):
    import optax.contrib

    tensor = OccupancyTensor([0.5, 0.4, 0.3])
    optimizer = refinable_only((OPTIMIZERS | {"novograd": lambda: optax.novograd(0.1)})[name]())
    mask = [True, False, False]

    def total(params):
        return jnp.sum(params["a"]() ** 2) + jnp.sum(params["b"]() ** 2)

    params, state = train({"a": tensor, "b": tensor}, optimizer, total, 2)
    first = {"a": params["a"], "b": params["b"].freeze(mask)}
    params, state = train(first, optimizer, total, 2, state)
    assert params["b"]()[0] == first["b"]()[0]
    assert params["a"]()[0] != first["a"]()[0]
    swapped = {"a": params["a"].freeze(mask), "b": params["b"].unfreeze_all()}
    params, _ = train(swapped, optimizer, total, 2, state)
    assert params["a"]()[0] == swapped["a"]()[0]
    assert params["b"]()[0] != swapped["b"]()[0]


def test_an_unfrozen_entry_is_not_pulled_towards_a_stale_copy():
    """Schedule-free keeps a copy of the parameters; that of a fixed entry is worth nothing."""
    import optax.contrib

    occ = OccupancyTensor([0.95, 0.4], refinable_mask=[False, True])
    optimizer = refinable_only(optax.contrib.schedule_free_sgd(0.5))
    trained, state = train(occ, optimizer, lambda o: (o()[1] - 0.6) ** 2, 3)
    thawed, _ = train(trained.unfreeze_all(), optimizer, lambda o: (o()[1] - 0.6) ** 2, 5, state)
    np.testing.assert_allclose(thawed()[0], 0.95, atol=1e-3)


def test_numpy_leaves_are_masked_too():
    occ = jax.device_get(OccupancyTensor([0.5, 0.8], refinable_mask=[True, False]))
    optimizer = refinable_only(optax.sgd(0.1))
    updates, _ = optimizer.update(jax.tree.map(np.ones_like, occ), optimizer.init(occ), occ)
    assert updates.logits[1] == 0
    assert updates.logits[0] != 0


def test_another_grouping_of_the_same_size_is_not_the_same_parameters():
    optimizer = refinable_only(optax.adam(0.1))
    state = optimizer.init(OccupancyTensor([0.5] * 4, [[0, 1]]))
    other = OccupancyTensor([0.5] * 4, [[2, 3]])
    with pytest.raises(ValueError, match="call init again"):
        optimizer.update(other, state, other)
