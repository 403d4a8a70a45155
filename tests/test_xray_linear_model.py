import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy.xray import DisplacedSolvent, LinearModel, _columns


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


@pytest.fixture
def displaced():
    """Solvent that two of three groups keep out, at every third reflection of low resolution."""
    rng = np.random.default_rng(1)
    groups = rng.normal(size=(3, 50)) + 1j * rng.normal(size=(3, 50))
    groups[1] = 0
    groups[:, np.arange(50) % 3 != 0] = 0
    return groups


@pytest.fixture
def full_model(parts, displaced, monkeypatch):
    """Everything at once, in chunks of sixteen."""
    monkeypatch.setattr(_columns, "STORED_CHUNK", 16)
    s_squared = np.random.default_rng(2).uniform(0, 0.1, 50)
    with jax.enable_x64(True):
        model = LinearModel.from_structure_factors(**parts, s_squared=s_squared)
        rows = DisplacedSolvent.from_structure_factors(displaced, dtype="float64")
        yield dataclasses.replace(model, displaced=rows), s_squared


Q, DELTA_B = np.array([0.2, 0.5, 0.9]), np.array([3.0, -4.0, 10.0])


def slow_structure_factors(parts, displaced, s_squared, q, delta_b):
    found = np.zeros(50, complex)
    for h in range(50):
        atoms, mask = parts["fixed"][h], parts["mask"][h]
        for g in range(3):
            atoms += q[g] * parts["groups"][g, h] * np.exp(-delta_b[g] * s_squared[h])
            mask += q[g] * displaced[g, h]
        found[h] = parts["overall"][h] * (atoms + parts["solvent"][h] * mask)
    return found


def test_displaced_solvent_and_b_shifts_equal_the_formula(full_model, parts, displaced):
    model, s_squared = full_model
    q, delta_b = jnp.asarray(Q), jnp.asarray(DELTA_B)
    wanted = slow_structure_factors(parts, displaced, s_squared, Q, DELTA_B)
    np.testing.assert_allclose(model(q, delta_b), wanted, atol=1e-12)
    np.testing.assert_allclose(model.amplitude(q, delta_b), abs(wanted), atol=1e-12)
    amplitude, direction = model.amplitude_and_direction(q, delta_b)
    np.testing.assert_allclose(amplitude, abs(wanted), atol=1e-12)
    pair = np.stack([wanted.real, wanted.imag]) * parts["overall"] / abs(wanted)
    np.testing.assert_allclose(direction, pair, atol=1e-12)
    np.testing.assert_allclose(model(q), slow_structure_factors(parts, displaced, s_squared, Q, 0 * Q), atol=1e-12)
    np.testing.assert_allclose(model.solvent_mask(q), parts["mask"] + Q @ displaced, atol=1e-12)


@pytest.mark.parametrize("shifted", [False, True])
def test_gradient_curvature_and_jacobian_against_finite_differences(shifted, full_model):
    model, _ = full_model
    p = np.concatenate([Q, DELTA_B]) if shifted else Q
    split = (lambda p: (p[:3], p[3:])) if shifted else (lambda p: (p, None))
    amplitude = jax.jit(lambda p: model.amplitude(*split(p)))
    jacobian = np.stack([(amplitude(p + h) - amplitude(p - h)) / 2e-5 for h in 1e-5 * np.eye(p.size)], 1)
    rng = np.random.default_rng(3)
    slope, weight = jnp.asarray(rng.normal(size=50)), jnp.asarray(rng.uniform(size=50))
    arguments = split(jnp.asarray(p))
    direction = model.amplitude_and_direction(*arguments)[1]
    np.testing.assert_allclose(model.gradient(direction, slope, *arguments), jacobian.T @ slope, atol=1e-7)
    wanted = jacobian.T @ (np.asarray(weight)[:, None] * jacobian)
    np.testing.assert_allclose(model.curvature(direction, weight, *arguments), wanted, atol=1e-7)
    if not shifted:
        np.testing.assert_allclose(model.jacobian(arguments[0]), jacobian, atol=1e-8)
    np.testing.assert_allclose(jax.jacrev(amplitude)(jnp.asarray(p)), jacobian, atol=1e-7)


def test_direction_and_gradient_are_zero_where_the_structure_factor_is():
    zero = np.zeros(2, complex)
    model = LinearModel.from_structure_factors(zero, zero, np.ones((2, 2)) + 0j, np.ones(2), np.ones(2))
    f, direction = model.amplitude_and_direction(jnp.zeros(2))
    assert f.tolist() == [0, 0]
    assert direction.tolist() == [[0, 0], [0, 0]]
    assert model.gradient(direction, jnp.ones(2), jnp.zeros(2)).tolist() == [0, 0]
