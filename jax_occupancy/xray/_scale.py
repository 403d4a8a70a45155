"""Overall scale and bulk-solvent scale against the observed amplitudes."""

from dataclasses import dataclass

import gemmi
import numpy as np
from jaxtyping import Bool, Float

from jax_occupancy.xray._checks import checked_hkl
from jax_occupancy.xray._crystal import inverse_d_squared


@dataclass(frozen=True, eq=False)
class Scale:
    """k and k_mask of every reflection: F_model = overall·(F_calc + solvent·F_mask).

    Attributes:
        overall: k(h) = k_overall·exp(−hᵀB*h/4), real and positive.
        solvent: k_mask(h) = k_sol·exp(−b_sol·s²), s = sin θ/λ.
        k_overall: Overall factor at s = 0.
        b_overall: Anisotropic B on Cartesian axes (11, 22, 33, 12, 13, 23), in Å².
        k_sol: Density of the solvent, in electrons per Å³ for X-rays.
        b_sol: B of the solvent, in Å².
    """

    overall: Float[np.ndarray, " reflections"]
    solvent: Float[np.ndarray, " reflections"]
    k_overall: float
    b_overall: tuple[float, ...]
    k_sol: float
    b_sol: float

    def apply(self, calculated, mask):
        """Put structure factors on the scale of the observations.

        Args:
            calculated: F_calc of the atoms, (reflections,).
            mask: F_mask, (reflections,).

        Returns:
            F_model, (reflections,).
        """
        return self.overall * (calculated + self.solvent * mask)


def fit_scale(
    hkl: np.ndarray,
    amplitude: np.ndarray,
    sigma: np.ndarray,
    free: np.ndarray,
    *,
    calculated: np.ndarray,
    mask: np.ndarray | None,
    cell: gemmi.UnitCell,
    spacegroup: gemmi.SpaceGroup,
) -> Scale:
    """Fit the scales to the working set with gemmi, by least squares on amplitudes.

    A first pass on F_calc alone gives the overall factor and B, from which all parameters are refined together.

    Args:
        hkl: Miller indices, integers (reflections, 3), each once.
        amplitude: Observed amplitudes.
        sigma: Their standard uncertainties.
        free: True in the test set, which takes no part.
        calculated: F_calc of the atoms.
        mask: F_mask, None to go without solvent.
        cell: Unit cell.
        spacegroup: Space group; decides which elements of B are free.

    Returns:
        The scales of all reflections, the free ones too.

    Raises:
        ValueError: Arrays differ in length, hold numbers that are not finite, or no reflection is in the working set.

    Example:
        >>> import gemmi, numpy as np
        >>> hkl = np.array([[h, k, l] for h in range(6) for k in range(6) for l in range(1, 6)])
        >>> fc = 100 * np.exp(1j * hkl.sum(axis=1))
        >>> scale = fit_scale(
        ...     hkl, abs(3 * fc), abs(fc) / 50, np.zeros(len(hkl), bool), calculated=fc, mask=None,
        ...     cell=gemmi.UnitCell(20, 20, 20, 90, 90, 90), spacegroup=gemmi.SpaceGroup("P 1"),
        ... )
        >>> round(scale.k_overall, 3)
        3.0
    """
    hkl = checked_hkl(hkl)
    use_solvent = mask is not None
    columns = {"amplitude": amplitude, "sigma": sigma, "free": free, "calculated": calculated}
    columns |= {"mask": mask} if mask is not None else {}
    columns = {name: np.asarray(values) for name, values in columns.items()}
    _check_columns(columns, len(hkl))
    working = _sorted_working(hkl, columns["free"].astype(bool))

    def asu(name: str) -> gemmi.ComplexAsuData:
        return gemmi.ComplexAsuData(cell, spacegroup, hkl[working], columns[name][working].astype(np.complex64))

    observed = np.stack([columns["amplitude"], columns["sigma"]], axis=1)[working].astype(np.float32)
    scaling = gemmi.Scaling(cell, spacegroup)
    scaling.use_solvent = use_solvent
    scaling.prepare_points(
        asu("calculated"),
        gemmi.ValueSigmaAsuData(cell, spacegroup, hkl[working], observed),
        asu("mask") if use_solvent else None,
    )
    scaling.fit_isotropic_b_approximately()
    scaling.fit_parameters()
    return _evaluate(scaling, hkl, cell)


def _evaluate(scaling: gemmi.Scaling, hkl: np.ndarray, cell: gemmi.UnitCell) -> Scale:
    solvent = np.zeros(len(hkl))
    if scaling.use_solvent:
        solvent = scaling.k_sol * np.exp(-scaling.b_sol * inverse_d_squared(cell, hkl) / 4)
    return Scale(
        overall=np.asarray(scaling.get_overall_scale_factor(hkl), dtype=np.float64),
        solvent=solvent,
        k_overall=scaling.k_overall,
        b_overall=tuple(scaling.b_overall.elements_pdb()),
        k_sol=scaling.k_sol if scaling.use_solvent else 0.0,
        b_sol=scaling.b_sol if scaling.use_solvent else 0.0,
    )


def _sorted_working(hkl: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Indices of the working set in gemmi's order: prepare_points merges sorted lists."""
    order = np.lexsort((hkl[:, 2], hkl[:, 1], hkl[:, 0]))
    working = order[~free[order]]
    if working.size == 0:
        raise ValueError(f"free: all {len(free)} reflections are in the test set, wanted a working set to fit to")
    return working


def _check_columns(columns: dict[str, np.ndarray], n: int) -> None:
    for name, values in columns.items():
        if values.shape != (n,):
            raise ValueError(f"{name}: got shape {values.shape}, wanted ({n},): one value per reflection in hkl")
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(
                f"{name}: {bad.size} values are not finite, first at reflections {bad[:5].tolist()}; leave them out"
            )


def r_factor(
    observed: Float[np.ndarray, " reflections"],
    model_amplitude: Float[np.ndarray, " reflections"],
    free: Bool[np.ndarray, " reflections"],
) -> tuple[float, float]:
    """R = Σ|F_obs − |F_model|| / ΣF_obs of the working and of the free set.

    Args:
        observed: Observed amplitudes.
        model_amplitude: Amplitudes of the model on the same scale.
        free: True in the test set.

    Returns:
        R-work and R-free; NaN for a set without reflections.

    Example:
        >>> import numpy as np
        >>> r_factor(np.array([10.0, 20.0, 5.0]), np.array([9.0, 22.0, 4.0]), np.array([False, False, True]))
        (0.1, 0.2)
    """
    observed, model_amplitude, free = np.asarray(observed), np.asarray(model_amplitude), np.asarray(free)
    misfit = np.abs(observed - model_amplitude)
    total = [observed[chosen].sum() for chosen in (~free, free)]
    working, test = (
        float(misfit[chosen].sum() / sum_) if sum_ else float("nan")
        for chosen, sum_ in zip((~free, free), total, strict=True)
    )
    return working, test
