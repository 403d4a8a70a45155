"""Structure factors of the atoms that are not refined, by FFT."""

from collections.abc import Sequence

import gemmi
import numpy as np
from jaxtyping import Complex

from jax_occupancy.xray._bare_model import bare_model, occupancies_of
from jax_occupancy.xray._checks import check_displacements, check_grid, checked_hkl, checked_positions
from jax_occupancy.xray._form_factors import Radiation, dispersion, form_factors

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
    occupancies: np.ndarray,
    radiation: Radiation = "xray",
    wavelength: float | None = None,
    rate: float = 2.0,
) -> Complex[np.ndarray, " reflections"]:
    """Sum the atoms that stay as they are, each at its own occupancy, with the accuracy of single precision.

    The density is put on a grid with gemmi's blur for that grid (Refmac's rule) and transformed: on 4XOF at 1.15 Å
    this is 2e-5 from direct summation (relative RMS), at a hundredth of the work.

    Args:
        structure: its `atom.serial` is the position in the file plus one. It is not changed.
        hkl: Miller indices, integers (reflections, 3).
        refinable: positions of the atoms to leave out.
        occupancies: of each atom, by position; on a special position 1/n of the chemical one.
        wavelength: of the X-rays, in Å, to add f′ to the form factors; no dispersion when left out.
        rate: grid points per d_min / 2; gemmi's 1.5 puts occupancies off by up to 1e-3 at 3 Å, 2 by a third of it.

    Raises:
        ValueError: an argument does not match the structure, a coordinate or B is not finite, a B is negative, a U far
            from positive definite, an element unknown, the wavelength out of range, or the grid too large for memory.
    """
    hkl = checked_hkl(hkl)
    held = occupancies_of(structure, occupancies)
    held[checked_positions(refinable, len(held), "refinable")] = 0.0
    model = bare_model(structure, held)
    if not np.any(held) or len(hkl) == 0:
        return np.zeros(len(hkl), dtype=np.complex128)
    atoms = [site.atom for site in model.all()]
    elements = [atom.element.name for atom in atoms]
    form_factors(elements, radiation=radiation)  # unknown elements
    position, anisotropic = np.array([(atom.serial - 1, atom.aniso.nonzero()) for atom in atoms]).T
    isotropic = anisotropic == 0
    b_iso = np.array([atom.b_iso for atom in atoms])[isotropic]
    u_cart = np.array([atom.aniso.elements_pdb() for atom in atoms])[~isotropic]
    check_displacements(b_iso, u_cart, np.concatenate([position[isotropic], position[~isotropic]]))

    density = CALCULATORS[radiation]()
    # a little further than the data: the corner reflections must lie inside the transform
    density.d_min = float(1 / np.sqrt(structure.cell.calculate_1_d2_array(hkl).max())) * (1 - 1e-6)
    density.rate = rate
    check_grid(structure.cell, density.d_min / (2 * rate))
    for element, value in dispersion(elements, wavelength=wavelength, radiation=radiation).items():
        density.addends.set(gemmi.Element(element), value)
    density.set_refmac_compatible_blur(model)
    density.set_grid_cell_and_spacegroup(structure)
    density.put_model_density_on_grid(model)
    transform = gemmi.transform_map_to_f_phi(density.grid, half_l=True)
    return transform.get_value_by_hkl(hkl, unblur=density.blur).astype(np.complex128)
