"""Maps of the refined model, and maps without some of its groups, for Coot."""

import difflib
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex

from jax_occupancy.cli._outputs import Outputs
from jax_occupancy.groups import Grouping
from jax_occupancy.io import Model, write_mtz
from jax_occupancy.refinement import Solution, linear_model
from jax_occupancy.xray import SigmaA, estimate_sigma_a, map_coefficients


def chosen_groups(grouping: Grouping, name: str) -> list[str]:
    """The groups that a name stands for: a group, or all letters of what comes before the colon.

    Args:
        grouping: the groups.
        name: such as "A/54/ARG:A", or "A/54/ARG" for all its conformers.

    Returns:
        Names of groups with atoms.

    Raises:
        ValueError: there is no such group.
    """
    names = [group.name for group in grouping.groups if group.atoms.size]
    found = [one for one in names if one == name] or [one for one in names if one.rpartition(":")[0] == name]
    if not found:
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5) or names[:3]
        raise ValueError(
            f"--omit {name}: there is no such group; there are, for example, {', '.join(near)} "
            "(`jax-occupancy groups MODEL` lists them all)"
        )
    return found


def write_maps(solution: Solution, model: Model, outputs: Outputs, *, beam: dict[str, Any]) -> None:
    """Write the map coefficients of the refined model and, each to its own file, those without omitted groups."""
    if outputs.maps is None:
        return
    sigma_a = solution.sigma_a or _estimated_sigma_a(solution)
    _write(solution, solution.f_model, sigma_a, outputs.maps, "refined occupancies")
    for name in outputs.omit:
        groups = chosen_groups(solution.grouping, name)
        without = solution.f_model - structure_factors_of(solution, model, groups, beam=beam)
        _write(solution, without, sigma_a, outputs.omit_map(name), f"without {name}")


def structure_factors_of(
    solution: Solution, model: Model, names: list[str], *, beam: dict[str, Any]
) -> Complex[np.ndarray, " reflections"]:
    """What groups add to the refined structure factors, on the scale of the data, with the solvent they keep out.

    Args:
        solution: the refined model.
        model: its atoms.
        names: the groups.
        beam: radiation and wavelength, and gigabytes for structure factors.

    Returns:
        F_model less that of a model in which the occupancies of these groups are zero.
    """
    tensor = solution.tensor
    atoms = [solution.grouping[name].atoms for name in names]
    entries = np.array([tensor.expansion_mask[one[0]] for one in atoms])
    scale = solution.scale
    linear = linear_model(model, solution.data, tensor, entries, **beam).with_scale(scale.overall, scale.solvent)
    q = jnp.asarray(np.asarray(tensor.group_occupancies)[entries])
    shifts = None if solution.b_shifts is None else jnp.asarray([solution.b_shifts[one[0]] for one in atoms])
    return np.asarray(linear(q, shifts)) - np.asarray(linear(jnp.zeros_like(q), shifts))


def _estimated_sigma_a(solution: Solution) -> SigmaA:
    """σ_A of the refined model, for targets that need none."""
    data = solution.data
    return estimate_sigma_a(
        data.hkl,
        np.asarray(data.amplitude),
        np.asarray(data.sigma),
        data.free,
        model_amplitude=np.abs(solution.f_model),
        cell=data.cell,
        spacegroup=data.spacegroup,
    )


def _write(solution: Solution, f_model: np.ndarray, sigma_a: SigmaA, path: Any, what: str) -> None:
    data = solution.data
    amplitude, sigma = np.asarray(data.amplitude), np.asarray(data.sigma)
    maps = map_coefficients(f_model, amplitude, sigma=sigma, sigma_a=sigma_a)
    write_mtz(
        path,
        hkl=data.hkl,
        cell=data.cell,
        spacegroup=data.spacegroup,
        columns=maps.columns(),
        title=f"jax_occupancy: {what}".encode("ascii", "replace").decode(),
        wavelength=data.wavelength,
    )
