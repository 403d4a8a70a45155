import gemmi
import numpy as np
import pytest

from jax_occupancy.xray import completeness_by_shell

CELL = gemmi.UnitCell(24, 24, 31, 90, 90, 120)


@pytest.mark.parametrize("name", ["P 1", "P 61 2 2", "R 3:H"])
def test_against_a_count(name):
    spacegroup = gemmi.SpaceGroup(name)
    cell = CELL
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
    possible = gemmi.make_miller_array(CELL, spacegroup, 3.0)
    every = [-np.array(op.apply_to_hkl(h)) for op in spacegroup.operations() for h in possible.tolist()]
    absent = [[0, 0, i] for i in range(1, 6)]
    table = completeness_by_shell(np.array([*every, *absent]), cell=CELL, spacegroup=spacegroup, n_shells=3)
    assert table["n_observed"].tolist() == table["n_possible"].tolist()
    assert (table["completeness"] == 1).all()
    assert table["n_possible"].sum() == len(possible)


def test_missing_low_orders_show():
    spacegroup = gemmi.SpaceGroup("P 1")
    possible = gemmi.make_miller_array(CELL, spacegroup, 2.01)
    seen = CELL.calculate_d_array(possible) < 3.5
    table = completeness_by_shell(possible[seen], cell=CELL, spacegroup=spacegroup, n_shells=10)
    assert table["completeness"].iloc[0] == 0
    assert (table["completeness"].iloc[3:] == 1).all()


def test_one_reflection():
    table = completeness_by_shell(np.array([[0, 0, 1]]), cell=CELL, spacegroup=gemmi.SpaceGroup("P 1"), n_shells=1)
    assert table[["n_observed", "n_possible"]].to_numpy().tolist() == [[1, 1]]


def test_nothing_to_count():
    for hkl in (np.zeros((0, 3), int), np.zeros((1, 3), int)):
        with pytest.raises(ValueError, match="wanted some that were measured"):
            completeness_by_shell(hkl, cell=CELL, spacegroup=gemmi.SpaceGroup("P 1"))
    with pytest.raises(ValueError, match="n_shells: got 0"):
        completeness_by_shell(np.ones((1, 3), int), cell=CELL, spacegroup=gemmi.SpaceGroup("P 1"), n_shells=0)
