"""Conformers in contact."""

import gemmi
import numpy as np
import pytest

from jax_occupancy.io import find_contacts, images_within, read_model

CRYSTAL = "CRYST1   30.000   32.000   34.000  90.00 100.00  90.00 P 1 21 1\n"
LINE = "HETATM{:5d}  {:<3s}{:1s}{:3s} {:1s}{:4d}    {:8.3f}{:8.3f}{:8.3f}  0.50 10.00          {:>2s}\n"


@pytest.fixture
def read(tmp_path):
    def write(rows, head=CRYSTAL):
        """Rows are (name, letter, chain, number, xyz)."""
        lines = [
            LINE.format(i, name, letter, "HOH", chain, number, *xyz, name[0])
            for i, (name, letter, chain, number, xyz) in enumerate(rows, 1)
        ]
        (tmp_path / "in.pdb").write_text(head + "".join(lines))
        return read_model(tmp_path / "in.pdb")

    return write


def test_letters_residues_and_hydrogens(read):
    rows = [
        ("O", "A", "A", 1, (5, 5, 5)),
        ("O", "B", "A", 1, (5, 5.5, 5)),
        ("O", "A", "B", 2, (8, 5, 5)),
        ("O", "", "B", 3, (5, 8, 5)),
        ("H", "B", "C", 4, (5, 6, 6)),
        ("O", "B", "C", 5, (5, 5.5, 9.4)),
    ]
    assert find_contacts(read(rows), 3.5).tolist() == [[0, 2]]
    assert find_contacts(read(rows), 5.0).tolist() == [[0, 2], [1, 5]]
    assert find_contacts(read(rows, head=""), 3.5).tolist() == [[0, 2]]
    assert find_contacts(read(rows[:2]), 3.5).shape == (0, 2)


def test_without_letters(read):
    assert find_contacts(read([("O", "", "A", 1, (5, 5, 5))]), 4).shape == (0, 2)


def test_symmetry_images_count(read):
    model = read([("O", "A", "A", 1, (5, 5, 5)), ("O", "A", "A", 2, (0, 0, 0))])
    position = gemmi.Position(*model.atoms[["x", "y", "z"]].to_numpy()[0])
    fractional = model.cell.fractionalize(position)
    image = model.cell.orthogonalize(
        gemmi.Fractional(*gemmi.Op("-x,y+1/2,-z").apply_to_xyz(fractional.tolist())) + gemmi.Fractional(1, -1, 1)
    )
    near = (image.x + 1, image.y + 2, image.z)
    model = read([("O", "A", "A", 1, (5, 5, 5)), ("O", "A", "A", 2, near)])
    assert np.linalg.norm(np.array(near) - 5) > 10
    assert find_contacts(model, 2.5).tolist() == [[0, 1]]
    assert find_contacts(model, 2.0).shape == (0, 2)


def test_every_pair_is_that_of_a_search_over_all(read):
    random = np.random.default_rng(3)
    rows = [("O", "AB"[i % 2], "ABC"[i % 3], i, random.uniform(0, 20, 3).round(3)) for i in range(60)]
    model = read(rows, head="")
    xyz, letters = model.atoms[["x", "y", "z"]].to_numpy(), model.atoms["altloc"].to_numpy()
    near = np.linalg.norm(xyz[:, None] - xyz, axis=-1) < 4
    wanted = np.argwhere(np.triu(near & (letters[:, None] == letters), 1))
    np.testing.assert_array_equal(find_contacts(model, 4.0), wanted)


@pytest.mark.parametrize("distance", [0, -1.0, 21, float("nan")])
def test_bad_distances(read, distance):
    with pytest.raises(ValueError, match="contact distance is"):
        find_contacts(read([("O", "A", "A", 1, (5, 5, 5))]), distance)


def test_real_models(data_dir):
    model = read_model(data_dir / "4xof.pdb")
    pairs = find_contacts(model, 4.0)
    assert len(pairs) > 20
    letters = model.atoms["altloc"].to_numpy()[pairs]
    assert (letters[:, 0] == letters[:, 1]).all()


def test_images_on_top_are_found_with_their_operation_whatever_the_letters(read):
    head = "CRYST1   20.000   30.000   40.000  90.00  90.00  90.00 P 2 2 2\n"
    rows = [
        ("O", "A", "A", 1, (5, 5, 1)),
        ("O", "B", "A", 2, (-5, -5, 1.3)),  # through the 2-fold axis along z
        ("O", "", "A", 3, (25, 35, 1.2)),  # a cell away from the first
        ("O", "", "A", 4, (5, 5.5, 1)),  # without symmetry as near as the first
        ("O", "", "A", 5, (0, 0, 9)),  # on the axis, beside itself
        ("O", "", "A", 6, (0.45, 0, 15)),  # 0.9 Å from its own image
        ("H", "", "A", 7, (-5, -5, 1)),
    ]
    model = read(rows, head)
    assert images_within(model, 1.0) == [
        *((0, 1, "2_555"), (0, 2, "1_445"), (1, 2, "2_665"), (1, 3, "2_555"), (2, 3, "1_665"), (5, 5, "2_555"))
    ]
    assert images_within(model, 0.25) == [(0, 2, "1_445"), (1, 2, "2_665")]
    assert images_within(read(rows, head=""), 1.0) == []
    assert images_within(read(rows[-1:], head), 1.0) == []


def test_every_operation_of_an_image_is_told_once_for_each_place(read):
    head = "CRYST1   20.000   20.000   30.000  90.00  90.00 120.00 P 3\n"
    # 0.9 Å from both of its images
    assert images_within(read([("O", "", "A", 1, (0.52, 0, 1))], head), 1.0) == [(0, 0, "2_555"), (0, 0, "3_555")]
    head = "CRYST1   20.000   30.000   40.000  90.00  90.00  90.00 P 2 2 2\n"
    # on the axis along z, that along y brings it where that along x does
    rows = [("O", "", "A", 1, (0, 0, 0.6)), ("O", "", "A", 2, (0.1, 0, -1.4))]
    assert images_within(read(rows, head), 1.0) == [(0, 1, "3_555")]
