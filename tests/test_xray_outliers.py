import gemmi
import numpy as np
import pytest
from scipy.special import erfc
from scipy.stats import ncx2

from jax_occupancy.xray import SigmaA, estimate_sigma_a, find_outliers, reflection_symmetry
from jax_occupancy.xray._outliers import _lower_tail, _upper_tail

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


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_no_false_alarms_in_forty_thousand(noise):
    # 0.08 are expected at most
    found = find_outliers(**simulate(40_000, noise=noise))
    assert not found.mask.any()
    assert found.hkl.shape == (0, 3)
    assert found.columns()["reason"] == []


@pytest.mark.parametrize("sigma_a", [0.3, 0.9, 0.99])
def test_as_many_false_alarms_as_the_level_says(sigma_a):
    level, n = 1e-3, 100_000
    found = find_outliers(**simulate(n, sigma_a=sigma_a), level=level)
    wilson = sum(reason == "too strong for its resolution" for reason in found.reason)
    # Those that a good model expects to be strong are no outliers.
    assert wilson <= level * n * (1 if sigma_a < 0.5 else 0.2) + 4 * np.sqrt(level * n)
    assert found.mask.sum() <= 2 * level * n + 4 * np.sqrt(2 * level * n)
    assert len(found.reason) - wilson > level * n / 4
    assert (found.probability < level).all()


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
    epsilon, centric = reflection_symmetry(hkl, SPACEGROUP)
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


@pytest.mark.parametrize("expected", [0.0, 0.5, 3.0, 12.0])
@pytest.mark.parametrize("distance", [0.5, 4.0, 5.5, 12.0, 30.0])
def test_tails_against_closed_forms(expected, distance):
    # scipy's noncentral χ² to its own accuracy; a folded normal is a difference of error functions
    a, kinds = np.full(2, expected), np.array([False, True])
    above = a + distance
    up = _upper_tail(above, a, kinds)
    folded = (erfc(distance / np.sqrt(2)) + erfc((2 * expected + distance) / np.sqrt(2))) / 2
    np.testing.assert_allclose(up, [ncx2.sf(above[0] ** 2, 2, max(expected, 1e-9) ** 2), folded], rtol=2e-6)
    if distance < expected:
        below = a - distance
        folded = (erfc(distance / np.sqrt(2)) - erfc((2 * expected - distance) / np.sqrt(2))) / 2
        exact = [ncx2.cdf(below[0] ** 2, 2, expected**2), folded]
        np.testing.assert_allclose(_lower_tail(below, a, kinds), exact, rtol=2e-6)


def test_tails_at_the_ends():
    kinds = np.array([False, True])
    zero, tiny, far = np.zeros(2), np.full(2, 1e-8), np.full(2, 1e5)
    np.testing.assert_allclose(_lower_tail(tiny, zero, kinds), [5e-17, 1e-8 * np.sqrt(2 / np.pi)], rtol=1e-6)
    assert _lower_tail(zero, far, kinds).tolist() == [0, 0]
    assert _upper_tail(far, zero, kinds).tolist() == [0, 0]
    # on the wrong side of the peak they are large, whatever the distance
    assert (_upper_tail(zero, far, kinds) > 0.49).all()
    assert (_lower_tail(far, zero, kinds) > 0.3).all()
    np.testing.assert_allclose(_upper_tail(zero, zero, kinds), 1)


def test_zeros_in_the_file_are_no_outliers_where_the_model_is_weak():
    data = simulate(2_000, noise=0.1)
    weak = data["model_amplitude"] < 3
    data["amplitude"][weak] = 0.0
    assert weak.sum() > 50
    assert not find_outliers(**data).mask.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": 0.0}, "level: got 0.0"),
        ({"sigma": np.ones(3)}, r"sigma: got shape \(3,\)"),
        ({"amplitude": np.full(10, np.nan)}, "amplitude: 10 values are not finite"),
        ({"sigma_a": made_sigma_a(0.9, 1.0, np.zeros(3, bool))}, r"sigma_a: got shape \(3,\)"),
    ],
)
def test_wrong_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        find_outliers(**simulate(10) | change)
