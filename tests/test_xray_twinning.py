import gemmi
import numpy as np
import pytest

from jax_occupancy.io import read_reflections
from jax_occupancy.xray import twin_test
from jax_occupancy.xray._twinning import _local_differences

CELL, SPACEGROUP = gemmi.UnitCell(60, 60, 70, 90, 90, 120), gemmi.SpaceGroup("P 3")
HKL = gemmi.make_miller_array(CELL, SPACEGROUP, 2.2)


def simulate(twin_fraction, *, anisotropic=0.0, noise=0.01, hkl=HKL, cell=CELL, spacegroup=SPACEGROUP, seed=1):
    """Wilson's distribution, the twin law −h,−k,l; amplitudes and their standard uncertainties."""
    rng = np.random.default_rng(seed)
    epsilon = spacegroup.operations().epsilon_factor_array(hkl)
    intensity = rng.exponential(size=len(hkl)) * epsilon
    asu, operations = gemmi.ReciprocalAsu(spacegroup), spacegroup.operations()
    row = {tuple(index): i for i, index in enumerate(hkl.tolist())}
    mates = [row[tuple(asu.to_asu([-h, -k, l], operations)[0])] for h, k, l in hkl.tolist()]  # noqa: E741
    twinned = (1 - twin_fraction) * intensity + twin_fraction * intensity[mates]
    # resolution fall-off, stronger along c
    s2 = cell.calculate_1_d2_array(hkl) / 4
    twinned *= 1000 * np.exp(-2 * 20 * s2 - anisotropic * (hkl[:, 2] / cell.c) ** 2 / 2)
    sigma = noise * np.sqrt(1000)
    amplitude = np.sqrt(np.maximum(twinned, 0)) + rng.normal(size=len(hkl)) * sigma
    return np.abs(amplitude), np.full(len(hkl), sigma)


def test_untwinned():
    found = twin_test(HKL, *simulate(0.0), cell=CELL, spacegroup=SPACEGROUP)
    # standard deviation of |L| is 0.29; pairs share reflections, so the error is near that of one pair per reflection
    error = 4 * 0.29 / np.sqrt(found.n_reflections)
    assert found.mean_l == pytest.approx(1 / 2, abs=error)
    assert found.mean_l_squared == pytest.approx(1 / 3, abs=error)
    assert found.second_moment == pytest.approx(2, abs=0.1)
    assert found.warning is None


def test_perfect_twin():
    found = twin_test(HKL, *simulate(0.5), cell=CELL, spacegroup=SPACEGROUP)
    error = 4 * 0.29 / np.sqrt(found.n_reflections / 2)
    assert found.mean_l == pytest.approx(3 / 8, abs=error)
    assert found.mean_l_squared == pytest.approx(1 / 5, abs=error)
    assert found.second_moment == pytest.approx(1.5, abs=0.1)
    assert "-h,-k,l" in found.twin_laws
    assert found.warning is not None
    assert "mean |L| is 0.3" in found.warning
    assert "-h,-k,l" in found.warning


def test_partial_twin_lies_between():
    found = [twin_test(HKL, *simulate(a), cell=CELL, spacegroup=SPACEGROUP).mean_l for a in (0, 0.1, 0.3, 0.5)]
    assert np.all(np.diff(found) < -0.005)


def test_anisotropy_is_not_twinning():
    found = twin_test(HKL, *simulate(0.0, anisotropic=30), cell=CELL, spacegroup=SPACEGROUP)
    assert found.mean_l == pytest.approx(1 / 2, abs=0.015)


def test_noise_does_not_hide_a_twin():
    found = twin_test(HKL, *simulate(0.5, noise=0.08), cell=CELL, spacegroup=SPACEGROUP)
    assert found.d_min > 2.5
    assert found.warning is not None


def test_too_few_reflections_give_numbers_but_no_warning():
    few = CELL.calculate_d_array(HKL) > 9
    amplitude, sigma = simulate(0.5)
    found = twin_test(HKL[few], amplitude[few], sigma[few], cell=CELL, spacegroup=SPACEGROUP)
    assert 0 < found.n_reflections < 500
    assert 0.3 < found.mean_l < 0.5
    assert found.warning is None
    for n in (0, 1):
        empty = twin_test(HKL[:n], amplitude[:n], sigma[:n], cell=CELL, spacegroup=SPACEGROUP)
        assert np.isnan(empty.mean_l)
        assert empty.warning is None


def test_centric_reflections_take_no_part():
    cell, spacegroup = gemmi.UnitCell(40, 50, 60, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")
    hkl = gemmi.make_miller_array(cell, spacegroup, 2.5)
    centric = spacegroup.operations().centric_flag_array(hkl).astype(bool)
    ones = np.ones(len(hkl))
    assert twin_test(hkl, ones, 0.01 * ones, cell=cell, spacegroup=spacegroup).n_reflections == np.sum(~centric)
    assert twin_test(hkl[centric], ones[centric], ones[centric], cell=cell, spacegroup=spacegroup).n_reflections == 0


def test_pairs_against_a_loop():
    hkl = np.array([[1, 0, 0], [3, 0, 0], [5, 0, 0], [3, 2, 0], [2, 0, 0], [1, 0, -4], [7, 7, 7]])
    intensity = np.array([1.0, 2, 4, 8, 16, 32, 0])
    wanted = []
    for i in range(len(hkl)):
        for j in range(i):
            step = hkl[i] - hkl[j]
            if not (step % 2).any() and abs(step).sum() <= 4:
                wanted.append(abs(intensity[i] - intensity[j]) / (intensity[i] + intensity[j]))
    assert len(wanted) == 7
    np.testing.assert_allclose(np.sort(np.abs(_local_differences(hkl, intensity))), np.sort(wanted))


@pytest.mark.parametrize("name", ["4xof", "1g8a"])
def test_deposited_data_are_not_twinned(data_dir, name):
    data = read_reflections(data_dir / f"{name}.mtz")
    found = twin_test(data.hkl, data.amplitude, data.sigma, cell=data.cell, spacegroup=data.spacegroup)
    assert found.mean_l == pytest.approx(0.5, abs=0.02)
    assert found.warning is None


def test_columns_must_match():
    with pytest.raises(ValueError, match="sigma: got shape"):
        twin_test(HKL, np.ones(len(HKL)), np.ones(3), cell=CELL, spacegroup=SPACEGROUP)
