"""Maps of the refined model, and maps without some of its groups, for Coot."""

import difflib
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex

from jax_occupancy._options import Options
from jax_occupancy.cli._outputs import Outputs
from jax_occupancy.groups import Grouping
from jax_occupancy.io import Maps, Model, write_map, write_mtz
from jax_occupancy.refinement import Solution, linear_model, map_structure_factors, moved_model
from jax_occupancy.xray import SigmaA, estimate_sigma_a, map_coefficients


def chosen_groups(grouping: Grouping, name: str) -> list[str]:
    """The groups that a name stands for: a group, or all letters of what comes before the colon."""
    names = [group.name for group in grouping.groups if group.atoms.size]
    found = [one for one in names if one == name] or [one for one in names if one.rpartition(":")[0] == name]
    if not found:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:3]
        raise ValueError(
            f"--omit {name}: there is no such group; there are, for example, {', '.join(near)} "
            "(`jax-occupancy groups MODEL` lists them all)"
        )
    return found


def write_maps(solution: Solution, model: Model, outputs: Outputs, options: Options) -> list[Path]:
    """Write the coefficients of the map and, each to its own file, of those without omitted groups; the files."""
    if outputs.maps is None:
        return []
    sigma_a = solution.sigma_a or _estimated_sigma_a(solution)
    _write(solution, solution.f_model, sigma_a, outputs.maps, "refined occupancies")
    omitted = {name: outputs.omit_map(name) for name in outputs.omit or ()}
    for name, path in omitted.items():
        groups = chosen_groups(solution.grouping, name)
        without = solution.f_model - _structure_factors_of(solution, model, groups, options)
        _write(solution, without, sigma_a, path, f"without {name}")
    return [outputs.maps, *omitted.values()]


def write_difference_maps(solution: Solution, model: Model, maps: Maps, outputs: Outputs) -> list[Path]:
    """Write the map minus the model around the groups and, each to its own file, that without a group; the files."""
    if outputs.maps is None:
        return []
    data: Any = solution.data
    written = []
    for path, name in {outputs.maps: None, **{outputs.omit_map(name): name for name in outputs.omit or ()}}.items():
        difference = data.coefficients - solution.f_model
        if name is not None:
            atoms = [solution.grouping[one].atoms for one in chosen_groups(solution.grouping, name)]
            refined = _refined(solution, model)
            of_groups = map_structure_factors(refined, data, [np.concatenate(atoms)], solution.occupancies)[0, 0]
            difference = difference + solution.scale.overall * of_groups
        whole = np.zeros(maps.density.shape, np.float32)
        for box, density in data.densities(difference):
            of_map, of_box = box.overlap(whole.shape)
            whole[of_map] += np.where(box.mask > 0, density, 0)[of_box]
        write_map(path, whole, pixel=maps.pixel, origin=maps.origin)
        written.append(path)
    return written


def _refined(solution: Solution, model: Model) -> Model:
    """The model with the positions and B factors that were refined."""
    still = np.zeros((model.n_atoms, 3))
    b_shifts, shifts = solution.b_shifts, solution.shifts
    return moved_model(model, still if shifts is None else shifts, still[:, 0] if b_shifts is None else b_shifts)


def _structure_factors_of(
    solution: Solution, model: Model, names: list[str], options: Options
) -> Complex[np.ndarray, " reflections"]:
    """What groups add to the structure factors, on the scale of the data, with the solvent they keep out."""
    tensor = solution.tensor
    atoms = [solution.grouping[name].atoms for name in names]
    entries = np.array([tensor.expansion_mask[one[0]] for one in atoms])
    scale = solution.scale
    beam = {"radiation": options.radiation, "wavelength": options.wavelength, "memory": options.memory}
    data: Any = solution.data
    linear = linear_model(_refined(solution, model), data, tensor, entries, **beam).with_solvent_share(
        solution.solvent_share
    )
    linear = linear.with_scale(scale.overall, scale.solvent)
    q = jnp.asarray(np.asarray(tensor.group_occupancies)[entries])
    return np.asarray(linear(q)) - np.asarray(linear(jnp.zeros_like(q)))


def _estimated_sigma_a(solution: Solution) -> SigmaA:
    """σ_A of the refined model, for targets that need none."""
    data: Any = solution.data
    return estimate_sigma_a(
        data.hkl,
        np.asarray(data.amplitude),
        np.asarray(data.sigma),
        data.free,
        model_amplitude=solution.model_amplitude,
        cell=data.cell,
        spacegroup=data.spacegroup,
    )


def _write(solution: Solution, f_model: np.ndarray, sigma_a: SigmaA, path: Path, what: str) -> None:
    data: Any = solution.data
    maps = map_coefficients(
        f_model, solution.detwinned_amplitude(f_model), sigma=np.asarray(data.sigma), sigma_a=sigma_a
    )
    write_mtz(
        path,
        hkl=data.hkl,
        cell=data.cell,
        spacegroup=data.spacegroup,
        columns=maps.columns(),
        title=f"jax_occupancy: {what}".encode("ascii", "replace").decode(),
        wavelength=data.wavelength,
    )
