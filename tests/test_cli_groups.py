"""Groups on the command line: options, files of groups, awkward models."""

import json
from functools import partial

import pytest
from command_line import command
from typer.testing import CliRunner

from jax_occupancy import read_model, write_example
from jax_occupancy.cli import app
from jax_occupancy.io import read_groups

ATOM = "{:<6s}{:>5s} {:<4s}{:1s}{:>3s}{:>2s}{:>4s}{:1s}   {:8.3f}{:8.3f}{:8.3f}{:6.2f}{:6.2f}          {:>2s}\n"
RESIDUE = {"N": (0.0, 0.0), "CA": (1.45, 0.0), "C": (2.47, 0.0), "O": (2.7, 1.2)}


def atom(name, letter, resname, chain, number, xyz, q, *, icode="", element=None, serial=1, record="ATOM"):
    named = name if len(name) == 4 else f" {name}"
    text = (str(serial) if isinstance(serial, int) else serial, named, letter or " ", resname, chain, str(number))
    return ATOM.format(record, *text, icode or " ", *xyz, q, 20.0, element or name[0])


def residue(number, letters, *, resname="ALA", chain="A", icode="", x=None, resnames=None):
    """A residue of a straight chain, its place by x."""
    start = 3.8 * number if x is None else x
    return "".join(
        atom(
            name,
            letter,
            (resnames or {}).get(letter, resname),
            chain,
            number,
            (start + dx, dy + 0.3 * i, 0),
            q,
            icode=icode,
        )
        for i, (letter, q) in enumerate(letters.items())
        for name, (dx, dy) in RESIDUE.items()
    )


def water(number, letters, xyz, chain="W"):
    return "".join(atom("O", letter, "HOH", chain, number, xyz, q, record="HETATM") for letter, q in letters.items())


AB = {"A": 0.6, "B": 0.4}


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "200"})


def groups(*arguments):
    """The JSON of `groups`."""
    result = invoke("groups", *arguments, "--json")
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)


def names(document):
    return [[group["name"] for group in s["groups"]] for s in document["sets"]]


@pytest.fixture
def write(tmp_path):
    def to_file(*parts, name="in.pdb"):
        (tmp_path / name).write_text("".join(parts))
        return tmp_path / name

    return to_file


@pytest.fixture
def model(write):
    return write(
        residue(1, AB),
        residue(2, AB),
        residue(9, {"": 1.0}),
        water(1, {"A": 0.6}, (5.3, 3, 0)),
        water(2, {"": 0.5}, (90, 0, 0)),
    )


def test_links_waters_and_contacts(model):
    assert names(groups(model)) == [["A/1-2:A", "A/1-2:B"], ["W/1/HOH:A"], ["W/2/HOH"]]
    assert names(groups(model, "--no-link", "--waters", "omit")) == [
        ["A/1/ALA:A", "A/1/ALA:B"],
        ["A/2/ALA:A", "A/2/ALA:B"],
    ]
    assert names(groups(model, "--contact-distance", "4"))[0] == ["A/1-2, W/1:A", "A/1-2:B"]


def test_forced_links(write):
    model = write(residue(1, AB), residue(2, {"A": 0.3, "B": 0.7}))
    assert len(names(groups(model))) == 2
    assert len(names(groups(model, "--force-links"))) == 1


def test_states_and_their_table(write):
    model = write(residue(1, {"A": 0.4, "B": 0.3, "C": 0.3}), residue(5, {"A": 0.7, "C": 0.3}))
    options = (model, "--state", "ground=A,B", "--state", "bound=C")
    document = groups(*options)
    assert [s["parent"] for s in document["sets"]] == [None, "ground"]
    assert document["sets"][0]["groups"][1]["start"] == pytest.approx(0.3)
    table = invoke("groups", *options).stdout
    assert "= ground" in table
    assert "state bound: the letters C" in table
    assert "refined" in table


@pytest.mark.parametrize("extension", ["toml", "refmac", "eff"])
def test_written_groups_make_the_same_groups(model, tmp_path, extension):
    file = tmp_path / f"groups.{extension}"
    result = invoke("groups", model, "--write", file, "--json")
    assert result.exit_code == 0
    assert f"Wrote {file}" in result.stderr
    before, after = json.loads(result.stdout), groups(model, "--groups", file)
    assert [[g["atoms"] for g in s["groups"]] for s in after["sets"]] == [
        [g["atoms"] for g in s["groups"]] for s in before["sets"]
    ]
    assert [s["kind"] for s in after["sets"]] == [s["kind"] for s in before["sets"]]


def test_fixed_and_bracketed_groups_are_shown(model, tmp_path):
    (tmp_path / "g.toml").write_text('[groups]\nw = { selection = "//W/2/*[O]", fixed = 0.25 }\n')
    table = invoke("groups", model, "--groups", tmp_path / "g.toml").stdout
    (row,) = [line for line in table.splitlines() if "│ w " in line]
    assert "fixed" in row
    assert "0.25" in row
    assert "//W/2/*[O]" in row


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--groups", "no.toml"), 1, "no.toml does not exist"),
        (("--groups", "z.toml"), 1, "z.toml: the selection '//Z' of group 'z' matches no atom"),
        (("--write", "z.toml", "--groups", "z.toml"), 2, "z.toml is an input"),
    ],
)
def test_errors(model, tmp_path, arguments, code, message):
    (tmp_path / "z.toml").write_text('[groups]\nz = "//Z"\n')
    ended = command("groups", model, *arguments, cwd=tmp_path)
    assert ended.code == code
    assert message in ended.errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.pdb", "z.toml"]


def test_a_state_may_stand_beside_those_of_a_file(write, tmp_path):
    model = write(residue(1, {"A": 0.4, "B": 0.3, "C": 0.3}))
    (tmp_path / "s.toml").write_text('[states]\nground = "A"\nbound = "B"\n')
    document = groups(model, "--groups", tmp_path / "s.toml", "--state", "other=C")
    assert [group["name"] for group in document["sets"][0]["groups"]] == ["ground", "bound", "other"]


def test_insertion_codes_negative_numbers_and_chains_of_two_letters(write):
    model = write(residue(-3, AB, chain="AB", icode="C", x=0.0), residue(-3, AB, chain="AB", icode="D", x=50.0))
    document = groups(model)
    assert names(document) == [["AB/-3C/ALA:A", "AB/-3C/ALA:B"], ["AB/-3D/ALA:A", "AB/-3D/ALA:B"]]
    file = model.with_name("g.toml")
    invoke("groups", model, "--write", file)
    assert names(groups(model, "--groups", file)) == names(document)


def test_microheterogeneity(write):
    model = write(residue(4, AB, resnames={"A": "SER", "B": "ALA"}))
    (group_set,) = groups(model)["sets"]
    assert [group["name"] for group in group_set["groups"]] == ["A/4/SER:A", "A/4/ALA:B"]
    assert group_set["kind"] == "complete"


def test_hybrid_36_and_deuterium(write):
    model = write(
        atom("N", "", "ALA", "A", 1, (0, 0, 0), 1.0, serial="A000Z"),
        atom("H", "A", "ALA", "A", 1, (0.9, 0, 0), 0.3, serial="A0010"),
        atom("D", "B", "ALA", "A", 1, (0.9, 0, 0), 0.7, serial="A0011"),
    )
    (group_set,) = groups(model)["sets"]
    assert [(g["atoms"], g["start"]) for g in group_set["groups"]] == [([1], 0.3), ([2], 0.7)]
    assert groups(model, "--hydrogens", "omit")["sets"] == []


def test_several_models(write):
    model = write("MODEL        1\n", residue(1, AB), "ENDMDL\nMODEL        2\n", residue(2, {"": 1.0}), "ENDMDL\n")
    assert "choose it with model_number" in str(invoke("groups", model).exception)
    assert groups(model, "--model-number", "2") == {"n_atoms": 4, "sets": [], "warnings": []}
    assert len(groups(model, "--model-number", "1")["sets"]) == 1


def test_a_chain_without_a_name(write):
    model = write(residue(1, AB, chain=" "))
    file = model.with_name("g.toml")
    assert invoke("groups", model, "--write", file).exit_code == 0
    assert names(groups(model, "--groups", file)) == names(groups(model))


def test_refine_takes_the_options_and_writes_groups_that_can_be_read_again(tmp_path, x64):
    example = write_example(tmp_path)
    (tmp_path / "own.toml").write_text('remove = "//A"\n')
    run = partial(command, "refine", example.model, example.reflections, cwd=tmp_path)
    ended = run("--groups", "own.toml", "--waters", "omit", "-o", "out.cif.gz", "--starts", "0")
    assert (ended.code, ended.errors) == (0, "")
    assert "out_groups.toml" in ended.output
    assert list(read_groups(tmp_path / "out_groups.toml").groups) == ["B/201/IPH:A", "B/201/IPH:B"]
    before, after = (read_model(tmp_path / name).atoms["occupancy"] for name in ("example.pdb", "out.cif.gz"))
    changed = before.to_numpy().round(2) != after.to_numpy().round(2)
    assert read_model(example.model).atoms["resname"][changed].unique().tolist() == ["IPH"]
    again = run("--groups", "out_groups.toml", "-o", "out.cif")
    assert again.code == 2
    assert "out_groups.toml, beside the refined model, is an input" in again.errors
