"""Refinement against the data of twins."""

import gemmi
import jax
import numpy as np
import pytest

from jax_occupancy import refine, refine_series
from jax_occupancy._tables import dataset_columns
from jax_occupancy._words import notes
from jax_occupancy.example import read_example
from jax_occupancy.io import Reflections
from jax_occupancy.refinement import load_solution, save_solution
from jax_occupancy.xray import TwinOrbits

LAW = "h,-k,-l"


def indices(cell, spacegroup, d_min):
    return gemmi.make_miller_array(cell, spacegroup, d_min, unique=True)


@pytest.fixture(scope="module")
def twinned():
    """The example in a monoclinic crystal that looks orthorhombic, and data of it as a twin, F² by gemmi."""
    model, _ = read_example()
    structure = model.structure.clone()
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(24, 27, 31, 90, 90.4, 90), "P 1 21 1"
    structure.setup_cell_images()
    text = structure.make_pdb_string()
    truth = {"A": 0.65, "B": 0.35}
    for site in structure[0].all():
        if site.atom.occ == 0.5 and site.atom.altloc in truth:
            site.atom.occ = truth[site.atom.altloc]
    of = {"cell": structure.cell, "spacegroup": structure.find_spacegroup()}
    hkl = indices(**of, d_min=1.8)
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    square = np.array([abs(calculator.calculate_sf_from_model(structure[0], index)) ** 2 for index in hkl.tolist()])
    orbits = TwinOrbits.of(hkl, [LAW], **of)
    free_orbits = np.random.default_rng(5).random(len(orbits.hkl) // 2) < 0.1

    def data(fraction, *, free=None, seed=1, complete=1.0):
        powers = orbits.powers(square)
        there = np.isfinite(powers).all(axis=0) & (np.random.default_rng(6).random(len(hkl)) < complete)
        amplitude = np.sqrt((1 - fraction) * powers[0] + fraction * powers[1])[there]
        random = np.random.default_rng(seed)
        sigma = 0.03 * (amplitude + amplitude.mean()) / 2
        flags = free_orbits[orbits.rows // 2] if free is None else free(random, len(hkl))
        observed = np.abs(amplitude + sigma * random.normal(size=amplitude.size))
        return Reflections(hkl=hkl[there], amplitude=observed, sigma=sigma, free=flags[there], **of)

    structure = gemmi.read_pdb_string(text)
    structure.setup_entities()
    return structure, data, truth


@pytest.fixture(scope="module")
def solution(twinned):
    structure, data, _ = twinned
    return refine(structure, data(0.3), starts=2)


def errors_of(solution, truth):
    table = solution.table[solution.table["refinable"] & (solution.table["start"] == 0.5)]
    letters = table["name"].str.rpartition(":")[2]
    known = letters.isin(truth).to_numpy()
    return (table["occupancy"] - letters.map(truth))[known].to_numpy(), table["esd"][known].to_numpy()


def test_refinement_finds_law_fraction_and_occupancies(solution, twinned):
    assert solution.result == "converged"
    [row] = solution.twin.to_dict("records")
    assert row["law"] in ("h,-k,-l", "-h,-k,l")
    assert abs(row["fraction"] - 0.3) < min(0.01, 4 * row["esd"])
    error, esd = errors_of(solution, twinned[2])
    assert error.size >= 4
    assert np.sqrt(np.mean((error / esd) ** 2)) < 1.6
    assert solution.r_free.end < 0.05
    assert solution.to_dict()["twin"] == [row]


def test_ignoring_the_twin_is_worse(solution, twinned):
    structure, data, truth = twinned
    single = refine(structure, data(0.3), starts=0, twin="none", throw=False)
    assert single.twin.empty
    assert single.r_free.end > 3 * solution.r_free.end
    assert np.abs(errors_of(single, truth)[0]).mean() > 2 * np.abs(errors_of(solution, truth)[0]).mean()


def test_untwinned_data_are_refined_as_such(twinned):
    structure, data, _ = twinned
    found = refine(structure, data(0.0), starts=0)
    assert found.twin.empty
    np.testing.assert_allclose(found.model_amplitude, np.abs(found.f_model), rtol=1e-6)
    np.testing.assert_array_equal(found.detwinned_amplitude(), found.data.amplitude)


def test_a_law_that_is_asked_for_and_not_there(twinned):
    structure, data, _ = twinned
    found = refine(structure, data(0.0), starts=0, twin=" H, -K, -L;")
    assert found.twin["fraction"].item() < 0.01
    assert [note for note in notes(found) if "hardly any of the crystal is a twin by h,-k,-l" in note]


def test_model_amplitudes_and_detwinned_data(solution):
    """R is that of the twin; data detwinned by the model agree with its own domain as well as the twin does."""
    working = ~solution.data.free
    observed = solution.data.amplitude
    r = np.abs(observed - solution.model_amplitude)[working].sum() / observed[working].sum()
    assert r == pytest.approx(solution.r_work.end, abs=1e-6)
    detwinned, own = solution.detwinned_amplitude(), np.abs(solution.f_model)
    assert np.abs(detwinned - own).sum() / own.sum() < 1.2 * r
    assert np.abs(observed - own).sum() / own.sum() > 3 * r


def test_a_saved_twin(solution, tmp_path):
    save_solution(tmp_path / "twin.npz", solution)
    loaded = load_solution(tmp_path / "twin.npz")
    assert loaded.twin.equals(solution.twin)
    assert loaded.scale.fractions == solution.scale.fractions


def test_free_mates_in_the_working_set_are_told(solution, twinned):
    structure, data, _ = twinned
    split = notes(refine(structure, data(0.3, free=lambda random, n: random.random(n) < 0.1), starts=0))
    assert not [note for note in notes(solution) if "twin" in note]
    assert [note for note in split if "free reflections have a twin mate in the working set" in note]


def test_a_series_with_and_without_twins(solution, twinned):
    structure, data, _ = twinned
    series = refine_series(structure, [data(0.3), data(0.0, seed=2)], names=["twin", "single"], starts=2)
    of_twin, of_single = (series.solutions[name].twin["fraction"].item() for name in ("twin", "single"))
    assert of_twin == pytest.approx(solution.twin["fraction"].item(), abs=1e-4)
    assert of_single < 0.01
    assert dataset_columns(series)["twin"][0].startswith(f"{solution.twin['law'].item()}, fraction 0.")
    alone = dict(zip(solution.table["name"], solution.table["occupancy"], strict=True))
    rows = series.table[series.table["dataset"] == "twin"]
    np.testing.assert_allclose(rows["occupancy"], [alone[name] for name in rows["group"]], atol=2e-3)


def test_several_domains(twinned):
    """P 3 with two of the three laws that it allows; the third has no domains."""
    structure, truth = twinned[0].clone(), twinned[2]
    structure.cell, structure.spacegroup_hm = gemmi.UnitCell(58, 58, 31, 90, 90, 120), "P 3"
    structure.setup_cell_images()
    start = structure.clone()
    for site in structure[0].all():
        if site.atom.occ == 0.5 and site.atom.altloc in truth:
            site.atom.occ = truth[site.atom.altloc]
    of = {"cell": structure.cell, "spacegroup": structure.find_spacegroup()}
    hkl, laws = indices(**of, d_min=2.4), ["-h,-k,l", "k,h,-l"]
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    square = np.array([abs(calculator.calculate_sf_from_model(structure[0], index)) ** 2 for index in hkl.tolist()])
    amplitude = np.sqrt(np.array([0.6, 0.25, 0.15]) @ TwinOrbits.of(hkl, laws, **of).powers(square))
    random, sigma = np.random.default_rng(4), 0.03 * (amplitude + amplitude.mean()) / 2
    observed = np.abs(amplitude + sigma * random.normal(size=amplitude.size))
    data = Reflections(hkl=hkl, amplitude=observed, sigma=sigma, free=random.random(len(hkl)) < 0.1, **of)
    found = refine(start, data, starts=0)
    assert found.twin["law"].tolist() == laws
    np.testing.assert_allclose(found.twin["fraction"], [0.25, 0.15], atol=0.01)
    error, esd = errors_of(found, truth)
    assert np.sqrt(np.mean((error / esd) ** 2)) < 1.6


def test_mates_need_not_be_measured(solution, twinned):
    """Their amplitudes are the model's, on the same scale."""
    structure, data, truth = twinned
    found = refine(structure, data(0.3, complete=0.7), starts=0)
    assert found.r_work.end == pytest.approx(solution.r_work.end, abs=0.002)
    assert found.twin["fraction"].item() == pytest.approx(0.3, abs=0.01)
    error, esd = errors_of(found, truth)
    assert np.sqrt(np.mean((error / esd) ** 2)) < 1.6


def test_least_squares_of_a_twin(solution, twinned):
    structure, data, _ = twinned
    found = refine(structure, data(0.3), starts=0, target="ls")
    assert found.twin["fraction"].item() == pytest.approx(0.3, abs=0.01)
    assert 0.5 < found.twin["esd"].item() / solution.twin["esd"].item() < 2


def test_copies_that_a_law_maps_onto_each_other_are_no_twin():
    """Each copy of the model is wrong in its own way, and a sum of both less so: that is no twin."""
    crystal = {"cell": gemmi.UnitCell(60, 60, 40, 90, 90, 120), "spacegroup": gemmi.SpaceGroup("P 3")}
    random, structure = np.random.default_rng(7), read_example()[0].structure.clone()
    structure.cell, structure.spacegroup_hm = crystal["cell"], "P 3"
    structure.setup_cell_images()
    turn = gemmi.Transform(gemmi.Mat33([[-1, 0, 0], [0, -1, 0], [0, 0, 1]]), gemmi.Vec3(0, 0, 0))
    for chain in list(structure[0]):
        copy = chain.clone()
        copy.name = chain.name.lower()
        for residue in copy:
            for atom in residue:
                atom.pos = gemmi.Position(*turn.apply(atom.pos).tolist())
        structure[0].add_chain(copy)
    hkl = indices(**crystal, d_min=2.2)
    calculator = gemmi.StructureFactorCalculatorX(structure.cell)
    amplitude = np.array([abs(calculator.calculate_sf_from_model(structure[0], index)) for index in hkl.tolist()])
    sigma = 0.03 * (amplitude + amplitude.mean()) / 2
    observed = np.abs(amplitude + sigma * random.normal(size=amplitude.size))
    free = random.random(len(hkl)) < 0.1
    data = Reflections(hkl=hkl, amplitude=observed, sigma=sigma, free=free, **crystal)
    for site in structure[0].all():
        site.atom.pos += gemmi.Position(*random.normal(scale=0.15, size=3))
    with pytest.warns(UserWarning, match="they do not look twinned"):
        found = refine(structure, data, starts=0, b_factors="held", positions="held", throw=False)
    assert found.twin.empty


def test_maps_without_a_group_do_not_bring_it_back(solution):
    """Where a mate was measured its amplitude is that of the same model: data are shared out as that says."""
    half = 0.5 * solution.f_model
    np.testing.assert_allclose(solution.detwinned_amplitude(half), solution.detwinned_amplitude(), rtol=1e-4)
    random = np.random.default_rng(0)
    other = solution.f_model * random.uniform(0.5, 1.5, len(half))
    data, laws = solution.data, solution.twin["law"].tolist()
    orbits = TwinOrbits.of(data.hkl, laws, cell=data.cell, spacegroup=data.spacegroup)
    whole = np.array(solution.scale.fractions) @ orbits.powers(np.abs(other) ** 2)
    there = np.isfinite(whole)
    assert there.mean() > 0.9
    expected = data.amplitude * np.abs(other) / np.sqrt(whole)
    np.testing.assert_allclose(solution.detwinned_amplitude(other)[there], expected[there], rtol=1e-9)


def test_twins_are_refined_on_one_device(twinned):
    structure, data, _ = twinned
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("reflections",))
    with pytest.raises(ValueError, match="twins are refined on one device"):
        refine(structure, data(0.3), mesh=mesh)
