"""The readers of every text format that we parse ourselves, fed with anything."""

import contextlib

import numpy as np
import pytest
from fuzz_readers import BITES, READERS, write_good_files, wrong_end, wrong_ends
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_files import ANISOU, ATOM, CRYST1, MMCIF, mmcif_of

from jax_occupancy import read_model
from jax_occupancy.groups import UserGroups, parse_phenix, parse_refmac, parse_toml

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TOML = ["[groups]", "[[sets]]", "[states]", "groups", "=", '"//A/1"', "[", "]", "{", "}", "remove", "kind", "parent"]
TOML += ['"complete"', "fixed", "0.5", "nan", "-1", "1e999", "true", "automatic", "selection", "a.b", "2020-01-01", ","]
REFMAC = ["occupancy", "occu", "group", "id", "1", "2", "chain", "A", "residue", "from", "to", "9", "10A", "insc", "."]
REFMAC += ["atom", "CG", "alt", "alts", "complete", "incomplete", "refine", "-", "&", "!", "#", "9" * 30, "-5", '"']
PHENIX = [
    "refinement.refine.occupancies",
    "{",
    "}",
    "constrained_group",
    "selection",
    "=",
    "chain A",
    "and",
    "or",
    "not",
]
PHENIX += ["(", ")", "resid 5", "resseq 5:9", "through", '"', "'", 'altloc " "', "name CA", "*", "water"]
PHENIX += ["within(5, all)", "individual", "None", "Auto", "remove_selection", ";", "#", "\\", ".", "all"]


@pytest.mark.parametrize(
    ("parse", "words"),
    [(parse_toml, TOML), (parse_refmac, REFMAC), (parse_phenix, PHENIX)],
    ids=["toml", "refmac", "phenix"],
)
@FUZZ
@given(data=st.data())
def test_groups_of_any_words(parse, words, data):
    pieces = data.draw(st.lists(st.sampled_from([*words, "\n", "\n"]) | st.text(max_size=3), max_size=25))
    text = data.draw(st.sampled_from([" ", ""])).join(pieces)
    with contextlib.suppress(ValueError):
        assert isinstance(parse(text), UserGroups)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_toml, "a = " + "[" * 5000),
        (parse_phenix, "refinement.refine.occupancies.individual = " + "(" * 5000),
        (parse_phenix, "refinement.refine.occupancies.individual = " + "within(3, " * 300 + "all" + ")" * 300),
    ],
)
def test_nesting_without_end(parse, text):
    with pytest.raises(ValueError, match=r"nested too deeply|is too complex"):
        parse(text)


def test_a_closing_brace_after_a_value_outside_of_any_scope():
    with pytest.raises(ValueError, match="closing brace too many"):
        parse_phenix("a = 1 }")


@pytest.mark.parametrize("name", ["model.pdb", "model.cif"])
@FUZZ
@given(data=st.data())
def test_models_with_bites(name, data, tmp_path):
    """A reader gives finite numbers for every atom, or says what is wrong."""
    text = "\n".join([CRYST1, ATOM, ANISOU, ATOM.replace("AALA A   1", "BALA A   1"), "TER", "END", ""])
    content = bytearray((text if name == "model.pdb" else mmcif_of(MMCIF)).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        bite = data.draw(st.sampled_from(BITES))
        at = data.draw(st.integers(0, len(content)))
        content[at : at + data.draw(st.sampled_from([0, len(bite), 30]))] = bite
    file = tmp_path / name
    file.write_bytes(content)
    with contextlib.suppress(ValueError):
        model = read_model(file)
        numbers = model.atoms[["x", "y", "z", "occupancy", "tempfactor", "resseq", "charge"]].to_numpy()
        assert np.isfinite(numbers).all()
        assert model.cell is None or model.cell.volume > 1


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    write_good_files(folder)
    return folder


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused_by_name(name, good):
    """A few of those that `python tests/fuzz_readers.py 20000` tries."""
    assert wrong_end(READERS[name], good / name) is None
    assert wrong_ends(name, good, count=60) == {}


def test_a_wrong_end_is_seen(good):
    def forgetful(file):
        if file.read_bytes() != (good / "model.pdb").read_bytes():
            raise ValueError("damaged")

    def crashing(file):
        raise KeyError(file.name)

    assert "does not name the file" in wrong_end(forgetful, good / "model.cif")
    assert "KeyError" in wrong_end(crashing, good / "model.pdb")
