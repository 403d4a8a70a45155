import gemmi
import numpy as np
import pytest

from jax_occupancy.io import read_reflections
from jax_occupancy.xray import native_patterson

CELL = gemmi.UnitCell(55, 61, 75, 90, 100, 90)


def random_protein(translation=None, *, spacegroup="P 1 21 1", cell=CELL, n=400, error=0.0, seed=3):
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
    found = native_patterson(hkl, amplitude, cell=CELL, spacegroup=group)
    assert 0 < found.height < 0.2
    assert found.warning is None
    d = CELL.calculate_d_array(hkl)
    assert found.n_reflections == np.sum((d >= 5) & (d <= 10))


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_planted_translation(error):
    translation = np.array([0.45, 0.5, 0.1])
    hkl, amplitude, group = random_protein(translation, error=error)
    found = native_patterson(hkl, amplitude, cell=CELL, spacegroup=group)
    # the 2-fold axis of the Patterson symmetry takes (x, y, z) to (−x, y, −z), the inversion to (−x, −y, −z)
    mates = np.array([[1, 1, 1], [-1, 1, -1], [-1, -1, -1], [1, -1, 1]]) * translation
    away = found.vector - mates
    away -= np.round(away)
    # grid points are at most 1.25 Å apart
    assert np.linalg.norm(away @ np.array(CELL.orth.mat.tolist()).T, axis=1).min() < 1.25
    assert found.height > 0.25
    assert found.distance == pytest.approx(
        min(CELL.orthogonalize(gemmi.Fractional(*(np.array(found.vector) - shift))).length()
            for shift in np.ndindex(2, 2, 2))
    )  # fmt: skip
    assert found.warning is not None
    assert f"{100 * found.height:.0f} % of the origin" in found.warning


def test_height_against_a_sum():
    hkl, amplitude, group = random_protein(np.array([0.5, 0.0, 0.3]))
    found = native_patterson(hkl, amplitude, cell=CELL, spacegroup=group)
    d = CELL.calculate_d_array(hkl)
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
    few = native_patterson(hkl[:50], amplitude[:50], cell=CELL, spacegroup=group)
    assert np.isnan(few.height)
    assert few.warning is None
    small = gemmi.UnitCell(15, 15, 200, 90, 90, 90)
    hkl = gemmi.make_miller_array(small, gemmi.SpaceGroup("P 1"), 5)
    assert native_patterson(hkl, np.ones(len(hkl)), cell=small, spacegroup=gemmi.SpaceGroup("P 1")).warning is None
    with pytest.raises(ValueError, match="amplitude: got shape"):
        native_patterson(hkl, np.ones(3), cell=CELL, spacegroup=group)


@pytest.mark.parametrize("name", ["4xof", "1g8a"])
def test_deposited_data_have_none(data_dir, name):
    data = read_reflections(data_dir / f"{name}.mtz")
    found = native_patterson(data.hkl, data.amplitude, cell=data.cell, spacegroup=data.spacegroup)
    assert found.height < 0.2
    assert found.warning is None
