import subprocess

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import i0e, i1e
from test_xray_structure_factors import cctbx_python

from jax_occupancy.xray import MaximumLikelihood, SigmaA, map_coefficients
from jax_occupancy.xray._intensities import effective_amplitudes, posterior_moments


def make(n=400, seed=0, dtype=None):
    rng = np.random.default_rng(seed)
    arrays = {
        "shrinkage": rng.uniform(0.3, 1, n), "variance": rng.uniform(1, 200, n),
        "centric": rng.random(n) < 0.3, "free": rng.random(n) < 0.1,
    }  # fmt: skip
    observed, amplitude = rng.uniform(0, 60, n), rng.uniform(0, 60, n)
    return MaximumLikelihood.from_arrays(observed, **arrays, dtype=dtype), jnp.asarray(amplitude, dtype)


def by_hand(target, amplitude):
    """The densities as they stand in the papers, one reflection at a time."""
    columns = [np.asarray(leaf, np.float64) for leaf in [*jax.tree.leaves(target), amplitude]]
    values = []
    for f, d, v, centric, w, a in zip(*columns, strict=True):
        m = d * a
        if centric:
            log_p = -(f**2 + m**2) / (2 * v) + np.log(np.cosh(f * m / v)) - np.log(v) / 2
        else:
            x = 2 * f * m / v
            log_p = -(f**2 + m**2) / v + np.log(i0e(x)) + x - np.log(v)
        values.append(-w * log_p)
    return np.array(values)


def test_equals_the_formula(x64):
    target, amplitude = make()
    assert target.observed.dtype == jnp.float64
    assert 0 < (target.weight == 0).sum() < 100
    np.testing.assert_allclose(target(amplitude), by_hand(target, amplitude), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(eqx.filter_jit(target)(amplitude), target(amplitude), rtol=1e-13)
    batch = jnp.stack([amplitude, 2 * amplitude])
    np.testing.assert_allclose(jax.vmap(target)(batch), jnp.stack([target(a) for a in batch]), rtol=1e-13)


@pytest.mark.parametrize("session", [False, True], ids=["32-bit JAX", "64-bit JAX"])
def test_single_precision(session):
    with jax.enable_x64(session):
        target, amplitude = make(dtype=jnp.float32)
        assert target(amplitude).dtype == target.information(amplitude).dtype == jnp.float32
    np.testing.assert_allclose(target(amplitude), by_hand(target, amplitude), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("centric", [True, False])
def test_density_integrates_to_one(centric, x64):
    f = np.linspace(0, 80, 80001)
    n = len(f)
    target = MaximumLikelihood.from_arrays(
        f, shrinkage=np.full(n, 0.8), variance=np.full(n, 30.0), centric=np.full(n, centric), free=np.zeros(n)
    )
    left_out = np.sqrt(2 / np.pi) if centric else 2 * f
    p = left_out * np.exp(-np.asarray(target(jnp.full(n, 25.0))))
    assert np.trapezoid(p, f) == pytest.approx(1, abs=1e-6)


def test_derivatives_against_finite_differences(x64):
    target, amplitude = make()
    slope = jax.grad(lambda a: target(a).sum())
    first, second = jax.jvp(slope, (amplitude,), (jnp.ones_like(amplitude),))
    step = 1e-4
    up, down, here = target(amplitude + step), target(amplitude - step), target(amplitude)
    np.testing.assert_allclose(first, (up - down) / (2 * step), atol=1e-6)
    np.testing.assert_allclose(second, (slope(amplitude + step) - slope(amplitude - step)) / (2 * step), atol=1e-6)
    assert np.isfinite(here).all()
    assert (first[target.weight == 0] == 0).all()
    # elementwise: no reflection depends on another one's amplitude
    jacobian = jax.jacfwd(target)(amplitude[:])
    np.testing.assert_array_equal(jacobian - jnp.diag(jnp.diagonal(jacobian)), 0)


def test_finite_everywhere(dtype):
    sizes, variances = [0.0, 1e-20, 1.0, 1e4, 1e7], [1e-2, 1.0, 1e8]
    observed, a, variance, centric = map(np.ravel, np.meshgrid(sizes, sizes, variances, [True, False]))
    n = len(a)
    target = MaximumLikelihood.from_arrays(
        observed, shrinkage=np.full(n, 0.9), variance=variance, centric=centric, free=np.zeros(n), dtype=dtype
    )
    a = jnp.asarray(a, dtype)
    first, second = jax.jvp(jax.grad(lambda a: target(a).sum()), (a,), (jnp.ones_like(a),))
    for values in (target(a), first, second, target.information(a)):
        assert values.dtype == dtype
        assert jnp.isfinite(values).all()
    assert (target.information(a) >= 0).all()


def test_second_derivative_of_accurate_data_in_single_precision():
    # 0.1 % errors: in terms of I1/I0 both derivatives would be rounding noise here
    target = MaximumLikelihood.from_arrays(
        [1e4], shrinkage=[1.0], variance=[100.0], centric=[False], free=[False], dtype=jnp.float32
    )
    second = jax.hessian(lambda a: target(a).sum())(jnp.array([1e4], jnp.float32))
    assert second[0, 0] == pytest.approx(2 / 100, rel=1e-5)


@pytest.mark.parametrize("x", [0.0, 1e-9, 1e-3, 0.5, 3.0, 30.0, 99.99, 100.0, 100.01, 1e3])
def test_derivatives_of_rice_against_bessel_functions(x, dtype):
    """With V = 1 and a model amplitude of 1 the argument of the Bessel functions is twice the observation."""
    f, ratio = x / 2, i1e(x) / i0e(x)
    target = MaximumLikelihood.from_arrays(
        [f], shrinkage=[1.0], variance=[1.0], centric=[False], free=[False], dtype=dtype
    )
    one = jnp.ones((), dtype)
    tolerance = 1e-5 if dtype == "float32" else 1e-11
    slope = jax.grad(lambda m: target(m[None])[0])
    # what is left of the digits where two numbers of the size of f² cancel
    assert target(one[None])[0] == pytest.approx((f - 1) ** 2 - np.log(i0e(x)), rel=tolerance)
    assert slope(one) == pytest.approx(2 - 2 * f * ratio, rel=tolerance, abs=2 * tolerance)
    curvature = 2 - 4 * f**2 * (1 - (ratio / x if x else 0.5) - ratio**2)
    reference = 4 * f**2 * 1e-15 + (1e-4 if dtype == "float32" else 1e-8) * 4 * f**2 * max(1 - ratio, 1 / (1 + x**2))
    assert jax.grad(slope)(one) == pytest.approx(curvature, abs=max(reference, 5 * tolerance))


@pytest.mark.parametrize("centric", [True, False])
@pytest.mark.parametrize("expected", [0.0, 0.1, 1.0, 4.0, 20.0, 300.0])
def test_information_is_the_mean_square_of_the_slope(expected, centric, x64):
    variance, shrinkage = 9.0, 0.7
    f = np.linspace(0, 3 * (10 + expected), 40001)
    n = len(f)
    target = MaximumLikelihood.from_arrays(
        f, shrinkage=np.full(n, shrinkage), variance=np.full(n, variance), centric=np.full(n, centric),
        free=np.zeros(n, bool),
    )  # fmt: skip
    amplitude = jnp.full(n, expected / shrinkage)
    p = np.exp(-np.asarray(target(amplitude))) * (np.sqrt(2 / np.pi) if centric else 2 * f)
    slope = np.asarray(jax.grad(lambda a: target(a).sum())(amplitude))
    mean_square = np.trapezoid(p * slope**2, f)
    assert target.information(amplitude)[0] == pytest.approx(mean_square, rel=2e-4, abs=1e-12)
    assert np.trapezoid(p * slope, f) == pytest.approx(0, abs=1e-6)


def test_figure_of_merit_and_information_limits(x64):
    amplitude, centric = np.array([0.0, 0.0, 500.0, 500.0]), np.array([True, False] * 2)
    one = np.ones(4)
    known = SigmaA(one, one, 4 * one, centric, one, one[:1], one[:1], "free", 4)
    maps = map_coefficients(amplitude + 0j, amplitude, sigma=0 * one, sigma_a=known)
    np.testing.assert_allclose(maps.figure_of_merit, [0, 0, 1, 1], atol=1e-5)
    target = MaximumLikelihood.from_data(amplitude, 0 * one, one > 2, sigma_a=known)
    np.testing.assert_allclose(target.information(jnp.asarray(amplitude)), [0, 0, 1 / 4, 2 / 4], rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variance": [1.0, 0.0]}, r"variance: 1 values are negative, zero or not finite, first at reflections \[1\]"),
        ({"observed": [np.nan, 1.0]}, "observed: 1 values"),
        ({"observed": [-1.0, 1.0]}, "observed: 1 values"),
        ({"shrinkage": [1.0]}, r"shrinkage: got shape \(1,\), wanted \(2,\)"),
        ({"free": [True, True]}, "free: all 2 reflections"),
    ],
)
def test_wrong_arguments(change, message):
    good = {"observed": [1.0, 2.0], "shrinkage": [1, 1], "variance": [1, 1], "centric": [0, 1], "free": [0, 0]}
    arguments = good | change
    with pytest.raises(ValueError, match=message):
        MaximumLikelihood.from_arrays(arguments.pop("observed"), **arguments)


def made_sigma_a(sigma_a, power, centric):
    """One σ_A for all reflections, whose mean intensity is given, and a model on the scale of the data."""
    one = np.ones(len(centric))
    return SigmaA(
        sigma_a * one, sigma_a * one, power * (1 - sigma_a**2) * one, centric, one, one[:1], one[:1], "free", len(one)
    )  # fmt: skip


def from_one_intensity(intensity, sigma, power, sigma_a, centric, n):
    """The intensity target of one measurement for n model amplitudes."""
    kind = np.full(n, centric)
    mean, variance = posterior_moments(np.full(n, intensity), np.full(n, sigma), np.full(n, power), kind)
    e_eff, d_obs = effective_amplitudes(mean / np.sqrt(power), variance / power, kind)
    return MaximumLikelihood.from_intensities(
        e_eff * np.sqrt(power), d_obs, np.zeros(n, bool), sigma_a=made_sigma_a(sigma_a, power, kind)
    )


# Read & McCoy's form is an approximation. Measured: the worst of centric and acentric, and of powers of 1, 3 and 10 σ;
# the logarithm of the likelihood itself varies by 0.2 to 1.9 (root mean square).
@pytest.mark.parametrize("centric", [True, False])
@pytest.mark.parametrize("power", [1.0, 3.0, 10.0])
@pytest.mark.parametrize(
    ("signal", "sigma_a", "tolerance"),
    [
        (-1.0, 0.8, 0.002), (0.5, 0.8, 0.008), (2.0, 0.8, 0.025), (10.0, 0.8, 0.002),
        (-1.0, 0.95, 0.012), (0.5, 0.95, 0.035), (2.0, 0.95, 0.11), (10.0, 0.95, 0.015),
    ],
)  # fmt: skip
def test_intensities_against_integration_over_the_true_intensity(signal, sigma_a, tolerance, power, centric, x64):
    amplitude = np.linspace(0, 3, 61) * np.sqrt(power)
    target = from_one_intensity(signal, 1.0, power, sigma_a, centric, len(amplitude))
    found = np.asarray(target(jnp.asarray(amplitude)))
    # p(I | F_model) = ∫ N(I; x², 1) p(x | F_model) dx
    x = np.linspace(1e-6, np.sqrt(max(signal, 0) + 10), 5001)[:, None]
    variance, expected = power * (1 - sigma_a**2), sigma_a * amplitude
    density = np.exp(-((x - expected) ** 2) / (2 * variance)) + np.exp(-((x + expected) ** 2) / (2 * variance))
    if not centric:
        density = x * np.exp(-((x - expected) ** 2) / variance) * i0e(2 * x * expected / variance)
    wanted = -np.log(np.trapezoid(density * np.exp(-((x**2 - signal) ** 2) / 2), x[:, 0], axis=0))
    # by how much it matters: the distribution of |F_model| given the measurement
    weight = np.exp(-wanted - amplitude**2 / (power * (2 if centric else 1))) * (1 if centric else amplitude)
    weight /= weight.sum()
    error = found - wanted
    error -= weight @ error
    assert np.sqrt(weight @ error**2) < tolerance


@pytest.mark.parametrize("centric", [True, False])
def test_accurate_intensities_are_amplitudes(centric, x64):
    amplitude = jnp.linspace(1.0, 30.0, 30)
    target = from_one_intensity(100.0, 1e-4, 80.0, 0.9, centric, 30)
    limit = MaximumLikelihood.from_data(
        np.full(30, 10.0), np.zeros(30), np.zeros(30, bool), sigma_a=made_sigma_a(0.9, 80.0, np.full(30, centric))
    )
    # 1 − D_obs² is (σ/I)² and F_eff is off by as much
    np.testing.assert_allclose(target(amplitude), limit(amplitude), rtol=1e-5, atol=1e-5)


def test_a_useless_intensity_says_nothing(x64):
    amplitude = jnp.linspace(0.0, 30.0, 31)
    value = from_one_intensity(-5.0, 1e9, 80.0, 0.9, False, 31)(amplitude)
    np.testing.assert_allclose(value, value[0], atol=2e-3)  # D_obs² is 1e-4 at the least


def test_derivatives_of_the_intensity_target(x64):
    amplitude = jnp.linspace(0.1, 30.0, 31)
    target = from_one_intensity(-5.0, 20.0, 80.0, 0.9, False, 31)
    slope = jax.grad(lambda a: target(a).sum())
    step = 1e-4
    difference = (target(amplitude + step) - target(amplitude - step)) / (2 * step)
    np.testing.assert_allclose(slope(amplitude), difference, atol=1e-7)
    assert np.all(np.asarray(slope(amplitude)) > 0)  # a negative intensity asks for a small amplitude


@pytest.mark.parametrize("precision", [np.ones(3), np.array([0.5, 1.5])])
def test_wrong_precision(precision):
    with pytest.raises(ValueError, match=r"precision: got shape \(.*wanted \(2,\) and D_obs between 0 and 1"):
        MaximumLikelihood.from_intensities(
            np.ones(2), precision, np.zeros(2, bool), sigma_a=made_sigma_a(0.8, 1.0, np.zeros(2, bool))
        )


CCTBX = """
import sys, numpy
from cctbx.array_family import flex
from cctbx.xray import ext
data = numpy.load(sys.argv[1])
double = lambda name: flex.double(data[name].tolist())
result = ext.mlf_target_and_gradients(
    f_obs=double("observed"), r_free_flags=flex.bool(data["free"].tolist()),
    f_calc=flex.complex_double(data["calculated"].tolist()), alpha=double("alpha"), beta=double("beta"),
    scale_factor=1.0, epsilons=flex.double(data["epsilon"].tolist()), centric_flags=flex.bool(data["centric"].tolist()),
    compute_gradients=True)
numpy.savez(sys.argv[2], value=result.target_work(), gradient=result.gradients_work().as_numpy_array(),
            each=result.target_per_reflection().as_numpy_array())
"""


def test_equals_cctbx(tmp_path, x64):
    python = cctbx_python()
    rng = np.random.default_rng(2)
    n = 300
    data = {
        "observed": rng.uniform(1, 80, n), "calculated": rng.uniform(1, 80, n) * np.exp(1j * rng.uniform(0, 6, n)),
        "alpha": rng.uniform(0.5, 1, n), "beta": rng.uniform(5, 300, n), "epsilon": rng.integers(1, 4, n),
        "centric": rng.random(n) < 0.3, "free": rng.random(n) < 0.1,
    }  # fmt: skip
    np.savez(tmp_path / "in.npz", **data)
    subprocess.run([python, "-c", CCTBX, tmp_path / "in.npz", tmp_path / "out.npz"], check=True)
    found = np.load(tmp_path / "out.npz")
    target = MaximumLikelihood.from_arrays(
        data["observed"], shrinkage=data["alpha"], variance=data["epsilon"] * data["beta"], centric=data["centric"],
        free=data["free"],
    )  # fmt: skip
    working = ~data["free"]
    amplitude = jnp.abs(data["calculated"])
    left_out = np.where(data["centric"], np.log(2 / np.pi) / 2, np.log(2 * data["observed"]))
    # its mean over the working set, our sum; its Bessel functions are good to seven digits
    np.testing.assert_allclose(
        (target(amplitude) - working * left_out).sum() / working.sum(), found["value"], rtol=1e-7
    )
    slope = jax.grad(lambda a: target(a).sum())(amplitude)
    gradient = slope * data["calculated"] / amplitude / working.sum()
    np.testing.assert_allclose(np.conj(gradient)[working], np.conj(found["gradient"]), rtol=1e-6, atol=5e-8)
