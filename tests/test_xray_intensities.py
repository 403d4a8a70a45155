import gemmi
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import i0e

from jax_occupancy.xray import amplitudes_from_intensities
from jax_occupancy.xray._intensities import NARROW, effective_amplitudes, posterior_moments

CELL, SPACEGROUP = gemmi.UnitCell(45, 52, 61, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")


def simulate(noise, *, d_min=2.5, seed=0):
    """True amplitudes that follow Wilson's distribution on a falling scale, and intensities with Gaussian errors."""
    rng = np.random.default_rng(seed)
    hkl = gemmi.make_miller_array(CELL, SPACEGROUP, d_min)
    operations = SPACEGROUP.operations()
    epsilon, centric = operations.epsilon_factor_without_centering_array(hkl), operations.centric_flag_array(hkl)
    power = 1e4 * epsilon * np.exp(-12 * np.array([CELL.calculate_1_d2(h) for h in hkl.tolist()]))
    a, b = rng.normal(size=(2, len(hkl)))
    true = np.sqrt(power) * np.where(centric, abs(a), np.hypot(a, b) / np.sqrt(2))
    sigma = noise * 1e3 * rng.uniform(0.5, 2, len(hkl))
    return hkl, true, true**2 + sigma * rng.normal(size=len(hkl)), sigma, power, centric


def by_quadrature(t, centric):
    """Moments of √J for σ = 1 by adaptive integration, with the prior in the exponent's t."""
    peak = np.sqrt(max(t, 0))
    width = 10 / np.sqrt(max(2 * t, -t, 1))
    limits = (max(peak - width, 0), peak + width)

    def density(x, power):
        return x**power * (1 if centric else x) * np.exp(-((x**2 - t) ** 2 - min(t, 0) ** 2) / 2)

    zeroth, first, second = (quad(density, *limits, args=(k,), epsabs=0, epsrel=1e-12, limit=200)[0] for k in range(3))
    return first / zeroth, second / zeroth


@pytest.mark.parametrize("centric", [True, False])
@pytest.mark.parametrize("signal", [-10, -4, -1, 0, 0.5, 2, 4, 9, 10, 30, 1e4])
@pytest.mark.parametrize("power", [0.05, 1.0, 100.0])
def test_moments_against_adaptive_integration(signal, power, centric):
    sigma = 3.0
    one = np.ones(1)
    mean, variance = posterior_moments(signal * sigma * one, sigma * one, power * sigma * one, np.array([centric]))
    first, second = by_quadrature(signal - 1 / (power * (2 if centric else 1)), centric)
    assert mean[0] == pytest.approx(np.sqrt(sigma) * first, rel=1e-9)
    assert mean[0] ** 2 + variance[0] == pytest.approx(sigma * second, rel=1e-9)


def test_strong_reflections():
    ratio = np.array([1e2, 1e4, 1e8])
    mean, variance = posterior_moments(ratio, np.ones(3), ratio, np.zeros(3, bool))
    # the prior moves I by σ²/Σ and the curvature of the root F by −σ²/8I^1.5, both of relative size (σ/I)²
    np.testing.assert_allclose(mean / np.sqrt(ratio), 1, atol=1e-4)
    np.testing.assert_allclose(mean[1:] / np.sqrt(ratio[1:]), 1, atol=1e-8)
    np.testing.assert_allclose(np.sqrt(variance) * 2 * np.sqrt(ratio), 1, rtol=2e-4)


def test_absurd_values_stay_finite():
    intensity, sigma, power = map(
        np.ravel, np.meshgrid([-1e12, -1.0, 0.0, 1e-9, 1.0, 1e12], [1e-6, 1.0, 1e9], [1e-3, 1.0, 1e6])
    )
    for centric in (True, False):
        mean, variance = posterior_moments(intensity, sigma, power, np.full(len(power), centric))
        assert np.isfinite(mean).all()
        assert (mean > 0).all()
        assert (variance > 0).all()
    # nothing but the prior is left where σ is huge
    mean, variance = posterior_moments(np.array([5.0]), np.array([1e8]), np.array([2.0]), np.array([False]))
    assert mean[0] == pytest.approx(np.sqrt(np.pi / 4 * 2.0), rel=1e-6)
    assert mean[0] ** 2 + variance[0] == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("noise", [0.02, 1.0, 10.0])
def test_truth_is_where_the_posterior_says(noise):
    hkl, true, intensity, sigma, power, centric = simulate(noise)
    assert (intensity < 0).mean() > (0.3 if noise == 10 else 0)
    found = amplitudes_from_intensities(hkl, intensity, sigma, cell=CELL, spacegroup=SPACEGROUP)
    # all 20 shells have 220 reflections or more, hence 7 % from counting, and the noise
    assert np.median(abs(found.power / power - 1)) < (0.05 if noise < 10 else 0.3)
    z = (true - found.amplitude) / found.sigma
    for kind in (centric, ~centric):
        assert z[kind].mean() == pytest.approx(0, abs=4 / np.sqrt(kind.sum()) + (0.1 if noise == 10 else 0.02))
        assert z[kind].std() == pytest.approx(1, abs=0.1)
    # what the effective amplitude and its precision are made for: the mean square of the truth
    square = found.precision**2 * found.effective**2 + (1 - found.precision**2) * found.power
    np.testing.assert_allclose(square, found.amplitude**2 + found.sigma**2, rtol=1e-6)
    assert ((found.precision >= 0.01) & (found.precision <= 1)).all()


def test_accurate_data_need_no_correction():
    hkl, true, *_ = simulate(0.0)
    strong = true > 1
    found = amplitudes_from_intensities(
        hkl[strong], true[strong] ** 2, np.full(strong.sum(), 1e-4), cell=CELL, spacegroup=SPACEGROUP
    )
    for values in (found.amplitude, found.effective):
        np.testing.assert_allclose(values, true[strong], rtol=1e-6)
    np.testing.assert_allclose(found.sigma, 1e-4 / (2 * true[strong]), rtol=1e-3)
    np.testing.assert_allclose(found.precision, 1, atol=1e-6)


@pytest.mark.parametrize("intensity", [-5.0, 0.0, 1e6])
def test_a_single_reflection(intensity):
    found = amplitudes_from_intensities(
        np.array([[1, 2, 3]]), np.array([intensity]), np.array([2.0]), cell=CELL, spacegroup=SPACEGROUP
    )
    assert found.power[0] == pytest.approx(max(intensity, 2.0))
    assert all(np.isfinite(values).all() for values in vars(found).values())


def test_one_hopeless_measurement_leaves_the_others_alone():
    hkl, _, intensity, sigma, *_ = simulate(0.5)
    before = amplitudes_from_intensities(hkl, intensity, sigma, cell=CELL, spacegroup=SPACEGROUP)
    intensity[100], sigma[100] = -1e12, 1e12
    after = amplitudes_from_intensities(hkl, intensity, sigma, cell=CELL, spacegroup=SPACEGROUP)
    others = np.arange(len(hkl)) != 100
    np.testing.assert_allclose(after.amplitude[others], before.amplitude[others], rtol=0.02)
    assert after.precision[100] < 0.02


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": np.array([1.0, 0.0])}, r"sigma: 1 values are not positive, first at reflections \[1\]"),
        ({"intensity": np.array([np.nan, 1.0])}, r"intensity: 1 values are not finite, first at reflections \[0\]"),
        ({"sigma": np.ones(3)}, r"sigma: got shape \(3,\)"),
        ({"hkl": np.zeros((0, 3), int)}, "hkl: there are no reflections"),
        ({"hkl": np.ones((2, 3))}, "hkl: got float64"),
    ],
)
def test_wrong_arguments(change, message):
    good = {"hkl": np.array([[1, 2, 3], [2, 2, 3]]), "intensity": np.ones(2), "sigma": np.ones(2)}
    with pytest.raises(ValueError, match=message):
        amplitudes_from_intensities(**good | change, cell=CELL, spacegroup=SPACEGROUP)


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
