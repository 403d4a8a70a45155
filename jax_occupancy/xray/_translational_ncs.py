"""Whether molecules repeat by a translation that is no symmetry of the crystal."""

from dataclasses import dataclass
from itertools import product

import gemmi
import numpy as np
from jaxtyping import Float

from jax_occupancy.xray._checks import check_columns, checked_hkl
from jax_occupancy.xray._crystal import inverse_d_squared

# Reflections that show the packing of molecules and not their inner regularities, in Å.
LOWEST, HIGHEST = 10.0, 5.0
# A peak counts from this distance to the origin, in Å, and from this fraction of it.
NEAREST = 15.0
HEIGHT = 0.2
FEWEST_REFLECTIONS = 100


@dataclass(frozen=True)
class NativePatterson:
    """The highest peak of the Patterson map away from the origin.

    What `native_patterson` returns.

    Attributes:
        height: Its height relative to the origin; NaN if nothing could be searched.
        vector: Where it is, in fractions of the cell, 0 to 1.
        distance: Its distance to the nearest lattice point, in Å.
        n_reflections: Reflections in the map, 10 to 5 Å.
        warning: A sentence if it means translational NCS, else None.
    """

    height: float
    vector: tuple[float, float, float]
    distance: float
    n_reflections: int
    warning: str | None


def native_patterson(
    hkl: np.ndarray, amplitude: np.ndarray, *, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> NativePatterson:
    """Search the Patterson map at 10 to 5 Å for translational NCS, the way xtriage does.

    A peak above 20 % of the origin and farther than 15 Å from it is rare by chance (Zwart, Grosse-Kunstleve & Adams,
    CCP4 Newsletter 43, 2005). The translation makes whole classes of reflections weak, which amplitude statistics take
    for noise or twinning.

    Args:
        hkl: Miller indices, integers (reflections, 3), each reflection once.
        amplitude: Observed amplitudes.
        cell: Unit cell.
        spacegroup: Space group.

    Returns:
        The peak. With fewer than 100 reflections in the range, or no room 15 Å away from all lattice points, there is
        none and no warning.

    Raises:
        ValueError: The arrays differ in length or hold numbers that are not finite.

    Example:
        >>> import gemmi, numpy as np
        >>> cell, spacegroup = gemmi.UnitCell(40, 50, 60, 90, 90, 90), gemmi.SpaceGroup("P 1")
        >>> hkl = gemmi.make_miller_array(cell, spacegroup, 4)
        >>> two_molecules = 1 + np.cos(2 * np.pi * hkl @ [0.5, 0.4, 0.1])
        >>> found = native_patterson(hkl, two_molecules, cell=cell, spacegroup=spacegroup)
        >>> np.round(found.vector, 1).tolist(), found.warning is not None
        ([0.5, 0.4, 0.1], True)
    """
    hkl = checked_hkl(hkl)
    amplitude = np.asarray(amplitude, np.float64)
    check_columns({"amplitude": amplitude}, len(hkl))
    inverse_d2 = inverse_d_squared(cell, hkl)
    chosen = (inverse_d2 >= LOWEST**-2) & (inverse_d2 <= HIGHEST**-2)
    n = int(chosen.sum())
    none = NativePatterson(np.nan, (np.nan, np.nan, np.nan), np.nan, n, None)
    if n < FEWEST_REFLECTIONS or not np.any(amplitude[chosen]):
        return none
    density = _patterson(hkl[chosen], amplitude[chosen] ** 2, cell, spacegroup)
    order = np.argsort(-density, axis=None)
    for some in np.array_split(order, max(1, len(order) // 10_000)):  # the peak is near the start
        vectors = np.stack(np.unravel_index(some, density.shape), axis=-1) / density.shape
        distance = _distance_to_lattice(vectors, cell, spacegroup)
        far = np.flatnonzero(distance >= NEAREST)
        if len(far):
            height = float(density.flat[some[far[0]]] / density[0, 0, 0])
            x, y, z = vectors[far[0]].tolist()
            away = float(distance[far[0]])
            return NativePatterson(height, (x, y, z), away, n, _warning(height, (x, y, z), away))
    return none


def _warning(height: float, vector: tuple[float, float, float], distance: float) -> str | None:
    if height <= HEIGHT:
        return None
    place = ", ".join(f"{x:.2f}" for x in vector)
    return (
        f"The native Patterson map has a peak of {100 * height:.0f} % of the origin at ({place}), {distance:.0f} Å "
        "away: molecules repeat by a translation (translational NCS). It makes whole classes of reflections weak, "
        "which upsets scales, error models and R factors: look at these class by class."
    )


def _patterson(
    hkl: np.ndarray, intensity: np.ndarray, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> Float[np.ndarray, "u v w"]:
    """Sum of I·cos(2πh·x) over all symmetry mates, on a grid of a quarter of the resolution."""
    grid = gemmi.FloatGrid()
    grid.set_unit_cell(cell)
    grid.spacegroup = spacegroup
    grid.set_size_from_spacing(HIGHEST / 4, gemmi.GridSizeRounding.Up)
    shape = (grid.nu, grid.nv, grid.nw)
    coefficients = np.zeros(shape)
    for operation in spacegroup.operations().sym_ops:
        mates = hkl @ np.array(operation.rot) // gemmi.Op.DEN
        for sign in (1, -1):
            coefficients[tuple((sign * mates % np.array(shape)).T)] = intensity  # mates that coincide count once
    return np.fft.fftn(coefficients).real


def _distance_to_lattice(
    vectors: Float[np.ndarray, "points 3"], cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
) -> Float[np.ndarray, " points"]:
    """Distance to the nearest lattice point, centring included, in Å."""
    orthogonal = np.array(cell.orth.mat.tolist())
    nearest = np.full(len(vectors), np.inf)
    for centring in np.array(list(spacegroup.operations().cen_ops)) / gemmi.Op.DEN:
        away = vectors - centring
        away -= np.round(away)
        for shift in product((-1, 0, 1), repeat=3):
            nearest = np.minimum(nearest, np.linalg.norm((away + shift) @ orthogonal.T, axis=-1))
    return nearest
