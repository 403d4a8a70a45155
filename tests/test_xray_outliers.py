import gemmi
import numpy as np
import pytest
from scipy.stats import chi2, ncx2

from jax_occupancy.xray import SigmaA, estimate_sigma_a, find_outliers

CELL, SPACEGROUP = gemmi.UnitCell(45, 52, 61, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")


def made_sigma_a(sigma_a, power, centric):
    one = np.ones(len(centric))
    return SigmaA(
        sigma_a * one, sigma_a * one, power * (1 - sigma_a**2) * one, centric, one, one[:1], one[:1], "free", len(one)
    )  # fmt: skip


def simulate(n, *, sigma_a=0.9, power=100.0, noise=0.0, seed=0):
    """Perfect data: a model with that σ_A and a Gaussian error of the amplitude."""
    rng = np.random.default_rng(seed)
    centric = rng.random(n) < 0.2
    normal = rng.normal(size=(4, n))
    model, wrong = (np.where(centric, a, (a + 1j * b) / np.sqrt(2)) for a, b in (normal[:2], normal[2:]))
    true = abs(sigma_a * model + np.sqrt(1 - sigma_a**2) * wrong) * np.sqrt(power)
    sigma = np.full(n, noise * np.sqrt(power))
    amplitude = abs(true + sigma * rng.normal(size=n))
    hkl = np.stack(np.unravel_index(np.arange(n), (50, 50, 50)), axis=1) + 1
    known = {"sigma_a": made_sigma_a(sigma_a, power, centric), "model_amplitude": abs(model) * np.sqrt(power)}
    known |= {"cell": CELL, "spacegroup": SPACEGROUP}
    return {"hkl": hkl, "amplitude": amplitude, "sigma": sigma} | known


@pytest.mark.parametrize(("sigma_a", "noise"), [(0.9, 0.0), (0.9, 0.3), (0.3, 0.0), (0.99, 0.0)])
def test_no_false_alarms_in_a_hundred_thousand(sigma_a, noise):
    # 0.2 are expected at most
    found = find_outliers(**simulate(100_000, sigma_a=sigma_a, noise=noise))
    assert not found.mask.any()
    assert found.hkl.shape == (0, 3)
    assert found.columns()["reason"] == []


def test_planted_outliers_are_found():
    data = simulate(5_000, sigma_a=0.95, noise=0.02)
    strong_model = np.flatnonzero((data["model_amplitude"] > 18) & ~data["sigma_a"].centric)[:2]
    weak_model = np.flatnonzero((data["model_amplitude"] < 2) & ~data["sigma_a"].centric)[:2]
    anywhere = np.flatnonzero(data["sigma_a"].centric)[:1]
    data["amplitude"][strong_model] = 0.3
    data["amplitude"][weak_model] = 22.0
    data["amplitude"][anywhere] = 60.0
    found = find_outliers(**data)
    planted = {
        "too weak for the model": strong_model, "too strong for the model": weak_model,
        "too strong for its resolution": anywhere,
    }  # fmt: skip
    assert found.mask.sum() == 5
    for reason, where in planted.items():
        rows = np.array([given == reason for given in found.reason])
        assert found.hkl[rows].tolist() == data["hkl"][where].tolist()
        assert found.observed[rows].tolist() == data["amplitude"][where].tolist()
        ratio = found.observed[rows] / found.expected[rows]
        assert (ratio < 0.1).all() if reason == "too weak for the model" else (ratio > 2).all()
    table = found.columns()
    assert list(table) == ["h", "k", "l", "observed", "expected", "probability", "reason"]
    assert {len(column) for column in table.values()} == {5}


def test_with_estimated_sigma_a():
    hkl = gemmi.make_miller_array(CELL, SPACEGROUP, 2.2)
    operations = SPACEGROUP.operations()
    epsilon, centric = operations.epsilon_factor_without_centering_array(hkl), operations.centric_flag_array(hkl)
    rng = np.random.default_rng(1)
    normal = rng.normal(size=(4, len(hkl)))
    model, wrong = (np.where(centric, a, (a + 1j * b) / np.sqrt(2)) for a, b in (normal[:2], normal[2:]))
    level = 100 * np.sqrt(epsilon) * np.exp(-3 * np.array([CELL.calculate_1_d2(h) for h in hkl.tolist()]))
    data = {"hkl": hkl, "amplitude": abs(0.9 * model + 0.44 * wrong) * level, "sigma": 0.02 * level}
    data |= {"model_amplitude": abs(model) * level, "cell": CELL, "spacegroup": SPACEGROUP}
    data["amplitude"][7] = 6 * level[7]
    free = rng.random(len(hkl)) < 0.1
    sigma_a = estimate_sigma_a(**data, free=free)
    assert np.flatnonzero(find_outliers(**data, sigma_a=sigma_a).mask).tolist() == [7]


@pytest.mark.parametrize("centric", [True, False])
@pytest.mark.parametrize(
    "reason", ["too strong for its resolution", "too strong for the model", "too weak for the model"]
)
def test_an_outlier_is_less_likely_than_one_in_a_million(reason, centric):
    """One reflection among many that are as expected, more and more unlikely."""
    n, power, sigma_a, freedom = 2_000 if "model" in reason else 20_000, 100.0, 0.9, 1 if centric else 2
    radial = power * (1 - sigma_a**2) / freedom
    told = []
    for probability in np.geomspace(2e-6, 5e-7, 31):
        data = simulate(n, sigma_a=sigma_a, power=power)
        data["sigma_a"].centric[:] = centric
        data["amplitude"][:], data["model_amplitude"][:] = np.sqrt(power), np.sqrt(power) / sigma_a
        if reason == "too strong for its resolution":
            square = power * chi2.isf(probability, freedom) / freedom
            expected = np.sqrt(square) - 4 * np.sqrt(radial)  # the model finds it strong too, but not impossible
        else:
            expected = 15.0 if reason == "too strong for the model" else 25.0
            tail = ncx2.isf if reason == "too strong for the model" else ncx2.ppf
            square = radial * tail(probability / 2, freedom, expected**2 / radial)
        data["amplitude"][7], data["model_amplitude"][7] = np.sqrt(square), expected / sigma_a
        found = find_outliers(**data)
        assert set(found.reason) <= {reason}
        told += found.probability.tolist()
        # the mean of its shell, a thousand reflections, has this one in it
        assert found.probability == pytest.approx(probability, rel=1e-6 if "model" in reason else 1)
    assert 0.92e-6 < max(told) < 1e-6


def test_zeros_in_the_file_are_no_outliers_where_the_model_is_weak():
    data = simulate(2_000, noise=0.1)
    weak = data["model_amplitude"] < 3
    data["amplitude"][weak] = 0.0
    assert weak.sum() > 50
    assert not find_outliers(**data).mask.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": np.ones(3)}, r"sigma: got shape \(3,\)"),
        ({"amplitude": np.full(10, np.nan)}, "amplitude: 10 values are not finite"),
        ({"sigma_a": made_sigma_a(0.9, 1.0, np.zeros(3, bool))}, r"sigma_a: got shape \(3,\)"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        find_outliers(**simulate(10) | change)
