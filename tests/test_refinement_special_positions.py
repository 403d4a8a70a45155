"""Waters on symmetry axes: one answer whichever way the file counts them."""

import gemmi
import jax
import numpy as np
import pytest

from jax_occupancy import read_model, read_reflections, refine
from jax_occupancy.groups import UserGroups, describe_groups, format_refmac
from jax_occupancy.refinement import group_model

pytestmark = pytest.mark.usefixtures("x64")

CELL, SPACE_GROUP = (24.0, 26.0, 28.0, 90.0, 100.0, 90.0), "P 1 2 1"
TRUTH = {"special": 0.8, "general": 0.6}
LINE = "HETATM{:5d}  {:<3s}{:1s}HOH W{:4d}    {:8.3f}{:8.3f}{:8.3f}{:6.2f}{:6.2f}          {:>2s}\n"


def write_crystal(path, special, general=0.6, hydrogen=None, others=40):
    """A partial water on the 2-fold axis (with a hydrogen), a partial one off it, and full ones."""
    random = np.random.default_rng(5)
    rows = [("O", "", 1, (0.0, 4.0, 0.0), special), ("H1", "", 1, (0.7, 4.5, 0.3), hydrogen)]
    rows += [("O", "", 2, (6.0, 8.0, 5.0), general)]
    rows += [("O", "", 3 + i, random.uniform((3, 0, 3), (20, 26, 11)), 1.0) for i in range(others)]
    rows = [row for row in rows if row[-1] is not None]
    head = "CRYST1" + "{:9.3f}{:9.3f}{:9.3f}{:7.2f}{:7.2f}{:7.2f} ".format(*CELL) + SPACE_GROUP + "\n"
    lines = [LINE.format(i, n, a, number, *xyz, q, 15, n[0]) for i, (n, a, number, xyz, q) in enumerate(rows, 1)]
    path.write_text(head + "".join(lines))
    return path


def write_data(path, model_path):
    """Noise-free amplitudes of the atoms, by gemmi's direct summation over crystallographic occupancies."""
    structure = gemmi.read_structure(str(model_path))
    structure.setup_cell_images()
    hkl = gemmi.make_miller_array(structure.cell, structure.find_spacegroup(), 1.8, 100.0, unique=True)
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    amplitude = np.abs([calculator.calculate_sf_from_model(structure[0], index) for index in hkl.tolist()])
    mtz = gemmi.Mtz(with_base=True)
    mtz.cell, mtz.spacegroup = structure.cell, structure.find_spacegroup()
    mtz.add_dataset("simulated")
    for label, kind in (("FP", "F"), ("SIGFP", "Q"), ("FreeR_flag", "I")):
        mtz.add_column(label, kind)
    free = np.arange(len(hkl)) % 20
    mtz.set_data(np.column_stack([hkl, amplitude, 0.02 * amplitude + 0.1, free]).astype(np.float32))
    mtz.write_to_file(str(path))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("special")
    # gemmi adds the images of an atom on the axis too, so its truth has 1/2 inside.
    truth = write_crystal(folder / "truth.pdb", TRUTH["special"] / 2, TRUTH["general"])
    return read_reflections(write_data(folder / "data.mtz", truth))


def test_both_conventions_give_one_answer_and_come_back(data, tmp_path):
    answers, starts = [], {"chemical": 0.7, "crystallographic": 0.35}
    for name, q in starts.items():
        model = read_model(write_crystal(tmp_path / f"{name}.pdb", q, general=0.3))
        with jax.enable_x64(True):
            solution = refine(model, data, starts=0)
        answers.append(np.asarray(solution.tensor()))
        assert solution.grouping["W/1/HOH"].start == pytest.approx(0.7)
        solution.write(model, tmp_path / f"{name}_out.pdb")
        written = read_model(tmp_path / f"{name}_out.pdb").atoms["occupancy"].to_numpy()
        factor = {"chemical": 1, "crystallographic": 2}[name]
        assert written[0] == pytest.approx(answers[-1][0] / factor, abs=0.005 + 1e-9)
        np.testing.assert_array_equal(written[2:], 1.0)
    np.testing.assert_allclose(*answers, atol=1e-5)
    # The solvent is fitted to data that have none, which costs the third digit.
    assert answers[0][:2] == pytest.approx(list(TRUTH.values()), abs=0.03)


def test_a_full_site_written_as_one_half_starts_from_one(tmp_path):
    grouping = group_model(read_model(write_crystal(tmp_path / "in.pdb", 0.5)))
    assert [(g.name, g.start) for g in grouping.groups] == [("W/1/HOH", 1.0), ("W/2/HOH", 0.6)]
    assert grouping["W/1/HOH"].reason.endswith("1.00 of the site; refined because the file's value is partial")
    assert any("W/1/HOH/O (0.50 is 1.00 of the site)" in warning for warning in grouping.warnings)


def test_contacts_without_a_cell_are_told_to_lack_symmetry(tmp_path):
    path = write_crystal(tmp_path / "in.pdb", 0.5)
    said = "contacts with symmetry images were ignored"
    assert not any(said in text for text in group_model(read_model(path), contact_distance=4.0).warnings)
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("CRYST1")))
    assert any(said in text for text in group_model(read_model(path), contact_distance=4.0).warnings)


def test_reasons_tell_the_convention(tmp_path):
    grouping = group_model(read_model(write_crystal(tmp_path / "in.pdb", 0.4, hydrogen=0.4)))
    water = grouping["W/1/HOH"]
    assert water.atoms.tolist() == [0, 1]
    assert water.start == pytest.approx(0.8)
    assert water.reason.endswith("2 of 2 atoms on 2-fold sites, 0.40 in the file is 0.80 of the site")
    assert grouping.to_dict()["sets"][0]["groups"][0]["reason"] == water.reason
    assert "site" not in grouping["W/2/HOH"].reason
    grouping = group_model(read_model(write_crystal(tmp_path / "in2.pdb", 0.7)))
    assert grouping["W/1/HOH"].reason.endswith(
        "1 of 1 atoms on 2-fold sites, occupancy in the file is that of the site"
    )


def test_hydrogens_of_such_a_water_are_written_alike(data, tmp_path):
    model = read_model(write_crystal(tmp_path / "in.pdb", 0.35, hydrogen=0.35))
    solution = refine(model, data, starts=0)
    solution.write(model, tmp_path / "out.pdb")
    written = read_model(tmp_path / "out.pdb").atoms["occupancy"].to_numpy()
    q = np.asarray(solution.tensor())
    assert written[0] == written[1] == pytest.approx(q[0] / 2, abs=0.0051)
    assert q[0] == q[1]


def test_a_group_of_special_and_general_atoms_is_written_in_both_ways(data, tmp_path):
    model = read_model(write_crystal(tmp_path / "in.pdb", 0.35, general=0.7))
    user = tmp_path / "groups.toml"
    user.write_text('[groups]\npair = "//W/1-2"\n')
    solution = refine(model, data, groups=user, starts=0)
    assert solution.grouping["pair"].start == pytest.approx(0.7)
    solution.write(model, tmp_path / "out.cif")
    written = read_model(tmp_path / "out.cif").atoms["occupancy"].to_numpy()
    assert written[0] == pytest.approx(written[1] / 2, abs=1e-4)


def test_groups_by_wish_and_by_file(data, tmp_path):
    model = read_model(write_crystal(tmp_path / "in.pdb", 0.7))
    wish = refine(model, data, groups=UserGroups(remove=("//W/2",)), starts=0)
    assert [g.name for g in wish.grouping.groups] == ["W/1/HOH"]
    (tmp_path / "bad.toml").write_text('remove = "//Z"\n')
    with pytest.raises(ValueError, match=r"bad\.toml: the selection '//Z' of remove matches no atom"):
        refine(model, data, groups=tmp_path / "bad.toml")


def test_occupancies_out_of_range_are_clamped_and_written(data, tmp_path):
    path = write_crystal(tmp_path / "in.pdb", 0.7)
    lines = path.read_text().splitlines(keepends=True)
    lines[-1] = lines[-1][:54] + "  1.20" + lines[-1][60:]
    lines[-2] = lines[-2][:54] + " -0.10" + lines[-2][60:]
    path.write_text("".join(lines))
    model = read_model(path)
    solution = refine(model, data, starts=0)
    assert any("outside 0 to 1, clamped" in warning for warning in solution.grouping.warnings)
    solution.write(model, tmp_path / "out.pdb")
    assert read_model(tmp_path / "out.pdb").atoms["occupancy"].to_numpy()[-2:].tolist() == [0, 1]


@pytest.mark.parametrize(("letter", "start"), [("", 0.4), ("A", 0.5)])
def test_a_molecule_across_an_axis_is_one_group_with_one_occupancy(tmp_path, letter, start):
    atoms = [("C1", 0, 5, 0), ("C2", 1.2, 5.7, 0), ("C3", -1.2, 5.7, 0.3), ("C4", 0, 3.5, 0), ("O1", -1.2, 2.8, -0.2)]

    def with_ligand(name, letter, q):
        path = write_crystal(tmp_path / name, None, general=None)
        line = LINE.replace("HOH W", "LIG B")
        lines = [line.format(90 + i, n, letter, 201, *xyz, q, 15, n[0]) for i, (n, *xyz) in enumerate(atoms)]
        path.write_text(path.read_text() + "".join(lines))
        return path

    observed = read_reflections(write_data(tmp_path / "data.mtz", with_ligand("truth.pdb", "", 0.5)))
    model = read_model(with_ligand("model.pdb", letter, start))
    solution = refine(model, observed)
    (group,) = solution.grouping.groups
    assert (group.atoms.size, group.start) == (5, start)
    assert "its occupancy has 1/n inside, as in the file" in group.reason
    solution.write(model, tmp_path / "out.pdb")
    written = read_model(tmp_path / "out.pdb").atoms
    assert written["occupancy"][written["resname"] == "LIG"].to_numpy() == pytest.approx(0.5, abs=0.011)


def test_a_water_on_top_of_an_image_is_told_with_the_operation(tmp_path):
    path = write_crystal(tmp_path / "in.pdb", 0.5, general=1.0, others=0)
    path.write_text(path.read_text() + LINE.format(9, "O", "", 3, -6.2, 8.1, -5.0, 1.0, 15.0, "O"))
    (told,) = [text for text in group_model(read_model(path)).warnings if "symmetry images" in text]
    assert "W/2/HOH/O and W/3/HOH/O by symmetry 2_555 (1.00 + 1.00)" in told


def test_an_atom_a_little_off_a_site_of_several_axes_is_not_on_top_of_its_own_image(tmp_path):
    head = "CRYST1   24.000   26.000   28.000  90.00  90.00  90.00 P 2 2 2\n"
    # 0.6 Å from its image by one axis, 0.9 Å from that by another; the second one is at no site at all
    rows = [LINE.format(1, "O", "", 1, 0.35, 0.28, 0.1, 1.0, 15.0, "O")]
    rows += [LINE.format(2, "O", "", 2, 0.35, 0.28, 7.0, 1.0, 15.0, "O")]
    (tmp_path / "in.pdb").write_text(head + "".join(rows))
    (told,) = [text for text in group_model(read_model(tmp_path / "in.pdb")).warnings if "symmetry images" in text]
    assert "images: W/2/HOH/O and itself by symmetry 2_555 (1.00 + 1.00);" in told


@pytest.mark.parametrize(
    ("q", "told"),
    [
        ((0.9, 0.5, 0.5), "(C1 in W/1/LIG/C1; C2, C3 in W/1/LIG/C2)"),
        ((1.0, 0.4, 0.4), "(C1 kept at 1.00; C2, C3 in W/1/LIG/C2)"),
        ((0.5, 1.0, 0.9), "(C1, C2 kept at 1.00; C3 in W/1/LIG/C3)"),
        ((1.0, 0.5, 0.5), None),
        ((0.5, 1.0, 1.0), None),
        ((0.5, 0.5, 0.4), "(C1, C2 in W/1/LIG/C1; C3 in W/1/LIG/C3)"),
        ((0.5, 0.5, 0.5), None),
        ((1.0, 1.0, 1.0), None),
    ],
)
def test_a_molecule_on_an_axis_that_is_refined_in_parts_is_told(tmp_path, q, told):
    head = write_crystal(tmp_path / "in.pdb", 0.5).read_text().splitlines(True)[0]
    places = ((0.0, 4.0, 0.0), (1.2, 4.7, 0.0), (-1.0, 4.7, 1.0))
    lines = [
        LINE.format(i, f"C{i}", "", 1, *xyz, one, 15.0, "C").replace("HOH", "LIG")
        for i, (xyz, one) in enumerate(zip(places, q, strict=True), 1)
    ]
    (tmp_path / "in.pdb").write_text(head + "".join(lines))
    found = [text for text in group_model(read_model(tmp_path / "in.pdb")).warnings if "refined in parts" in text]
    start = "molecules on special positions are refined in parts: W/1/LIG "
    assert found == ([f"{start}{told}; look at their occupancies, and make one group of them"] if told else [])


def write_molecule(path, rows):
    """A crystal with the molecule of these letters, atoms, places and occupancies alone."""
    head = write_crystal(path, 0.5).read_text().splitlines(True)[0]
    lines = [
        LINE.format(n, f"C{i}", letter, 1, *xyz, q, 15.0, "C").replace("HOH", "LIG")
        for n, (letter, i, xyz, q) in enumerate(rows, 1)
    ]
    path.write_text(head + "".join(lines))
    return read_model(path)


ACROSS = ((0.0, 4.0, 0.0), (1.2, 4.7, 0.0), (-1.2, 4.7, 0.1))
ON_Z = ((0.0, 0.0, 4.0), (1.3, 0.4, 4.3), (-0.9, 1.0, 3.6))
BESIDE = (
    (0.7, 4.0, 0.0),
    (-0.7, 4.0, 0.1),
    (1.4, 5.2, 0.0),
)  # no atom is on the axis, but two meet the image of each other


@pytest.mark.parametrize("places", [ACROSS, BESIDE])
@pytest.mark.parametrize(
    ("letters", "q", "relation"),
    [
        (("A",), 0.5, "≤ 0.50"),
        ((" ",), 0.4, "≤ 0.50"),
        (("A", "B"), 0.25, "= 0.50"),
        (("A", "B"), 0.2, "≤ 0.50"),
        (("A",), 0.6, ""),
    ],
)
def test_what_lies_across_an_axis_shares_out_one_half(tmp_path, places, letters, q, relation):
    rows = [(letter, i, xyz, q) for letter in letters for i, xyz in enumerate(places, 1)]
    model = write_molecule(tmp_path / "in.pdb", rows)
    grouping = group_model(model)
    assert [s.relation for s in grouping] == [relation]
    assert [("which leaves 1/2 at most" in g.reason) for g in grouping.groups] == [bool(relation)] * len(letters)
    assert not any("free from 0 to 1" in g.reason for g in grouping.groups if relation)
    assert any("symmetry images" in text for text in grouping.warnings) == (not relation)
    tensor = grouping.to_tensor(model.atoms["occupancy"])
    full = tensor.with_occupancies(np.ones(len(rows)))().sum() / len(places)
    assert full == pytest.approx(0.5 if relation else 1.0, rel=1e-3)
    again = group_model(model, describe_groups(grouping, model.atoms))
    assert [(s.kind, s.whole) for s in again] == [(s.kind, s.whole) for s in grouping]


def test_a_sum_of_one_half_is_no_word_of_other_formats(tmp_path):
    rows = [(letter, i, xyz, 0.25) for letter in "AB" for i, xyz in enumerate(ACROSS, 1)]
    model = write_molecule(tmp_path / "in.pdb", rows)
    with pytest.raises(ValueError, match=r"cannot say that W/1/LIG:A, W/1/LIG:B sum to 0\.50; write TOML"):
        format_refmac(group_model(model), model.atoms)


def test_a_fixed_conformer_across_an_axis_leaves_the_rest_of_the_half(tmp_path):
    rows = [(letter, i, xyz, q) for letter, q in (("A", 0.2), ("B", 0.3)) for i, xyz in enumerate(ACROSS, 1)]
    model = write_molecule(tmp_path / "in.pdb", rows)
    grouping = group_model(model, UserGroups(remove=("//W/1/*:A",)))
    assert [(s.kind, s.whole, [g.refinable for g in s.groups]) for s in grouping] == [("complete", 0.5, [True, False])]
    np.testing.assert_allclose(grouping.to_tensor(model.atoms["occupancy"])(), model.atoms["occupancy"], rtol=1e-6)


@pytest.mark.parametrize(
    ("spacegroup", "cell", "q", "relation"),
    [
        ("P 3", (24, 24, 28, 90, 90, 120), [0.17, 0.17], "= 0.33"),
        ("P 4", (24, 24, 28, 90, 90, 90), [0.12, 0.12], "= 0.25"),
        ("P 4", (24, 24, 28, 90, 90, 90), [0.12, 0.11], "≤ 0.25"),
        ("P 6", (24, 24, 28, 90, 90, 120), [0.06, 0.06, 0.06], "= 0.17"),
        ("P 6", (24, 24, 28, 90, 90, 120), [0.08, 0.08], "= 0.17"),
        ("P 6", (24, 24, 28, 90, 90, 120), [0.08, 0.07], "≤ 0.17"),
    ],
)
def test_rounding_of_letters_is_no_absence(tmp_path, spacegroup, cell, q, relation):
    assert [s.relation for s in group_model(write_on_z(tmp_path / "in.pdb", spacegroup, cell, q))] == [relation]


@pytest.mark.parametrize(("q", "relation"), [(0.33, "≤ 0.33"), (0.4, ""), (0.5, "")])
def test_an_atom_on_the_element_tells_how_many_images_there_are(tmp_path, q, relation):
    # beside it one atom alone meets an image, of another
    grouping = group_model(write_on_z(tmp_path / "in.pdb", "P 3", (24, 24, 28, 90, 90, 120), [q]))
    assert [s.relation for s in grouping] == [relation]
    assert any("A (1/3)" in text for text in grouping.warnings) == (not relation)


def write_on_z(path, spacegroup, cell, q):
    """A molecule of the letters A, B, C across an axis along z."""
    rows = [(x, i, xyz, one) for x, one in zip("ABC", q, strict=False) for i, xyz in enumerate(ON_Z, 1)]
    write_molecule(path, rows)
    head = "CRYST1{:9.3f}{:9.3f}{:9.3f}{:7.2f}{:7.2f}{:7.2f} ".format(*cell) + spacegroup + "\n"
    path.write_text(head + path.read_text().partition("\n")[2])
    return read_model(path)
