"""servalcat's YAML, read and written."""

import pytest

from jax_occupancy.groups import UserGroup, UserGroups, UserSet, parse_servalcat

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
        ("!!python/object/apply:os.getcwd []", "no valid YAML"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_servalcat(text)
