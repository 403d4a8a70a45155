"""Completeness, twinning, translational symmetry, and what a model or a refinement leaves out."""

import gemmi
import numpy as np
import pytest

from jax_occupancy._words import data_warnings
from jax_occupancy.io import Reflections, read_reflections
from jax_occupancy.xray import (
    completeness_by_shell,
    dispersion_note,
    hydrogen_note,
    native_patterson,
    quantity_note,
    twin_test,
)

HEXAGONAL = gemmi.UnitCell(24, 24, 31, 90, 90, 120)


@pytest.mark.parametrize("name", ["P 1", "P 61 2 2", "R 3:H"])
def test_against_a_count(name):
    spacegroup = gemmi.SpaceGroup(name)
    cell = HEXAGONAL
    possible = gemmi.make_miller_array(cell, spacegroup, 2.0)
    rng = np.random.default_rng(0)
    observed = possible[rng.uniform(size=len(possible)) < 0.7]
    table = completeness_by_shell(observed, cell=cell, spacegroup=spacegroup, n_shells=4)
    d_possible, d_observed = cell.calculate_d_array(possible), cell.calculate_d_array(observed)
    assert table["n_observed"].sum() == len(observed)
    for row in table.itertuples():
        inside = [
            np.sum((d <= row.d_max * (1 + 1e-9)) & (d > row.d_min * (1 - 1e-9))) for d in (d_observed, d_possible)
        ]
        assert [row.n_observed, row.n_possible] == inside
        assert row.completeness == pytest.approx(inside[0] / inside[1])
    volumes = np.diff(np.append(table["d_max"] ** -3.0, table["d_min"].iloc[-1] ** -3.0))
    np.testing.assert_allclose(volumes, volumes[0])
    assert table["d_min"].iloc[-1] == pytest.approx(d_observed.min())


def test_mates_count_once_and_absences_do_not():
    spacegroup = gemmi.SpaceGroup("P 61 2 2")
    possible = gemmi.make_miller_array(HEXAGONAL, spacegroup, 3.0)
    every = [-np.array(op.apply_to_hkl(h)) for op in spacegroup.operations() for h in possible.tolist()]
    absent = [[0, 0, i] for i in range(1, 6)]
    table = completeness_by_shell(np.array([*every, *absent]), cell=HEXAGONAL, spacegroup=spacegroup, n_shells=3)
    assert table["n_observed"].tolist() == table["n_possible"].tolist()
    assert (table["completeness"] == 1).all()
    assert table["n_possible"].sum() == len(possible)


def test_missing_low_orders_show():
    spacegroup = gemmi.SpaceGroup("P 1")
    possible = gemmi.make_miller_array(HEXAGONAL, spacegroup, 2.01)
    seen = HEXAGONAL.calculate_d_array(possible) < 3.5
    table = completeness_by_shell(possible[seen], cell=HEXAGONAL, spacegroup=spacegroup, n_shells=10)
    assert table["completeness"].iloc[0] == 0
    assert (table["completeness"].iloc[3:] == 1).all()


def test_one_reflection():
    table = completeness_by_shell(np.array([[0, 0, 1]]), cell=HEXAGONAL, spacegroup=gemmi.SpaceGroup("P 1"), n_shells=1)
    assert table[["n_observed", "n_possible"]].to_numpy().tolist() == [[1, 1]]


def test_nothing_to_count_for_completeness():
    for hkl in (np.zeros((0, 3), int), np.zeros((1, 3), int)):
        with pytest.raises(ValueError, match="wanted some that were measured"):
            completeness_by_shell(hkl, cell=HEXAGONAL, spacegroup=gemmi.SpaceGroup("P 1"))
    with pytest.raises(ValueError, match="n_shells: got 0"):
        completeness_by_shell(np.ones((1, 3), int), cell=HEXAGONAL, spacegroup=gemmi.SpaceGroup("P 1"), n_shells=0)


TWIN_CELL, TWIN_GROUP = gemmi.UnitCell(60, 60, 70, 90, 90, 120), gemmi.SpaceGroup("P 3")
TWIN_HKL = gemmi.make_miller_array(TWIN_CELL, TWIN_GROUP, 2.2)


def simulate_twin(
    twin_fraction, *, anisotropic=0.0, noise=0.01, hkl=TWIN_HKL, cell=TWIN_CELL, spacegroup=TWIN_GROUP, seed=1
):
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
    found = twin_test(TWIN_HKL, *simulate_twin(0.0), cell=TWIN_CELL, spacegroup=TWIN_GROUP)
    # standard deviation of |L| is 0.29; pairs share reflections, so the error is near that of one pair per reflection
    error = 4 * 0.29 / np.sqrt(found.n_reflections)
    assert found.mean_l == pytest.approx(1 / 2, abs=error)
    assert found.warning is None


def test_perfect_twin():
    found = twin_test(TWIN_HKL, *simulate_twin(0.5), cell=TWIN_CELL, spacegroup=TWIN_GROUP)
    error = 4 * 0.29 / np.sqrt(found.n_reflections / 2)
    assert found.mean_l == pytest.approx(3 / 8, abs=error)
    assert found.warning is not None
    assert "mean |L| is 0.3" in found.warning
    assert "-h,-k,l" in found.warning


def test_partial_twin_lies_between():
    found = [
        twin_test(TWIN_HKL, *simulate_twin(a), cell=TWIN_CELL, spacegroup=TWIN_GROUP).mean_l for a in (0, 0.1, 0.3, 0.5)
    ]
    assert np.all(np.diff(found) < -0.005)


def test_where_twinning_begins():
    """Mean |L| falls from 0.5 to 0.375; below 0.44 the data are called twinned."""
    fractions = np.linspace(0.1, 0.3, 21)
    found = [twin_test(TWIN_HKL, *simulate_twin(a), cell=TWIN_CELL, spacegroup=TWIN_GROUP) for a in fractions]
    mean_l = np.array([one.mean_l for one in found])
    assert ((mean_l > 0.435) & (mean_l < 0.44)).any()
    assert ((mean_l > 0.44) & (mean_l < 0.445)).any()
    assert [one.warning is not None for one in found] == (mean_l < 0.44).tolist()


@pytest.mark.parametrize("power", [2, 1, 0.5])
@pytest.mark.parametrize("twinned", [False, True])
def test_amplitudes_and_intensities_are_told_apart(power, twinned):
    """Mean |L| is ln 2 of squares, 1 − ln 2 of square roots; a perfect twin and what else is right is not doubted."""
    amplitude, sigma = simulate_twin(0.5 if twinned and power == 1 else 0.0)
    taken = {"amplitude": amplitude**power, "sigma": power * sigma * np.maximum(amplitude, 1) ** (power - 1)}
    found = twin_test(TWIN_HKL, *taken.values(), cell=TWIN_CELL, spacegroup=TWIN_GROUP)
    if power != 1:
        wanted = np.log(2) if power == 2 else 1 - np.log(2)
        assert found.mean_l == pytest.approx(wanted, abs=4 * 0.29 / np.sqrt(found.n_reflections))
    about_amplitudes, about_intensities = (quantity_note(found, intensities=one, column="X") for one in (False, True))
    assert (about_amplitudes is not None) == (power == 2)
    assert (about_intensities is not None) == (power == 0.5)
    # the warnings of data name the column and the option, and say nothing of twins
    crystal = {"hkl": TWIN_HKL, "cell": TWIN_CELL, "spacegroup": TWIN_GROUP, "free": np.zeros(len(TWIN_HKL), bool)}
    labels = {"intensity": "IMEAN"} if power == 0.5 else {"amplitude": "F(+) and F(-)"}
    measured = {"intensity": amplitude, "intensity_sigma": sigma} if power == 0.5 else {}
    said = " ".join(data_warnings(Reflections(**crystal, **taken, **measured, labels=labels), twinned=twinned))
    assert ("If they are, intensity=F(+) takes them as such" in said) == (power == 2)
    assert ("If they are, amplitude=IMEAN takes them as such" in said) == (power == 0.5)
    assert "look twinned" not in said


@pytest.mark.parametrize(("mean_l", "intensities"), [(0.65, False), (0.35, True)])
def test_where_amplitudes_and_intensities_are_doubted(mean_l, intensities):
    found = twin_test(TWIN_HKL, *simulate_twin(0.0), cell=TWIN_CELL, spacegroup=TWIN_GROUP)
    for n, step, told in ((500, 0.01, True), (500, -0.01, False), (499, 0.01, False)):
        test = found._replace(mean_l=mean_l + (-step if intensities else step), n_reflections=n)
        assert (quantity_note(test, intensities=intensities) is not None) == told


def test_anisotropy_is_not_twinning():
    found = twin_test(TWIN_HKL, *simulate_twin(0.0, anisotropic=30), cell=TWIN_CELL, spacegroup=TWIN_GROUP)
    assert found.mean_l == pytest.approx(1 / 2, abs=0.015)


def test_noise_does_not_hide_a_twin():
    found = twin_test(TWIN_HKL, *simulate_twin(0.5, noise=0.08), cell=TWIN_CELL, spacegroup=TWIN_GROUP)
    assert found.d_min > 2.5
    assert found.warning is not None


def test_too_few_reflections_give_numbers_but_no_warning():
    few = TWIN_CELL.calculate_d_array(TWIN_HKL) > 9
    amplitude, sigma = simulate_twin(0.5)
    found = twin_test(TWIN_HKL[few], amplitude[few], sigma[few], cell=TWIN_CELL, spacegroup=TWIN_GROUP)
    assert 0 < found.n_reflections < 500
    assert 0.3 < found.mean_l < 0.5
    assert found.warning is None
    for n in (0, 1):
        empty = twin_test(TWIN_HKL[:n], amplitude[:n], sigma[:n], cell=TWIN_CELL, spacegroup=TWIN_GROUP)
        assert np.isnan(empty.mean_l)
        assert empty.warning is None


def test_centric_reflections_take_no_part():
    cell, spacegroup = gemmi.UnitCell(40, 50, 60, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")
    hkl = gemmi.make_miller_array(cell, spacegroup, 2.5)
    centric = spacegroup.operations().centric_flag_array(hkl).astype(bool)
    ones = np.ones(len(hkl))
    assert twin_test(hkl, ones, 0.01 * ones, cell=cell, spacegroup=spacegroup).n_reflections == np.sum(~centric)
    assert twin_test(hkl[centric], ones[centric], ones[centric], cell=cell, spacegroup=spacegroup).n_reflections == 0


def test_mean_l_against_a_loop():
    """Pairs differ by even indices that add up to four at most."""
    hkl = np.array([[1, 1, 1], [3, 1, 1], [5, 1, 1], [3, 3, 1], [2, 1, 1], [1, 1, -3], [7, 7, 7]])
    intensity = np.array([1.0, 2, 4, 8, 16, 32, 0])
    wanted = []
    for i in range(len(hkl)):
        for j in range(i):
            step = hkl[i] - hkl[j]
            if not (step % 2).any() and abs(step).sum() <= 4:
                wanted.append(abs(intensity[i] - intensity[j]) / (intensity[i] + intensity[j]))
    assert len(wanted) == 7
    found = twin_test(hkl, np.sqrt(intensity), np.full(7, 1e-3), cell=TWIN_CELL, spacegroup=gemmi.SpaceGroup("P 1"))
    assert found.mean_l == pytest.approx(np.mean(wanted), rel=1e-12)


@pytest.mark.parametrize("name", ["4xof", "1g8a"])
def test_deposited_data_are_not_twinned(data_dir, name):
    data = read_reflections(data_dir / f"{name}.mtz")
    found = twin_test(data.hkl, data.amplitude, data.sigma, cell=data.cell, spacegroup=data.spacegroup)
    assert found.mean_l == pytest.approx(0.5, abs=0.02)
    assert found.warning is None


def test_columns_must_match():
    with pytest.raises(ValueError, match="sigma: got shape"):
        twin_test(TWIN_HKL, np.ones(len(TWIN_HKL)), np.ones(3), cell=TWIN_CELL, spacegroup=TWIN_GROUP)


MONOCLINIC = gemmi.UnitCell(55, 61, 75, 90, 100, 90)


def random_protein(translation=None, *, spacegroup="P 1 21 1", cell=MONOCLINIC, n=400, error=0.0, seed=3):
    """Indices to 4.5 Å and amplitudes of random atoms in a ball, with a second copy moved by a translation."""
    rng = np.random.default_rng(seed)
    group = gemmi.SpaceGroup(spacegroup)
    hkl = gemmi.make_miller_array(cell, group, 4.5)
    ball = rng.normal(size=(n, 3))
    ball *= (14 * rng.uniform(size=n) ** (1 / 3) / np.linalg.norm(ball, axis=1))[:, None]
    xyz = ball @ np.array(cell.frac.mat.tolist()).T + [0.21, 0.3, 0.17]
    if translation is not None:
        moved = xyz + translation + error * rng.normal(size=xyz.shape) / [cell.a, cell.b, cell.c]
        xyz = np.concatenate([xyz, moved])
    total = np.zeros(len(hkl), complex)
    for operation in group.operations():
        images = xyz @ np.array(operation.rot).T / gemmi.Op.DEN + np.array(operation.tran) / gemmi.Op.DEN
        total += np.exp(2j * np.pi * hkl @ images.T).sum(axis=1)
    return hkl, np.abs(total), group


def test_no_translation():
    hkl, amplitude, group = random_protein()
    found = native_patterson(hkl, amplitude, cell=MONOCLINIC, spacegroup=group)
    assert 0 < found.height < 0.2
    assert found.warning is None


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_planted_translation(error):
    translation = np.array([0.45, 0.5, 0.1])
    hkl, amplitude, group = random_protein(translation, error=error)
    found = native_patterson(hkl, amplitude, cell=MONOCLINIC, spacegroup=group)
    # the 2-fold axis of the Patterson symmetry takes (x, y, z) to (−x, y, −z), the inversion to (−x, −y, −z)
    mates = np.array([[1, 1, 1], [-1, 1, -1], [-1, -1, -1], [1, -1, 1]]) * translation
    away = found.vector - mates
    away -= np.round(away)
    # grid points are at most 1.25 Å apart
    assert np.linalg.norm(away @ np.array(MONOCLINIC.orth.mat.tolist()).T, axis=1).min() < 1.25
    assert found.height > 0.25
    distance = min(
        MONOCLINIC.orthogonalize(gemmi.Fractional(*(np.array(found.vector) - shift))).length()
        for shift in np.ndindex(2, 2, 2)
    )
    assert found.warning is not None
    assert f"{100 * found.height:.0f} % of the origin" in found.warning
    assert f"{distance:.0f} Å away" in found.warning


def test_height_against_a_sum():
    hkl, amplitude, group = random_protein(np.array([0.5, 0.0, 0.3]))
    found = native_patterson(hkl, amplitude, cell=MONOCLINIC, spacegroup=group)
    d = MONOCLINIC.calculate_d_array(hkl)
    use = (d >= 5) & (d <= 10)
    height = origin = 0.0
    for index, intensity in zip(hkl[use].tolist(), amplitude[use] ** 2, strict=True):
        mates = {tuple(s * m for m in op.apply_to_hkl(index)) for op in group.operations() for s in (1, -1)}
        height += sum(intensity * np.cos(2 * np.pi * np.dot(mate, found.vector)) for mate in mates)
        origin += len(mates) * intensity
    assert found.height == pytest.approx(height / origin, rel=1e-9)


def test_centring_is_not_mistaken_for_it():
    cell = gemmi.UnitCell(80, 60, 75, 90, 100, 90)
    hkl, amplitude, group = random_protein(spacegroup="C 1 2 1", cell=cell)
    found = native_patterson(hkl, amplitude, cell=cell, spacegroup=group)
    assert found.warning is None
    wrong = native_patterson(hkl, amplitude, cell=cell, spacegroup=gemmi.SpaceGroup("P 1 2 1"))
    assert wrong.height == pytest.approx(1)
    np.testing.assert_allclose(wrong.vector, [0.5, 0.5, 0], atol=1e-9)


def test_nothing_to_search():
    hkl, amplitude, group = random_protein()
    few = native_patterson(hkl[:50], amplitude[:50], cell=MONOCLINIC, spacegroup=group)
    assert np.isnan(few.height)
    assert few.warning is None
    small = gemmi.UnitCell(15, 15, 200, 90, 90, 90)
    hkl = gemmi.make_miller_array(small, gemmi.SpaceGroup("P 1"), 5)
    assert native_patterson(hkl, np.ones(len(hkl)), cell=small, spacegroup=gemmi.SpaceGroup("P 1")).warning is None
    with pytest.raises(ValueError, match="amplitude: got shape"):
        native_patterson(hkl, np.ones(3), cell=MONOCLINIC, spacegroup=group)


@pytest.mark.parametrize("name", ["4xof", "1g8a"])
def test_deposited_data_have_none(data_dir, name):
    data = read_reflections(data_dir / f"{name}.mtz")
    found = native_patterson(data.hkl, data.amplitude, cell=data.cell, spacegroup=data.spacegroup)
    assert found.height < 0.2
    assert found.warning is None


def test_only_without_hydrogens():
    note = hydrogen_note(["C", "N", "HG", "HO", "He"])
    assert note is not None
    assert note.startswith("The model has no hydrogens")
    assert hydrogen_note(["C", "h"]) is None
    assert hydrogen_note(["C", " D"]) is None
    assert hydrogen_note([]) is None


def test_dispersion_of_heavy_atoms_that_is_left_out():
    note = dispersion_note(["C", "SE", "ZN", "zn"], wavelength=None, stated=0.97951)
    assert note is not None
    assert "of Se, Zn is left out" in note
    assert "(0.9795 Å in the file of the data)" in note
    # an energy in eV, a wavelength in nm
    for stated in (12658.0, 0.0979):
        assert str(dispersion_note(["ZN"], wavelength=None, stated=stated)).endswith("occupancy: give the wavelength.")
    assert dispersion_note(["CA", "C"], wavelength=None) is None  # scandium is the first whose edge is measured at
    assert "of Sc is" in str(dispersion_note(["SC"], wavelength=None))
    assert dispersion_note(["SE"], wavelength=0.98) is None
    assert dispersion_note(["SE"], wavelength=None, radiation="neutron") is None
