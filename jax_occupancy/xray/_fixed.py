"""Structure factors of the atoms that are not refined, by FFT."""

from collections.abc import Sequence

import gemmi
import numpy as np
from jaxtyping import Complex

from jax_occupancy.xray._bare_model import bare_model, occupancies_by_position, positions
from jax_occupancy.xray._checks import (
    check_displacements,
    checked_hkl,
    checked_occupancies,
    checked_positions,
)
from jax_occupancy.xray._form_factors import Radiation, dispersion, form_factors
from jax_occupancy.xray._special_positions import site_weights

CALCULATORS = {
    "xray": gemmi.DensityCalculatorX,
    "electron": gemmi.DensityCalculatorE,
    "neutron": gemmi.DensityCalculatorN,
}


def fixed_structure_factors(
    structure: gemmi.Structure,
    hkl: np.ndarray,
    *,
    refinable: Sequence[int] | np.ndarray,
    occupancies: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    radiation: Radiation = "xray",
    wavelength: float | None = None,
    rate: float = 1.5,
) -> Complex[np.ndarray, " reflections"]:
    r"""Sum the atoms that stay as they are, each at its own occupancy times its site weight.

    The density is put on a grid with gemmi's blur for that grid (Refmac's rule) and transformed: on 4XOF at 1.15 Å
    this is 2e-5 from direct summation over all data and 2e-4 in the highest tenth of resolution (relative RMS), at a
    hundredth of the work.

    Args:
        structure: Structure whose `atom.serial` is the position in the file plus one. It is not changed.
        hkl: Miller indices, integers (reflections, 3).
        refinable: Positions of the atoms to leave out.
        occupancies: Occupancy of each atom, by position; those of the structure when left out.
        weights: Site weight of each atom, by position; from `site_weights` when left out.
        radiation: Which form factors to use.
        wavelength: Of the X-rays, in Å, to add f′ to the form factors; no dispersion when left out.
        rate: Grid points per d_min / 2; 1.5 is gemmi's default, 2 makes the error three times smaller.

    Returns:
        F_fixed, in complex128 with the accuracy of single precision.

    Raises:
        ValueError: An argument does not match the structure, a coordinate or B is not finite, a B is negative, a U far
            from positive definite, an element unknown or the wavelength out of range.

    Example:
        >>> import gemmi, numpy as np
        >>> structure = gemmi.read_pdb_string(
        ...     "CRYST1   20.000   20.000   20.000  90.00  90.00  90.00 P 1\n"
        ...     "HETATM    1  O   HOH A   1       0.000   0.000   0.000  1.00 10.00           O\n"
        ... )
        >>> fixed_structure_factors(structure, np.array([[0, 0, 1], [4, 0, 0]]), refinable=[]).round(1).real.tolist()
        [7.9, 6.6]
    """
    hkl = checked_hkl(hkl)
    n_atoms = len(positions(structure))
    found = occupancies_by_position(structure) if occupancies is None else occupancies
    held = checked_occupancies(found, n_atoms, "occupancies").copy()
    held *= checked_occupancies(site_weights(structure, held) if weights is None else weights, n_atoms, "weights")
    held[checked_positions(refinable, n_atoms, "refinable")] = 0.0
    model = bare_model(structure, held)
    if not np.any(held) or len(hkl) == 0:
        return np.zeros(len(hkl), dtype=np.complex128)
    elements = [site.atom.element.name for site in model.all()]
    form_factors(elements, radiation=radiation)  # unknown elements
    _check_displacements(model)
    real_parts = dispersion(elements, wavelength=wavelength, radiation=radiation)
    d_min = float(1 / np.sqrt(structure.cell.calculate_1_d2_array(hkl).max()))
    return _transform(structure, model, hkl, d_min=d_min, radiation=radiation, real_parts=real_parts, rate=rate)


def _check_displacements(model: gemmi.Model) -> None:
    atoms = [site.atom for site in model.all()]
    position = np.array([atom.serial - 1 for atom in atoms])
    anisotropic = np.array([atom.aniso.nonzero() for atom in atoms])
    b_iso = np.array([atom.b_iso for atom in atoms])[~anisotropic]
    u_cart = np.array([atom.aniso.elements_pdb() for atom in atoms])[anisotropic]
    check_displacements(b_iso, u_cart, np.concatenate([position[~anisotropic], position[anisotropic]]))


def _transform(
    structure: gemmi.Structure,
    model: gemmi.Model,
    hkl: np.ndarray,
    *,
    d_min: float,
    radiation: Radiation,
    real_parts: dict[str, float],
    rate: float,
) -> np.ndarray:
    density = CALCULATORS[radiation]()
    # a little further than the data: the corner reflections must lie inside the transform
    density.d_min = d_min * (1 - 1e-6)
    density.rate = rate
    for element, value in real_parts.items():
        density.addends.set(gemmi.Element(element), value)
    density.set_refmac_compatible_blur(model)
    density.set_grid_cell_and_spacegroup(structure)
    density.put_model_density_on_grid(model)
    transform = gemmi.transform_map_to_f_phi(density.grid, half_l=True)
    return transform.get_value_by_hkl(hkl, unblur=density.blur).astype(np.complex128)
