"""Where hydrogens and deuterium atoms go."""

import pytest
from groups_models import described, residue, table

from jax_occupancy.groups import automatic_groups

AB = {"A": 0.6, "B": 0.4}


def hydrogen(number, letter, q, *, name="H", element="H", resname="ALA", y=1.0):
    row = residue(("A", number), resname, {letter: q}, names=["N"])[0]
    return row | {"name": name, "element": element, "y": y}


def test_exchanged_hydrogen_and_deuterium_sum_to_one():
    atoms = table(residue(("A", 1)), hydrogen(1, "A", 0.3), hydrogen(1, "B", 0.7, name="D", element="D"))
    grouping = automatic_groups(atoms)
    assert described(grouping) == [("complete", ["A/1/ALA:A", "A/1/ALA:B"])]
    assert "exchanges with D of A/1/ALA/D:B on one site" in grouping.groups[0].reason


def test_an_exchanged_site_without_letters():
    pair = [hydrogen(1, "", 0.3), hydrogen(1, "", 0.6, name="D", element="D")]
    (site,) = automatic_groups(table(residue(("A", 1)), pair))
    assert (site.kind, [group.start for group in site.groups]) == ("complete", [0.3, 0.6])
    apart = [hydrogen(1, "", 0.3), hydrogen(1, "", 0.6, name="D", element="D", y=2.0)]
    assert [one.kind for one in automatic_groups(table(residue(("A", 1)), apart))] == ["free", "free"]


def test_every_site_exchanges_by_itself():
    pairs = [
        hydrogen(1, letter, q, name=element + site, element=element)
        for site, q in (("", 0.3), ("G", 0.8))
        for letter, element, q in (("A", "H", q), ("B", "D", 1 - q))
    ]
    grouping = automatic_groups(table(residue(("A", 1)), pairs))
    assert described(grouping) == [
        ("complete", ["A/1/ALA/H:A", "A/1/ALA/D:B"]),
        ("complete", ["A/1/ALA/HG:A", "A/1/ALA/DG:B"]),
    ]


def test_two_conformers_with_hydrogen_in_one_and_deuterium_in_the_other_are_conformers():
    atoms = table(
        residue(("A", 1), letters=AB),
        hydrogen(1, "A", 0.6, name="HB"),
        hydrogen(1, "B", 0.4, name="DB", element="D", y=1.5),
    )
    (group_set,) = automatic_groups(atoms)
    assert [group.atoms.size for group in group_set.groups] == [6, 6]


def test_an_exchanged_site_of_a_residue_with_conformers_is_by_itself():
    backbone, side_chain = (
        residue(("A", 1), names=["N", "CA", "C", "O"]),
        residue(("A", 1), letters=AB, names=["CB"]),
    )
    atoms = table(backbone, side_chain, hydrogen(1, "A", 0.2), hydrogen(1, "B", 0.8, name="D", element="D"))
    grouping = automatic_groups(atoms)
    assert [[group.start for group in one.groups] for one in grouping] == [[0.6, 0.4], [0.2, 0.8]]


def test_one_element_in_both_letters_is_no_exchange():
    atoms = table(residue(("A", 1)), hydrogen(1, "A", 0.3, name="HG"), hydrogen(1, "B", 0.7, name="HG"))
    (group_set,) = automatic_groups(atoms)
    assert "conformer A" in group_set.groups[0].reason


def amide_model(first=AB, letters="AB"):
    """Alternates up to the carbonyl of residue 1; residue 2 has letters on its amide hydrogen and on its CB."""
    return table(
        residue(("A", 1), letters=first),
        residue(("A", 2), names=["N", "CA", "C", "O"]),
        residue(("A", 2), letters={"A": 0.3, "B": 0.7}, names=["CB"]),
        [hydrogen(2, letter, first.get(letter, 0.5)) for letter in letters],
    )


def test_an_amide_hydrogen_follows_the_carbonyl_before_it():
    grouping = automatic_groups(amide_model())
    assert described(grouping) == [
        ("complete", ["A/1/ALA:A", "A/1/ALA:B"]),
        ("complete", ["A/2/ALA/CB:A", "A/2/ALA/CB:B"]),
    ]
    assert [group.atoms.tolist()[-1] for group in grouping.groups] == [16, 17, 14, 15]
    assert "A/2/ALA/H:A follows the carbonyl before it" in grouping.groups[0].reason


def test_without_a_carbonyl_of_its_letter_it_stays_with_its_residue():
    atoms = amide_model(first={"C": 0.5, "D": 0.5})
    assert [group.atoms.size for group in automatic_groups(atoms).groups] == [5, 5, 2, 2]


def test_a_carbonyl_that_is_not_bonded_is_not_followed():
    atoms = amide_model()
    atoms.loc[atoms["resseq"] == 2, "x"] += 10
    assert [group.atoms.size for group in automatic_groups(atoms).groups] == [5, 5, 2, 2]


def test_a_partial_hydrogen_rides_on_its_carrier():
    atoms = table(residue(("A", 5), "LYS"), hydrogen(5, "", 0.6, name="HZ1", resname="LYS"))
    atoms.loc[atoms["name"] == "N", "occupancy"] = 0.6
    grouping = automatic_groups(atoms)
    assert described(grouping) == [("free", ["A/5/LYS/N"])]
    assert grouping.groups[0].atoms.tolist() == [0, 5]
    assert "which its hydrogens HZ1 share" in grouping.groups[0].reason


def test_a_partial_hydrogen_on_a_carrier_that_is_always_there_is_refined_by_itself():
    atoms = table(residue(("A", 5), "LYS"), hydrogen(5, "", 0.5, name="HZ1", resname="LYS"))
    assert described(automatic_groups(atoms)) == [("free", ["A/5/LYS/HZ1"])]


@pytest.mark.parametrize("q", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("letter", ["", "A"])
def test_hydrogens_follow_their_carrier_whatever_their_occupancy_and_letter(q, letter):
    atoms = table(residue(("A", 5), "LYS"), hydrogen(5, letter, q, name="HZ1", resname="LYS"))
    atoms.loc[atoms["name"] == "N", "occupancy"] = 0.9
    grouping = automatic_groups(atoms)
    assert [(g.name, g.start, g.atoms.tolist()) for g in grouping.groups] == [("A/5/LYS/N", 0.9, [0, 5])]
    assert grouping.warnings == (
        f"hydrogens of other occupancy take that of the atoms they sit on: A/5/LYS/N ({q:.2f} beside 0.90)",
    )


def test_the_letter_of_a_hydrogen_says_nothing_of_a_carrier_that_is_always_there():
    atoms = table(residue(("A", 5), "LYS"), hydrogen(5, "A", 1.0, name="HZ1", resname="LYS"))
    assert len(automatic_groups(atoms)) == 0


def test_a_hydrogen_without_a_letter_follows_the_only_conformer_around_it():
    ligand = residue(("A", 5), "LIG", {"A": 0.7}, names=["N", "CA"])
    grouping = automatic_groups(table(ligand, hydrogen(5, "", 1.0, name="H1", resname="LIG")))
    assert [(g.name, g.start, g.atoms.tolist()) for g in grouping.groups] == [("A/5/LIG:A", 0.7, [0, 1, 2])]
    both = residue(("A", 5), "LIG", AB, names=["N", "CA"])
    grouping = automatic_groups(table(both, hydrogen(5, "", 1.0, name="H1", resname="LIG")))
    assert [g.atoms.tolist() for g in grouping.groups] == [[0, 1], [2, 3]]


def test_hydrogens_left_out():
    atoms = table(
        residue(("A", 1), letters=AB),
        [hydrogen(1, letter, q, name="HA") for letter, q in AB.items()],
        hydrogen(2, "", 0.5),
    )
    grouping = automatic_groups(atoms, hydrogens="omit")
    assert [group.atoms.tolist() for group in grouping.groups] == [[*range(5)], [*range(5, 10)]]
