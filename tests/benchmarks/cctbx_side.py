"""The side of cctbx in `bench_cctbx.py`, run by a Python that has mmtbx: `cctbx_side.py MODEL JOB.npz OUT.json`.

mmtbx's own occupancy refinement (`mmtbx.refinement.occupancies.manager`, phenix.refine's engine), with phenix's default
of 3 × 25 iterations, between two `update_all_scales`; the groups are given, no outliers are removed.
"""

import json
import sys
import time
import types

import iotbx.pdb
import mmtbx
import mmtbx.f_model
import numpy as np
from cctbx import miller
from cctbx.array_family import flex

# The manager asks phenix for the weights of X-ray and chemistry; cctbx alone has no phenix, and there is no chemistry.
weights = types.ModuleType("phenix.refinement.weight_xray_chem")
weights.weights = lambda **given: types.SimpleNamespace(**given)
refinement = types.ModuleType("phenix.refinement")
refinement.weight_xray_chem = weights
sys.modules.update({"phenix": types.ModuleType("phenix"), "phenix.refinement": refinement})

from mmtbx.refinement import occupancies  # noqa: E402  needs the stand-in

evaluations = 0


def main(model_path: str, job_path: str, out_path: str) -> None:
    """Refine from every start and evaluate what the other program found."""
    job = np.load(job_path, allow_pickle=False)
    source = iotbx.pdb.input(file_name=model_path)
    hierarchy = source.construct_hierarchy(sort_atoms=False)
    in_file = places_in_file(hierarchy, job)
    structure = hierarchy.extract_xray_structure(crystal_symmetry=source.crystal_symmetry())
    structure.scattering_type_registry(table="it1992")
    observed, free = data(structure, job)
    here = np.argsort(in_file)
    selections = [
        [flex.size_t(here[job["atoms"][job["group"] == group]].tolist()) for group in np.flatnonzero(job["set"] == one)]
        for one in np.unique(job["set"])
    ]
    count_evaluations()
    rows = [refine(structure, observed, free, selections, start[in_file]) for start in job["starts"]]
    reference = rows[0]["model"]
    alpha_beta = reference.alpha_beta()
    for row in rows:
        del row["model"]
        row["target"] = target(reference, alpha_beta, row["occupancies"])
        row["occupancies"] = row["occupancies"][here].tolist()
    found = {"starts": rows, "evaluated": [target(reference, alpha_beta, other[in_file]) for other in job["others"]]}
    with open(out_path, "w") as handle:
        json.dump(found, handle)


def data(structure, job) -> tuple[miller.array, miller.array]:
    """Amplitudes and free flags as cctbx's arrays."""
    indices = flex.miller_index([tuple(row) for row in job["hkl"].tolist()])
    reflections = miller.set(structure.crystal_symmetry(), indices, anomalous_flag=False)
    observed = reflections.array(flex.double(job["amplitude"].tolist()), flex.double(job["sigma"].tolist()))
    return observed.set_observation_type_xray_amplitude(), reflections.array(flex.bool(job["free"].tolist()))


def scaled(structure, observed, free, occupancy) -> mmtbx.f_model.manager:
    """The model with these occupancies, scaled to the data."""
    structure = structure.deep_copy_scatterers()
    structure.set_occupancies(flex.double(occupancy.tolist()))
    model = mmtbx.f_model.manager(f_obs=observed, r_free_flags=free, xray_structure=structure, target_name="ml")
    model.update_all_scales(remove_outliers=False)
    return model


def target(reference, alpha_beta, occupancy) -> float:
    """The target of the working set at other occupancies, at the scales and with the α and β of the reference."""
    structure = reference.xray_structure.deep_copy_scatterers()
    structure.set_occupancies(flex.double(occupancy.tolist()))
    model = reference.deep_copy()
    model.update_xray_structure(structure, update_f_calc=True)
    return model.target_w(alpha_beta=alpha_beta) * model.f_obs_work().size()


def refine(structure, observed, free, selections, start) -> dict:
    """Refine from one start."""
    global evaluations
    evaluations = 0
    since = time.perf_counter()
    model = scaled(structure, observed, free, start)
    holder = types.SimpleNamespace(
        get_xray_structure=lambda: model.xray_structure,
        set_xray_structure=lambda changed: None,
        refinement_flags=types.SimpleNamespace(s_occupancies=selections),
    )
    begin = time.perf_counter()
    occupancies.manager(fmodels=mmtbx.fmodels(fmodel_xray=model), model=holder, occupancy_max=1.0, occupancy_min=0.0)
    solved = time.perf_counter()
    model.update_all_scales(remove_outliers=False)
    return {
        "model": model,
        "occupancies": model.xray_structure.scatterers().extract_occupancies().as_numpy_array(),
        "r_work": model.r_work(),
        "r_free": model.r_free(),
        "evaluations": evaluations,
        "seconds": time.perf_counter() - since,
        "seconds_solver": solved - begin,
    }


def count_evaluations() -> None:
    """Count how often the minimiser asks for target and gradient."""
    asked = occupancies.minimizer.compute_functional_and_gradients

    def counted(self):
        global evaluations
        evaluations += 1
        return asked(self)

    occupancies.minimizer.compute_functional_and_gradients = counted


def places_in_file(hierarchy, job) -> np.ndarray:
    """Where each atom of cctbx's order, which goes by conformers, is in the file."""
    atoms = zip(job["xyz"], job["letter"], strict=True)
    places = {(*np.round(xyz, 3), letter): i for i, (xyz, letter) in enumerate(atoms)}
    found = [(*np.round(atom.xyz, 3), atom.parent().altloc.strip()) for atom in hierarchy.atoms()]
    if len(places) != len(job["xyz"]) or set(found) != set(places):
        raise SystemExit("cctbx does not read the same atoms from the file, or two atoms are in one place")
    return np.array([places[key] for key in found])


if __name__ == "__main__":
    main(*sys.argv[1:])
