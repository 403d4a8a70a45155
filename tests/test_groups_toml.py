"""The user's groups as TOML."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_occupancy.groups import UserGroup, UserGroups, UserSet, format_toml, parse_toml

EVERYTHING = UserGroups(
    {
        "apo": UserGroup(("//W/7", "//A/54/*:A")),
        "bound": UserGroup(),
        'a "quoted" \\ name': UserGroup(("//L/1/*:A",)),
        "Ångström": UserGroup(("//L/1/*:B",), 0.125),
    },
    (UserSet(("apo", "bound")), UserSet(('a "quoted" \\ name', "Ångström"), "incomplete", "bound")),
    remove=("//S",),
    link=("//A/1-3",),
    separate=("//A/9", "//A/10"),
    individual=("//I",),
    automatic=False,
    states={"ground": ("E", "F"), "other": ("G",)},
)


def test_written_and_read_again():
    assert parse_toml(format_toml(EVERYTHING)) == EVERYTHING


def test_nothing():
    assert parse_toml("") == UserGroups() == parse_toml(format_toml(UserGroups()))


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
TEXTS = NAMES.filter(str.strip)  # a blank selection is refused


@given(st.dictionaries(NAMES, st.lists(TEXTS, min_size=1, max_size=3), max_size=4), st.lists(TEXTS, max_size=3))
@settings(max_examples=100, deadline=None)
def test_any_names_survive(groups, remove):
    user = UserGroups({name: UserGroup(tuple(texts)) for name, texts in groups.items()}, remove=tuple(remove))
    assert parse_toml(format_toml(user)) == user


def test_short_forms():
    user = parse_toml('remove = "//S"\n[groups]\na = "//A"\nb = { selection = "//B" }\n[states]\ng = "A,B"\nh = ["C"]')
    assert user.groups == {"a": UserGroup(("//A",)), "b": UserGroup(("//B",))}
    assert user.states == {"g": ("A", "B"), "h": ("C",)}
    assert user.remove == ("//S",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("remove = ", "no valid TOML"),
        ("removed = []", r"the file has the unknown keys \['removed'\]"),
        ("automatic = 'no'", "automatic is 'no'; wanted true or false"),
        ("remove = [1]", r"remove is \[1\]; wanted a string"),
        ("groups = 3", r"groups is 3; wanted a table \[groups\]"),
        ("[sets]\nkind = 'free'", r"wanted tables \[\[sets\]\]"),
        ("[groups]\na = 3", "group 'a' is 3; wanted a string"),
        ("[groups]\na = { select = 'x' }", r"group 'a' has the unknown keys \['select'\]"),
        ("[groups]\na = { selection = 'x', fixed = true }", "'a' is fixed at True; wanted a number"),
        (
            "[groups]\na = 'x'\nb = 'y'\n[[sets]]\ngroups = ['a', 'b']\nparent = 1",
            "set 1 has kind 'complete' and parent 1",
        ),
        ("[[sets]]\ngroup = ['a', 'b']", r"set 1 has the unknown keys \['group'\]"),
        ("[groups]\na = []", r"\['a'\] select nothing"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_toml(text)
