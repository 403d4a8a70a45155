"""Files of groups."""

import re

import pytest
from groups_models import described, molecule, residue, table

from jax_occupancy.groups import automatic_groups, choose_groups
from jax_occupancy.io import read_groups, select_atoms, write_groups

TOML = '[groups]\nw = "//W"\n'
REFMAC = "occupancy group id 1 chain W\noccupancy refine\n"
YAML = "occ_groups:\n- {id: 1, selections: [//W]}\n"
PHENIX = "refinement.refine.occupancies {\n  constrained_group {\n    selection = chain W\n  }\n}\n"


@pytest.mark.parametrize(
    ("name", "text", "group"),
    [
        ("a.toml", TOML, "w"),
        ("a.TXT", REFMAC, "1"),
        ("a.com", "refi type restrained\n" + REFMAC, "1"),
        ("a.eff", PHENIX, "1:1"),
        ("a.yml", YAML, "1"),
        ("a.in", YAML, "1"),
        ("a.groups", TOML, "w"),
        ("a", "# groups\n" + REFMAC.upper().replace("ID 1 CHAIN", "id 1 chain"), "1"),
        ("a.in", PHENIX, "1:1"),
        (
            "a.in",
            "refinement {\n  refine {\n    occupancies {\n constrained_group {\n selection = chain W\n}}}}",
            "1:1",
        ),
        ("bom.toml", "\ufeff" + TOML, "w"),
    ],
)
def test_extension_or_content_decides(tmp_path, name, text, group):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert list(read_groups(tmp_path / name).groups) == [group]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.toml", b"[groups", "bad.toml: the groups are no valid TOML"),
        ("bad.refmac", b"occupancy group id 1\n", "bad.refmac: the line"),
        ("bad.eff", PHENIX.replace("chain W", "bonded(chain W)").encode(), "bad.eff: the phenix selection"),
        ("empty.toml", b"\n", "empty.toml is empty"),
        ("nothing.toml", b"# nothing", "nothing.toml asks for no groups"),
        ("keywords.txt", b"ncyc 10\n", "keywords.txt asks for no groups; is it the right file"),
        (
            "prose.eff",
            b"# occupancies {\n refinement { main = 1 }",
            "prose.eff asks for no groups; is it the right file",
        ),
        (
            "off.eff",
            PHENIX.replace("constrained", "!constrained").encode(),
            "asks for no groups; what would is switched",
        ),
        ("off.def", re.sub("^", "#", PHENIX, flags=re.M).encode(), "asks for no groups; what would is switched off by"),
        (
            "off.com",
            re.sub("^", "! ", REFMAC, flags=re.M).encode(),
            "asks for no groups; what would is switched off by",
        ),
        ("binary.toml", b"\xff\xfe\x00", "binary.toml is no text"),
        ("set.toml", b"[[sets]]\ngroups = ['a', 'b']", "set.toml: a set names the unknown groups"),
    ],
)
def test_errors_name_the_file(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_groups(tmp_path / name)


def test_keywords_in_other_files(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.refmac").write_text(
        "occupancy group id 1 chain W\n@sub/b.txt  ! more\noccupancy group id 3 chain Y\n"
    )
    (tmp_path / "sub" / "b.txt").write_text("occupancy group id 2 chain X\n@c\nend\noccupancy group id 9 chain Z\n")
    (tmp_path / "sub" / "c").write_text("occupancy group alts incomplete 1 2\n")
    user = read_groups(tmp_path / "a.refmac")
    assert list(user.groups) == ["1", "2", "3"]
    assert [one.groups for one in user.sets] == [("1", "2")]
    (tmp_path / "sub" / "c").write_text("@b.txt\n")
    with pytest.raises(ValueError, match=r"sub/c: the file .*sub/b.txt includes itself; take out the line '@b.txt'"):
        read_groups(tmp_path / "a.refmac")
    (tmp_path / "sub" / "c").unlink()
    with pytest.raises(FileNotFoundError, match=r"sub/b.txt: there is no file .*sub/c, which the line '@c' asks for"):
        read_groups(tmp_path / "a.refmac")


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.toml does not exist"):
        read_groups(tmp_path / "no.toml")
    with pytest.raises(IsADirectoryError):
        read_groups(tmp_path)


@pytest.mark.parametrize("name", ["out.toml", "out.refmac", "out.keywords", "out.params", "out.phil", "out.yaml"])
def test_what_is_written_is_read_again(tmp_path, name):
    from test_groups_saying import structure_of

    atoms = table(residue(("A", 1), letters={"A": 0.5, "B": 0.5}), molecule(("W", 1), "HOH", 0.5))
    grouping = automatic_groups(atoms)
    write_groups(tmp_path / name, grouping, atoms)
    structure = structure_of(atoms)
    again = choose_groups(atoms, read_groups(tmp_path / name), select=lambda text: select_atoms(structure, text))
    assert [kind for kind, _ in described(again)] == [kind for kind, _ in described(grouping)]
    assert [g.atoms.tolist() for g in again.groups] == [g.atoms.tolist() for g in grouping.groups]


def test_what_a_format_cannot_say_writes_nothing(tmp_path):
    atoms = table(molecule(("L", 1), "LIG", {"A": 0.4, "B": 0.3}))
    with pytest.raises(ValueError, match=r"out\.eff: phenix's parameters cannot say that L/1/LIG:A, L/1/LIG:B may be"):
        write_groups(tmp_path / "out.eff", automatic_groups(atoms), atoms)
    with pytest.raises(ValueError, match=r"out\.ini: the extension must be one of \.toml, \.refmac"):
        write_groups(tmp_path / "out.ini", automatic_groups(atoms), atoms)
    assert not list(tmp_path.iterdir())
