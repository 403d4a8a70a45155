import dataclasses

import gemmi
import jax
import numpy as np
import pytest

from jax_occupancy import load_solution, read_maps, read_model, refine, refine_series, save_solution
from jax_occupancy._tables import attention
from jax_occupancy._words import notes
from jax_occupancy.example import simulated_density, write_map_example
from jax_occupancy.io import Maps, atom_label, from_gemmi, write_map
from jax_occupancy.refinement import prepare
from jax_occupancy.refinement._map_model import map_data, particle_operations, point_group
from jax_occupancy.refinement._pruning import unsupported_groups
from jax_occupancy.xray import _boxes, boxes_around

HELD = {"b_factors": "held", "positions": "held", "starts": 0}
EDGE, VOXELS = 42.0, 56
PIXEL = np.full(3, EDGE / VOXELS)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_map_example(tmp_path_factory.mktemp("particle"))


@pytest.fixture(scope="module")
def particle(files):
    """The example as `refine` gives it, in float64."""
    with jax.enable_x64(True):
        return refine(files.model, read_maps(files.half1, files.half2, resolution=2.0), starts=1)


@pytest.fixture(scope="module")
def true_density(files):
    """Without noise, by gemmi."""
    return simulated_density(true_structure(files), (VOXELS,) * 3)


def true_structure(files):
    structure = read_model(files.model).structure
    for site in structure[0].all():
        site.atom.occ = files.truth[site.atom.serial - 1]
    return structure


def half_maps(density, noise, *, seed=0, **settings):
    random = np.random.default_rng(seed)
    one, other = (density + noise * random.standard_normal(density.shape) for _ in range(2))
    mean, half = ((one + other) / 2).astype(np.float32), ((one - other) / 2).astype(np.float32)
    return Maps(density=mean, difference=half, pixel=PIXEL, **{"resolution": 2.0} | settings)


def errors(solution, truth):
    """Error of each occupancy, and in units of its standard uncertainty."""
    table = solution.table
    error = table["occupancy"] - truth[[group.atoms[0] for group in solution.grouping.groups]]
    return error.to_numpy(), (error / table["esd"]).to_numpy()


def test_occupancies_and_uncertainties_of_the_example(particle, files):
    _, z = errors(particle, files.truth)
    assert particle.result == "converged"
    assert np.nanmax(np.abs(z)) < 3.5
    assert 0.5 < np.sqrt(np.nanmean(z**2)) < 1.5
    assert particle.fsc.end > particle.fsc.start > 0.5
    assert (particle.table["map_cc"] > 0.6).all()
    assert np.isnan(particle.r_work.end)
    assert "fsc=" in repr(particle)
    assert particle.priors["position_error"] < 0.1


def test_uncertainties_are_those_of_the_noise(files, true_density, x64):
    noise = 0.5 * true_density.std()
    model = read_model(files.model)
    found = [refine(model, half_maps(true_density, noise, seed=seed), **HELD) for seed in range(6)]
    z = np.concatenate([errors(one, files.truth)[1] for one in found])
    assert 0.8 < np.sqrt(np.nanmean(z**2)) < 1.25


@pytest.mark.parametrize("radius", [2.5, 4.0])
def test_a_map_with_little_noise_gives_the_truth(radius, files, true_density, x64):
    maps = half_maps(true_density, 1e-3 * true_density.std(), radius=radius)
    error, _ = errors(refine(files.model, maps, **HELD), files.truth)
    assert np.max(np.abs(error)) < 0.01


def test_structure_factors_of_a_box_are_gemmi_s(x64):
    structure = gemmi.Structure()
    structure.cell = gemmi.UnitCell(12, 14, 16, 90, 90, 90)
    random = np.random.default_rng(0)
    residue = gemmi.Residue()
    for i, element in enumerate("CNOS"):
        atom = gemmi.Atom()
        atom.element, atom.name = gemmi.Element(element), element
        atom.pos = gemmi.Position(*random.uniform(3, 8, 3))
        atom.occ, atom.b_iso, atom.serial = random.uniform(0.2, 1), random.uniform(10, 30), i + 1
        if i == 3:
            atom.aniso = gemmi.SMat33f(0.3, 0.2, 0.4, 0.05, -0.04, 0.03)
        residue.add_atom(atom)
    residue.name, residue.seqid = "LIG", gemmi.SeqId("1")
    chain, model = gemmi.Chain("A"), gemmi.Model(1)
    chain.add_residue(residue)
    model.add_chain(chain)
    structure.add_model(model)
    atoms = from_gemmi(structure)
    xyz, turn = atoms[["x", "y", "z"]].to_numpy(), point_group("C4")[1]
    some = np.arange(24.0 * 28 * 32, dtype=np.float32).reshape(24, 28, 32)
    maps = Maps(density=some, pixel=np.full(3, 0.5), resolution=2.0, radius=60.0)
    [box] = boxes_around(maps, xyz, np.arange(4), [(np.eye(3), np.zeros(3))])
    copies = ((np.eye(3), box.place, np.arange(4)), (turn, box.place + np.array([12.0, 0.0, 0.0]), np.arange(4)))
    for rotation, shift, inside in copies:
        flat = dataclasses.replace(box, mask=np.ones((24, 28, 32), np.float32), images=((rotation, shift, inside),))
        weights = atoms["occupancy"].to_numpy()
        found = flat.structure_factors(atoms, [np.arange(4)], weights=weights, shifts=True)[:, 0]
        turned = structure.clone()
        for site in turned[0].all():
            site.atom.pos = gemmi.Position(*(rotation @ site.atom.pos.tolist() + shift - box.place))
            u = np.array(site.atom.aniso.as_mat33().tolist())
            u = rotation @ u @ rotation.T
            site.atom.aniso = gemmi.SMat33f(u[0, 0], u[1, 1], u[2, 2], u[0, 1], u[0, 2], u[1, 2])
        calculator = gemmi.StructureFactorCalculatorE(turned.cell)
        expected = [calculator.calculate_sf_from_model(turned[0], index) for index in flat.hkl.tolist()]
        np.testing.assert_allclose(found[0] * np.sqrt(flat.weight), expected, rtol=1e-4, atol=1e-4)
        moved = flat.structure_factors(atoms.assign(y=atoms["y"] + 1e-4), [np.arange(4)], weights=weights)[0, 0]
        np.testing.assert_allclose((moved - found[0]) / 1e-4, found[2], atol=1e-3 * np.abs(found[2]).max())


def test_coefficients_and_density_of_a_box_are_each_other_s_transforms(files):
    problem = prepare(read_model(files.model), read_maps(files.half1, files.half2, resolution=2.5))
    data = problem.observations
    [box] = data.boxes
    random = np.random.default_rng(0)
    given = random.normal(size=len(box.hkl)) + 1j * random.normal(size=len(box.hkl))
    np.testing.assert_allclose(box.coefficients(box.density(given)), given, atol=1e-10)
    rows = box.cut(read_maps(files.half1, files.half2, resolution=2.5).density, data.whitening[: len(box.hkl)])
    np.testing.assert_allclose(data.coefficients[: len(rows)], rows, rtol=1e-4, atol=1e-5 * np.abs(rows).max())


def test_a_constant_in_the_map_changes_nothing(files):
    maps = read_maps(files.half1, resolution=2.0)
    density, x = maps.density.astype(np.float64), read_model(files.model).atoms[["x", "y", "z"]].to_numpy()
    for part in (np.arange(len(x)), np.arange(5), np.flatnonzero(x[:, 0] == x[:, 0].max())):
        for box in boxes_around(maps, x, part, [(np.eye(3), np.zeros(3))]):
            plain, raised = (box.cut(one, np.ones(len(box.hkl))) for one in (density, density + 100 * density.std()))
            np.testing.assert_allclose(raised, plain, atol=1e-9 * np.abs(plain).max())


def test_sharpening_changes_little(files, particle, x64):
    maps = read_maps(files.half1, files.half2, resolution=2.0)
    s = sum(np.meshgrid(*(np.fft.fftfreq(VOXELS, edge) ** 2 for edge in PIXEL), indexing="ij"))

    def sharpened(density):
        return np.fft.ifftn(np.fft.fftn(density) * np.exp(15 * np.minimum(s, 0.3))).real.astype(np.float32)

    sharp = dataclasses.replace(maps, density=sharpened(maps.density), difference=sharpened(maps.difference))
    plain, found = (refine(files.model, one, **HELD) for one in (maps, sharp))
    shift = np.abs(found.table["occupancy"] - plain.table["occupancy"]) / plain.table["esd"]
    assert shift.max() < 0.3
    np.testing.assert_allclose(found.table["esd"], plain.table["esd"], rtol=0.1)


def test_a_single_map_has_its_noise_where_there_are_no_atoms(files, particle, x64):
    solution = refine(files.model, read_maps(files.half1, resolution=2.0), **HELD)
    _, z = errors(solution, files.truth)
    assert np.nanmax(np.abs(z)) < 4
    # half the noise is in the mean of two
    noise = [np.median(one.data.noise / one.data.whitening**2) for one in (solution, particle)]
    assert noise[0] == pytest.approx(2 * noise[1], rel=0.2)
    assert solution.data.half_fsc is None
    assert any("one map" in note for note in solution.data.notes)


def test_copies_of_a_symmetric_particle_count(files, true_density, x64):
    model = read_model(files.model)
    maps = Maps(density=true_density.astype(np.float32), pixel=PIXEL, resolution=2.0, symmetry="C2")
    (_, _), (rotation, translation) = particle_operations(model, maps)
    both = true_structure(files)
    for site in both[0].all():
        site.atom.pos += gemmi.Position(4.0, 0.0, 0.0)
    own = both.clone()
    for site in both[0].all():
        site.atom.pos = gemmi.Position(*(rotation @ site.atom.pos.tolist() + translation))
    density = sum(simulated_density(one, (VOXELS,) * 3) for one in (own, both))
    shifted = dataclasses.replace(model, atoms=model.atoms.assign(x=model.atoms["x"] + 4.0))
    noise = 1e-3 * density.std()
    found = {name: refine(shifted, half_maps(density, noise, symmetry=name), **HELD) for name in ("C2", "C1")}
    error = {name: np.max(np.abs(errors(one, files.truth)[0])) for name, one in found.items()}
    assert error["C2"] < 0.02 < error["C1"]
    operation = gemmi.NcsOp(gemmi.Transform(gemmi.Mat33(rotation.tolist()), gemmi.Vec3(*translation)), "2", False)
    shifted.structure.ncs.append(operation)
    in_file = refine(shifted, half_maps(density, noise), **HELD)
    np.testing.assert_allclose(in_file.occupancies, found["C2"].occupancies, atol=1e-6)
    assert "the particle is 2 copies of the model, by the operations in the model" in in_file.data.notes


def test_an_atom_on_the_axis_counts_once_and_a_whole_particle_is_no_asymmetric_unit(files, true_density, x64):
    model = read_model(files.model)
    maps = half_maps(true_density, 1e-3 * true_density.std(), symmetry="C4")
    (_, _), (rotation, translation), *_ = particle_operations(model, maps)
    centre = np.linalg.solve((np.eye(3) - rotation)[:2, :2], translation[:2])
    atoms, last = model.atoms.copy(), model.n_atoms - 1
    atoms.loc[atoms.index[last], ["x", "y"]] = centre
    on_axis = map_data(dataclasses.replace(model, atoms=atoms), maps, [np.array([last])])
    assert on_axis.orders[last] == 4
    apart = np.linalg.norm(atoms[["x", "y"]].to_numpy() - centre, axis=1)
    np.testing.assert_array_equal(on_axis.orders == 1, apart * 2**0.5 >= 0.8)
    xyz = atoms[["x", "y", "z"]].to_numpy()
    half, twice = model.n_atoms // 2, dataclasses.replace(maps, symmetry="C2")
    rotation, translation = particle_operations(model, twice)[1]
    atoms.loc[atoms.index[half : 2 * half], ["x", "y", "z"]] = xyz[:half] @ rotation.T + translation
    with pytest.raises(ValueError, match="holds more than one asymmetric unit"):
        map_data(dataclasses.replace(model, atoms=atoms), twice, [np.arange(9)])


def test_copies_are_told_of_and_where_they_clash(files, true_density, x64):
    model = read_model(files.model)
    maps, atoms = half_maps(true_density, true_density.std(), symmetry="C2"), model.atoms.copy()
    centre = maps.pixel * (VOXELS // 2)
    atoms["x"] += centre[0] + 3 - atoms["x"].min()  # clear of the axis
    first, last = atoms.index[[0, -1]]

    def notes(offset, *, at=first, occupancy=1.0):
        moved = atoms.copy()
        moved.loc[at, ["x", "y", "occupancy"]] = centre[0] + offset, centre[1], occupancy
        return map_data(dataclasses.replace(model, atoms=moved), maps, [np.arange(9, 30)]).notes

    copies = "the particle is 2 copies of the model, by symmetry=C2"
    assert sum(note == copies for note in notes(3.0)) == 1
    for offset, settings in ((3.0, {}), (0.0, {}), (0.5, {"occupancy": 0.5})):
        assert not any("closer" in note for note in notes(offset, **settings))
    for at in (first, last):
        said = f"{atom_label(atoms, atoms.index.get_loc(at))} comes closer than 1.5 Å to a copy"
        assert any(note.startswith(said) for note in notes(0.5, at=at))
    alone = map_data(model, dataclasses.replace(maps, symmetry=None), [np.arange(9, 30)])
    assert not any("cop" in note for note in alone.notes)


def test_a_model_that_is_off_as_a_whole_is_told_of(files, particle, x64):
    structure = read_model(files.model).structure
    for site in structure[0].all():
        site.atom.pos += gemmi.Position(0.25, 0, 0)
    moved = refine(structure, read_maps(files.half1, files.half2, resolution=2.0), starts=0)
    (said,) = (note for note in notes(moved) if "in one direction" in note)
    assert said.startswith("the groups moved by 0.1 Å or more in one direction (-0.1")
    assert said.endswith("): dock it again")
    assert not any("in one direction" in note for note in notes(particle))


def test_a_single_map_without_any_empty_place(files, monkeypatch):
    monkeypatch.setattr(_boxes, "EMPTY", 60.0)  # as if the map were cropped close to the model
    with pytest.raises(ValueError, match="no place far from all atoms"):
        refine(files.model, read_maps(files.half1, resolution=2.0), **HELD)


@pytest.mark.parametrize(
    ("name", "order"), [("C1", 1), ("C7", 7), ("D2", 4), ("D7", 14), ("T", 12), ("O", 24), ("I", 60)]
)
def test_point_groups(name, order):
    rotations = np.array(point_group(name))
    assert len(rotations) == order
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    np.testing.assert_allclose(rotations[0], np.eye(3))


@pytest.mark.parametrize("name", ["Q5", "C0", "C101", "D99999", "C" + "9" * 5000, "C²", "T3"])
def test_unknown_point_group(name):
    with pytest.raises(ValueError, match=rf"symmetry '{name}' is no point group of particles; wanted C1"):
        point_group(name)


def test_pieces_that_do_not_hang_together_are_boxes_of_their_own():
    xyz = np.array([[10.0, 10, 10], [60.0, 60, 60]])
    some = np.arange(90.0**3, dtype=np.float32).reshape(90, 90, 90)
    maps = Maps(density=some, pixel=np.ones(3), resolution=2.0, radius=3.0)
    boxes = boxes_around(maps, xyz, np.arange(2), [(np.eye(3), np.zeros(3))])
    assert [image[2].tolist() for box in boxes for image in box.images] == [[0], [1]]


def test_a_mask_of_the_user_s(files, tmp_path, x64):
    maps = read_maps(files.half1, files.half2, resolution=2.0)
    model = read_model(files.model)
    mask = np.zeros_like(maps.density)
    centre = np.round(model.atoms.loc[model.atoms["resseq"] == 6, ["x", "y", "z"]].mean().to_numpy() / PIXEL).astype(
        int
    )
    mask[tuple(slice(c - 10, c + 10) for c in centre)] = 1
    write_map(tmp_path / "mask.mrc", mask, pixel=maps.pixel, origin=maps.origin)
    masked = refine(model, read_maps(files.half1, files.half2, resolution=2.0, mask=tmp_path / "mask.mrc"), **HELD)
    whole = refine(model, maps, **HELD)
    esds = [one.table.set_index("name")["esd"] for one in (masked, whole)]
    assert esds[0]["A/6/GLN:A"] < 1.5 * esds[1]["A/6/GLN:A"]
    assert masked.data.n_reflections < whole.data.n_reflections


def test_groups_without_data_are_told_and_stay(files, true_density, x64):
    model, x = read_model(files.model), np.indices((VOXELS,) * 3)[0] * PIXEL[0]
    side = model.atoms.loc[model.atoms["resseq"] == 5, "x"].mean()  # what is beyond has no data
    maps = half_maps(true_density, 0.3 * true_density.std(), mask=(x < side).astype(np.float32))
    cropped = half_maps(true_density[: int(side / PIXEL[0])], 0.3 * true_density.std())
    for one, word in ((maps, "mask"), (cropped, "map")):
        solution = refine(model, one, **HELD)
        table, grouping = solution.table.set_index("name"), solution.grouping
        last = {group.name: model.atoms["x"].to_numpy()[group.atoms].min() for group in grouping.groups}
        out = [name for name, low in last.items() if low > side + PIXEL[0]]
        inside = [name for name, low in last.items() if low < side - PIXEL[0]]
        assert len(out) > 1
        assert len(inside) > 1
        assert (table.loc[out, "note"] == f"outside the {word}: there are no data for it").all()
        assert not table.loc[inside, "note"].str.contains("outside").any()
        assert table.loc[out, ["llg_absent", "llg_full"]].isna().all(axis=None)
        assert table.loc[inside, "llg_absent"].notna().any()
        assert not set(out) & set(unsupported_groups(solution.table, grouping, model.atoms))
        assert attention(solution)[0][0].startswith("outside")


def test_one_map_twice_is_no_pair_of_half_maps(files, tmp_path):
    one = read_maps(files.half1, resolution=2.0)
    write_map(tmp_path / "twice.mrc", 1.1 * one.density, pixel=one.pixel, origin=one.origin)
    for other, said in ((tmp_path / "twice.mrc", True), (files.half2, False)):
        notes = prepare(read_model(files.model), read_maps(files.half1, other, resolution=2.0)).data.notes
        assert any("hardly independent" in note for note in notes) == said


def test_half_maps_that_were_masked_are_told_of_and_have_their_noise(files, true_density, x64):
    maps = half_maps(true_density, 0.5 * true_density.std())
    near = true_density > 0.02 * true_density.max()
    left = {name: np.where(near, getattr(maps, name), 0) for name in ("density", "difference")}
    whole, masked = (refine(files.model, one, **HELD) for one in (maps, dataclasses.replace(maps, **left)))
    assert not any("they were masked" in note for note in whole.data.notes)
    assert any("they were masked" in note for note in masked.data.notes)
    ratio = np.nanmedian(masked.table["esd"] / whole.table["esd"])
    assert 0.85 < ratio < 1.15, ratio


def test_saved_and_loaded(particle, tmp_path, x64):
    save_solution(tmp_path / "solution.npz", particle)
    loaded = load_solution(tmp_path / "solution.npz")
    assert loaded.fsc.end == particle.fsc.end
    np.testing.assert_array_equal(loaded.data.boxes[0].mask, particle.data.boxes[0].mask)


def test_a_series_of_maps(files, tmp_path, x64):
    maps = read_maps(files.half1, files.half2, resolution=2.5)
    outside = dataclasses.replace(maps, origin=np.full(3, 300.0))
    series = refine_series(files.model, [maps, outside], names=["here", "elsewhere"], **HELD)
    assert list(series.solutions) == ["here"]
    assert "lies outside the map" in series.failed["elsewhere"]
    assert series.datasets["fsc"][0] == series.solutions["here"].fsc.end


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "ls"}, "target=ls makes no sense for a map"),
        ({"radiation": "xray"}, "radiation=xray makes no sense"),
        ({"wavelength": 1.0}, "wavelength=1.0 makes no sense"),
        ({"twin": "k,h,-l"}, "twin=k,h,-l makes no sense"),
    ],
)
def test_options_that_make_no_sense_for_a_map(options, words, files):
    with pytest.raises(ValueError, match=words):
        refine(files.model, read_maps(files.half1, resolution=2.0), **options)


def test_hardly_any_coefficient_is_left(files):
    maps = read_maps(files.half1, files.half2, resolution=2.0)
    for resolution in (9.99, 9.9, 9.0):
        with pytest.raises(ValueError, match=rf"independent Fourier coefficients between {resolution:g} and 10 Å"):
            refine(files.model, dataclasses.replace(maps, resolution=resolution), **HELD)


def test_maps_that_the_model_has_nothing_to_do_with(files):
    maps = read_maps(files.half1, files.half2, resolution=2.0)
    with pytest.raises(ValueError, match=r"the model lies outside the map.*; as ORIGIN says"):
        refine(files.model, dataclasses.replace(maps, origin=np.full(3, 300.0), notes=("as ORIGIN says",)))
    empty = np.where(np.indices(maps.density.shape)[0] < 2, maps.density, 0)
    with pytest.raises(ValueError, match="zero around all groups"):
        refine(files.model, dataclasses.replace(maps, density=empty))
    with pytest.raises(ValueError, match="read_maps"):
        refine(files.model, files.half1)
    nowhere = dataclasses.replace(maps, mask=np.where(np.indices(maps.density.shape)[0] < 2, 1, 0).astype(np.float32))
    with pytest.raises(ValueError, match="the mask is zero around all atoms"):
        refine(files.model, nowhere)
    masked = np.where(simulated_density(true_structure(files), (VOXELS,) * 3) > 0.1, maps.density, 0)
    with pytest.raises(ValueError, match="zero where there are no atoms"):
        refine(files.model, dataclasses.replace(maps, density=masked, difference=None))
