import gemmi
import numpy as np
import pytest
from scipy.special import i0e, i1e

from jax_occupancy.xray import SigmaA, estimate_sigma_a, map_coefficients

CELL, SPACEGROUP = gemmi.UnitCell(14, 16, 18, 90, 90, 90), gemmi.SpaceGroup("P 21 21 21")
HKL = gemmi.make_miller_array(CELL, SPACEGROUP, 1.3)


PLACES = np.random.default_rng(4).random((14, 3))


def structure_factors(places):
    """Gaussian atoms of six electrons with U = 0.1 Å², summed over symmetry."""
    falling = 6 * np.exp(-2 * np.pi**2 * 0.1 * np.array([CELL.calculate_1_d2(h) for h in HKL.tolist()]))
    images = [op.apply_to_xyz(place) for op in SPACEGROUP.operations() for place in places.tolist()]
    return falling * np.exp(2j * np.pi * HKL @ np.array(images).T).sum(axis=1)


def transformed(coefficients):
    known = np.isfinite(coefficients)
    data = gemmi.ComplexAsuData(CELL, SPACEGROUP, HKL[known], coefficients[known].astype(np.complex64))
    return data.transform_f_phi_to_map(sample_rate=3.0)


def made_sigma_a(sigma_a, variance, centric):
    one = np.ones(len(centric))
    return SigmaA(sigma_a * one, sigma_a * one, variance * one, centric, one, one[:1], one[:1], "free", len(one))


TRUE = structure_factors(PLACES)
CENTRIC = SPACEGROUP.operations().centric_flag_array(HKL)


def test_perfect_model_and_data():
    found = map_coefficients(TRUE, abs(TRUE), sigma=np.zeros(len(HKL)), sigma_a=made_sigma_a(1.0, 1e-6, CENTRIC))
    np.testing.assert_allclose(found.density, TRUE, atol=1e-4)
    np.testing.assert_allclose(found.difference, 0, atol=1e-4)
    strong = abs(TRUE) > 1
    np.testing.assert_allclose(found.figure_of_merit[strong], 1, atol=1e-5)


def test_against_the_formulas_one_by_one(x64):
    rng = np.random.default_rng(0)
    observed, sigma = abs(TRUE) * rng.uniform(0.5, 1.5, len(HKL)), rng.uniform(0, 1, len(HKL))
    known = made_sigma_a(0.8, 25.0, CENTRIC)
    found = map_coefficients(TRUE, observed, sigma=sigma, sigma_a=known)
    assert 50 < CENTRIC.sum() < len(HKL) / 2
    for i in range(0, len(HKL), 7):
        fc, fo = 0.8 * abs(TRUE[i]), observed[i]
        if CENTRIC[i]:
            m = np.tanh(fo * fc / (25 + sigma[i] ** 2))
            fwt = m * fo
        else:
            x = 2 * fo * fc / (25 + 2 * sigma[i] ** 2)
            m = i1e(x) / i0e(x)
            fwt = 2 * m * fo - fc
        phase = TRUE[i] / abs(TRUE[i])
        assert found.figure_of_merit[i] == pytest.approx(m, rel=1e-9)
        assert found.density[i] == pytest.approx(fwt * phase, rel=1e-9)
        assert found.difference[i] == pytest.approx((m * fo - fc) * phase, rel=1e-9)


def test_columns_give_back_the_coefficients():
    found = map_coefficients(TRUE, 0.3 * abs(TRUE), sigma=np.ones(len(HKL)), sigma_a=made_sigma_a(0.9, 4.0, CENTRIC))
    columns = found.columns()
    assert {label: kind for label, (kind, _) in columns.items()} == {
        "FWT": "F", "PHWT": "P", "DELFWT": "F", "PHDELWT": "P", "FOM": "W",
    }  # fmt: skip
    for amplitude, phase, wanted in (("FWT", "PHWT", found.density), ("DELFWT", "PHDELWT", found.difference)):
        values = columns[amplitude][1] * np.exp(1j * np.deg2rad(columns[phase][1]))
        np.testing.assert_allclose(values, wanted, atol=1e-9)
        assert (columns[amplitude][1] >= 0).all()
    # observations far below the model: the difference has the opposite phase
    assert np.abs(np.cos(np.deg2rad(columns["PHDELWT"][1]) - np.angle(TRUE)) + 1).max() < 1e-9


def test_a_missing_atom_is_a_peak():
    place = gemmi.Fractional(*PLACES[5])
    model = structure_factors(np.delete(PLACES, 5, axis=0))
    observed, sigma = abs(TRUE), 0.02 * abs(TRUE) + 0.05
    free = np.random.default_rng(1).random(len(HKL)) < 0.1
    known = estimate_sigma_a(HKL, observed, sigma, free, model_amplitude=abs(model), cell=CELL, spacegroup=SPACEGROUP)
    found = map_coefficients(model, observed, sigma=sigma, sigma_a=known)
    grid = transformed(found.difference)
    peak = grid.tricubic_interpolation(place)
    assert peak > 8 * np.array(grid).std()
    density = transformed(found.density)
    assert density.tricubic_interpolation(place) > 3 * np.array(density).std()
    # nothing elsewhere is half as high
    grid.set_points_around(CELL.orthogonalize(place), 1.5, 0.0)
    grid.symmetrize_min()
    assert np.array(grid).max() < 0.5 * peak


def test_missing_reflections():
    known = made_sigma_a(0.7, 25.0, CENTRIC)
    whole = map_coefficients(TRUE, abs(TRUE), sigma=np.ones(len(HKL)), sigma_a=known)
    missing = np.arange(len(HKL)) % 5 == 2
    observed = np.where(missing, np.nan, abs(TRUE))
    part = SigmaA(
        **{name: values[~missing] if np.size(values) == len(HKL) else values for name, values in vars(known).items()}
    )
    found = map_coefficients(TRUE, observed, sigma=np.where(missing, np.nan, 1.0), sigma_a=part)
    for coefficients in (found.density, found.difference, found.figure_of_merit):
        assert np.isnan(coefficients[missing]).all()
        assert np.isfinite(coefficients[~missing]).all()
    np.testing.assert_array_equal(found.density[~missing], whole.density[~missing])
    assert np.isnan(found.columns()["PHWT"][1][missing]).all()


def test_zero_model_and_no_reflections():
    n = len(HKL)
    known = made_sigma_a(0.9, 4.0, CENTRIC)
    found = map_coefficients(np.zeros(n), abs(TRUE), sigma=np.ones(n), sigma_a=known)
    np.testing.assert_array_equal(found.density, 0)
    none = made_sigma_a(0.9, 4.0, CENTRIC[:0])
    nothing = np.full(n, np.nan)
    found = map_coefficients(TRUE, nothing, sigma=nothing, sigma_a=none)
    assert np.isnan(found.density).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigma": np.ones(3)}, r"sigma: got shape \(3,\)"),
        ({"f_model": np.full(len(HKL), np.nan)}, r"f_model: \d+ values are not finite"),
        ({"amplitude": np.full(len(HKL), np.inf)}, r"amplitude: \d+ values are not finite"),
        ({"sigma": np.full(len(HKL), np.nan)}, r"sigma: \d+ values are not finite"),
        ({"amplitude": np.full(len(HKL), np.nan)}, r"sigma_a: got that of \d+ reflections, wanted 0"),
    ],
)
def test_wrong_arguments(change, message):
    good = {
        "f_model": TRUE, "amplitude": abs(TRUE), "sigma": np.ones(len(HKL)), "sigma_a": made_sigma_a(0.9, 4, CENTRIC),
    }  # fmt: skip
    with pytest.raises(ValueError, match=message):
        map_coefficients(**good | change)
