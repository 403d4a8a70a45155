"""Structure factors of groups of atoms by direct summation.

G_g(h) = Σ_{a in g} w_a f_a(s) Σ_(R,t) exp(−2π² (hR)U*(hR)ᵀ) exp(2πi (hR·x + h·t)), at occupancy 1.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jax_occupancy.xray._crystal import Crystal
from jax_occupancy.xray._scatterers import Scatterers

# Atoms × reflections in one chunk. Some ten arrays of this size are alive at a time: 20 MB in float64. Larger chunks
# are slower on a CPU because they fall out of its cache. Chunks of fewer reflections take twice the time for each.
CHUNK_ELEMENTS, SHORTEST = 2**18, 256
# So many operations become one program, three times as fast as one by one; the 24 of a cubic group would take seconds
# to compile.
UNROLL = 4
Planes = Float[Array, "*planes 2 batch"]


def chunk_size(n_reflections: int, n_atoms: int) -> int:
    """Reflections in one chunk, as many as keep the arrays in the cache."""
    return max(1, min(max(SHORTEST, CHUNK_ELEMENTS // max(1, n_atoms)), n_reflections))


def chunk_of_structure_factors(
    indices: Float[Array, "batch 3"],
    *,
    scatterers: Scatterers,
    crystal: Crystal,
    n_groups: int,
    axes: Float[Array, "axes 3"] | None = None,
) -> Float[Array, "*planes {n_groups} 2 batch"]:
    """Real and imaginary parts for one chunk of reflections; with `axes` also derivatives by shifts of the groups."""
    s2 = jnp.einsum("ni,ij,nj->n", indices, crystal.reciprocal_metric, indices, precision="highest") / 4
    table = jnp.sum(scatterers.amplitudes[..., None] * jnp.exp(-scatterers.exponents[..., None] * s2), axis=1)
    scattering = scatterers.weight[:, None] * (table * _centring_factor(indices, crystal))[scatterers.type_index]
    n_isotropic = scatterers.b_iso.shape[0]
    isotropic = scattering[:n_isotropic] * jnp.exp(-scatterers.b_iso[:, None] * s2)
    sums = partial(jax.ops.segment_sum, num_segments=n_groups)

    def of_operations(rotations, translations):
        waves = partial(_waves, indices, rotations=rotations, translations=translations)
        total = sums(isotropic[:, None] * waves(scatterers.xyz[:n_isotropic]), scatterers.group_index[:n_isotropic])
        if not scatterers.u_star.shape[0]:
            return total
        anisotropic = scattering[n_isotropic:, None] * waves(scatterers.xyz[n_isotropic:], u_star=scatterers.u_star)
        return total + sums(anisotropic, scatterers.group_index[n_isotropic:])

    if axes is None:
        total = of_operations(crystal.rotations, crystal.translations)
    else:

        def of_operation(_, operation):
            rotation, translation = operation
            return None, of_operations(rotation[None], translation[None])

        pairs = jax.lax.scan(of_operation, None, (crystal.rotations, crystal.translations), unroll=UNROLL)[1]
        # What is stacked is computed once, what is not anew for every atom: both stacks make this five times faster.
        turns = jnp.stack([_combine(axes, _combine(rotation.T, indices.T)) for rotation in crystal.rotations])
        turns, real, imag = 2 * np.pi * turns, pairs[:, :, 0], pairs[:, :, 1]

        def turned(axis, part):
            return sum(turns[i, axis] * part[i] for i in range(len(turns)))

        shifts = [jnp.stack([-turned(axis, imag), turned(axis, real)], axis=1) for axis in range(len(axes))]
        total = jnp.stack([jnp.sum(pairs, axis=0), *shifts])
    return _with_inversion(total, indices, crystal)


def _waves(
    indices: Float[Array, "batch 3"],
    xyz: Float[Array, "atoms 3"],
    *,
    rotations: Float[Array, "operations 3 3"],
    translations: Float[Array, "operations 3"],
    u_star: Float[Array, "atoms 6"] | None = None,
) -> Float[Array, "atoms 2 batch"]:
    """Cosine and sine of every atom, summed over the symmetry operations."""

    def add(total, operation):
        rotation, translation = operation
        h, k, l = _combine(rotation.T, indices.T)  # noqa: E741  (hR)_j = Σ_i h_i R_ij
        phase = _combine(xyz, jnp.stack([h, k, l])) + _combine(translation[None], indices.T)
        # a cosine is a sine a quarter turn on: one polynomial does both
        wave = _sine_of_turns(jnp.stack([phase + 0.25, phase], axis=1))
        if u_star is not None:
            products = jnp.stack([h * h, k * k, l * l, 2 * h * k, 2 * h * l, 2 * k * l])
            wave *= jnp.exp(-2 * np.pi**2 * _combine(u_star, products))[:, None]
        return total + wave, None

    zero = jnp.zeros((xyz.shape[0], 2, indices.shape[0]), xyz.dtype)
    return jax.lax.scan(add, zero, (rotations, translations), unroll=UNROLL)[0]


def _combine(coefficients: Float[Array, "rows few"], basis: Float[Array, "few batch"]) -> Float[Array, "rows batch"]:
    """A matrix product with a short inner axis that fuses with what follows and never drops to TF32 on a GPU."""
    return sum(coefficients[:, j, None] * basis[j] for j in range(basis.shape[0]))  # pyright: ignore


def _with_inversion(pair: Planes, indices: Float[Array, "batch 3"], crystal: Crystal) -> Planes:
    """F + conj(F)·exp(2πi h·t), t the translation of the inversion: real form factors are assumed."""
    if crystal.inversion is None:
        return pair
    real, imag = pair[..., 0, :], pair[..., 1, :]
    turns = _combine(crystal.inversion[None], indices.T)[0]
    cosine, sine = _sine_of_turns(turns + 0.25), _sine_of_turns(turns)
    return jnp.stack([real + real * cosine + imag * sine, imag + real * sine - imag * cosine], axis=-2)


def _centring_factor(indices: Float[Array, "batch 3"], crystal: Crystal) -> Float[Array, " batch"]:
    """Number of lattice points per cell, 0 for a reflection that the centring forbids."""
    return _sine_of_turns(_combine(crystal.centring, indices.T) + 0.25).sum(axis=0)


@jax.custom_jvp
def _sine_of_turns(turns: Float[Array, "..."]) -> Float[Array, "..."]:
    """Sine of an angle given in turns, sin 2πx, that XLA can vectorise: seven times faster than the C library on a CPU.

    Reduced exactly to a quarter turn, its Taylor series (to x²¹ in float64, x¹³ in float32) is exact to rounding.
    """
    turns = turns - jnp.round(turns)
    quarter = jnp.where(jnp.abs(turns) > 0.25, jnp.sign(turns) * 0.5 - turns, turns)
    angle = 2 * np.pi * quarter
    square = angle * angle
    n_terms = 11 if turns.dtype == jnp.float64 else 7
    series = jnp.zeros_like(angle)
    for k in reversed(range(n_terms)):
        series = series * square + (-1) ** k / math.factorial(2 * k + 1)
    return series * angle


@_sine_of_turns.defjvp
def _sine_of_turns_jvp(primals, tangents):
    (turns,), (tangent,) = primals, tangents
    return _sine_of_turns(turns), 2 * np.pi * _sine_of_turns(turns + 0.25) * tangent
