import gemmi
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import ive

from jax_occupancy.xray import (
    MaximumLikelihood,
    SigmaA,
    amplitudes_from_intensities,
    estimate_sigma_a,
)

CELL, SPACEGROUP = gemmi.UnitCell(45, 52, 61, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")


def simulate(sigma_a, *, d_min=2.0, noise=0.0, free=0.1, seed=0, scale=1.0):
    """Amplitudes of a model and of data that agree with it to a given σ_A, on a falling absolute scale."""
    rng = np.random.default_rng(seed)
    hkl = gemmi.make_miller_array(CELL, SPACEGROUP, d_min)
    operations = SPACEGROUP.operations()
    epsilon, centric = operations.epsilon_factor_without_centering_array(hkl), operations.centric_flag_array(hkl)
    s2 = np.array([CELL.calculate_1_d2(h) for h in hkl.tolist()])
    level = 100 * np.sqrt(epsilon) * np.exp(-3 * s2)
    normal = rng.normal(size=(4, len(hkl)))
    e = [np.where(centric, a, (a + 1j * b) / np.sqrt(2)) for a, b in (normal[:2], normal[2:])]
    sigma_a = sigma_a(s2)
    true = level * (sigma_a * e[0] + np.sqrt(1 - sigma_a**2) * e[1])
    sigma = noise * level
    amplitude = np.abs(np.abs(true) + sigma * rng.normal(size=len(hkl)))
    data = {"hkl": hkl, "amplitude": amplitude, "sigma": sigma + 1e-3, "free": rng.random(len(hkl)) < free}
    return data | {"model_amplitude": scale * abs(level * e[0]), "cell": CELL, "spacegroup": SPACEGROUP}, sigma_a


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_known_sigma_a_comes_back(noise, scale):
    data, wanted = simulate(lambda s2: 0.97 - 1.2 * s2, noise=noise, free=0.3, scale=scale)
    found = estimate_sigma_a(**data)
    assert found.source == "free"
    assert found.n_used == data["free"].sum()
    # a hundred free reflections with 30 % noise in the first shell
    np.testing.assert_allclose(found.sigma_a, wanted, atol=0.03 if noise < 0.3 else 0.05)
    assert abs(np.mean(found.sigma_a - wanted)) < 0.01
    # D·F_model and the variance make up the power of the data; the inflated variance counts σ² once too often
    d_model = found.shrinkage * data["model_amplitude"]
    np.testing.assert_allclose(found.shrinkage, wanted / scale, rtol=0.1)
    total = d_model**2 + found.total_variance(data["sigma"])
    assert np.mean(data["amplitude"] ** 2) == pytest.approx(np.mean(total), rel=0.05 + noise**2)


def test_weak_intensities_need_their_precision():
    data, wanted = simulate(lambda s2: 0.97 - 1.2 * s2, free=0.3)
    epsilon = SPACEGROUP.operations().epsilon_factor_without_centering_array(data["hkl"])
    power = 1e4 * epsilon * np.exp(-6 * np.array([CELL.calculate_1_d2(h) for h in data["hkl"].tolist()]))
    sigma = np.full(len(power), power.mean())  # the mean intensity at the high-resolution end is half of it
    intensity = data["amplitude"] ** 2 + sigma * np.random.default_rng(5).normal(size=len(power))
    weak = amplitudes_from_intensities(data["hkl"], intensity, sigma, cell=CELL, spacegroup=SPACEGROUP)
    data |= {"amplitude": weak.effective, "sigma": weak.sigma}
    found = estimate_sigma_a(**data, precision=weak.precision)
    assert abs(np.mean(found.sigma_a - wanted)) < 0.015
    assert np.median(found.power / power) == pytest.approx(1, abs=0.05)
    as_amplitudes = estimate_sigma_a(**data | {"amplitude": weak.amplitude, "sigma": weak.sigma})
    assert np.mean(as_amplitudes.sigma_a - wanted) > 0.02
    assert np.median(as_amplitudes.power / power) < 0.8


def test_residuals_have_the_predicted_spread():
    data, _ = simulate(lambda s2: 0.95 - 0.5 * s2, noise=0.1, free=0.3)
    found = estimate_sigma_a(**data)
    variance = found.total_variance(data["sigma"]) / np.where(found.centric, 1, 2)
    strong = data["model_amplitude"] ** 2 > 4 * variance
    z = (data["amplitude"] - found.shrinkage * data["model_amplitude"])[strong] / np.sqrt(variance[strong])
    assert np.std(z) == pytest.approx(1, abs=0.06)


def test_errors_fall_off_with_the_data_in_each_direction():
    data, wanted = simulate(lambda s2: 0.9 + 0 * s2, noise=0.02, free=0.2)
    before = estimate_sigma_a(**data)
    vectors = data["hkl"] @ np.array(CELL.frac.mat.tolist())
    falling = np.exp(-0.25 * vectors**2 @ [20.0, -15.0, -5.0])  # exp(−sᵀBs/4), B in Å²
    assert falling.max() / falling.min() > 5
    data |= {name: data[name] * falling for name in ("amplitude", "sigma", "model_amplitude")}
    found = estimate_sigma_a(**data)
    np.testing.assert_allclose(found.sigma_a, wanted, atol=0.04)
    np.testing.assert_allclose(found.shrinkage, before.shrinkage, rtol=0.1)
    ratio = np.log(found.variance / before.variance / falling**2)
    assert np.std(ratio) < 0.1
    # it is a different matter with too few reflections for a tensor
    every = slice(None, None, 40)
    few = {name: values[every] if isinstance(values, np.ndarray) else values for name, values in data.items()}
    assert np.std(np.log(estimate_sigma_a(**few).variance / before.variance[every] / falling[every] ** 2)) > 0.3


def test_equals_a_direct_search_with_one_shell():
    data, _ = simulate(lambda s2: 0.8 + 0 * s2, d_min=5.0, noise=0.1, free=0.1)
    found = estimate_sigma_a(**data)
    assert 50 <= found.n_used < 100
    assert len(found.at_nodes) == 2
    free = data["free"]
    power = found.power
    ratio = found.shrinkage / found.sigma_a
    x = np.array([CELL.calculate_1_d2(h) for h in data["hkl"].tolist()])
    place = np.interp(x, found.d_spacing**-2.0, [0, 1])

    def minus_log_likelihood(logits):
        p = 1 / (1 + np.exp(-(logits[0] * (1 - place) + logits[1] * place)))
        c = found.centric
        v = power * (1 - p) + np.where(c, 1, 2) * data["sigma"] ** 2
        m, f = np.sqrt(p) * ratio * data["model_amplitude"], data["amplitude"]
        a = -np.log(2 * f / v) + (f**2 + m**2) / v - np.log(ive(0, 2 * f * m / v)) - 2 * f * m / v
        b = -np.log(2 / (np.pi * v)) / 2 + (f**2 + m**2) / (2 * v) - np.log(np.cosh(f * m / v))
        return np.where(c, b, a)[free].sum()

    best = minimize(minus_log_likelihood, [1.0, 1.0], tol=1e-10).x
    np.testing.assert_allclose(found.at_nodes, 1 / np.sqrt(1 + np.exp(-best)), atol=1e-4)


def test_deterministic_and_indifferent_to_order():
    data, _ = simulate(lambda s2: 0.9 - s2, free=0.1)
    one, again = estimate_sigma_a(**data), estimate_sigma_a(**data)
    np.testing.assert_array_equal(one.variance, again.variance)
    order = np.random.default_rng(1).permutation(len(data["hkl"]))
    columns = ("hkl", "amplitude", "sigma", "free", "model_amplitude")
    two = estimate_sigma_a(**data | {name: data[name][order] for name in columns})
    np.testing.assert_allclose(two.variance, one.variance[order], rtol=1e-6)


@pytest.mark.parametrize(("n_free", "source"), [(0, "working"), (49, "working"), (50, "free")])
def test_few_free_reflections(n_free, source):
    data, wanted = simulate(lambda s2: 0.9 + 0 * s2)
    free = np.zeros(len(wanted), bool)
    free[np.random.default_rng(3).permutation(len(free))[:n_free]] = True
    found = estimate_sigma_a(**data | {"free": free})
    assert found.source == source
    assert found.n_used == (50 if source == "free" else len(free) - n_free)
    np.testing.assert_allclose(found.sigma_a, wanted, atol=0.1 if source == "free" else 0.03)


def test_sigma_a_sees_the_free_set_and_power_the_working_set():
    data, _ = simulate(lambda s2: 0.9 + 0 * s2, free=0.2)
    one = estimate_sigma_a(**data)
    shuffled = data["amplitude"].copy()
    shuffled[data["free"]] = np.random.default_rng(0).permutation(shuffled[data["free"]])
    two = estimate_sigma_a(**data | {"amplitude": shuffled})
    assert two.sigma_a.mean() < one.sigma_a.mean() - 0.1
    np.testing.assert_allclose(two.power, one.power, rtol=1e-9)


@pytest.mark.parametrize("times", [10, 100, 1e4, 1e8])
@pytest.mark.parametrize("noise", [0.02, 0.3])
def test_one_large_sigma_does_not_make_the_others_weak(times, noise):
    """A σ of many times its own amplitude, in the shell of the lowest resolution and elsewhere."""
    data, _ = simulate(lambda s2: 0.9 + 0 * s2, d_min=3.0, noise=noise)
    before = estimate_sigma_a(**data)
    by_resolution = np.argsort(CELL.calculate_1_d2_array(data["hkl"]))
    for place in by_resolution[[10, len(by_resolution) // 2]]:
        sigma = data["sigma"].copy()
        sigma[place] = times * data["amplitude"][place]
        found = estimate_sigma_a(**data | {"sigma": sigma})
        # one of the hundred or so in a shell does not count
        np.testing.assert_allclose(found.power, before.power, rtol=0.05)
        np.testing.assert_allclose(found.variance, before.variance, rtol=0.05)


@pytest.mark.parametrize("kind", ["perfect", "random", "tiny", "noisy"])
def test_extremes_stay_finite(kind):
    level = {"perfect": 1.0, "random": 0.0}.get(kind, 0.8)
    data, _ = simulate(lambda s2: level + 0 * s2, noise={"noisy": 3.0}.get(kind, 0.0), free=0.2)
    if kind == "tiny":
        data = data | {name: data[name][:1] for name in ("hkl", "amplitude", "sigma", "model_amplitude")}
        data["free"] = np.array([False])
    found = estimate_sigma_a(**data)
    for values in (found.sigma_a, found.shrinkage, found.variance):
        assert np.isfinite(values).all()
    assert (found.variance > 0).all()
    target = MaximumLikelihood.from_data(data["amplitude"], data["sigma"], data["free"], sigma_a=found)
    assert np.isfinite(target(jnp.asarray(data["model_amplitude"]))).all()
    if kind == "perfect":
        assert found.sigma_a.min() > 0.999
    if kind == "random":
        assert found.sigma_a.max() < 0.3


def test_epsilon_counts():
    data, _ = simulate(lambda s2: 0.9 + 0 * s2, free=0.5)
    found = estimate_sigma_a(**data)
    operations = SPACEGROUP.operations()
    assert found.epsilon.tolist() == [operations.epsilon_factor_without_centering(h) for h in data["hkl"].tolist()]
    assert found.centric.tolist() == [operations.is_reflection_centric(h) for h in data["hkl"].tolist()]
    axial = found.epsilon > 1
    assert 10 < axial.sum() < 100
    s2 = np.array([CELL.calculate_1_d2(h) for h in data["hkl"].tolist()])
    smooth = np.interp(s2[axial], np.sort(s2[~axial]), found.variance[~axial][np.argsort(s2[~axial])])
    # a neighbour in resolution lies in another direction, and the tensor is known to a few percent
    np.testing.assert_allclose(found.variance[axial] / smooth, 2, rtol=0.1)


def test_total_variance():
    one = np.ones(2)
    sigma_a = SigmaA(one, one, 10 * one, np.array([True, False]), one, one, one, "free", 2)
    assert sigma_a.total_variance(np.array([3.0, 3.0])).tolist() == [19, 28]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": np.ones(3)}, r"sigma: got shape \(3,\)"),
        ({"model_amplitude": "nan"}, r"model_amplitude: 1 values are not finite, first at reflections \[2\]"),
        ({"precision": "negative"}, "precision: there are values below 0 or above 1"),
        ({"free": "all"}, "free: all .* reflections are in the free set"),
        ({"model_amplitude": "zero"}, "model_amplitude: all .* are zero"),
    ],
)
def test_wrong_arguments(change, message):
    data, wanted = simulate(lambda s2: 0.9 + 0 * s2)
    n = len(wanted)
    fill = {"nan": np.where(np.arange(n) == 2, np.nan, 1.0), "all": np.ones(n, bool), "zero": np.zeros(n)}
    fill["negative"] = -np.ones(n)
    change = {name: fill[value] if isinstance(value, str) else value for name, value in change.items()}
    with pytest.raises(ValueError, match=message):
        estimate_sigma_a(**data | change)
