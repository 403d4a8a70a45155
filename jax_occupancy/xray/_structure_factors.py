"""Structure factors of groups of atoms by direct summation."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from jax_occupancy.xray._crystal import Crystal
from jax_occupancy.xray._scatterers import Scatterers
from jax_occupancy.xray._sine import sine_of_turns

# Atoms × reflections in one chunk. Some ten arrays of this size are alive at a time: 20 MB in float64. Larger chunks
# are slower on a CPU because they fall out of its cache.
CHUNK_ELEMENTS = 2**18


@partial(jax.jit, static_argnames=("n_groups", "batch"))
def group_structure_factors(
    hkl: Int[Array, "reflections 3"],
    scatterers: Scatterers,
    crystal: Crystal,
    *,
    n_groups: int,
    batch: int | None = None,
) -> Complex[Array, "{n_groups} reflections"]:
    """Sum exp(2πi h·x) over the atoms of every group and all symmetry operations, at occupancy 1.

    G_g(h) = Σ_{a in g} w_a f_a(s) Σ_(R,t) exp(−2π² (hR)U*(hR)ᵀ) exp(2πi (hR·x + h·t)). Differentiable in both modes
    with respect to coordinates, displacements and weights; batches over models with `jax.vmap`.

    Args:
        hkl: Miller indices, of any asymmetric unit.
        scatterers: Atoms, in the float type that the sums will have.
        crystal: Symmetry and metric.
        n_groups: Number of groups, the number of rows of the answer.
        batch: Reflections in one chunk; bounds the memory. Chosen for a budget of 20 MB when left out.

    Returns:
        One row per group; zeros for a group without atoms.

    Raises:
        ValueError: `batch` is not positive.

    Example:
        >>> import gemmi, jax.numpy as jnp, pandas as pd
        >>> from jax_occupancy.xray import group_scatterers
        >>> cell, p1 = gemmi.UnitCell(10, 10, 10, 90, 90, 90), gemmi.SpaceGroup("P 1")
        >>> table = pd.DataFrame({"x": [0.0, 5.0], "y": 0.0, "z": 0.0, "tempfactor": 0.0, "element": "C"})
        >>> atoms = group_scatterers(table, [[0, 1], [1]], cell)
        >>> hkl = jnp.array([[0, 0, 0], [1, 0, 0]])
        >>> G = group_structure_factors(hkl, atoms, Crystal.from_gemmi(cell, p1), n_groups=2)
        >>> G.real.round().tolist()
        [[12.0, 0.0], [6.0, -6.0]]
    """
    pairs = structure_factor_pairs(hkl, scatterers, crystal, n_groups=n_groups, batch=batch)
    return jax.lax.complex(pairs[:, 0], pairs[:, 1])


def structure_factor_pairs(
    hkl: Int[Array, "reflections 3"],
    scatterers: Scatterers,
    crystal: Crystal,
    *,
    n_groups: int,
    batch: int | None = None,
) -> Float[Array, "{n_groups} 2 reflections"]:
    """Compute the same as `group_structure_factors`, as real and imaginary parts."""
    n = hkl.shape[0]
    batch = chunk_size(batch, n, scatterers.xyz.shape[0])
    n_chunks = -(-n // batch)
    padded = jnp.pad(hkl, ((0, n_chunks * batch - n), (0, 0))).reshape(n_chunks, batch, 3)
    # without checkpoint the reverse pass would keep atoms × reflections × operations numbers
    chunk = jax.checkpoint(
        partial(chunk_of_structure_factors, scatterers=scatterers, crystal=crystal, n_groups=n_groups)
    )
    pairs = jax.lax.map(chunk, padded.astype(scatterers.xyz.dtype))
    return jnp.moveaxis(pairs, 0, 2).reshape(n_groups, 2, n_chunks * batch)[..., :n]


def chunk_size(batch: int | None, n_reflections: int, n_atoms: int) -> int:
    """Reflections in one chunk, those asked for or as many as keep the arrays in the cache."""
    if batch is None:
        batch = max(64, CHUNK_ELEMENTS // max(1, n_atoms))
    if batch < 1:
        raise ValueError(f"batch: got {batch}, wanted a positive number of reflections or None")
    return max(1, min(batch, n_reflections))


def chunk_of_structure_factors(
    indices: Float[Array, "batch 3"], *, scatterers: Scatterers, crystal: Crystal, n_groups: int
) -> Float[Array, "{n_groups} 2 batch"]:
    """Real and imaginary parts for one chunk of reflections."""
    s2 = jnp.einsum("ni,ij,nj->n", indices, crystal.reciprocal_metric, indices, precision="highest") / 4
    table = jnp.sum(scatterers.amplitudes[..., None] * jnp.exp(-scatterers.exponents[..., None] * s2), axis=1)
    scattering = scatterers.weight[:, None] * table[scatterers.type_index]
    n_isotropic = scatterers.b_iso.shape[0]
    isotropic = scattering[:n_isotropic] * jnp.exp(-scatterers.b_iso[:, None] * s2)
    sums = partial(jax.ops.segment_sum, num_segments=n_groups)
    waves = _waves(indices, scatterers.xyz[:n_isotropic], None, crystal)
    total = sums(isotropic[:, None] * waves, scatterers.group_index[:n_isotropic])
    if scatterers.u_star.shape[0]:
        waves = _waves(indices, scatterers.xyz[n_isotropic:], scatterers.u_star, crystal)
        total += sums(scattering[n_isotropic:, None] * waves, scatterers.group_index[n_isotropic:])
    return _with_inversion(total, indices, crystal) * _centring_factor(indices, crystal)


def _waves(
    indices: Float[Array, "batch 3"],
    xyz: Float[Array, "atoms 3"],
    u_star: Float[Array, "atoms 6"] | None,
    crystal: Crystal,
) -> Float[Array, "atoms 2 batch"]:
    """Cosine and sine of every atom, summed over the symmetry operations."""

    def add(total, operation):
        rotation, translation = operation
        h, k, l = _combine(rotation.T, indices.T)  # noqa: E741  (hR)_j = Σ_i h_i R_ij
        phase = _combine(xyz, jnp.stack([h, k, l])) + _combine(translation[None], indices.T)
        # a cosine is a sine a quarter turn on: one polynomial does both
        wave = sine_of_turns(jnp.stack([phase + 0.25, phase], axis=1))
        if u_star is not None:
            products = jnp.stack([h * h, k * k, l * l, 2 * h * k, 2 * h * l, 2 * k * l])
            wave *= jnp.exp(-2 * np.pi**2 * _combine(u_star, products))[:, None]
        return total + wave, None

    zero = jnp.zeros((xyz.shape[0], 2, indices.shape[0]), xyz.dtype)
    # four operations fuse into one loop over the atoms; all 24 of a cubic group take seconds to compile
    return jax.lax.scan(add, zero, (crystal.rotations, crystal.translations), unroll=4)[0]


def _combine(coefficients: Float[Array, "rows few"], basis: Float[Array, "few batch"]) -> Float[Array, "rows batch"]:
    """A matrix product with a short inner axis that fuses with what follows and never drops to TF32 on a GPU."""
    return sum(coefficients[:, j, None] * basis[j] for j in range(basis.shape[0]))  # pyright: ignore


def _with_inversion(
    pair: Float[Array, "groups 2 batch"], indices: Float[Array, "batch 3"], crystal: Crystal
) -> Float[Array, "groups 2 batch"]:
    """F + conj(F)·exp(2πi h·t), t the translation of the inversion: real form factors are assumed."""
    if crystal.inversion is None:
        return pair
    real, imag = pair[:, 0], pair[:, 1]
    turns = _combine(crystal.inversion[None], indices.T)[0]
    cosine, sine = sine_of_turns(turns + 0.25), sine_of_turns(turns)
    return jnp.stack([real + real * cosine + imag * sine, imag + real * sine - imag * cosine], axis=1)


def _centring_factor(indices: Float[Array, "batch 3"], crystal: Crystal) -> Float[Array, " batch"]:
    """Number of lattice points per cell, 0 for a reflection that the centring forbids."""
    return sine_of_turns(_combine(crystal.centring, indices.T) + 0.25).sum(axis=0)
