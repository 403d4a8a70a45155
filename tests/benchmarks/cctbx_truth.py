"""Data of a known model, and the B factors that another would be given: run by `bench_truth.py` in cctbx's Python.

simulate TRUTH.pdb OUT.mtz RESOLUTION SEED SCENARIO [LAW FRACTION]
                                                        data with noise, bulk solvent and anisotropy, of a twin
flooded TRUTH.pdb OUT.mtz RESOLUTION SEED SCENARIO SETS.json
                                                        the same; solvent flows in where a group is absent
refine_b MODEL.pdb DATA.mtz GROUPS.json OUT.pdb         one B shift per group, at the occupancies of the model
full_matrix MODEL.pdb DATA.mtz SETS.json OUT.pdb        least squares of everything, by one matrix
"""

import io
import json
import pathlib
import random as builtin_random
import sys

import iotbx.pdb
import iotbx.reflection_file_reader
import mmtbx.f_model
import mmtbx.masks
import mmtbx.refinement.group
import numpy as np
import smtbx.utils
from cctbx import adptbx, miller
from cctbx.array_family import flex
from scitbx.lstbx import normal_eqns_solving
from smtbx.refinement import constraints, least_squares

ISOTROPIC = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
# The overall anisotropic B (Å²), and the density and B factor (Å²) of the solvent.
B_CART = {"anisotropic": [12, -5, -7, 0, 2, 0], "dry": [0] * 6}
SOLVENT = {"solvent": (0.30, 90.0), "dry": (0.0, 0.0)}
# A reflection is weak whose amplitude is below so many σ.
WEAK = 3.0
# Cells of the crystal over which the mask of the solvent is averaged.
CELLS = 24


def read(path):
    """Hierarchy and X-ray structure of a file, its atoms in their order."""
    given = iotbx.pdb.input(file_name=path)
    hierarchy = given.construct_hierarchy(sort_atoms=False)
    structure = hierarchy.extract_xray_structure(crystal_symmetry=given.crystal_symmetry())
    structure.scattering_type_registry(table="n_gaussian")
    return given, hierarchy, structure


def flooded(source, out, resolution, seed, scenario, sets):
    """As `simulate`, with the mean of the masks of cells in which each group is there or not, set by set."""
    simulate(source, out, resolution, seed, scenario, sets=json.loads(pathlib.Path(sets).read_text()))


def places_of_lines(source, hierarchy):
    """Where each atom of the file is: cctbx sorts those of a residue by their letters."""
    lines = pathlib.Path(source).read_text().splitlines()
    place = {atom.serial: here for here, atom in enumerate(hierarchy.atoms())}
    return [place[line[6:11]] for line in lines if line.startswith(("ATOM", "HETATM"))]


def mean_mask(structure, place, amplitudes, sets, random):
    """The mask of the solvent, averaged over cells; `sets` holds the atoms, by line, and occupancies of groups."""
    there = np.array(structure.scatterers().extract_occupancies()) > 0
    here = np.tile(there, (CELLS, 1))
    for groups in sets:
        upper = np.cumsum([occupancy for _, occupancy in groups])
        drawn = np.searchsorted(upper, random.permutation((np.arange(CELLS) + random.uniform()) / CELLS))
        for number, (atoms, _) in enumerate(groups):
            here[np.ix_(drawn != number, [place[atom] for atom in atoms])] = False
    total = 0
    for inside in here:
        cell = structure.deep_copy_scatterers()
        cell.set_occupancies(flex.double(inside.astype(float)))
        total = total + mmtbx.masks.manager(amplitudes, cell).shell_f_masks()[0].data().as_numpy_array() / CELLS
    return amplitudes.customized_copy(data=flex.complex_double(total))


def simulate(source, out, resolution, seed, scenario, law=None, fraction=0, sets=None):
    """Amplitudes with errors of 3 %, those of the scenario besides."""
    random, d_min = np.random.default_rng(int(seed)), float(resolution)
    flex.set_random_seed(int(seed))  # free flags are cctbx's own, and σ_A is estimated from them
    builtin_random.seed(int(seed))
    _, hierarchy, structure = read(source)
    indices = miller.build_set(structure.crystal_symmetry(), anomalous_flag=False, d_min=d_min, d_max=25.0)
    if scenario == "incomplete":
        indices = indices.select(flex.bool((random.uniform(size=indices.size()) < 0.6).tolist()))
    # What a density on a grid is wrong by depends on the resolution; a scale per shell takes it up, a single one not.
    algorithm = "direct" if scenario == "dry" else "fft"
    waves = structure.structure_factors(d_min=d_min * 0.999, algorithm=algorithm).f_calc().common_set(indices)
    calculated = abs(waves)
    flags = calculated.generate_r_free_flags(fraction=0.06, use_lattice_symmetry=law is not None)
    k_sol, b_sol = SOLVENT.get(scenario, (0.37, 48.0))
    b_cart = B_CART.get(scenario, [2, -1, -1, 0, 0.5, 0] if law is None else [1, 1, -2, 0, 0, 0])
    known = {"xray_structure": structure}
    if scenario == "dry":
        known = {"f_calc": waves, "f_mask": waves.customized_copy(data=0 * waves.data())}
    if sets is not None:
        mask = mean_mask(structure, places_of_lines(source, hierarchy), calculated, sets, random)
        known = {"f_calc": waves, "f_mask": mask}
    model = mmtbx.f_model.manager(
        f_obs=calculated, r_free_flags=flags, k_sol=k_sol, b_sol=b_sol, b_cart=b_cart, **known
    )
    perfect = abs(model.f_model())
    if law is not None:
        intensity = (
            perfect.set_observation_type_xray_amplitude().f_as_f_sq().twin_data(twin_law=law, alpha=float(fraction))
        )
        perfect = intensity.f_sq_as_f()
        calculated, flags = perfect, flags.common_set(perfect)
    size = perfect.data().as_numpy_array()
    sigma = np.sqrt((0.03 * size) ** 2 + (0.02 * size.mean()) ** 2) * random.uniform(0.8, 1.25, size.size)
    observed = np.abs(size + random.normal(size=size.size) * sigma)
    if scenario == "outliers":
        wrong = random.uniform(size=size.size) < 0.05
        observed[wrong] *= random.uniform(0.3, 3.0, wrong.sum())
    observed = calculated.customized_copy(data=flex.double(observed), sigmas=flex.double(sigma))
    data = observed.set_observation_type_xray_amplitude().as_mtz_dataset(column_root_label="FP", column_types="FQ")
    free = flex.int([0 if one else 1 for one in flags.data()])
    data.add_miller_array(observed.customized_copy(data=free, sigmas=None), "FreeR_flag", column_types="I")
    data.mtz_object().write(out)


def refine_b(source, data, groups, out):
    """What a refinement makes of B factors whose occupancies were guessed."""
    _, hierarchy, structure = read(source)
    arrays = {
        array.info().labels[0]: array
        for array in iotbx.reflection_file_reader.any_reflection_file(data).as_miller_arrays()
    }
    flags = arrays["FreeR_flag"]
    model = mmtbx.f_model.manager(
        f_obs=arrays["FP"],
        r_free_flags=flags.customized_copy(data=flags.data() == 0),
        xray_structure=structure,
        target_name="ml",
    )
    model.update_all_scales(remove_outliers=False)
    lines = pathlib.Path(source).read_text().splitlines()
    rows = [i for i, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
    here = places_of_lines(source, hierarchy)
    wanted = json.loads(pathlib.Path(groups).read_text())
    wanted_here = [[here[atom] for atom in atoms] for atoms in wanted]
    selections = [flex.size_t(atoms) for atoms in wanted_here]
    before = isotropic_parts(model.xray_structure, wanted_here)
    mmtbx.refinement.group.manager(
        fmodel=model, selections=selections, refine_adp=True, number_of_macro_cycles=5, log=io.StringIO()
    )
    shifts = np.array([one.u_iso for one in model.xray_structure.scatterers()]) - before
    for atoms in wanted_here:
        shifts[atoms] = np.median(shifts[atoms])  # an atom that would be left with no B at all stays behind
    for atom, row in enumerate(rows):
        shift = shifts[here[atom]]
        lines[row] = f"{lines[row][:60]}{float(lines[row][60:66]) + 8 * np.pi**2 * shift:6.2f}{lines[row][66:]}"
        if lines[row + 1].startswith("ANISOU"):
            diagonal = "".join(f"{int(lines[row + 1][i : i + 7]) + round(1e4 * shift):7d}" for i in (28, 35, 42))
            lines[row + 1] = lines[row + 1][:28] + diagonal + lines[row + 1][49:]
    pathlib.Path(out).write_text("\n".join([*lines, ""]))


def full_matrix(source, data, sets, out):
    """What a small-molecule program makes of a model: coordinates and B factors of all atoms, and occupancies of sets.

    A set is the atoms, by line, of one group, or of two whose occupancies sum to one; without sets the occupancies of
    the model stay. Beside the model goes a JSON file of the occupancies of first groups and their uncertainties.
    """
    _, hierarchy, structure = read(source)
    place = places_of_lines(source, hierarchy)
    scatterers = structure.scatterers()
    for scatterer in scatterers:
        scatterer.flags.set_grad_site(True)
        scatterer.flags.set_grad_u_iso(True)
    sets = [[[place[atom] for atom in atoms] for atoms in one] for one in json.loads(pathlib.Path(sets).read_text())]
    for atom in (atom for one in sets for atoms in one for atom in atoms):
        scatterers[atom].flags.set_grad_occupancy(True)
    shared = [
        constraints.occupancy.dependent_occupancy(*([(atom, 1.0) for atom in atoms] for atoms in [*one, []][:2]))
        for one in sets
    ]
    amplitudes = iotbx.reflection_file_reader.any_reflection_file(data).as_miller_arrays()[0]
    # The sign of a weak reflection hangs on the start. Squares of amplitudes with errors are too large by their variance.
    amplitudes = amplitudes.select(amplitudes.data() > WEAK * amplitudes.sigmas())
    size, variance = flex.pow2(amplitudes.data()), flex.pow2(amplitudes.sigmas())
    intensities = amplitudes.customized_copy(
        data=size - variance, sigmas=flex.sqrt(4 * size * variance + 2 * flex.pow2(variance))
    )
    problem = least_squares.crystallographic_ls(
        intensities.set_observation_type_xray_intensity().as_xray_observations(),
        constraints.reparametrisation(structure, shared, smtbx.utils.connectivity_table(structure)),
        weighting_scheme=least_squares.sigma_weighting(),
    )
    normal_eqns_solving.naive_iterations(problem, n_max_iterations=8, step_threshold=1e-5)
    problem.build_up()
    # Uncertainties are those of the data, not of what is left over.
    covariance = problem.covariance_matrix(normalised_by_goof=False)
    first = [one.value.index for one in shared]
    of_first = covariance.matrix_packed_u_diagonal().select(flex.size_t(first))
    found = [scatterers[one[0][0]].occupancy for one in sets], list(flex.sqrt(of_first))
    pathlib.Path(out).with_suffix(".json").write_text(json.dumps([*found, problem.goof()]))
    lines, cell = pathlib.Path(source).read_text().splitlines(), structure.unit_cell()
    rows = [i for i, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
    for atom, row in zip(place, rows, strict=True):
        scatterer = scatterers[atom]
        numbers = *cell.orthogonalize(scatterer.site), scatterer.occupancy, adptbx.u_as_b(scatterer.u_iso)
        lines[row] = lines[row][:30] + "{:8.3f}{:8.3f}{:8.3f}{:6.2f}{:6.2f}".format(*numbers) + lines[row][66:]
    pathlib.Path(out).write_text("\n".join([*lines, ""]))


def isotropic_parts(structure, groups):
    """Give the atoms of a group one isotropic part beside tensors: all that the shift of a group changes.

    Without it B of anisotropic atoms can only grow; with parts of their own some atoms would be stopped first.
    """
    cell, scatterers = structure.unit_cell(), structure.scatterers()
    for group in groups:
        tensors = {
            i: np.array(adptbx.u_star_as_u_cart(cell, scatterers[i].u_star))
            if scatterers[i].flags.use_u_aniso()
            else scatterers[i].u_iso * ISOTROPIC
            for i in group
        }
        part = 0.9 * min(min(adptbx.eigenvalues(tuple(tensor))) for tensor in tensors.values())
        for i, tensor in tensors.items():
            scatterers[i].u_iso = part
            scatterers[i].u_star = adptbx.u_cart_as_u_star(cell, tuple(tensor - part * ISOTROPIC))
            scatterers[i].flags.set_use_u(iso=True, aniso=True)
    return np.array([one.u_iso for one in scatterers])


if __name__ == "__main__":
    {one.__name__: one for one in (simulate, flooded, refine_b, full_matrix)}[sys.argv[1]](*sys.argv[2:])
