"""servalcat's YAML, read and written."""

import pytest
from groups_models import described, molecule, residue, table
from test_groups_saying import structure_of

from jax_occupancy.groups import UserGroup, UserGroups, UserSet, choose_groups, format_servalcat, parse_servalcat
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


def test_what_is_written_says_the_same_again():
    """Names that YAML would take for something else, a fixed group, and free ones."""
    atoms = table(
        residue(("A", 45), letters={"A": 0.6, "B": 0.4}),
        molecule(("L", 1), "LIG", {"A": 0.3, "B": 0.2}),
        molecule(("W", 7), "HOH", 0.5),
        molecule(("W", 8), "HOH", 0.5),
    )
    structure = structure_of(atoms)

    def select(one):
        return select_atoms(structure, one)

    user = UserGroups({"yes: #1": UserGroup(("//W/7",)), "half": UserGroup(("//W/8",), 0.5)})
    grouping = choose_groups(atoms, user, select=select)
    text = format_servalcat(grouping, atoms)
    assert "# half is fixed at the occupancy the model has, 0.5" in text
    read = parse_servalcat(text)
    assert not read.automatic
    again = choose_groups(atoms, read, select=select)
    assert sorted(described(again)) == sorted(one for one in described(grouping) if one[1] != ["half"])
    assert all((again[g.name].atoms == g.atoms).all() for g in grouping.groups if g.name != "half")


def test_what_yaml_can_not_say():
    atoms = table(molecule(("W", 7), "HOH", 0.5))
    grouping = choose_groups(atoms, UserGroups({"w": UserGroup(("phenix: chain W",), 0.3)}))
    with pytest.raises(ValueError, match="servalcat's YAML cannot say that a group is fixed at an occupancy the model"):
        format_servalcat(grouping, atoms)
