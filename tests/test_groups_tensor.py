"""From groups to the module that holds the occupancies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from groups_models import molecule, residue, table

from jax_occupancy.groups import Group, Grouping, GroupSet, automatic_groups


def example():
    return table(
        residue(("A", 1)),
        residue(("A", 2), letters={"A": 0.5, "B": 0.3, "C": 0.2}),
        molecule(("A", 3), "LIG", {"A": 0.4, "B": 0.2}),
        molecule(("A", 4), "ACY", 0.35),
        residue(("A", 9), letters=0.0),
    )


@pytest.mark.parametrize("dtype", [jnp.float32, np.float32])
def test_the_module_starts_at_the_file(dtype):
    atoms = example()
    occ = automatic_groups(atoms).to_tensor(atoms["occupancy"], dtype=dtype)
    assert occ.logits.dtype == jnp.float32
    np.testing.assert_allclose(occ(), atoms["occupancy"], atol=2e-6)


def test_only_groups_are_refinable_and_the_rest_is_kept():
    atoms = example()
    occ = automatic_groups(atoms).to_tensor(atoms["occupancy"].to_numpy(), name="q")
    fixed = np.r_[0:5, len(atoms) - 5 : len(atoms)]
    moved = jax.tree.map(lambda leaf: leaf + jnp.where(occ.refinable_mask, 0.7, 0.0), occ)
    np.testing.assert_array_equal(moved()[fixed], atoms["occupancy"].to_numpy()[fixed])
    assert int(np.asarray(occ.refinable_mask).sum()) == 6


def test_sums_hold_wherever_the_logits_go():
    atoms = example()
    occ = automatic_groups(atoms).to_tensor(atoms["occupancy"])
    moved = jax.tree.map(lambda leaf: leaf + jnp.linspace(-3, 3, leaf.size) * occ.refinable_mask, occ)
    q = np.asarray(moved())
    assert q[5] + q[10] + q[15] == pytest.approx(1, abs=1e-6)
    assert q[20] + q[23] < 1 - 1e-4  # the ligand may be absent
    for group in automatic_groups(atoms).groups:
        assert np.ptp(q[group.atoms]) == 0


def test_labels_are_the_names():
    atoms = example()
    grouping = automatic_groups(atoms)
    labels = grouping.to_tensor(atoms["occupancy"]).topology.labels
    assert sorted(labels) == sorted(group.name for group in grouping.groups)
    occ = grouping.to_tensor(atoms["occupancy"])
    for group in grouping.groups:
        assert {labels[i] for i in np.asarray(occ.expansion_mask)[group.atoms]} == {group.name}


def test_states_without_atoms_and_sets_under_them():
    names = [
        ("apo", [0], 0.7),
        ("bound", [], 0.3),
        ("p", [1], 0.2),
        ("q", [2, 3], 0.1),
        ("r", [4], 0.1),
        ("s", [5], 0.2),
    ]
    apo, bound, *rest = (Group(name, atoms, start, True, "asked") for name, atoms, start in names)
    sets = (
        GroupSet("complete", (apo, bound)),
        GroupSet("complete", tuple(rest[:2]), "bound"),
        GroupSet("complete", tuple(rest[2:]), "bound"),
    )
    occ = Grouping(7, sets).to_tensor([0.7, 0.2, 0.1, 0.1, 0.1, 0.2, 1.0])
    np.testing.assert_allclose(occ(), [0.7, 0.2, 0.1, 0.1, 0.1, 0.2, 1.0], atol=2e-6)
    moved = jax.tree.map(lambda leaf: leaf + jnp.linspace(-1, 1, leaf.size) * occ.refinable_mask, occ)
    q = np.asarray(moved())
    assert q[1] + q[2] == pytest.approx(1 - q[0], abs=1e-6)
    assert q[4] + q[5] == pytest.approx(1 - q[0], abs=1e-6)
    assert q[6] == 1


def test_a_free_group_can_be_a_parent():
    lig = Group("lig", [0], 0.6, True, "asked")
    poses = tuple(Group(f"tail{i}", [i], 0.3, True, "asked") for i in (1, 2))
    occ = Grouping(3, (GroupSet("free", (lig,)), GroupSet("complete", poses, "lig"))).to_tensor([0.6, 0.3, 0.3])
    np.testing.assert_allclose(occ(), [0.6, 0.3, 0.3], atol=2e-6)


def test_a_fixed_group_keeps_its_own_value_and_the_others_share_the_rest():
    fixed = Group("a", [0, 1], 0.25, False, "asked")
    rest = tuple(Group(str(i), [i], 0.4, True, "asked") for i in (2, 3))
    grouping = Grouping(4, (GroupSet("complete", (fixed, *rest)),))
    with pytest.warns(UserWarning, match="normalised"):
        occ = grouping.to_tensor([0.6, 0.6, 0.2, 0.3])
    np.testing.assert_allclose(occ(), [0.25, 0.25, 0.3, 0.45], atol=2e-6)


def test_a_sum_that_is_not_one_is_said_once():
    atoms = table(residue(("A", 2), letters={"A": 0.6, "B": 0.3}))
    grouping = automatic_groups(atoms)
    assert grouping.warnings[0].startswith("occupancies that exclude each other do not sum to 1")
    np.testing.assert_allclose(grouping.to_tensor(atoms["occupancy"])(), [2 / 3] * 5 + [1 / 3] * 5, atol=1e-6)
    # Other start values than those the groups speak of.
    with pytest.warns(UserWarning, match="normalised"):
        grouping.to_tensor([0.5] * 5 + [0.2] * 5)


def test_zero_hydrogens_take_the_occupancy_of_their_conformer():
    atoms = table(residue(("A", 2), letters={"A": 0.6, "B": 0.4}))
    atoms.loc[atoms["name"] == "O", ["element", "occupancy"]] = ["H", 0.0]
    occ = automatic_groups(atoms).to_tensor(atoms["occupancy"])
    np.testing.assert_allclose(occ(), [0.6] * 5 + [0.4] * 5, atol=2e-6)


def test_occupancies_are_clamped_and_counted():
    atoms = table(residue(("A", 2), letters={"A": 1.2, "B": -0.1}), residue(("A", 3), letters=1.3))
    occ = automatic_groups(atoms).to_tensor(atoms["occupancy"])
    assert np.asarray(occ()).max() == 1
    with pytest.raises(ValueError, match=r"occupancies has shape \(3,\); wanted \(15,\)"):
        automatic_groups(atoms).to_tensor([1.0, 1.0, 1.0])


def test_no_groups_is_a_module_where_all_is_fixed():
    atoms = table(residue(("A", 1)))
    occ = automatic_groups(atoms).to_tensor(atoms["occupancy"])
    assert not np.asarray(occ.refinable_mask).any()
    np.testing.assert_array_equal(occ(), np.ones(5))
