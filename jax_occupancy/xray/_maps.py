"""Coefficients of electron-density maps, for Coot and other programs that show maps.

Weighted by σ_A (Read, Acta Cryst. A42, 140-149, 1986): m is the expected cosine of the error of the model's phase, and
D·F_model what is expected of the true structure factor.
"""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Complex, Float

from jax_occupancy.xray import _rice
from jax_occupancy.xray._checks import check_columns
from jax_occupancy.xray._sigma_a import SigmaA


@dataclass(frozen=True, eq=False)
class MapCoefficients:
    """Complex coefficients of two maps with the model's phase, NaN for a reflection that has no part."""

    density: Complex[np.ndarray, " reflections"]  # 2mF_obs − DF_model (acentric) or mF_obs (centric)
    difference: Complex[np.ndarray, " reflections"]  # mF_obs − DF_model
    figure_of_merit: Float[np.ndarray, " reflections"]  # m

    def columns(self) -> dict[str, tuple[str, Float[np.ndarray, " reflections"]]]:
        """MTZ label, type and values of each column, with the names that Coot opens by itself; phases in degrees."""
        return {
            "FWT": ("F", np.abs(self.density)),
            "PHWT": ("P", np.angle(self.density, deg=True)),
            "DELFWT": ("F", np.abs(self.difference)),
            "PHDELWT": ("P", np.angle(self.difference, deg=True)),
            "FOM": ("W", self.figure_of_merit),
        }


def map_coefficients(
    f_model: np.ndarray, amplitude: np.ndarray, *, sigma: np.ndarray, sigma_a: SigmaA
) -> MapCoefficients:
    """Coefficients of the σ_A-weighted density and difference maps.

    Free reflections are used like all others, as phenix does by default: a map without them has more noise, and the
    model is not refined against the map. Where the amplitude is NaN, both maps have no coefficient.

    Args:
        f_model: structure factors of the model on the scale of the observations, complex, (reflections,).
        amplitude: F_obs; NaN where there is none or the reflection is to be kept out.
        sigma: their standard uncertainties; not used where there is no amplitude.
        sigma_a: what `estimate_sigma_a` found for the reflections with an amplitude, in the same order.

    Raises:
        ValueError: lengths differ, or a value other than a missing amplitude is not finite.
    """
    model, observed = np.asarray(f_model, np.complex128), np.asarray(amplitude, np.float64)
    errors, n = np.asarray(sigma, np.float64), model.size
    present = ~np.isnan(observed)
    check_columns({"f_model": model}, n)
    check_columns({"amplitude": observed, "sigma": errors}, n, where=present)
    if sigma_a.shrinkage.shape != (present.sum(),):
        raise ValueError(
            f"sigma_a: got that of {sigma_a.shrinkage.size} reflections, wanted {present.sum()}: "
            "those that have an amplitude"
        )

    expected = sigma_a.shrinkage * np.abs(model[present])
    noise = sigma_a.total_variance(errors[present])
    merit = _rice.figure_of_merit(*map(jnp.asarray, (observed[present], expected, noise, sigma_a.centric)))
    merit = np.asarray(merit, np.float64)
    weighted = merit * observed[present]
    phase = np.exp(1j * np.angle(model))
    doubled = np.where(sigma_a.centric, weighted, 2 * weighted - expected)

    def on_all(values: np.ndarray) -> np.ndarray:
        whole = np.full(n, np.nan, values.dtype)
        whole[present] = values
        return whole

    return MapCoefficients(
        on_all(doubled * phase[present]), on_all((weighted - expected) * phase[present]), on_all(merit)
    )
