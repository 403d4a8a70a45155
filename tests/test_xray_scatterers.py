import gemmi
import numpy as np
import pandas as pd
import pytest

from jax_occupancy.xray import group_scatterers

CELL = gemmi.UnitCell(10, 20, 30, 90, 110, 90)


@pytest.fixture
def table():
    frame = pd.DataFrame(
        {"x": [1.0, 2, 3, 4], "y": 0.5, "z": [0.0, 1, 2, 3], "tempfactor": [10.0, 20, 30, 40], "element": list("CNOS")}
    )
    for column, value in (("u11", 0.3), ("u22", 0.2), ("u33", 0.1), ("u12", 0.05), ("u13", 0.02), ("u23", 0.01)):
        frame[column] = [np.nan, value, 0.0, value]
    return frame


def test_isotropic_atoms_come_first_and_positions_are_kept(table):
    found = group_scatterers(table, [[3, 0], [1, 2]], CELL)
    assert found.position.tolist() == [0, 2, 3, 1]
    assert found.group_index.tolist() == [0, 1, 0, 1]
    assert found.b_iso.tolist() == [10, 30]  # a U of zeros is isotropic
    assert found.u_star.shape == (2, 6)
    expected = [CELL.fractionalize(gemmi.Position(*table.loc[i, ["x", "y", "z"]])).tolist() for i in (0, 2, 3, 1)]
    np.testing.assert_allclose(found.xyz, expected, rtol=1e-6)


def test_u_star_of_an_isotropic_tensor_is_the_isotropic_b(table):
    for column in ("u11", "u22", "u33"):
        table[column] = 0.25
    table[["u12", "u13", "u23"]] = 0.0
    u = np.array(group_scatterers(table, [[0]], CELL).u_star[0], dtype=float)
    h = np.array([3, -2, 4])
    product = u[:3] @ h**2 + 2 * u[3:] @ [h[0] * h[1], h[0] * h[2], h[1] * h[2]]
    assert product == pytest.approx(0.25 * CELL.calculate_1_d2(h.tolist()), rel=1e-5)


def test_table_without_anisotropic_columns_or_charge(table):
    found = group_scatterers(table[["x", "y", "z", "tempfactor", "element"]], [[1], [], [3]], CELL)
    assert found.u_star.shape == (0, 6)
    assert found.group_index.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("groups", "weights", "message"),
    [
        ([[0, 4]], None, r"groups: 1 positions lie outside the file, first \[4\]"),
        ([[0], [-1]], None, r"first \[-1\]"),
        ([[0]], np.ones(3), r"weights: got shape \(3,\), wanted \(4,\)"),
    ],
)
def test_arguments_that_do_not_match(table, groups, weights, message):
    with pytest.raises(ValueError, match=message):
        group_scatterers(table, groups, CELL, weights=weights)


def test_not_finite_coordinate(table):
    table.loc[2, "x"] = np.nan
    group_scatterers(table, [[0, 1]], CELL)
    with pytest.raises(ValueError, match=r"not finite, first at \[2\]"):
        group_scatterers(table, [[0, 2]], CELL)


def test_unknown_element(table):
    table["element"] = ["C", "QQ", "O", "S"]
    with pytest.raises(ValueError, match="QQ"):
        group_scatterers(table, [[1, 2]], CELL)


def scatterers_of(elements, charges=None, **beam):
    """One atom of each element at the origin."""
    table = pd.DataFrame({"x": 0.0, "y": 0.0, "z": 0.0, "tempfactor": 0.0, "element": elements})
    table["charge"] = charges or 0
    return group_scatterers(table, [range(len(elements))], CELL, **beam)


@pytest.mark.parametrize(
    ("radiation", "table", "width"), [("xray", "it92", 5), ("electron", "c4322", 5), ("neutron", "neutron92", 1)]
)
def test_form_factors_are_gemmi_s(radiation, table, width):
    symbols = ["C", "H", "zn", "Se", "C", "H"]
    found = scatterers_of(symbols, radiation=radiation)
    assert found.amplitudes.shape == (4, width)
    for stol2 in (0.0, 0.1, 0.4):
        f = np.sum(found.amplitudes * np.exp(-found.exponents * stol2), axis=1)[found.type_index]
        wanted = [getattr(gemmi.Element(symbol), table).calculate_sf(stol2) for symbol in symbols]
        np.testing.assert_allclose(f, wanted, rtol=1e-5)


def test_hydrogen_and_deuterium(x64):
    xray, neutron = scatterers_of(["H", "D"]), scatterers_of(["H", "D"], radiation="neutron")
    np.testing.assert_array_equal(xray.amplitudes[0], xray.amplitudes[1])
    np.testing.assert_allclose(neutron.amplitudes[:, 0], [-3.739, 6.671], rtol=1e-6)


def test_charges_follow_gemmi_s_switch():
    assert scatterers_of(["ZN", "ZN"], [0, 2]).amplitudes.sum(axis=1) == pytest.approx([30, 30], abs=0.1)
    gemmi.IT92_set_ignore_charge(False)
    try:
        found = scatterers_of(["ZN", "ZN", "ZN"], [0, 2, 7])
    finally:
        gemmi.IT92_set_ignore_charge(True)
    assert found.amplitudes.sum(axis=1) == pytest.approx([30, 28, 30], abs=0.1)


@pytest.mark.parametrize("radiation", ["xray", "electron", "neutron"])
def test_unknown_element_names_the_atom(radiation):
    with pytest.raises(ValueError, match=r"2 of 4 atoms .* atom 1 \('X'\), atom 3 \('OG'\)"):
        scatterers_of(["C", "X", "O", "Og"], radiation=radiation)


def test_dispersion_moves_the_constant(x64):
    plain = scatterers_of(["SE", "C", "Se"])
    found = scatterers_of(["SE", "C", "Se"], wavelength=0.9795)
    added = np.asarray(found.amplitudes - plain.amplitudes)
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
        scatterers_of(["C"], wavelength=wavelength)


@pytest.mark.parametrize("radiation", ["electron", "neutron"])
def test_no_dispersion_but_for_x_rays(radiation):
    with pytest.raises(ValueError, match=f"for {radiation} radiation, wanted none"):
        scatterers_of(["C"], radiation=radiation, wavelength=1.0)
