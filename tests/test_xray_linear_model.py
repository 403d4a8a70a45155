import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy.xray import DisplacedSolvent, LinearModel


def make_parts(n):
    rng = np.random.default_rng(0)
    complex_ = lambda *shape: rng.normal(size=shape) + 1j * rng.normal(size=shape)  # noqa: E731
    return {
        "fixed": complex_(n), "mask": complex_(n), "groups": complex_(3, n),
        "overall": rng.uniform(1, 2, n), "solvent": rng.uniform(0, 1, n),
    }  # fmt: skip


@pytest.fixture
def parts():
    return make_parts(50)


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


# Reflections in two chunks.
MANY = 4150
PARTS = make_parts(MANY)
S_SQUARED = np.random.default_rng(2).uniform(0, 0.1, MANY)


def make_displaced():
    """Solvent that two of three groups keep out, at every third reflection."""
    rng = np.random.default_rng(1)
    groups = rng.normal(size=(3, MANY)) + 1j * rng.normal(size=(3, MANY))
    groups[1] = 0
    groups[:, np.arange(MANY) % 3 != 0] = 0
    return groups


DISPLACED = make_displaced()


@pytest.fixture
def full_model(x64):
    """Everything at once."""
    model = LinearModel.from_structure_factors(**PARTS, s_squared=S_SQUARED)
    assert len(model.columns.source) == 2
    rows = DisplacedSolvent.from_structure_factors(DISPLACED, dtype="float64")
    return dataclasses.replace(model, displaced=rows)


Q, DELTA_B = np.array([0.2, 0.5, 0.9]), np.array([3.0, -4.0, 10.0])


def slow_structure_factors(q, delta_b):
    found = np.zeros(MANY, complex)
    for h in range(MANY):
        atoms, mask = PARTS["fixed"][h], PARTS["mask"][h]
        for g in range(3):
            atoms += q[g] * PARTS["groups"][g, h] * np.exp(-delta_b[g] * S_SQUARED[h])
            mask += q[g] * DISPLACED[g, h]
        found[h] = PARTS["overall"][h] * (atoms + PARTS["solvent"][h] * mask)
    return found


def test_displaced_solvent_and_b_shifts_equal_the_formula(full_model):
    q, delta_b = jnp.asarray(Q), jnp.asarray(DELTA_B)
    wanted = slow_structure_factors(Q, DELTA_B)
    np.testing.assert_allclose(full_model(q, delta_b), wanted, atol=1e-12)
    np.testing.assert_allclose(full_model.amplitude(q, delta_b), abs(wanted), atol=1e-12)
    amplitude, direction = full_model.amplitude_and_direction(q, delta_b)
    np.testing.assert_allclose(amplitude, abs(wanted), atol=1e-12)
    pair = np.stack([wanted.real, wanted.imag]) * PARTS["overall"] / abs(wanted)
    np.testing.assert_allclose(direction, pair, atol=1e-12)
    np.testing.assert_allclose(full_model(q), slow_structure_factors(Q, 0 * Q), atol=1e-12)
    np.testing.assert_allclose(full_model.solvent_mask(q), PARTS["mask"] + Q @ DISPLACED, atol=1e-12)


@pytest.mark.parametrize("shifted", [False, True])
def test_gradient_and_curvature_against_finite_differences(shifted, full_model):
    p = np.concatenate([Q, DELTA_B]) if shifted else Q
    split = (lambda p: (p[:3], p[3:])) if shifted else (lambda p: (p, None))
    amplitude = jax.jit(lambda p: full_model.amplitude(*split(p)))
    jacobian = np.stack([(amplitude(p + h) - amplitude(p - h)) / 2e-5 for h in 1e-5 * np.eye(p.size)], 1)
    # fifty reflections of both chunks
    rng = np.random.default_rng(3)
    slope, weight = np.zeros(MANY), np.zeros(MANY)
    slope[40::83], weight[41::83] = rng.normal(size=50), rng.uniform(size=50)
    arguments = split(jnp.asarray(p))
    direction = full_model.amplitude_and_direction(*arguments)[1]
    gradient = full_model.gradient(direction, jnp.asarray(slope), *arguments)
    np.testing.assert_allclose(gradient, jacobian.T @ slope, atol=1e-7)
    wanted = jacobian.T @ (weight[:, None] * jacobian)
    np.testing.assert_allclose(full_model.curvature(direction, jnp.asarray(weight), *arguments), wanted, atol=1e-7)
    derivatives = jax.jacfwd(amplitude)(jnp.asarray(p))
    strong = np.asarray(amplitude(p)) > 0.3
    np.testing.assert_allclose(derivatives[strong], jacobian[strong], atol=1e-7)


def test_direction_and_gradient_are_zero_where_the_structure_factor_is():
    zero = np.zeros(2, complex)
    model = LinearModel.from_structure_factors(zero, zero, np.ones((2, 2)) + 0j, np.ones(2), np.ones(2))
    f, direction = model.amplitude_and_direction(jnp.zeros(2))
    assert f.tolist() == [0, 0]
    assert direction.tolist() == [[0, 0], [0, 0]]
    assert model.gradient(direction, jnp.ones(2), jnp.zeros(2)).tolist() == [0, 0]
