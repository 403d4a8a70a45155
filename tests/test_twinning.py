"""Twins: laws, orbits of reflections, the linear model of a twin, fractions, and refinement against twinned data."""

import json
import subprocess

import gemmi
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_xray_structure_factors import cctbx_python

from jax_occupancy import refine, refine_series
from jax_occupancy._tables import dataset_columns
from jax_occupancy._words import notes
from jax_occupancy.example import read_example
from jax_occupancy.io import Reflections
from jax_occupancy.refinement import load_solution, save_solution
from jax_occupancy.xray import (
    LinearModel,
    MaximumLikelihood,
    TwinnedModel,
    TwinOrbits,
    fit_fractions,
    own_share,
    twin_laws,
)

# Space groups and cells: merohedral, pseudo-merohedral, of a centred lattice, and without a law.
CRYSTALS = [
    ("P 3", (80, 80, 60, 90, 90, 120)),
    ("P 4", (80, 80, 60, 90, 90, 90)),
    ("P 63", (80, 80, 60, 90, 90, 120)),
    ("P 1 21 1", (50, 60, 70, 90, 90.3, 90)),
    ("P 1 21 1", (50, 60, 50, 90, 105, 90)),
    ("C 2 2 21", (50, 86.6, 70, 90, 90, 90)),
    ("C 1 2 1", (86.6, 50, 60, 90, 90, 90)),
    ("R 3 :H", (60, 60, 90, 90, 90, 120)),
    ("P 2 3", (50, 50, 50, 90, 90, 90)),
    ("P 1", (40, 50, 60, 90, 90, 90)),
    ("P 21 21 21", (50, 60, 70, 90, 90, 90)),
]
CCTBX = """
import json, sys
from cctbx import crystal, miller, sgtbx
from mmtbx.scaling.twin_analyses import twin_laws
found = []
for name, cell in json.load(sys.stdin):
    symmetry = crystal.symmetry(unit_cell=cell, space_group_symbol=name)
    some = miller.build_set(symmetry, anomalous_flag=False, d_min=6)
    laws = twin_laws(some.array(data=some.d_spacings().data())).operators
    found.append([law.operator.r().as_hkl() for law in laws])
json.dump(found, sys.stdout)
"""


def crystal(name, cell):
    return {"cell": gemmi.UnitCell(*cell), "spacegroup": gemmi.SpaceGroup(name)}


def indices(cell, spacegroup, d_min=8.0):
    return gemmi.make_miller_array(cell, spacegroup, d_min, unique=True)


@pytest.mark.parametrize(
    ("name", "cell", "wanted"), [(*one, n) for one, n in zip(CRYSTALS, (3, 1, 1, 1, 1), strict=False)]
)
def test_number_of_laws(name, cell, wanted):
    assert len(twin_laws(**crystal(name, cell))) == wanted


@pytest.mark.parametrize("name", ["P 1", "P 21 21 21", "I 21 21 21", "F 2 2 2"])
def test_laws_turn_a_lattice_that_is_nearly_cubic_into_itself(name):
    """Of a threefold law gemmi asks the axis alone, and the lattice may bend beside it."""
    for b, c in np.random.default_rng(0).uniform(50, 55, (100, 2)):
        of = crystal(name, (50, b, c, 90, 90, 90))
        for law in twin_laws(**of):
            assert len(TwinOrbits.of(np.array([[2, 4, 6]]), [law], **of).domains) == 2


def test_laws_are_those_of_cctbx():
    run = subprocess.run(
        [cctbx_python(), "-c", CCTBX], input=json.dumps(CRYSTALS), capture_output=True, text=True, check=True
    )
    for (name, cell), theirs in zip(CRYSTALS, json.loads(run.stdout), strict=True):
        of = crystal(name, cell)
        hkl, ours = indices(**of), twin_laws(**of)

        def seen(law, hkl=hkl, of=of):
            # what the law does to the intensities, the same for laws that are the same
            orbits = TwinOrbits.of(hkl, [law], **of)
            return np.nan_to_num(orbits.powers(np.arange(len(hkl), dtype=float))[1], nan=-1).round(6)

        missing = [law for law in theirs if not any(np.array_equal(seen(law), seen(one)) for one in ours)]
        assert not missing, (name, missing, ours)


@pytest.mark.parametrize(("name", "cell"), CRYSTALS[:9])
def test_powers_are_those_of_turned_reflections(name, cell):
    """By a dictionary of all symmetry mates, with the mean over equivalent laws."""
    of = crystal(name, cell)
    hkl, laws = indices(**of), twin_laws(**of)
    square = np.random.default_rng(1).uniform(1, 9, len(hkl))
    rotations = [np.array(op.rot) for op in of["spacegroup"].operations().sym_ops]
    known = {}
    for index, value in zip(hkl, square, strict=True):
        for rotation in rotations:
            for sign in (1, -1):
                known[tuple((sign * index @ rotation // gemmi.Op.DEN).tolist())] = value
    orbits = TwinOrbits.of(hkl, laws, **of)
    found = orbits.powers(square)
    np.testing.assert_array_equal(found[0], square)
    np.testing.assert_array_equal(orbits.hkl[orbits.rows], hkl)
    for law, powers in zip(laws, found[1:], strict=True):
        turn = np.array(gemmi.parse_triplet(law, "h").rot)
        mates = [
            [tuple((index @ r // gemmi.Op.DEN @ turn // gemmi.Op.DEN).tolist()) for r in rotations] for index in hkl
        ]
        expected = [np.mean([known.get(mate, np.nan) for mate in some]) for some in mates]
        np.testing.assert_allclose(powers, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ("h,k", "is no twin law"),
        ("nonsense", "is no twin law"),
        ("k,l,h", "lattice into itself"),
        ("-h,-k,l", "is a symmetry of"),
        ("-h,-k,-l", "is a symmetry of"),
        ("k,h,-l;-h,k,-l", "are the same law in P 4"),
    ],
)
def test_wrong_laws_are_refused(law, message):
    of = crystal("P 4", (80, 80, 60, 90, 90, 90))
    with pytest.raises(ValueError, match=message):
        TwinOrbits.of(np.array([[1, 2, 3]]), law.split(";"), **of)


def random_twin(size, n_orbits, n_groups=3, seed=0):
    """A twin whose orbits have some members, of two domains that are no permutations."""
    random, n = np.random.default_rng(seed), size * n_orbits
    part = lambda *shape: random.normal(size=shape) + 1j * random.normal(size=shape)  # noqa: E731
    model = LinearModel.from_structure_factors(
        2 * part(n), part(n), part(n_groups, n), random.uniform(1, 2, n), random.uniform(0, 0.4, n),
        s_squared=random.uniform(0, 0.1, n),
    )  # fmt: skip
    domains = np.stack([np.eye(size), random.dirichlet(np.ones(size), size)])
    return model, TwinnedModel.of(model, domains, [0.7, 0.3]), domains


@pytest.mark.parametrize(("size", "n_orbits"), [(2, 9), (3, 7000), (6, 5)])
def test_twinned_model(size, n_orbits):
    """Amplitudes by a loop, derivatives by automatic differentiation, over one chunk and over several."""
    single, twin, domains = random_twin(size, n_orbits)
    q, delta_b = jnp.array([0.3, 0.6, 0.2]), jnp.array([2.0, -1.0, 3.0])
    mixing = 0.7 * domains[0] + 0.3 * domains[1]
    square = np.abs(np.asarray(single(q, delta_b))).reshape(n_orbits, size) ** 2
    expected = np.sqrt(np.stack([orbit @ mixing.T for orbit in square[:50]])).reshape(-1)
    amplitude, direction = twin.amplitude_and_direction(q, delta_b)
    np.testing.assert_allclose(amplitude[: expected.size], expected, rtol=1e-5)
    np.testing.assert_allclose(twin.powers(q, delta_b).T @ jnp.array([0.7, 0.3]), amplitude**2, rtol=1e-4)

    def of_all(parameters):
        return twin.amplitude(parameters[:3], parameters[3:])

    parameters = jnp.concatenate([q, delta_b])
    jacobian = jax.jacfwd(of_all)(parameters)
    weight = jnp.asarray(np.random.default_rng(2).uniform(size=amplitude.size), amplitude.dtype)
    np.testing.assert_allclose(twin.gradient(direction, weight, q, delta_b), jacobian.T @ weight, rtol=2e-4)
    gauss_newton = (jacobian * weight[:, None]).T @ jacobian
    scale = float(jnp.abs(gauss_newton).max())
    np.testing.assert_allclose(twin.curvature(direction, weight, q, delta_b), gauss_newton, atol=2e-5 * scale)


def test_a_twin_of_fraction_zero_is_the_single_crystal():
    single, twin, _ = random_twin(2, 40)
    twin, q = twin.with_fractions([1.0, 0.0]), jnp.array([0.3, 0.6, 0.2])
    np.testing.assert_allclose(twin.amplitude(q), single.amplitude(q), rtol=1e-6)
    np.testing.assert_allclose(own_share(twin.powers(q), twin.fractions), 1, rtol=1e-6)


def test_fractions_are_found_with_their_uncertainty():
    """The mean square of (found − true)/esd over many data sets is one."""
    random, z = np.random.default_rng(3), []
    for _ in range(60):
        powers = random.exponential(size=(2, 400)) * 100
        amplitude = np.sqrt(np.array([0.8, 0.2]) @ powers)
        observed = np.abs(amplitude + random.normal(size=400))
        target = MaximumLikelihood.from_arrays(
            observed, shrinkage=np.ones(400), variance=np.full(400, 1.0), centric=np.ones(400, bool),
            free=np.zeros(400, bool),
        )  # fmt: skip
        (_, fraction), (_, esd), _ = fit_fractions(target, powers, [0.5, 0.5])
        z.append((fraction - 0.2) / esd)
    assert 0.8 < np.sqrt(np.mean(np.square(z))) < 1.25


LAW = "h,-k,-l"


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


def test_free_mates_in_the_working_set_are_told(twinned):
    structure, data, _ = twinned
    kept = notes(refine(structure, data(0.3), starts=0))
    split = notes(refine(structure, data(0.3, free=lambda random, n: random.random(n) < 0.1), starts=0))
    assert not [note for note in kept if "twin" in note]
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


@pytest.mark.parametrize("second", [[4.0, 9.0, 1.0], [4.0 + 1e-9, 9.0, 1.0], [0.0, 0.0, 0.0]])
def test_domains_that_do_not_differ(second):
    """Or have no intensity at all: there are fractions, whatever they are."""
    target = MaximumLikelihood.from_arrays(
        [2.0, 3.0, 1.0], shrinkage=np.ones(3), variance=np.ones(3), centric=np.zeros(3, bool), free=np.zeros(3, bool)
    )
    fractions, _, value = fit_fractions(target, np.array([[4.0, 9.0, 1.0], second]), [0.5, 0.5])
    assert sum(fractions) == pytest.approx(1)
    assert np.isfinite(value)


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
        assert refine(structure, data, starts=0, throw=False).twin.empty


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
