"""What the table says of groups that the data know little of, on a model that was tampered with."""

import numpy as np
import pytest

from jax_occupancy import read_model, read_reflections, refine, write_example

pytestmark = pytest.mark.usefixtures("x64")

# Where the crystal has solvent.
NOWHERE = "HETATM  900  O   HOH W   1      25.000   2.000   2.000  0.50 15.00           O  "
BLURRED = "HETATM  901  O   HOH W   2      25.000  40.000  24.000  0.50900.00           O  "


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The serine's second conformer lies on its first; one water is not there, another is a blur."""
    example = write_example(tmp_path_factory.mktemp("tampered"))
    lines = example.model.read_text().splitlines()
    oxygens = [i for i, line in enumerate(lines) if line[12:16] == " OG " and line[17:26] == "SER A   2"]
    one, other = oxygens
    lines[other] = lines[other][:30] + lines[one][30:54] + lines[other][54:]
    end = next(i for i, line in enumerate(lines) if line.startswith("END"))
    example.model.write_text("\n".join([*lines[:end], NOWHERE, BLURRED, "END", ""]))
    solution = refine(read_model(example.model), read_reflections(example.reflections), starts=2)
    assert solution.result == "converged"
    return solution.table.set_index("name")


def test_coincident_conformers_share_evenly_and_say_so(table):
    pair = table.loc[["A/2/SER:A", "A/2/SER:B"]]
    np.testing.assert_allclose(pair["occupancy"], 0.5, atol=1e-9)
    assert pair["esd"].isna().all()
    told = "A/2/SER:A and A/2/SER:B lie within 0.1 Å: only their sum, 1.00, is determined, split evenly"
    assert pair["note"].str.startswith(told).all()
    np.testing.assert_allclose(pair["sum"], 1, atol=1e-9)
    assert (pair["sum_esd"] < 1e-6).all()
    assert table.drop(index=pair.index)[["sum", "sum_esd"]].isna().all(axis=None)


def test_what_is_not_there_is_not_supported(table):
    water = table.loc["W/1/HOH"]
    assert "not supported" in water["note"]
    assert water["llg_absent"] < 3
    assert water["at_bound"] or water["occupancy"] < 3 * water["esd"]
    assert not water["at_bound"] or 0 < water["limit"] < 0.3


def test_a_blur_is_hardly_seen(table):
    blur = table.loc["W/2/HOH"]
    assert "not supported" in blur["note"]
    known = blur["limit"] if blur["at_bound"] else blur["esd"]
    assert known > 3 * table.loc["W/1/HOH", "esd"]


def test_the_others_have_no_note(table):
    rest = table.drop(index=["A/2/SER:A", "A/2/SER:B", "W/1/HOH", "W/2/HOH"])
    assert (rest["note"] == "").mean() > 0.8
