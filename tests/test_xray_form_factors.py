import gemmi
import numpy as np
import pytest

from jax_occupancy.xray import form_factors


@pytest.mark.parametrize(
    ("radiation", "table", "width"), [("xray", "it92", 5), ("electron", "c4322", 5), ("neutron", "neutron92", 1)]
)
def test_equals_gemmi_s_tables(radiation, table, width):
    symbols = ["C", "H", "zn", "Se", "C", "H"]
    found = form_factors(symbols, radiation=radiation)
    assert found.amplitudes.shape == (4, width)
    for stol2 in (0.0, 0.1, 0.4):
        f = np.sum(found.amplitudes * np.exp(-found.exponents * stol2), axis=1)[found.type_index]
        wanted = [getattr(gemmi.Element(symbol), table).calculate_sf(stol2) for symbol in symbols]
        np.testing.assert_allclose(f, wanted, rtol=1e-5)


def test_hydrogen_and_deuterium():
    xray, neutron = form_factors(["H", "D"]), form_factors(["H", "D"], radiation="neutron")
    np.testing.assert_array_equal(xray.amplitudes[0], xray.amplitudes[1])
    np.testing.assert_allclose(neutron.amplitudes[:, 0], [-3.739, 6.671], rtol=1e-6)


def test_charges_follow_gemmi_s_switch():
    assert form_factors(["ZN", "ZN"], [0, 2]).amplitudes.sum(axis=1) == pytest.approx([30, 30], abs=0.1)
    gemmi.IT92_set_ignore_charge(False)
    try:
        found = form_factors(["ZN", "ZN", "ZN"], [0, 2, 7])
    finally:
        gemmi.IT92_set_ignore_charge(True)
    assert found.amplitudes.sum(axis=1) == pytest.approx([30, 28, 30], abs=0.1)


@pytest.mark.parametrize("radiation", ["xray", "electron", "neutron"])
def test_unknown_element_names_the_atom(radiation):
    with pytest.raises(ValueError, match=r"2 of 4 atoms .* atom 1 \('X'\), atom 3 \('OG'\)"):
        form_factors(["C", "X", "O", "Og"], radiation=radiation)


def test_one_charge_per_atom():
    with pytest.raises(ValueError, match="charges: got 1 values for 2 atoms"):
        form_factors(["C", "N"], [0])


def test_no_atoms():
    found = form_factors([])
    assert found.amplitudes.shape == (0, 5)
    assert found.type_index.shape == (0,)


def test_dispersion_moves_the_constant():
    plain = form_factors(["SE", "C", "Se"])
    found = form_factors(["SE", "C", "Se"], wavelength=0.9795)
    added = found.amplitudes - plain.amplitudes
    wanted = [gemmi.cromer_liberman(z, gemmi.hc / 0.9795)[0] for z in (34, 6)]
    assert wanted[0] < -5
    # symbols in different case are one element
    np.testing.assert_allclose(added[:, 4], wanted, rtol=1e-12)
    assert not added[:, :4].any()
    np.testing.assert_array_equal(found.exponents, plain.exponents)
    assert found.type_index.tolist() == [0, 1, 0]


@pytest.mark.parametrize("wavelength", [0.05, 5.5, -1.0, np.nan, 12658.0])
def test_wavelength_out_of_range(wavelength):
    with pytest.raises(ValueError, match=r"wavelength: got .* wanted 0.1 to 5.0 Å"):
        form_factors(["C"], wavelength=wavelength)


@pytest.mark.parametrize("radiation", ["electron", "neutron"])
def test_no_dispersion_but_for_x_rays(radiation):
    with pytest.raises(ValueError, match=f"for {radiation} radiation, wanted none"):
        form_factors(["C"], radiation=radiation, wavelength=1.0)
