"""The R factor of a random structure: against Wilson's numbers and a loop."""

import gemmi
import numpy as np
import pytest

from jax_occupancy.xray import random_r_factor

CELL = gemmi.UnitCell(30, 40, 50, 90, 90, 90)


@pytest.mark.parametrize(("name", "wilson"), [("P 1", 2 - 2**0.5), ("P -1", 2 * 2**0.5 - 2)])
def test_wilsons_numbers(name, wilson):
    """2 − √2 for acentric and 2√2 − 2 for centric reflections (Wilson, 1950), whatever falls off with resolution."""
    spacegroup, rng = gemmi.SpaceGroup(name), np.random.default_rng(0)
    hkl = gemmi.make_miller_array(CELL, spacegroup, 1.5)
    parts = rng.normal(size=(2, 2, len(hkl))) * np.exp(-5 * CELL.calculate_1_d2_array(hkl))
    observed, model = np.abs(parts[0] + 1j * parts[1]) if name == "P 1" else np.abs(parts[0])
    found = random_r_factor(hkl, observed, model, cell=CELL, spacegroup=spacegroup)
    assert found == pytest.approx(wilson, abs=4 / len(hkl) ** 0.5)
    # the model itself explains everything, and is for other reflections as random as another
    assert random_r_factor(hkl, model, model, cell=CELL, spacegroup=spacegroup) == pytest.approx(wilson, abs=0.02)


def test_reflections_are_compared_with_those_of_their_kind():
    """Two kinds with a size of each: only the few neighbours of the border and the ends meet others."""
    spacegroup = gemmi.SpaceGroup("P 2 2 2")
    hkl = gemmi.make_miller_array(CELL, spacegroup, 1.5)
    size = np.where(spacegroup.operations().centric_flag_array(hkl), 3.0, 1.0)
    assert random_r_factor(hkl, size, size, cell=CELL, spacegroup=spacegroup) <= 2 * 5 * 2 / size.sum()
    assert np.isnan(random_r_factor(hkl, 0 * size, size, cell=CELL, spacegroup=spacegroup))
