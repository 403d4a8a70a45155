import gemmi
import numpy as np
import pytest

from jax_occupancy.xray import (
    fit_scale,
    fixed_structure_factors,
    r_factor,
    site_weights,
    solvent_structure_factors,
)

CELL, SPACEGROUP = gemmi.UnitCell(30, 40, 50, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")
B = (6.0, -2.0, -4.0)


@pytest.fixture(scope="module")
def synthetic():
    """Amplitudes of random structure factors with a known scale, in shuffled order; a tenth is free and wrong."""
    rng = np.random.default_rng(4)
    hkl = rng.permutation(gemmi.make_miller_array(CELL, SPACEGROUP, 2.0))
    stol2 = np.array([CELL.calculate_1_d2(h) for h in hkl.tolist()]) / 4
    calculated = 200 * np.exp(-12 * stol2) * (rng.normal(size=len(hkl)) + 1j * rng.normal(size=len(hkl)))
    mask = 3000 * np.exp(-60 * stol2) * (rng.normal(size=len(hkl)) + 1j * rng.normal(size=len(hkl)))
    overall = 2.5 * np.exp(-(hkl**2 / np.square([30, 40, 50])) @ B / 4)
    solvent = 0.4 * np.exp(-50 * stol2)
    amplitude = abs(overall * (calculated + solvent * mask))
    free = rng.random(len(hkl)) < 0.1
    amplitude[free] *= rng.uniform(0.5, 2, free.sum())
    data = {"hkl": hkl, "amplitude": amplitude, "sigma": 0.02 * amplitude + 1, "free": free}
    return data, calculated, mask, overall, solvent


def test_known_scales_come_back(synthetic):
    data, calculated, mask, overall, solvent = synthetic
    scale = fit_scale(**data, calculated=calculated, mask=mask, cell=CELL, spacegroup=SPACEGROUP)
    assert scale.k_overall == pytest.approx(2.5, rel=1e-3)
    assert scale.k_sol == pytest.approx(0.4, rel=1e-2)
    assert scale.b_sol == pytest.approx(50, rel=1e-2)
    np.testing.assert_allclose(scale.b_overall, [*B, 0, 0, 0], atol=0.02)
    np.testing.assert_allclose(scale.overall, overall, rtol=2e-3)
    np.testing.assert_allclose(scale.solvent, solvent, rtol=2e-2)
    model = abs(scale.apply(calculated, mask))
    work, free = r_factor(data["amplitude"], model, data["free"])
    assert work < 1e-3
    assert free > 0.2


def test_without_solvent(synthetic):
    data, calculated, _, overall, _ = synthetic
    data = data | {"amplitude": abs(overall * calculated)}
    scale = fit_scale(**data, calculated=calculated, mask=None, cell=CELL, spacegroup=SPACEGROUP)
    assert (scale.k_sol, scale.b_sol) == (0.0, 0.0)
    assert not scale.solvent.any()
    np.testing.assert_allclose(scale.overall, overall, rtol=1e-3)


def test_test_set_takes_no_part(synthetic):
    data, calculated, mask, _, _ = synthetic
    arguments = {"calculated": calculated, "mask": mask, "cell": CELL, "spacegroup": SPACEGROUP}
    one = fit_scale(**data, **arguments)
    other = data | {"amplitude": np.where(data["free"], 1e4, data["amplitude"])}
    np.testing.assert_array_equal(fit_scale(**other, **arguments).overall, one.overall)


def test_order_of_reflections_does_not_matter(synthetic):
    data, calculated, mask, _, _ = synthetic
    order = np.random.default_rng(0).permutation(len(mask))
    one = fit_scale(**data, calculated=calculated, mask=mask, cell=CELL, spacegroup=SPACEGROUP)
    shuffled = {name: values[order] for name, values in data.items()}
    two = fit_scale(**shuffled, calculated=calculated[order], mask=mask[order], cell=CELL, spacegroup=SPACEGROUP)
    np.testing.assert_allclose(two.overall, one.overall[order], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": np.ones(3)}, r"sigma: got shape \(3,\)"),
        ({"amplitude": "nan"}, r"amplitude: 1 values are not finite, first at reflections \[2\]"),
        ({"free": "all"}, "free: all .* reflections are in the test set"),
    ],
)
def test_arguments_that_do_not_match(synthetic, change, message):
    data, calculated, mask, _, _ = synthetic
    n = len(mask)
    fill = {"nan": np.where(np.arange(n) == 2, np.nan, 1.0), "all": np.ones(n, bool)}
    change = {name: fill[value] if isinstance(value, str) else value for name, value in change.items()}
    with pytest.raises(ValueError, match=message):
        fit_scale(**data | change, calculated=calculated, mask=mask, cell=CELL, spacegroup=SPACEGROUP)


def test_r_factor_by_hand():
    observed, model = np.array([10.0, 20.0, 5.0, 7.0]), np.array([11.0, 17.0, 5.5, 7.0])
    free = np.array([False, False, True, True])
    assert r_factor(observed, model, free) == pytest.approx((4 / 30, 0.5 / 12))
    assert np.isnan(r_factor(observed, model, np.zeros(4, bool))[1])


@pytest.mark.parametrize(
    ("model", "data", "columns", "expected"),
    [
        ("4xof.pdb", "4xof.mtz", ("FP", "SIGFP", "FreeR_flag"), (0.1446, 0.179)),
        ("1g8a_multiconformer.pdb", "1g8a.mtz", ("FOBS", "SIGFOBS", "R-free-flags"), (0.216, 0.238)),
    ],
)
def test_r_factors_of_deposited_structures(data_dir, model, data, columns, expected):
    structure = gemmi.read_structure(str(data_dir / model))
    for serial, site in enumerate(structure[0].all(), start=1):
        site.atom.serial = serial  # any numbering will do here
    mtz = gemmi.read_mtz_file(str(data_dir / data))
    amplitude, sigma, free = (np.array(mtz.column_with_label(label).array, dtype=float) for label in columns)
    kept = (amplitude > 0) & (sigma > 0)
    hkl, amplitude, sigma, free = mtz.array[kept, :3].astype(np.int32), amplitude[kept], sigma[kept], free[kept] == 0
    assert (site_weights(structure) == 1).all()
    calculated = fixed_structure_factors(structure, hkl, refinable=[])
    mask = solvent_structure_factors(structure, hkl, refinable=[])
    scale = fit_scale(
        hkl, amplitude, sigma, free, calculated=calculated, mask=mask,
        cell=structure.cell, spacegroup=structure.find_spacegroup(),
    )  # fmt: skip
    found = r_factor(amplitude, abs(scale.apply(calculated, mask)), free)
    assert found == pytest.approx(expected, abs=0.002)
