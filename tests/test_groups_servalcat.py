"""servalcat's YAML, read and written."""

import pytest
from groups_models import residue, table
from test_groups_saying import structure_of

from jax_occupancy.groups import UserGroup, UserGroups, UserSet, choose_groups, parse_servalcat
from jax_occupancy.io import select_atoms

FILE = """
# of servalcat's own documentation
atom_selection:
  xyz: {include: ["*"]}
  occ:
    include: [//W/9]
    exclude: ["//A/7/*:B"]
occ_groups:
  - id: 1
    selections:
      - //A/45/*:A
      - //W/7
  - {id: 2, selections: [//A/45/*:B]}
  - {id: lig, selections: [//L]}
occ_group_constraints:
  - ids: [1, 2]
    complete: true
  - {ids: [lig], complete: false}
occ_group_const_mu: 10
"""


@pytest.mark.parametrize("under", [False, True])
def test_every_key(under):
    text = "refine:\n" + "".join(f"  {line}\n" for line in FILE.splitlines()) if under else FILE
    assert parse_servalcat(text) == UserGroups(
        {"1": UserGroup(("//A/45/*:A", "//W/7")), "2": UserGroup(("//A/45/*:B",)), "lig": UserGroup(("//L",))},
        (UserSet(("1", "2")),),
        individual=("//W/9",),
        remove=("//A/7/*:B",),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "no valid YAML"),
        ("- 1", "the file is .* wanted keys and values"),
        ("occ_groups: {a: b}", "occ_groups is .* wanted a list"),
        ("occ_groups: [{selections: [//A]}]", "wanted an id that no other group has"),
        ("occ_groups: [{id: 1, selections: [//A]}, {id: 1, selections: [//B]}]", "wanted an id that no other"),
        ("occ_groups: [{id: 1, selections: [3]}]", "selections of group 1 are .* wanted selections"),
        ("occ_groups: [{id: 1, selections: //A}]", "selections of group 1 is '//A'; wanted a list"),
        ("occ_group_constraints: [{ids: [1, 2], complete: maybe}]", "complete .* is 'maybe'; wanted true or false"),
        ("occ_group_constraints: [{ids: [1, 2]}]", r"unknown groups \['1', '2'\]"),
        ("atom_selection: {occ: [1]}", "atom_selection.occ is .* wanted keys"),
        ("refinement: {occ_groups: [{id: 1, selections: [//A]}]}", "refinement.occ_groups is not read"),
        ("occ_group: [{id: 1, selections: [//A]}]", "occ_group is not read; wanted occ_groups"),
        (
            "occ_groups: [{id: 1, selection: [//A]}]",
            "each of occ_groups has the key 'selection'; wanted id, selections",
        ),
        ("atom_selection: {occ: {exlude: [//A]}}", "atom_selection.occ has the key 'exlude'"),
        ("initialisation: {occ: {'//A': 0.5}}", "initialisation.occ is {'//A': 0.5}, which is not read"),
        ("!!python/object/apply:os.getcwd []", "no valid YAML"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_servalcat(text)


def test_the_example_of_its_documentation():
    text = """
refine:
  atom_selection:
    occ:
      include: ["A/338/*"]
      exclude: []
  occ_groups:
    - id: 1
      selections: ["A/338/*:A"]
    - id: 2
      selections: ["A/338/*:B"]
  occ_group_constraints:
    - ids: [1, 2]
      complete: true
  occ_group_const_mu: 10
  occ_group_const_mu_update_factor: 1.1
  local_adpr_weights:
    - sel: "A/338/*"
      w: 5
"""
    atoms = table(residue(("A", 338), letters={"A": 0.6, "B": 0.4}))
    structure = structure_of(atoms)
    grouping = choose_groups(atoms, parse_servalcat(text), select=lambda one: select_atoms(structure, one))
    (pair,) = grouping.sets
    assert (pair.kind, [(g.name, g.start) for g in pair.groups]) == ("complete", [("1", 0.6), ("2", 0.4)])
    assert sum(group.atoms.size for group in pair.groups) == len(atoms)
