"""Twins: crystals of several domains, whose intensities add up.

A domain that is turned by R against the first has, at h, the structure factor F(hR). The measured amplitude is the root
of Σ_k α_k |F(h R_k)|², α the fractions of the domains. So all that follows needs the reflections in orbits: h and all
that the twin laws and the point group make of it, which the target then sees together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import gemmi
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int
from scipy.optimize import nnls

from jax_occupancy.xray._checks import checked_hkl
from jax_occupancy.xray._crystal import keys_of
from jax_occupancy.xray._linear_model import LinearModel, PerGroup, PerHkl, root
from jax_occupancy.xray._targets import Target

# How far the lattice may be from a higher symmetry, in degrees.
MAX_OBLIQUITY = 3.0
# Elements of the largest group of rotations that a lattice has.
LARGEST_GROUP = 24
# Steps of scoring to the fractions, which are few and determined by all reflections.
FRACTION_STEPS = 8
RIDGE = 1e-6


def twin_laws(cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup) -> list[str]:
    """The twin laws that a lattice allows, as what becomes of h, k, l.

    Merohedral laws are symmetry of the lattice whatever its cell; pseudo-merohedral ones nearly are, by an angle of at
    most three degrees. Of laws that differ by symmetry of the crystal there is one, the shortest.

    Example:
        >>> twin_laws(gemmi.UnitCell(80, 80, 60, 90, 90, 90), gemmi.SpaceGroup("P 43"))
        ['k,h,-l']
    """
    found: dict[frozenset, list[str]] = {}
    of_crystal = _rotations(spacegroup)
    for op in gemmi.find_twin_laws(cell, spacegroup, MAX_OBLIQUITY, True):
        # gemmi asks for one axis of each law; a threefold one may still bend the others.
        if _turns_into_itself(cell, np.array(op.rot) / gemmi.Op.DEN):
            found.setdefault(_double_coset(of_crystal, _key(np.array(op.rot))), []).append(op.as_hkl().triplet())
    return [min(same, key=len) for same in found.values()]


@dataclass(frozen=True, eq=False)
class TwinOrbits:
    """Reflections in orbits of the twin laws: those of each one after the other, whether they were measured or not.

    Example:
        >>> crystal = {"cell": gemmi.UnitCell(80, 80, 60, 90, 90, 90), "spacegroup": gemmi.SpaceGroup("P 43")}
        >>> orbits = TwinOrbits.of(np.array([[1, 2, 3], [0, 1, 5]]), ["k,h,-l"], **crystal)
        >>> orbits.hkl.tolist()
        [[0, 1, 5], [0, 1, 5], [1, 2, 3], [2, 1, 3]]
    """

    hkl: Int[np.ndarray, "all 3"]  # those that are their own mates are there more than once
    rows: Int[np.ndarray, " reflections"]  # where each of those that were given is among them
    domains: Float[np.ndarray, "domains size size"]  # which members of an orbit each domain adds to which

    @classmethod
    def of(
        cls, hkl: np.ndarray, laws: Sequence[str], *, cell: gemmi.UnitCell, spacegroup: gemmi.SpaceGroup
    ) -> "TwinOrbits":
        """Bring the mates of reflections, (reflections, 3), together.

        Raises:
            ValueError: a law is none, or not of this lattice; `hkl` is not integers of that shape.
        """
        hkl, of_crystal = checked_hkl(hkl), _rotations(spacegroup)
        of_laws = [_key(_rotation(law, cell)) for law in laws]
        for i, (law, rotation) in enumerate(zip(laws, of_laws, strict=True)):
            if rotation in of_crystal:
                raise ValueError(f"twin law {law} is a symmetry of {spacegroup.xhm()}, under which nothing is twinned")
            for other, before in zip(laws[:i], of_laws, strict=False):
                if before in _double_coset(of_crystal, rotation):
                    raise ValueError(f"twin laws {other} and {law} are the same law in {spacegroup.xhm()}; keep one")
        cosets, domains = _cosets(of_crystal, of_laws)

        def members(some: np.ndarray) -> np.ndarray:
            turned = np.concatenate([some @ np.reshape(one, (3, 3)) for one in cosets])
            if np.any(turned % gemmi.Op.DEN):
                raise ValueError(f"twin law {', '.join(laws)}: not all reflections have mates with whole indices")
            mates = turned // gemmi.Op.DEN
            in_asu = gemmi.IntAsuData(cell, spacegroup, mates, np.zeros(len(mates), np.int32))
            in_asu.ensure_asu()
            return np.array(in_asu.miller_array).reshape(len(cosets), -1, 3).swapaxes(0, 1)

        mates = members(hkl)
        _, first, orbit = np.unique(keys_of(mates).min(axis=1), return_index=True, return_inverse=True)
        starts = mates[first, np.argmin(keys_of(mates[first]), axis=1)]
        orbits = members(starts)
        own = np.all(orbits[orbit] == mates[:, :1], axis=2)
        return cls(orbits.reshape(-1, 3), orbit * len(cosets) + np.argmax(own, axis=1), domains)

    @property
    def number(self) -> Int[np.ndarray, " reflections"]:
        """The number of the orbit of each reflection that was given."""
        return self.rows // self.domains.shape[1]

    def powers(self, square: Float[np.ndarray, " reflections"]) -> Float[np.ndarray, "domains reflections"]:
        """What each domain would add to the intensities, from those of a single crystal; NaN where a mate lacks."""
        keys, number = np.unique(keys_of(self.hkl), return_inverse=True)
        known = np.full(keys.size, np.nan)
        known[number[self.rows]] = square
        of_orbits = known[number].reshape(-1, self.domains.shape[1])
        there = np.isfinite(of_orbits)
        mixed, lacks = (np.einsum("oi,kji->koj", one, self.domains) for one in (np.where(there, of_orbits, 0), ~there))
        return np.where(lacks > 0, np.nan, mixed).reshape(len(mixed), -1)[:, self.rows]


def own_share(powers: Float[ArrayLike, "domains reflections"], fractions: ArrayLike | Sequence[float]) -> np.ndarray:
    """The amplitude of the first domain relative to that of the twin, by which data are detwinned.

    Example:
        >>> own_share(np.array([[9.0, 1.0], [1.0, 9.0]]), [0.5, 0.5]).round(3).tolist()
        [1.342, 0.447]
    """
    own, whole = np.asarray(powers, np.float64)[0], np.asarray(fractions, np.float64) @ np.asarray(powers, np.float64)
    return np.sqrt(np.divide(own, whole, out=np.ones(whole.shape), where=whole > 0))


def fit_fractions(
    target: Target, powers: Float[ArrayLike, "domains reflections"], start: ArrayLike | Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...], float]:
    """Fractions of the domains where a target is lowest, their esds (NaN on the bound of zero), and its value there.

    Args:
        target: for the present model, with amplitudes of the twin.
        powers: intensities of each domain as the whole crystal; overall scales need not be right.
        start: fractions to start from, none of them negative.
    """
    scale, powers = np.array(start, np.float64), jnp.asarray(powers)
    for _ in range(FRACTION_STEPS):
        _, slope, curvature = _scores(target, powers, scale)
        root = np.linalg.cholesky(curvature).T
        scale = nnls(root, root @ scale - np.linalg.solve(root.T, slope))[0]
    value, _, curvature = _scores(target, powers, scale)
    fractions, there = scale / scale.sum(), scale > 0
    covariance = np.zeros(curvature.shape)
    covariance[np.ix_(there, there)] = np.linalg.inv(curvature[np.ix_(there, there)])
    if not target.is_likelihood:  # its variance is what is left over
        covariance *= 2 * value / np.count_nonzero(target.weight)
    relative = (np.eye(scale.size) - fractions[:, None]) / scale.sum()
    esds = np.where(there, np.sqrt(np.einsum("ij,jk,ik->i", relative, covariance, relative)), np.nan)
    return tuple(fractions.tolist()), tuple(esds.tolist()), value


def _scores(target: Target, powers: Array, scale: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The target, and its first and second derivatives by the scale of each domain."""
    value, slope, curvature = (np.asarray(one, np.float64) for one in _compiled(target, powers, jnp.asarray(scale)))
    # Powers of domains that hardly differ, or are zero, leave it singular to single precision.
    ridge = RIDGE * np.diag(np.diag(curvature)) + np.finfo(np.float32).tiny * np.eye(len(scale))
    return value.item(), slope, curvature + ridge


@eqx.filter_jit
def _compiled(target: Target, powers: Array, scale: Array) -> tuple[Array, Array, Array]:
    square = jnp.dot(scale.astype(powers.dtype), powers, precision="highest")
    amplitude = jnp.sqrt(jnp.maximum(square, 1e-20))
    slope = jax.grad(lambda one: jnp.sum(target(one)))(amplitude)
    lever = powers / (2 * amplitude)
    weighted = lever * target.information(amplitude)
    first, second = (jnp.dot(one, lever.T, precision="highest") for one in (slope, weighted))
    return jnp.sum(target(amplitude)), first, second


class TwinnedModel(LinearModel):
    """The linear model of a twin, for reflections in orbits.

    Example:
        >>> ones, groups = jnp.ones(2), jnp.zeros((1, 2)) + 0j
        >>> one = LinearModel.from_structure_factors(jnp.array([3.0, 1.0]), 0 * ones, groups, ones, ones)
        >>> swapped = jnp.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
        >>> twin = TwinnedModel.of(one, swapped, jnp.array([0.75, 0.25]))
        >>> (twin.amplitude(jnp.zeros(1)) ** 2).round(4).tolist()  # 3/4 of 9 and 1/4 of 1; the reverse
        [7.0, 3.0]
    """

    domains: Float[Array, "domains size size"] | Any = None
    fractions: Float[Array, " domains"] | Any = None

    @classmethod
    def of(cls, model: LinearModel, domains, fractions) -> "TwinnedModel":
        """The twin of a model of one domain."""
        real = model.overall.dtype
        return cls(**vars(model), domains=jnp.asarray(domains, real), fractions=jnp.asarray(fractions, real))

    def with_fractions(self, fractions: ArrayLike | Sequence[float]) -> "TwinnedModel":
        """Copy with other fractions of the domains, (domains,)."""
        return eqx.tree_at(lambda one: one.fractions, self, jnp.asarray(fractions, self.overall.dtype))

    @property
    def _mixing(self) -> Float[Array, "size size"]:
        """How much of the intensity of each member of an orbit every member is seen with."""
        return jnp.einsum("k,kij->ij", self.fractions, self.domains, precision="highest")

    def powers(self, occupancies: PerGroup, delta_b: PerGroup | None = None) -> Float[Array, "domains reflections"]:
        """What each domain would add to the intensities if it were the whole crystal."""
        return self.powers_of(self._pair(occupancies, delta_b))

    def powers_of(self, pair: Float[Array, "2 reflections"]) -> Float[Array, "domains reflections"]:
        """The same from structure factors that are there already."""
        square = jnp.sum(pair**2, axis=0)
        orbits = square.reshape(-1, self._mixing.shape[0])
        return jnp.einsum("oi,kji->koj", orbits, self.domains, precision="highest").reshape(-1, square.size)

    def size(self, pair: Float[Array, "*sets 2 reflections"]) -> Float[Array, "*sets reflections"]:
        """The amplitude of the twin."""
        square = jnp.sum(pair**2, axis=-2)
        mixing = self._mixing
        orbits = square.reshape(*square.shape[:-1], -1, len(mixing))
        return root(jnp.dot(orbits, mixing.T, precision="highest").reshape(square.shape))

    def size_and_direction(
        self, pair: Float[Array, "2 reflections"]
    ) -> tuple[PerHkl, Float[Array, "size 2 reflections"]]:
        """The amplitudes, and for each member of an orbit how its own depends on the structure factors of all."""
        mixing, amplitude = self._mixing, self.size(pair)
        inverse = jnp.where(amplitude > 0, 1 / jnp.where(amplitude > 0, amplitude, 1.0), 0.0)
        factor = mixing[:, None, :] * inverse.reshape(-1, len(mixing)).T[:, :, None]
        return amplitude, factor.reshape(len(mixing), 1, -1) * (pair * self.overall)


def _key(rotation: np.ndarray) -> tuple[int, ...]:
    return tuple(int(one) for one in np.ravel(rotation))


def _times(one: tuple, other: tuple) -> tuple[int, ...]:
    return _key(np.reshape(one, (3, 3)) @ np.reshape(other, (3, 3)) // gemmi.Op.DEN)


def _rotations(spacegroup: gemmi.SpaceGroup) -> list[tuple[int, ...]]:
    """The proper part of the point group: an amplitude does not tell h from −h."""
    found = [np.array(op.rot) for op in spacegroup.operations().sym_ops]
    return list(dict.fromkeys(_key(one * round(np.linalg.det(one / gemmi.Op.DEN))) for one in found))


def _rotation(law: str, cell: gemmi.UnitCell) -> np.ndarray:
    """The matrix of a law, for rows of indices, which must leave the cell nearly as it is; −R is the same as R."""
    try:
        rotation = np.array(gemmi.parse_triplet(law, "h").rot)
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{law!r} is no twin law; wanted what becomes of h, k, l, such as k,h,-l") from error
    rotation = rotation * (-1 if np.linalg.det(rotation) < 0 else 1)
    if not _turns_into_itself(cell, rotation / gemmi.Op.DEN):
        raise ValueError(f"twin law {law} does not turn the lattice into itself")
    return rotation


def _turns_into_itself(cell: gemmi.UnitCell, turn: Float[np.ndarray, "3 3"]) -> bool:
    """Whether a rotation of rows of indices keeps lengths and angles of the reciprocal axes, within the obliquity."""
    axes = np.array(cell.frac.mat.tolist())
    metric = axes @ axes.T
    apart = np.abs(turn @ metric @ turn.T - metric) / np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    return bool(abs(np.linalg.det(turn) - 1) < 1e-6 and apart.max() <= np.sin(np.radians(2 * MAX_OBLIQUITY)))


def _double_coset(of_crystal: list, law: tuple) -> frozenset:
    return frozenset(_times(_times(one, law), other) for one in of_crystal for other in of_crystal)


def _cosets(of_crystal: list, laws: list) -> tuple[list, Float[np.ndarray, "domains size size"]]:
    """Representatives c of the cosets c·Γ, and for each domain its matrix: F(h c R) for all c, mean over ΓRΓ.

    Twins by R and by what symmetry of the crystal makes of R are the same law, and there are equal parts of each.
    """
    group = set(of_crystal)
    while len(group) <= LARGEST_GROUP:
        larger = group | {_times(one, law) for one in group for law in [*laws, *of_crystal]}
        if len(larger) == len(group):
            break
        group = larger
    if len(group) > LARGEST_GROUP:
        raise ValueError("twin laws: together they make no group of rotations of a lattice")
    cosets, number = [], {}
    for one in [_key(gemmi.Op.DEN * np.eye(3)), *laws, *sorted(group)]:
        if one not in number:
            number |= {_times(one, other): len(cosets) for other in of_crystal}
            cosets.append(one)
    domains = np.zeros((1 + len(laws), len(cosets), len(cosets)))
    domains[0] = np.eye(len(cosets))
    for domain, law in zip(domains[1:], laws, strict=True):
        for c, one in enumerate(cosets):
            for symmetry in of_crystal:
                domain[c, number[_times(_times(one, symmetry), law)]] += 1 / len(of_crystal)
    return cosets, domains
