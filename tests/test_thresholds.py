"""Numbers that decide how a model is grouped: each is pinned by a model just inside and one just outside.

And the width of the prior of an occupancy, by a group that the data say nothing of.
"""

import gemmi
import jax
import pytest
from groups_models import atom, described, molecule, residue, table

from jax_occupancy import read_model, refine, write_example
from jax_occupancy.groups import automatic_groups

CLOSE = 0.01
AB = {"A": 0.6, "B": 0.4}
PLACE = ("A", 5)


def grouped(*pieces, **options):
    return described(automatic_groups(table(*pieces), **options))


@pytest.mark.parametrize(("offset", "n_sets"), [(-CLOSE, 1), (CLOSE, 2)])
@pytest.mark.parametrize(
    # Where the last atom of the chain lies in a residue, and how far from it the next one begins at most
    ("resname", "last", "bond"),
    [("ALA", 2.47, 2.0), ("DA", 4.0, 2.2)],
    ids=["C-N", "O3'-P"],
)
def test_the_longest_bonds_along_a_chain(resname, last, bond, offset, n_sets):
    first, second = ((("A", 1), resname, AB), (("A", 2), resname, AB))
    assert len(grouped(residue(*first, at=0.0), residue(*second, at=last + bond + offset))) == n_sets


@pytest.mark.parametrize(("difference", "n_sets"), [(0.1, 1), (0.11, 2)])
def test_the_largest_difference_between_starts_that_are_linked(difference, n_sets):
    other = {"A": 0.6 - difference, "B": 0.4 + difference}
    assert len(grouped(residue(("A", 1), letters=AB), residue(("A", 2), letters=other))) == n_sets


def hydrogen(distance, letter="", q=0.5, **more):
    return atom("HB", "ALA", PLACE, q, altloc=letter, element="H", y=distance) | more


@pytest.mark.parametrize(("distance", "carried"), [(1.45 - CLOSE, True), (1.45 + CLOSE, False)])
def test_the_longest_bond_to_a_hydrogen(distance, carried):
    (site, *alone) = automatic_groups(table(atom("CB", "ALA", PLACE, 0.5, altloc="A"), hydrogen(distance)))
    assert (len(site.groups[0].atoms), len(alone)) == ((2, 0) if carried else (1, 1))


@pytest.mark.parametrize(("distance", "carried"), [(2.5 - CLOSE, True), (2.5 + CLOSE, False)])
def test_the_longest_bond_to_a_hydrogen_that_nothing_is_nearer_to(distance, carried):
    (site, *alone) = automatic_groups(table(atom("CB", "ALA", PLACE, 0.5), hydrogen(distance)))
    assert (len(site.groups[0].atoms), len(alone)) == ((2, 0) if carried else (1, 1))


@pytest.mark.parametrize(("distance", "kinds"), [(0.1 - CLOSE, ["complete"]), (0.1 + CLOSE, ["free", "free"])])
def test_how_close_hydrogen_and_deuterium_that_exchange_are(distance, kinds):
    pair = [hydrogen(1.0, q=0.3), hydrogen(1.0 + distance, q=0.7, name="DB", element="D")]
    assert [kind for kind, _ in grouped(atom("CB", "ALA", PLACE, 1.0), pair)] == kinds


@pytest.mark.parametrize(
    ("resname", "water"),
    [(name, True) for name in ("HOH", "DOD", "WAT", "H2O", "OH2", "OD2")] + [("HO", False), ("OH", False)],
)
def test_the_names_of_water(resname, water):
    atoms = table(molecule(PLACE, resname, 1.0, n=1)).drop(columns="kind")
    assert len(automatic_groups(atoms, waters="individual")) == water


@pytest.mark.parametrize(("other", "n_groups"), [(0.52, 1), (0.53, 2)])
def test_the_largest_difference_within_one_occupancy(other, n_groups):
    rows = [*molecule(PLACE, "LIG", 0.5, n=2)]
    assert len(grouped(rows[:1], [rows[1] | {"occupancy": other}])) == n_groups


@pytest.mark.parametrize(
    ("starts", "kind"),
    [
        ([0.49, 0.49], "complete"),  # 0.98, or 0.005 for each letter where that is more
        ([0.49, 0.48], "incomplete"),
        ([0.19, 0.19, 0.19, 0.19, 0.215], "complete"),
        ([0.19, 0.19, 0.19, 0.19, 0.214], "incomplete"),
    ],
)
def test_from_what_sum_a_ligand_is_always_there(starts, kind):
    letters = dict(zip("ABCDE", starts, strict=False))
    assert [found for found, _ in grouped(molecule(PLACE, "LIG", letters))] == [kind]


def test_the_prior_of_an_occupancy(tmp_path):
    """A water that scatters nowhere, in the place of a carbon, where no solvent is: its prior is all that is known."""
    example = write_example(tmp_path)
    structure = gemmi.read_structure(str(example.model))
    carbon = next(site.atom for site in structure[0].all() if site.atom.name == "CA")
    water = next(site.atom for site in structure[0].all() if site.residue.name == "HOH")
    water.pos, water.b_iso = carbon.pos, 1e6
    structure.make_mmcif_document().write_file(str(tmp_path / "blind.cif"))
    with jax.enable_x64(True):
        solution = refine(read_model(tmp_path / "blind.cif"), example.reflections, starts=0, outliers=False)
    row = solution.table.set_index("name").loc["W/301/HOH"]
    assert row["occupancy"] == row["start"] == 0.5
    assert row[["esd", "esd_fixed"]].tolist() == pytest.approx([1.0, 1.0], abs=1e-6)
