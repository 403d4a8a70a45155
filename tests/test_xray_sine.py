import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy.xray._sine import sine_of_turns


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-7), (np.float64, 3e-15)])
def test_sine_to_rounding(dtype, tolerance):
    with jax.enable_x64(True):
        turns = np.linspace(-2.3, 2.3, 4001).astype(dtype)
        got = sine_of_turns(jnp.asarray(turns))
        assert got.dtype == dtype
        np.testing.assert_allclose(got, np.sin(2 * np.pi * turns.astype(np.float64)), atol=tolerance, rtol=0)


def test_quarter_turns_are_exact_far_from_zero():
    got = sine_of_turns(jnp.array([1000.0, 1000.25, 1000.5, -1000.25]))
    np.testing.assert_allclose(got, [0, 1, 0, -1], atol=1e-7)


def test_derivatives_of_first_and_second_order():
    with jax.enable_x64(True):
        turns = jnp.array([0.1, 0.25, 0.4, 0.5, -0.3])
        first = jax.vmap(jax.grad(sine_of_turns))(turns)
        second = jax.vmap(jax.grad(jax.grad(sine_of_turns)))(turns)
        angle = 2 * np.pi * turns
        np.testing.assert_allclose(first, 2 * np.pi * np.cos(angle), atol=1e-13)
        np.testing.assert_allclose(second, -4 * np.pi**2 * np.sin(angle), atol=1e-12)
