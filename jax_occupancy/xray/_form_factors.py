"""Form factors as sums of Gaussians, from gemmi's tables."""

from collections.abc import Sequence
from typing import Literal

import gemmi
import numpy as np
from jaxtyping import Float, Int

Radiation = Literal["xray", "electron", "neutron"]
# Wavelengths that crystals are measured at, in Å; the tables of Cromer and Liberman cover them.
SHORTEST, LONGEST = 0.1, 5.0


def form_factors(
    elements: Sequence[str],
    charges: Sequence[int] | None = None,
    *,
    radiation: Radiation = "xray",
    wavelength: float | None = None,
) -> tuple[Float[np.ndarray, "types gaussians"], Float[np.ndarray, "types gaussians"], Int[np.ndarray, " atoms"]]:
    """Amplitudes, exponents in Å² and the kind of each atom: f(s) = Σ_j amplitude_j·exp(−exponent_j·s²), s = sin θ/λ.

    A wavelength, in Å, adds f′ to the constant.
    X-rays: International Tables 1992, four Gaussians and a constant (of exponent zero). Electrons: the five Gaussians
    of table 4.3.2.2. Neutrons: bound coherent scattering lengths. Charges count only after
    `gemmi.IT92_set_ignore_charge(False)`, as in gemmi's own calculators; an ion not in the table is taken as neutral.
    """
    charges = [0] * len(elements) if charges is None else charges
    kinds = [(element.strip().upper(), int(charge)) for element, charge in zip(elements, charges, strict=True)]
    unique = list(dict.fromkeys(kinds))
    rows = {kind: _coefficients(*kind, radiation) for kind in unique}
    unknown = [(i, kind[0]) for i, kind in enumerate(kinds) if rows[kind] is None]
    if unknown:
        named = ", ".join(f"atom {i} ({symbol!r})" for i, symbol in unknown[:5])
        raise ValueError(
            f"elements: {len(unknown)} of {len(kinds)} atoms have no {radiation} form factor: {named}; "
            "wanted element symbols such as 'C' or 'ZN': correct the element column of the model"
        )
    width = {"xray": 5, "electron": 5, "neutron": 1}[radiation]
    table = np.array([rows[kind] for kind in unique], dtype=np.float64).reshape(len(unique), 2, width)
    real_parts = dispersion([symbol for symbol, _ in unique], wavelength=wavelength, radiation=radiation)
    table[:, 0, -1] += [real_parts[gemmi.Element(symbol).name] for symbol, _ in unique]
    order = {kind: i for i, kind in enumerate(unique)}
    type_index = np.array([order[kind] for kind in kinds], dtype=np.int32)
    return table[:, 0], table[:, 1], type_index


def dispersion(elements: Sequence[str], *, wavelength: float | None, radiation: Radiation = "xray") -> dict[str, float]:
    """Real part f′ of the anomalous dispersion of each element, in electrons by gemmi's name of the element.

    By gemmi from the tables of D. T. Cromer & D. A. Liberman, Acta Cryst. A37, 267-268 (1981), which end with uranium
    (0 beyond it). For free atoms: near an absorption edge the chemistry of the site shifts f′ by electrons. The
    imaginary part f″ cancels to first order when the two reflections of a Friedel pair are merged.

    Element symbols may be in any case; without a wavelength, in Å, f′ is 0.

    Raises:
        ValueError: the wavelength is not between 0.1 and 5 Å, or given for other radiation than X-rays.
    """
    found = {gemmi.Element(symbol).name: 0.0 for symbol in elements}
    if wavelength is None:
        return found
    if radiation != "xray":
        raise ValueError(
            f"wavelength: got {wavelength} Å for {radiation} radiation, wanted none: only X-rays have dispersion"
        )
    if not SHORTEST <= wavelength <= LONGEST:
        raise ValueError(
            f"wavelength: got {wavelength} Å, wanted {SHORTEST} to {LONGEST} Å; from an energy in eV it is "
            f"{gemmi.hc:.2f}/energy"
        )
    energy = gemmi.hc / wavelength
    return {name: gemmi.cromer_liberman(gemmi.Element(name).atomic_number, energy)[0] for name in found}


def _coefficients(symbol: str, charge: int, radiation: Radiation) -> list[list[float]] | None:
    """Amplitudes and exponents of one scatterer, None where the table has none."""
    element = gemmi.Element(symbol)
    if element.name == "X":  # gemmi gives X the numbers of oxygen
        return None
    if radiation == "neutron":
        length = element.neutron92.get_coefs()[0]
        return [[length], [0.0]] if length != 0.0 else None
    if radiation == "electron":
        electron = element.c4322
        return None if electron is None else [electron.get_coefs()[:5], electron.get_coefs()[5:]]
    # IT92_get_exact itself answers None for an ion while gemmi ignores charges
    xray = gemmi.IT92_get_exact(element, charge) or element.it92
    if xray is None:
        return None
    *gaussians, constant = xray.get_coefs()
    return [[*gaussians[:4], constant], [*gaussians[4:], 0.0]]
