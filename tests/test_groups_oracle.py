"""The automatic groups of real structures beside those of cctbx 2022.9 (phenix.refine's defaults)."""

import json

import pytest

from jax_occupancy.groups import automatic_groups
from jax_occupancy.io import read_model

# For each model the number of sets, and the sets that ours and cctbx's have and the other has not, by their first
# groups or atoms. Bonded atoms of one residue at one occupancy are one group for us, each atom one for cctbx (4ms6); a
# ligand under two numbers, in the letters A and B, is one set for us and two free groups for cctbx (x3200). Apart from
# that all agree set by set.
PARTS = {
    "A/77/GLU/CD": ("A/77/GLU/CD/.", "A/77/GLU/OE1/.", "A/77/GLU/OE2/."),
    "A/190/LYS/CE": ("A/190/LYS/CE/.", "A/190/LYS/NZ/."),
    "A/437/ASP/CA": tuple(f"A/437/ASP/{name}/." for name in ("CA", "CB", "CG", "OD1", "OD2")),
}
EXPECTED = {
    "1g8a_multiconformer.pdb": (35, (), ()),
    "1orc.pdb": (3, (), ()),
    "1pfe.cif.gz": (32, (), ()),
    "4ms6.pdb": (55, PARTS, [label for labels in PARTS.values() for label in labels]),
    "4xof.pdb": (25, (), ()),
    "5i55.cif": (1, (), ()),
    "x3200.pdb": (1, ["A/201/LIG:A"], ["A/201/LIG/C1/A", "A/301/LIG/C1/B"]),
}
# Alternates of a ligand or water that start below 0.98: none in these models, so every pair of ours is complete.
KINDS = {name: {"complete", "free"} for name in EXPECTED}


def compared(data_dir, name):
    """Our grouping and both sides as sets of sets of positions, by the name of their first group or atom."""
    oracle = data_dir.parent / "oracle" / f"{name.split('.')[0]}.groups.json"
    if not oracle.exists():
        pytest.skip(f"{oracle.name} is not there")
    theirs = json.loads(oracle.read_text())
    grouping = automatic_groups(read_model(data_dir / name).atoms)
    assert grouping.n_atoms == theirs["n_atoms"]
    ours = {frozenset(frozenset(g.atoms.tolist()) for g in s.groups): s.groups[0].name for s in grouping}
    cctbx = {frozenset(frozenset(g["atoms"]) for g in s): s[0]["labels"][0] for s in theirs["groups"]}
    return grouping, ours, cctbx


@pytest.mark.parametrize("name", EXPECTED)
def test_sets_are_those_of_cctbx(data_dir, name):
    grouping, ours, cctbx = compared(data_dir, name)
    n_sets, only_ours, only_cctbx = EXPECTED[name]
    assert {ours[key] for key in ours.keys() - cctbx.keys()} == set(only_ours)
    assert {cctbx[key] for key in cctbx.keys() - ours.keys()} == set(only_cctbx)
    assert len(grouping) == n_sets
    assert {s.kind for s in grouping} <= KINDS[name]


@pytest.mark.parametrize("name", EXPECTED)
def test_starts_are_those_of_the_file(data_dir, name):
    grouping, _, _ = compared(data_dir, name)
    theirs = json.loads((data_dir.parent / "oracle" / f"{name.split('.')[0]}.groups.json").read_text())
    expected = {atom: g["occupancy"] for s in theirs["groups"] for g in s for atom in g["atoms"]}
    ours = {atom: group.start for group in grouping.groups for atom in group.atoms.tolist()}
    assert ours == pytest.approx(expected, abs=0.006)


def test_names_and_warnings_of_real_structures(data_dir):
    grouping, _, _ = compared(data_dir, "4xof.pdb")
    assert grouping["A/54/ARG:A"].start == 0.57
    assert grouping["A/102/HOH"].start == 0.39
    assert grouping.warnings == (
        "groups in no common set lie on top of each other: A/54/ARG:B and A/122/HOH:A (0.43 + 0.59); make a set of "
        "them",
    )
    runs, _, _ = compared(data_dir, "1g8a_multiconformer.pdb")
    assert {"A/144-149:D", "A/9-10:A", "A/63/MET:B"} <= {group.name for group in runs.groups}
    single, _, _ = compared(data_dir, "4ms6.pdb")
    assert {"A/77/GLU/CD", "A/708/ACY", "A/703/YB"} <= {group.name for group in single.groups}
    screen, _, _ = compared(data_dir, "x3200.pdb")
    assert screen.warnings == (
        "occupancies that exclude each other do not sum to 1 and will be made to: A/201/LIG:A + A/301/LIG:B = 2.00",
    )


def test_microheterogeneity_in_a_real_structure(data_dir):
    grouping, _, _ = compared(data_dir, "1pfe.cif.gz")
    pairs = [[group.name for group in s.groups] for s in grouping if "B/" in s.groups[0].name]
    assert pairs == [["B/3/N2C:A", "B/3/NCY:B"], ["B/7/NCY:A", "B/7/N2C:B"]]


@pytest.mark.parametrize("name", EXPECTED)
def test_the_module_starts_at_the_file(data_dir, name):
    atoms = read_model(data_dir / name).atoms
    grouping = automatic_groups(atoms)
    start = atoms["occupancy"].to_numpy(copy=True)
    for group in (group for s in grouping if s.start > 1.9 for group in s.groups):
        start[group.atoms] = 0.5  # a ligand that is there twice at 1.00
    assert abs(grouping.to_tensor(atoms["occupancy"])() - start).max() < 6e-3
