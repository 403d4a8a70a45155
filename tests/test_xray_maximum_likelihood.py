import subprocess

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import i0e, i1e
from test_xray_structure_factors import cctbx_python

from jax_occupancy.xray import MaximumLikelihood
from jax_occupancy.xray._bessel import LARGE, log_i0e, one_minus_ratio


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


def test_single_precision():
    target, amplitude = make(dtype=jnp.float32)
    assert target(amplitude).dtype == jnp.float32
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
    for values in (target(a), first, second, target.information(a), target.figure_of_merit(a)):
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


@pytest.mark.parametrize("x", [0.0, 1e-9, 1e-3, 0.5, 3.0, 30.0, LARGE * 0.9999, LARGE, LARGE * 1.0001, 1e3])
def test_bessel_functions(x, dtype):
    ratio = i1e(x) / i0e(x)
    slope = -(1 - (ratio / x if x else 0.5) - ratio**2)
    # what is left of float64's sixteen digits in the reference
    tolerance = 1e-4 if dtype == "float32" else 1e-8
    y = jnp.asarray(x, dtype)
    assert log_i0e(y) == pytest.approx(np.log(i0e(x)), abs=2e-6 if dtype == "float32" else 1e-13)
    assert one_minus_ratio(y) == pytest.approx(1 - ratio, rel=tolerance)
    assert jax.grad(log_i0e)(y) == pytest.approx(ratio - 1, rel=tolerance)
    assert jax.grad(one_minus_ratio)(y) == pytest.approx(slope, rel=tolerance, abs=2e-6 if x < LARGE else 0)


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
    target = MaximumLikelihood.from_arrays(
        [0.0, 0.0, 500.0, 500.0], shrinkage=[1.0] * 4, variance=[4.0] * 4, centric=[True, False] * 2, free=[False] * 4
    )
    amplitude = jnp.array([0.0, 0.0, 500.0, 500.0])
    np.testing.assert_allclose(target.figure_of_merit(amplitude), [0, 0, 1, 1], atol=1e-5)
    np.testing.assert_allclose(target.information(amplitude), [0, 0, 1 / 4, 2 / 4], rtol=1e-4)


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
