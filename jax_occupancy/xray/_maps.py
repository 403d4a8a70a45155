"""Coefficients of electron-density maps, for Coot and other programs that show maps.

Weighted by σ_A (Read, Acta Cryst. A42, 140-149, 1986): m is the expected cosine of the error of the model's phase, and
D·F_model what is expected of the true structure factor.
"""

from dataclasses import dataclass

import gemmi
import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float, Int

from jax_occupancy.xray import _rice
from jax_occupancy.xray._checks import check_columns, checked_hkl
from jax_occupancy.xray._crystal import inverse_d_squared
from jax_occupancy.xray._sigma_a import SigmaA


@dataclass(frozen=True, eq=False)
class MapCoefficients:
    """Complex coefficients of the two maps; NaN for a reflection that has no part in a map.

    What `map_coefficients` returns.

    Attributes:
        hkl: Miller indices.
        density: 2mF_obs − DF_model (acentric) or mF_obs (centric), with the model's phase.
        difference: mF_obs − DF_model, with the model's phase.
        figure_of_merit: m.
    """

    hkl: Int[np.ndarray, "reflections 3"]
    density: Complex[np.ndarray, " reflections"]
    difference: Complex[np.ndarray, " reflections"]
    figure_of_merit: Float[np.ndarray, " reflections"]

    def columns(self) -> dict[str, tuple[str, Float[np.ndarray, " reflections"]]]:
        """MTZ label, type and values of each column, with the names that Coot opens by itself.

        Amplitudes are positive and phases in degrees: where 2mF_obs − DF_model is negative, the phase turns by 180°.
        """
        return {
            "FWT": ("F", np.abs(self.density)),
            "PHWT": ("P", np.angle(self.density, deg=True)),
            "DELFWT": ("F", np.abs(self.difference)),
            "PHDELWT": ("P", np.angle(self.difference, deg=True)),
            "FOM": ("W", self.figure_of_merit),
        }


def map_coefficients(
    hkl: np.ndarray,
    f_model: np.ndarray,
    amplitude: np.ndarray,
    *,
    sigma: np.ndarray,
    sigma_a: SigmaA,
    cell: gemmi.UnitCell,
    fill_in: bool = False,
) -> MapCoefficients:
    """Coefficients of the σ_A-weighted density and difference maps.

    Free reflections are used like all others, as phenix does by default: a map without them has more noise, and the
    model is not refined against the map. To keep them out, or to leave out an outlier, give NaN as the amplitude.

    A reflection without an amplitude is left out of both maps. Left out is what zero would be, so a gap in the data
    flattens the density; `fill_in` puts D·F_model in its place in the density map, which is smoother and biased
    towards the model. The difference map never has such a reflection.

    Args:
        hkl: Miller indices, integers (reflections, 3), observed and missing ones in any order.
        f_model: Structure factors of the model on the scale of the observations, complex.
        amplitude: F_obs; NaN where there is none.
        sigma: Their standard uncertainties; not used where there is no amplitude.
        sigma_a: What `estimate_sigma_a` found for the reflections with an amplitude, in the order of `hkl`.
        cell: Unit cell, for the resolution of the missing reflections.
        fill_in: Put D·F_model in the place of missing reflections.

    Returns:
        The coefficients, one for each reflection.

    Raises:
        ValueError: Lengths differ, or a value other than a missing amplitude is not finite.

    Example:
        >>> import gemmi, numpy as np
        >>> one = np.ones(2)
        >>> sigma_a = SigmaA(0.9 * one, 0.9 * one, 19 * one, one > 2, one, one[:1], 0.9 * one[:1], "free", 2)
        >>> maps = map_coefficients(
        ...     np.array([[1, 0, 3], [1, 2, 3]]), np.array([20.0, 10.0j]), np.array([22.0, 15.0]), sigma=one,
        ...     sigma_a=sigma_a, cell=gemmi.UnitCell(30, 30, 30, 90, 90, 90),
        ... )
        >>> maps.columns()["FWT"][1].round(1).tolist()
        [25.4, 19.8]
        >>> maps.columns()["PHWT"][1].tolist()
        [0.0, 90.0]
    """
    hkl = checked_hkl(hkl)
    model = np.asarray(f_model, np.complex128)
    observed = np.asarray(amplitude, np.float64)
    check_columns({"f_model": model}, len(hkl))
    present = _present(observed, np.asarray(sigma, np.float64), sigma_a, len(hkl))

    expected = sigma_a.shrinkage * np.abs(model[present])
    noise = sigma_a.total_variance(np.asarray(sigma, np.float64)[present])
    merit = _rice.figure_of_merit(*map(jnp.asarray, (observed[present], expected, noise, sigma_a.centric)))
    weighted = np.asarray(merit, np.float64) * observed[present]
    phase = np.exp(1j * np.angle(model))
    doubled = np.where(sigma_a.centric, weighted, 2 * weighted - expected)

    def on_all(values: np.ndarray) -> np.ndarray:
        whole = np.full(len(hkl), np.nan, values.dtype)
        whole[present] = values
        return whole

    density, difference = on_all(doubled * phase[present]), on_all((weighted - expected) * phase[present])
    if fill_in and present.any():
        inverse_d2 = inverse_d_squared(cell, hkl)
        order = np.argsort(inverse_d2[present])
        near = np.interp(inverse_d2[~present], inverse_d2[present][order], sigma_a.shrinkage[order])
        density[~present] = near * model[~present]
    return MapCoefficients(hkl, density, difference, on_all(np.asarray(merit, np.float64)))


def _present(observed: np.ndarray, sigma: np.ndarray, sigma_a: SigmaA, n: int) -> np.ndarray:
    """Which reflections have an amplitude, after checks of what is known of them."""
    for name, values in {"amplitude": observed, "sigma": sigma}.items():
        if values.shape != (n,):
            raise ValueError(f"{name}: got shape {values.shape}, wanted ({n},): one value per reflection in hkl")
    present = ~np.isnan(observed)
    check_columns({"amplitude": observed[present], "sigma": sigma[present]}, int(present.sum()))
    if sigma_a.shrinkage.shape != (present.sum(),):
        raise ValueError(
            f"sigma_a: got that of {sigma_a.shrinkage.size} reflections, wanted {present.sum()}: "
            "those that have an amplitude"
        )
    return present
