"""The atoms of the refinable groups as arrays."""

from collections.abc import Sequence

import equinox as eqx
import gemmi
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array, DTypeLike, Float, Int

from jax_occupancy.xray._checks import check_displacements, checked_occupancies, checked_positions, full_tensors
from jax_occupancy.xray._form_factors import Radiation, form_factors

U_COLUMNS = ["u11", "u22", "u33", "u12", "u13", "u23"]


class Scatterers(eqx.Module):
    """Atoms of one or more groups, isotropic ones first; `group_scatterers` makes them from a table of atoms.

    The first `len(b_iso)` are isotropic. Replace `xyz` by `eqx.tree_at` or under `jax.vmap` to move them.
    """

    xyz: Float[Array, "atoms 3"]  # in fractions of the cell
    weight: Float[Array, " atoms"]  # at occupancy 1, such as 1/n on a special position
    b_iso: Float[Array, " isotropic"]  # in Å²
    u_star: Float[Array, "anisotropic 6"]  # U* = A⁻¹ U A⁻ᵀ (11, 22, 33, 12, 13, 23), exponent −2π² hᵀU*h
    type_index: Int[Array, " atoms"]  # row of the form-factor table
    group_index: Int[Array, " atoms"]
    amplitudes: Float[Array, "types gaussians"]
    exponents: Float[Array, "types gaussians"]  # in Å²
    position: Int[Array, " atoms"]  # row of the atom table


def group_scatterers(
    atoms: pd.DataFrame,
    groups: Sequence[Sequence[int] | np.ndarray],
    cell: gemmi.UnitCell,
    *,
    weights: np.ndarray | None = None,
    radiation: Radiation = "xray",
    wavelength: float | None = None,
    dtype: DTypeLike | None = None,
) -> Scatterers:
    """Gather the atoms of every group from the atom table, ordered by kind of displacement and then by group.

    Args:
        atoms: atom table with the columns x, y, z, tempfactor, element and, optionally, charge and u11 to u23.
        groups: positions in the table of the atoms of each group. A group may be empty; its structure factor is zero.
        weights: one factor per row of the table, such as one over its `site_orders`; 1 when left out.
        wavelength: of the X-rays, in Å, to add f′ to the form factors; no dispersion when left out.

    Raises:
        ValueError: a position lies outside the table, weights have the wrong length, a coordinate or B is not finite,
            a B is negative, a U far from positive definite, an element unknown or the wavelength out of range.
    """
    members = [checked_positions(group, len(atoms), "groups") for group in groups]
    position = np.concatenate([np.zeros(0, np.int64), *members])
    group_index = np.repeat(np.arange(len(members)), [len(m) for m in members])
    weights = checked_occupancies(np.ones(len(atoms)) if weights is None else weights, len(atoms), "weights")
    if set(U_COLUMNS) <= set(atoms.columns):
        u_cart = atoms[U_COLUMNS].to_numpy(np.float64)[position]
    else:
        u_cart = np.full((len(position), 6), np.nan)
    # as gemmi does: an ANISOU record of zeros is no anisotropy
    anisotropic = np.isfinite(u_cart).all(axis=1) & (u_cart != 0).any(axis=1)
    order = np.lexsort((np.arange(len(position)), group_index, anisotropic))
    group_index, position, u_cart = group_index[order], position[order], u_cart[order]
    n_isotropic = int((~anisotropic).sum())
    rows = atoms.iloc[position]
    bad = position[~np.isfinite(rows[["x", "y", "z", "tempfactor"]].to_numpy(np.float64)).all(axis=1)]
    if bad.size:
        raise ValueError(
            f"atoms: {bad.size} atoms have a coordinate or B that is not finite, first at {bad[:5].tolist()}; "
            "leave them out of the groups or correct the model"
        )
    check_displacements(rows["tempfactor"].to_numpy(np.float64)[:n_isotropic], u_cart[n_isotropic:], position)
    fractional = np.array(cell.frac.mat.tolist())
    # x = A⁻¹X, so U* = A⁻¹ U A⁻ᵀ
    u_star = np.einsum("ij,njk,lk->nil", fractional, full_tensors(u_cart[n_isotropic:]), fractional).reshape(-1, 9)
    charges = rows["charge"].tolist() if "charge" in rows else None
    elements = rows["element"].tolist()
    amplitudes, exponents, kind = form_factors(elements, charges, radiation=radiation, wavelength=wavelength)

    def cast(values) -> Array:
        return jnp.asarray(np.asarray(values, dtype=np.float64), dtype=dtype)

    return Scatterers(
        xyz=cast(rows[["x", "y", "z"]].to_numpy(np.float64) @ fractional.T + cell.frac.vec.tolist()),
        weight=cast(weights[position]),
        b_iso=cast(rows["tempfactor"].to_numpy(np.float64)[:n_isotropic]),
        u_star=cast(u_star[:, [0, 4, 8, 1, 2, 5]]),
        type_index=jnp.asarray(kind),
        group_index=jnp.asarray(group_index, dtype=jnp.int32),
        amplitudes=cast(amplitudes),
        exponents=cast(exponents),
        position=jnp.asarray(position, dtype=jnp.int32),
    )
