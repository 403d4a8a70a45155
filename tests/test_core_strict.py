"""JAX with its checks on: no ranks or dtypes are promoted silently, no NaN appears on the way."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_occupancy import OccupancyTensor, concatenate, refinable_only, split, stack, unstack

TENSORS = {
    "groups": lambda: OccupancyTensor([0.2, 0.2, 1.0, 0.5], [[0, 1]], refinable_mask=[True, True, False, True]),
    "set": lambda: OccupancyTensor([1.0, 0.6, 0.6, 0.4], altloc_groups=[[[1, 2], [3]]]),
    "incomplete": lambda: OccupancyTensor([0.3, 0.3, 0.2, 1.0], altloc_groups=[[[0, 1], [2]]], complete=False),
    "nested": lambda: OccupancyTensor(
        [0.7, 0.2, 0.1, 0.5, 0.5], altloc_groups=[[[0], []], [[1], [2]]], parents=[None, (0, 1)]
    ),
    "fixed": lambda: OccupancyTensor(
        [0.4, 0.2, 0.4, 0.0], altloc_groups=[[[0], [1], [2]]], refinable_mask=[True, True, False, False]
    ),
    "raw": lambda: OccupancyTensor([0.3, 0.7], [[0], [1]], use_sigmoid=False),
}


@pytest.fixture(params=TENSORS)
def occ(request):
    return TENSORS[request.param]()


@pytest.fixture(autouse=True)
def strict(occ):
    """All of it switched on, within the test alone."""
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"), jax.debug_nans(True):
        yield


def loss(occ):
    return jnp.sum((occ() - 0.5) ** 2)


def test_values_and_derivatives(occ):
    models = stack([occ, occ, occ])
    values = np.asarray(occ())
    np.testing.assert_array_equal(jax.jit(lambda occ: occ())(occ), values)
    np.testing.assert_array_equal(models(), np.tile(values, (3, 1)))
    np.testing.assert_array_equal(jax.vmap(lambda occ: occ())(models), models())
    gradient = np.asarray(jax.grad(loss)(occ).logits)
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(jax.vmap(jax.grad(loss))(models).logits, np.tile(gradient, (3, 1)))
    np.testing.assert_allclose(jax.grad(loss)(models).logits, np.tile(gradient, (3, 1)), atol=1e-6)
    curvature = jax.hessian(lambda logits: loss(OccupancyTensor.from_logits(logits, occ.topology)))(occ.logits)
    assert np.isfinite(curvature).all()


def test_edits_of_one_model_and_of_a_stack(occ):
    for tensor in (occ, stack([occ, occ, occ])):
        free = tensor.unfreeze_all()
        for other in (
            tensor.with_occupancies(np.asarray(tensor())),
            tensor.with_group_occupancies(np.asarray(tensor.group_occupancies)),
            tensor.with_refinable_params(tensor.refinable_params),
            tensor.freeze_all(),
        ):
            np.testing.assert_allclose(other(), tensor(), atol=2e-4)
        np.testing.assert_allclose(free.set_group_occupancy(0, 0.25).get_group_occupancy(0), 0.25, atol=1e-6)
        assert (np.asarray(free.clamp(0.05, 0.95)()) > 0.049).all()
    np.testing.assert_array_equal(unstack(stack([occ, occ]))[1](), occ())
    np.testing.assert_array_equal(split(concatenate([occ, occ.freeze_all()]), [occ, occ])[0](), occ())


def test_optax(occ):
    """With momentum: Adam promotes the dtype of its own counter."""
    optimizer = refinable_only(optax.sgd(0.1, momentum=0.5))

    @jax.jit
    def step(occ, state):
        updates, state = optimizer.update(jax.grad(loss)(occ), state, occ)
        return optax.apply_updates(occ, updates), state

    state, trained = optimizer.init(occ), occ
    for _ in range(3):
        trained, state = step(trained, state)
    assert loss(trained) < loss(occ)
    fixed = ~occ.refinable_mask
    np.testing.assert_array_equal(trained.logits[fixed], occ.logits[fixed])
