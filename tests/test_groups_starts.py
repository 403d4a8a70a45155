"""Fixed fractions of a parent, and states without atoms."""

import numpy as np
import pytest
from groups_models import molecule, table

from jax_occupancy.groups import UserGroup, UserGroups, UserSet, choose_groups

STATE = UserGroup()


def nested(atoms, fractions=(0.3, None), bound=STATE):
    user = UserGroups(
        {"apo": UserGroup(("chainid == 'W'",)), "bound": bound}
        | {n: UserGroup((f"altloc == {n!r}",), f) for n, f in zip("AB", fractions, strict=True)},
        (UserSet(("apo", "bound")), UserSet(("A", "B"), parent="bound")),
    )
    return choose_groups(atoms, user, select=lambda text: np.flatnonzero(atoms.eval(text)))


def model(a, b, apo):
    return table(
        molecule(("W", 1), "HOH", apo),
        molecule(("L", 1), "LIG", {"A": a, "B": b}),
        molecule(("M", 1), "ZN", 1 - apo, n=1),
    )


@pytest.mark.parametrize("bound", [STATE, UserGroup(("chainid == 'M'",))])
def test_a_fixed_member_is_a_fraction_of_its_parent_on_every_run(bound):
    atoms = model(0.12, 0.28, 0.6)
    for _ in range(3):
        grouping = nested(atoms, bound=bound)
        assert grouping["A"].reason.endswith("fixed at 0.30 of bound")
        occ = grouping.to_tensor(atoms["occupancy"])
        moved = occ.set_group_occupancy(int(occ.expansion_mask[0]), 0.5)
        q = np.asarray(moved())
        assert q[1] / (q[1] + q[4]) == pytest.approx(0.3, abs=1e-5)
        assert grouping["A"].start == pytest.approx(0.3 * grouping["bound"].start)
        atoms = atoms.assign(occupancy=q.astype(np.float64))


def test_a_value_in_the_file_does_not_change_the_fraction():
    atoms = model(0.3, 0.28, 0.6)
    grouping = nested(atoms)
    assert [round(grouping[name].start, 6) for name in ("bound", "A", "B")] == [0.4, 0.12, 0.28]
    q = np.asarray(grouping.to_tensor(atoms["occupancy"])())
    np.testing.assert_allclose(q[[0, 1, 4]], [0.6, 0.12, 0.28], atol=2e-6)


def test_fractions_of_all_members_sum_to_one():
    grouping = nested(model(0.1, 0.1, 0.6), (0.3, 0.7))
    np.testing.assert_allclose([grouping[n].start for n in ("bound", "A", "B")], [0.4, 0.12, 0.28])
    with pytest.raises(ValueError, match=r"A \+ B = 0\.50 instead of 1, the whole of bound"):
        nested(model(0.1, 0.1, 0.6), (0.3, 0.2))
