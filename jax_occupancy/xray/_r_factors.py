"""R factors, and the one that a random structure would have: the measure of how much any other explains."""

import gemmi
import numpy as np

from jax_occupancy.xray._checks import checked_columns, checked_hkl
from jax_occupancy.xray._crystal import Flags, Values

# Each reflection is compared with as many others of its kind and resolution.
NEIGHBOURS = 5


def r_factor(observed: Values, model_amplitude: Values, free: Flags) -> tuple[float, float]:
    """R = Σ|F_obs − |F_model|| / ΣF_obs of the working and of the free set; NaN for a set without reflections.

    Example:
        >>> r_factor(np.array([10.0, 20.0, 5.0]), np.array([9.0, 22.0, 4.0]), np.array([False, False, True]))
        (0.1, 0.2)
    """
    observed, misfit, free = np.asarray(observed), np.abs(observed - model_amplitude), np.asarray(free)
    working, test = (
        float(misfit[chosen].sum() / total) if (total := observed[chosen].sum()) else float("nan")
        for chosen in (~free, free)
    )
    return working, test


def random_r_factor(
    hkl: np.ndarray,
    observed: np.ndarray,
    model_amplitude: np.ndarray,
    *,
    cell: gemmi.UnitCell,
    spacegroup: gemmi.SpaceGroup,
) -> float:
    """R = Σ|F_obs(h) − |F_model(h′)|| / ΣF_obs(h), over the five h′ that follow h in resolution; NaN if F_obs are zero.

    It is what a model has that is of another crystal: for untwinned data and the scale of a true model 0.59 for
    acentric and 0.83 for centric reflections (Wilson, Acta Cryst. 3, 397-398, 1950), less for twinned and noisy data.

    Args:
        hkl: Miller indices, integers (reflections, 3), each reflection once.

    Raises:
        ValueError: the arrays differ in length or hold numbers that are not finite.
    """
    hkl = checked_hkl(hkl)
    observed, model = checked_columns(len(hkl), observed=observed, model_amplitude=model_amplitude)
    centric = spacegroup.operations().centric_flag_array(hkl)
    order = np.lexsort((cell.calculate_1_d2_array(hkl), centric))
    observed, model = observed[order], model[order]
    misfit = [np.abs(observed - np.roll(model, -step)).sum() for step in range(1, NEIGHBOURS + 1)]
    return float(np.mean(misfit) / total) if (total := observed.sum()) else float("nan")
