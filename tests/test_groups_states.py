"""Ground and bound states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from groups_models import described, molecule, residue, table

from jax_occupancy.groups import UserGroup, UserGroups, UserSet, choose_groups

STATES = {"ground": ("A", "B"), "bound": ("C", "D")}


def example():
    """Side chains in both states, a ligand and a water of the bound one, a water of the ground one, one of no state."""
    return table(
        residue(("A", 1), letters={"A": 0.5, "B": 0.2, "C": 0.3}),
        residue(("A", 9), letters={"A": 0.7, "C": 0.2, "D": 0.1}),
        molecule(("L", 1), "LIG", {"C": 0.3}),
        molecule(("W", 1), "HOH", {"D": 0.3}),
        molecule(("W", 2), "HOH", {"A": 0.4, "B": 0.3}),
        molecule(("W", 3), "HOH", 0.5),
    )


def choose(atoms, user):
    return choose_groups(atoms, user, select=lambda text: np.flatnonzero(atoms.eval(text)))


def test_one_set_of_states_with_the_split_inside_each_under_it():
    grouping = choose(example(), UserGroups(states=STATES))
    assert [(s.kind, s.parent, [g.name for g in s.groups]) for s in grouping] == [
        ("complete", None, ["ground", "bound"]),
        ("complete", "ground", ["A/1/ALA:A", "A/1/ALA:B"]),
        ("complete", "bound", ["A/9/ALA:C", "A/9/ALA:D"]),
        ("complete", "ground", ["W/2/HOH:A", "W/2/HOH:B"]),
        ("free", None, ["W/3/HOH"]),
    ]
    assert grouping["ground"].atoms.tolist() == [*range(15, 20)]
    assert grouping["bound"].atoms.tolist() == [*range(10, 15), 30, 31, 32, 33]
    assert [round(grouping[name].start, 6) for name in STATES] == [0.7, 0.3]
    assert grouping["A/1/ALA:B"].reason.endswith("within the state ground")
    assert grouping.warnings == ()


def test_one_ratio_is_refined_and_every_split_follows_it():
    atoms = example()
    occ = choose(atoms, UserGroups(states=STATES)).to_tensor(atoms["occupancy"])
    np.testing.assert_allclose(occ(), atoms["occupancy"], atol=2e-6)
    moved = jax.tree.map(lambda leaf: leaf + jnp.linspace(-1, 2, leaf.size) * occ.refinable_mask, occ)
    q = np.asarray(moved())
    ground, bound = q[15], q[10]
    assert ground + bound == pytest.approx(1, abs=1e-6)
    assert q[0] + q[5] == pytest.approx(ground, abs=1e-6)
    assert q[34] + q[35] == pytest.approx(ground, abs=1e-6)
    assert q[20] + q[25] == pytest.approx(bound, abs=1e-6)
    assert q[30] == q[33] == bound


def test_a_state_that_is_split_everywhere_has_no_atoms_of_its_own():
    atoms = table(residue(("A", 1), letters={"A": 0.5, "B": 0.2, "C": 0.2, "D": 0.1}))
    grouping = choose(atoms, UserGroups(states=STATES))
    assert [g.atoms.size for g in grouping.groups] == [0, 0, 5, 5, 5, 5]
    assert [round(g.start, 6) for g in grouping.groups[:2]] == [0.7, 0.3]
    np.testing.assert_allclose(grouping.to_tensor(atoms["occupancy"])(), atoms["occupancy"], atol=2e-6)


def test_linked_residues_split_together():
    letters = {"A": 0.5, "B": 0.2, "C": 0.2, "D": 0.1}
    grouping = choose(table(*[residue(("A", n), letters=letters) for n in (1, 2)]), UserGroups(states=STATES))
    assert described(grouping)[1] == ("complete", ["A/1-2:A", "A/1-2:B"])


def test_atoms_of_any_letter_can_be_given_to_a_state_and_sets_put_under_it():
    user = UserGroups(
        {
            "bound": UserGroup(("chainid == 'W' and resseq == 3",)),
            "p": UserGroup(("chainid == 'L' and name == 'C1'",)),
            "q": UserGroup(("chainid == 'L' and name == 'C2'",)),
        },
        (UserSet(("p", "q"), parent="bound"),),
        states=STATES,
    )
    grouping = choose(example(), user)
    assert grouping["bound"].atoms.tolist() == [*range(10, 15), 32, 33, 36]
    assert (grouping.sets[0].parent, [g.name for g in grouping.sets[0].groups]) == ("bound", ["p", "q"])


def test_letters_of_no_state_stay_automatic():
    atoms = table(example().to_dict("records"), residue(("A", 20), letters={"E": 0.6, "F": 0.4}))
    assert described(choose(atoms, UserGroups(states=STATES)))[-1] == ("complete", ["A/20/ALA:E", "A/20/ALA:F"])


def test_letters_of_a_state_beside_others():
    atoms = table(residue(("A", 1), letters={"A": 0.5, "C": 0.3, "E": 0.2}))
    with pytest.raises(ValueError, match="conformers of no state exclude those of a state: A/1/ALA:E"):
        choose(atoms, UserGroups(states=STATES))


def test_a_state_without_atoms_anywhere():
    atoms = table(residue(("A", 1), letters={"A": 0.5, "B": 0.5}))
    with pytest.raises(ValueError, match=r"no atom has a letter of the state bound \(C, D\)"):
        choose(atoms, UserGroups(states=STATES))


def test_sums_that_miss_their_state_are_named():
    atoms = table(residue(("A", 1), letters={"A": 0.7, "C": 0.3}), residue(("A", 9), letters={"A": 0.6, "B": 0.4}))
    (warning,) = choose(atoms, UserGroups(states=STATES)).warnings
    assert "A/9/ALA:A + A/9/ALA:B = 1.00 of 0.70" in warning


def test_a_ligand_with_less_than_its_state_is_not_rescaled():
    atoms = table(example().to_dict("records"), molecule(("L", 2), "LIG", {"A": 0.2, "B": 0.1}))
    grouping = choose(atoms, UserGroups(states=STATES))
    assert [(s.kind, s.parent) for s in grouping if s.groups[0].name == "L/2/LIG:A"] == [("incomplete", "ground")]
    np.testing.assert_allclose(grouping.to_tensor(atoms["occupancy"])(), atoms["occupancy"], atol=2e-6)
    assert not any("made to" in warning for warning in grouping.warnings)


def test_exchanged_hydrogens_are_of_no_state():
    site = residue(("A", 30), names=["N"])[0] | {"y": 1.0}
    pair = [site | {"name": e, "element": e, "altloc": letter, "occupancy": 0.5} for e, letter in ("HA", "DB")]
    atoms = table(example().to_dict("records"), residue(("A", 30)), pair)
    grouping = choose(atoms, UserGroups(states=STATES))
    assert described(grouping)[-1] == ("complete", ["A/30/ALA:A", "A/30/ALA:B"])
    assert grouping.sets[-1].parent is None


def test_letters_written_together():
    with pytest.raises(ValueError, match=r"write them apart: ground=A,B\."):
        choose(example(), UserGroups(states={"ground": ("AB",), "bound": ("C", "D")}))
