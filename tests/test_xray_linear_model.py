import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy.xray import LinearModel


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    complex_ = lambda *shape: rng.normal(size=shape) + 1j * rng.normal(size=shape)  # noqa: E731
    return {
        "fixed": complex_(50), "mask": complex_(50), "groups": complex_(3, 50),
        "overall": rng.uniform(1, 2, 50), "solvent": rng.uniform(0, 1, 50),
    }  # fmt: skip


@pytest.mark.parametrize("x64", [False, True])
def test_equals_the_formula(parts, x64):
    with jax.enable_x64(x64):
        model = LinearModel.from_structure_factors(**parts)
        q = np.array([0.2, 0.5, 0.9])
        calculated = parts["fixed"] + q @ parts["groups"]
        wanted = parts["overall"] * (calculated + parts["solvent"] * parts["mask"])
        tolerance = 1e-13 if x64 else 1e-5
        q = jnp.asarray(q)
        assert model(q).dtype == (jnp.complex128 if x64 else jnp.complex64)
        np.testing.assert_allclose(model(q), wanted, atol=tolerance)
        np.testing.assert_allclose(model.calculated(q), calculated, atol=tolerance)
        np.testing.assert_allclose(model.amplitude(q), abs(wanted), atol=tolerance)
        np.testing.assert_allclose(jax.jit(type(model).amplitude)(model, q), model.amplitude(q), atol=tolerance)


def test_with_scale_changes_the_scale_alone(parts):
    model = LinearModel.from_structure_factors(**parts)
    new = model.with_scale(np.full(50, 3.0), np.zeros(50))
    q = jnp.array([0.1, 0.2, 0.3])
    np.testing.assert_allclose(new(q), 3 * model.calculated(q), rtol=1e-5)
    assert jax.tree.structure(new) == jax.tree.structure(model)
    assert model.overall[0] != 3.0


def test_derivative_against_finite_differences(parts):
    with jax.enable_x64(True):
        model = LinearModel.from_structure_factors(**parts)
        q, step = jnp.array([0.2, 0.5, 0.9]), 1e-6
        numeric = [(model.amplitude(q + step * e) - model.amplitude(q - step * e)) / (2 * step) for e in jnp.eye(3)]
        np.testing.assert_allclose(jax.jacfwd(model.amplitude)(q).T, jnp.stack(numeric), atol=1e-7)
        np.testing.assert_allclose(jax.jacrev(model.amplitude)(q).T, jnp.stack(numeric), atol=1e-7)


def test_finite_derivatives_of_every_order_at_zero():
    zero, one = np.zeros(2, complex), np.array([[1 + 1j, 2.0], [1j, 0]])
    model = LinearModel.from_structure_factors(zero, zero, one, np.ones(2), np.ones(2))
    q = jnp.zeros(2)
    assert model.amplitude(q).tolist() == [0, 0]
    for derivative in (jax.jacfwd(model.amplitude), jax.jacrev(model.amplitude), jax.hessian(model.amplitude)):
        assert jnp.isfinite(derivative(q)).all()


def test_model_is_a_pytree_and_batches_over_occupancies(parts):
    model = LinearModel.from_structure_factors(**parts)
    q = jnp.linspace(0, 1, 12).reshape(4, 3)
    batched = jax.vmap(model.amplitude)(q)
    np.testing.assert_allclose(batched, jnp.stack([model.amplitude(row) for row in q]), rtol=1e-5)
    halved = jax.tree.map(lambda leaf: leaf / 2, model)
    np.testing.assert_allclose(halved.fixed, model.fixed / 2)


def test_no_groups():
    ones = np.ones(4)
    model = LinearModel.from_structure_factors(ones + 0j, 0j * ones, np.zeros((0, 4), complex), 2 * ones, ones)
    np.testing.assert_allclose(model.amplitude(jnp.zeros(0)), 2.0)


@pytest.mark.parametrize(("name", "value"), [("mask", np.zeros(49, complex)), ("overall", 1.0)])
def test_parts_of_other_reflections(parts, name, value):
    with pytest.raises(ValueError, match=rf"groups has shape \(3, 50\).*'{name}'"):
        LinearModel.from_structure_factors(**parts | {name: value})
