"""Whole copies of a molecule whose weights sum to one, against one data set."""

import dataclasses

import gemmi
import jax.numpy as jnp
import numpy as np
import pytest

from jax_occupancy import read_model, read_reflections, refine, write_example
from jax_occupancy.refinement import prepare

pytestmark = pytest.mark.usefixtures("x64")

WEIGHTS = np.array([0.5, 0.3, 0.2])
TOML = """
automatic = false
[groups]
"copy 1" = "//A"
"copy 2" = "//B"
"copy 3" = "//C"
[[sets]]
groups = ["copy 1", "copy 2", "copy 3"]
"""


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory):
    """Three copies of the helix of the example, each a little elsewhere, and data of a crystal with all three."""
    folder = tmp_path_factory.mktemp("ensemble")
    files = write_example(folder)
    structure = gemmi.read_structure(str(files.model))
    chain = structure[0]["A"].clone()
    while len(structure[0]):
        del structure[0][0]
    random = np.random.default_rng(0)
    for name in "ABC":
        copy = gemmi.Chain(name)
        for residue in chain:
            moved = copy.add_residue(residue)
            for i in reversed(range(len(moved))):
                if moved[i].altloc not in ("\0", "A"):
                    del moved[i]
            shift = gemmi.Position(*random.normal(0, 0.4, 3))
            for atom in moved:
                atom.altloc, atom.occ, atom.pos = "\0", 1 / 3, atom.pos + shift
        structure[0].add_chain(copy)
    structure.assign_serial_numbers()
    (folder / "ensemble.pdb").write_text(structure.make_pdb_string())
    (folder / "copies.toml").write_text(TOML)
    data = read_reflections(files.reflections)
    data = data.select(data.d_spacing() > 2.0)
    model = read_model(folder / "ensemble.pdb")
    problem = prepare(model, data, folder / "copies.toml")
    linear = problem.linear.with_scale(np.full(data.n_reflections, 2.0), np.full(data.n_reflections, 0.3))
    amplitude = np.asarray(linear.amplitude(jnp.asarray(WEIGHTS)))
    sigma = 0.02 * (amplitude + amplitude.mean()) / 2
    noisy = np.maximum(amplitude + sigma * random.standard_normal(amplitude.size), 0.01)
    return model, dataclasses.replace(data, amplitude=noisy, sigma=sigma), folder / "copies.toml"


def test_weights_of_whole_copies_are_found(ensemble):
    model, data, groups = ensemble
    # One B shift for each whole copy trades with the overall scale and does not come to rest.
    solution = refine(model, data, groups=groups, starts=2, b_factors="held")
    table = solution.table
    assert table["name"].tolist() == ["copy 1", "copy 2", "copy 3"]
    assert table["kind"].unique().tolist() == ["complete"]
    assert table["n_atoms"].tolist() == [model.n_atoms // 3] * 3
    assert table["occupancy"].sum() == pytest.approx(1, abs=1e-12)
    assert np.all(np.abs(table["occupancy"] - WEIGHTS) < 4 * table["esd"])
    assert table["esd"].max() < 0.03
    assert len(solution.minima) == 1
    # every atom of a copy has its weight
    np.testing.assert_allclose(solution.occupancies, np.repeat(table["occupancy"], model.n_atoms // 3), atol=1e-12)
