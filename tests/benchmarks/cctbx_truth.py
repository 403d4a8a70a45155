"""Data of a known model, and the B factors that another would be given: run by `bench_truth.py` in cctbx's Python.

simulate TRUTH.pdb OUT.mtz RESOLUTION SEED SCENARIO [LAW FRACTION]
                                                        data with noise, bulk solvent and anisotropy, of a twin
flooded TRUTH.pdb OUT.mtz RESOLUTION SEED SCENARIO SETS.json
                                                        the same; solvent flows in where a group is absent
refine_b MODEL.pdb DATA.mtz GROUPS.json OUT.pdb         one B shift per group, at the occupancies of the model
refine_all MODEL.pdb DATA.mtz OUT.pdb                   coordinates and B factors of all atoms, with restraints
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
from cctbx import adptbx, miller, xray
from cctbx.array_family import flex
from scitbx import lbfgs
from scitbx.lstbx import normal_eqns_solving
from smtbx.refinement import constraints, least_squares

ISOTROPIC = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
# The overall anisotropic B (Å²), and the density and B factor (Å²) of the solvent.
B_CART = {"anisotropic": [12, -5, -7, 0, 2, 0], "dry": [0] * 6}
SOLVENT = {"solvent": (0.30, 90.0), "dry": (0.0, 0.0)}
# A reflection is weak whose amplitude is below so many σ.
WEAK = 3.0
# Atoms nearer than this are bonded; what bonds and distances across angles vary by (Å); how B factors differ (10 Å²).
BOND, VARIES, SIMILAR_B = 1.95, (0.02, 0.04), 0.4
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


def f_model(structure, data):
    """The model scaled to the data."""
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
    return model


def refine_b(source, data, groups, out):
    """What a refinement makes of B factors whose occupancies were guessed."""
    _, hierarchy, structure = read(source)
    model, here = f_model(structure, data), places_of_lines(source, hierarchy)
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
    write_moved(source, out, model.xray_structure, shifts, here)


def refine_all(source, data, out):
    """What a refinement makes of all atoms where some occupancies were guessed."""
    _, hierarchy, structure = read(source)
    before = isotropic_parts(structure, [[i] for i in range(structure.scatterers().size())])
    model, restraints = f_model(structure, data), distances(hierarchy)
    for _ in range(3):
        for kind in ("site", "u_iso"):
            model.update_all_scales(remove_outliers=False)
            stop = lbfgs.termination_parameters(max_iterations=25)
            lbfgs.run(Target(model, kind, restraints), termination_params=stop, log=io.StringIO())
    shifts = np.array([one.u_iso for one in model.xray_structure.scatterers()]) - before
    write_moved(source, out, model.xray_structure, shifts, places_of_lines(source, hierarchy))


def distances(hierarchy):
    """Bonds and distances across angles as they are: pairs of atoms, distances and how far these may vary, in Å."""
    atoms = hierarchy.atoms()
    xyz = atoms.extract_xyz().as_double().as_numpy_array().reshape(-1, 3)
    letters = np.array([atom.parent().altloc.strip() for atom in atoms])
    apart = np.linalg.norm(xyz[:, None] - xyz, axis=-1)
    together = (letters[:, None] == letters) | (letters[:, None] == "") | (letters == "")
    bonded = (apart < BOND) & (apart > 0) & together
    across = (bonded.astype(int) @ bonded > 0) & together & ~bonded & (apart > 0)
    pairs = np.argwhere(np.triu(bonded | across))
    first, second = pairs.T
    return pairs, apart[first, second], np.where(bonded[first, second], *VARIES)


class Target:
    """Minus the logarithm of likelihood and restraints by all coordinates (Å) or B factors (10 Å²), to be minimised."""

    def __init__(self, model, kind, restraints):
        self.model, self.kind, self.unit = model, kind, 1.0 if kind == "site" else 10 / (8 * np.pi**2)
        self.restraints = restraints
        structure = model.xray_structure
        xray.set_scatterer_grad_flags(structure.scatterers(), **{kind: True})
        self.x = structure.sites_cart().as_double() if kind == "site" else structure.scatterers().extract_u_iso()
        self.x /= self.unit

    def compute_functional_and_gradients(self):
        """Value and gradient where the minimiser is; no part of U falls below a tenth of an Å² in B."""
        structure = self.model.xray_structure
        if self.kind == "site":
            structure.set_sites_cart(flex.vec3_double(self.x))
        else:
            for scatterer, value in zip(structure.scatterers(), self.x, strict=True):
                scatterer.u_iso = max(value, 0.01) * self.unit
        self.model.update_xray_structure(structure, update_f_calc=True)
        found = self.model.target_functor()(compute_gradients=True)
        slope = found.gradients_wrt_atomic_parameters(**{self.kind: True})
        slope = slope.packed() if self.kind == "site" else slope
        n = self.model.f_obs_work().size()
        value, slope = n * found.target_work(), n * self.unit * slope.as_numpy_array()
        pairs, wanted, varies = self.restraints
        here = np.array(self.x).reshape(-1, 3 if self.kind == "site" else 1)
        between = here[pairs[:, 0]] - here[pairs[:, 1]]
        if self.kind == "site":
            length = np.linalg.norm(between, axis=1)
            off, along = (length - wanted) / varies, between / (length * varies)[:, None]
        else:  # bonded atoms have similar B factors
            off, along = between[:, 0] / SIMILAR_B, np.full(between.shape, 1 / SIMILAR_B)
        slope = slope.reshape(here.shape)
        for end, sign in zip(pairs.T, (1, -1), strict=True):
            np.add.at(slope, end, sign * along * off[:, None])
        return value + 0.5 * float(off @ off), flex.double(slope.ravel())


def write_moved(source, out, structure, shifts, here):
    """The file with the sites and occupancies of a structure; `shifts` are of U, `here` the place of each line."""
    lines = pathlib.Path(source).read_text().splitlines()
    rows = [i for i, line in enumerate(lines) if line.startswith(("ATOM", "HETATM"))]
    sites, occupancies = structure.sites_cart(), structure.scatterers().extract_occupancies()
    for atom, row in enumerate(rows):
        shift = shifts[here[atom]]
        place = "{:8.3f}{:8.3f}{:8.3f}{:6.2f}".format(*sites[here[atom]], occupancies[here[atom]])
        b = float(lines[row][60:66]) + 8 * np.pi**2 * shift
        lines[row] = f"{lines[row][:30]}{place}{b:6.2f}{lines[row][66:]}"
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
    before = np.array([one.u_iso for one in scatterers])
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
    # The sign of a weak reflection hangs on the start; squares of amplitudes with errors are too large.
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
    shifts = np.array([one.u_iso for one in scatterers]) - before
    write_moved(source, out, structure, shifts, place)


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
    {one.__name__: one for one in (simulate, flooded, refine_b, refine_all, full_matrix)}[sys.argv[1]](*sys.argv[2:])
