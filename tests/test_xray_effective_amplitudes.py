import numpy as np
import pytest
from scipy.special import i0e

from jax_occupancy.xray._effective_amplitudes import NARROW, effective_amplitudes


def moments(e_eff, d_obs, centric):
    """<E> and <E²> of the distribution of the true E, by the trapezoidal rule."""
    v, m = 1 - d_obs**2, d_obs * e_eff
    reach = 12 * np.sqrt(v)
    x = np.linspace(max(m - reach, 0), m + reach, 200001)
    p = np.exp(-((x - m) ** 2) / (2 * v)) + np.exp(-((x + m) ** 2) / (2 * v))
    if not centric:
        p = x * np.exp(-((x - m) ** 2) / v) * i0e(2 * x * m / v)
    norm = np.trapezoid(p, x)
    return np.trapezoid(p * x, x) / norm, np.trapezoid(p * x**2, x) / norm


@pytest.mark.parametrize("centric", [True, False])
@pytest.mark.parametrize("e_eff", [0.0, 0.3, 1.0, 3.0])
@pytest.mark.parametrize("d_obs", [0.1, 0.5, 0.9, 0.999])
def test_moments_give_back_what_they_came_from(e_eff, d_obs, centric):
    mean, square = moments(e_eff, d_obs, centric)
    found = effective_amplitudes(np.array([mean]), np.array([square - mean**2]), np.array([centric]))
    # <E>²/<E²> goes with m⁴ near m = 0, so that half of the digits are lost there
    small = d_obs * e_eff < 0.3 * np.sqrt(1 - d_obs**2)
    assert (found[0] * found[1])[0] == pytest.approx(e_eff * d_obs, abs=0.02 if small else 1e-6)
    assert found[1][0] == pytest.approx(d_obs, abs=2e-3 if small else 1e-6)
    again = moments(found[0][0], found[1][0], centric)
    np.testing.assert_allclose(again, (mean, square), rtol=1e-8)


@pytest.mark.parametrize("centric", [True, False])
def test_series_takes_over_smoothly(centric):
    spread = NARROW * np.array([1 - 1e-9, 1 + 1e-9])
    # <E²> = 1
    e_eff, d_obs = effective_amplitudes(np.sqrt(1 - spread), spread, np.full(2, centric))
    noise = 1 - d_obs**2
    assert noise[0] == pytest.approx(noise[1], rel=1e-8)
    np.testing.assert_allclose(e_eff, 1, atol=1e-8)


@pytest.mark.parametrize("centric", [True, False])
def test_a_posterior_wider_than_the_prior(centric):
    mean, variance = np.array([1e-3, 1.0, 30.0]), np.array([1e-6, 5.0, 400.0])
    e_eff, d_obs = effective_amplitudes(mean, variance, np.full(3, centric))
    assert np.isfinite(e_eff).all()
    assert d_obs[0] > 0.99
    np.testing.assert_array_equal(d_obs[1:], 0.01)
    np.testing.assert_allclose((d_obs**2 * (e_eff**2 - 1) + 1)[1:], (mean**2 + variance)[1:])
