"""Checks of what people hand to the constructor, on host numpy, before anything is built."""

import itertools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

# Room for the rounding of a sum of float32 occupancies.
ROUNDING = 1e-6


def first_five(items: Iterable[Any], show: Callable[[Any], str] = str) -> str:
    """List the first five offenders, and say so if there are more."""
    shown = [show(item) for item in itertools.islice(items, 6)]
    return ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")


def host_array(value: Any, argument: str) -> np.ndarray:
    """Bring a static argument to the host; a tracer is refused because a topology can't depend on it."""
    if isinstance(value, Tracer):
        raise TypeError(
            f"{argument} is traced (inside jit, grad or vmap), but an OccupancyTensor is constructed from concrete "
            "values: construct it outside and pass it in, or use with_occupancies(values), which may be traced"
        )
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{argument} is not a rectangular array of numbers: {error}") from error


def check_occupancies(value: Any, *, use_sigmoid: bool) -> np.ndarray:
    """Check atom-space occupancies: numbers, one axis, finite, and from 0 to 1 unless they are stored raw."""
    array = host_array(value, "initial_values")
    if array.ndim != 1:
        raise ValueError(
            f"initial_values must have one axis, one occupancy per atom, but has shape {array.shape}; "
            "for several models build one tensor and give it stacked values by with_occupancies"
        )
    if array.dtype.kind not in "biuf" and array.dtype != jnp.bfloat16:
        raise TypeError(f"initial_values must be real numbers, not {array.dtype}")
    values = array.astype(np.float64)
    wrong = ~np.isfinite(values)
    if use_sigmoid:
        wrong |= (values < 0) | (values > 1)
    if wrong.any():
        what = "finite and from 0 to 1" if use_sigmoid else "finite"
        offenders = first_five(np.flatnonzero(wrong), lambda atom: f"atom {atom}: {array[atom]}")
        raise ValueError(
            f"initial_values must be {what}, but {wrong.sum()} are not ({offenders}); clip or correct them"
        )
    return array


def check_dtype(dtype: Any, values: Any) -> np.dtype:
    """Choose the float type: the one asked for, else the input's, else JAX' default."""
    if dtype is None:
        wanted = jnp.result_type(float) if values.dtype.kind in "biu" else jax.dtypes.canonicalize_dtype(values.dtype)
    else:
        wanted = jnp.dtype(dtype)
        if wanted == np.float64 and jax.dtypes.canonicalize_dtype(wanted) != wanted:
            raise ValueError(
                "dtype float64 needs 64-bit JAX: jax.config.update('jax_enable_x64', True), or ask for dtype='float32'"
            )
    if wanted not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, not {wanted}: an occupancy needs the digits; pass dtype=")
    return np.dtype(wanted)


def check_index(value: Any, argument: str) -> int:
    if isinstance(value, Tracer):
        raise TypeError(f"{argument} is traced, but it must be a concrete integer; the value set may be traced")
    try:
        if isinstance(value, bool | np.bool_):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{argument} must be an integer, not {value!r}") from None


def check_margin(margin: float | int) -> float:
    """Check the distance that refinable values keep from 0 and 1."""
    if not 0 <= margin < 0.5:
        raise ValueError(f"margin must be from 0 to below 0.5, not {margin}")
    return float(margin)


def check_mask(mask: Any, n_atoms: int, argument: str) -> np.ndarray:
    array = host_array(mask, argument)
    if array.dtype != bool:
        raise TypeError(f"{argument} must be boolean, one entry per atom, not {array.dtype}; for indices use np.isin")
    if array.shape != (n_atoms,):
        raise ValueError(f"{argument} must have shape ({n_atoms},), one entry per atom, not {array.shape}")
    return array


def check_groups(groups: Any, n_atoms: int) -> tuple[np.ndarray, int]:
    """The sharing group of each atom, -1 for none, and how many groups there are."""
    if groups is None:
        return np.full(n_atoms, -1), 0
    # numpy, JAX and pandas have a type; lists of lists have none, and arrays of lists that of objects
    if getattr(groups, "dtype", "object") != "object" and np.ndim(groups) == 1:
        return _groups_from_labels(host_array(groups, "sharing_groups"), n_atoms)
    if not isinstance(groups, Iterable) or isinstance(groups, str | bytes):
        raise TypeError("sharing_groups must be a list of lists of atom indices, or an integer array of labels")
    groups = list(groups)
    shown = f"sharing_groups={groups[:3]!r}{'...' if len(groups) > 3 else ''}"
    if groups and all(isinstance(group, str) for group in groups):
        raise TypeError(
            f"{shown} holds names; labels, one per atom, must be an integer array: pandas.factorize numbers names"
        )
    if groups and not any(isinstance(group, Iterable) for group in groups):
        raise ValueError(
            f"{shown} holds numbers, not lists of atom indices: one group is [[0, 1, 2]]; labels, one per atom, must "
            "be an integer array"
        )
    advice = "each atom shares one occupancy; merge the groups"
    group_of_atom, sizes = _partition(groups, n_atoms, lambda i: f"sharing_groups[{i}]", advice)
    if not np.all(sizes):
        raise ValueError(f"sharing_groups[{np.argmin(sizes)}] is empty; leave it out")
    return group_of_atom, sizes.size


def check_conformers(
    altloc_groups: Any, n_atoms: int, parents: set, wholes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The conformer of each atom, counted through all sets, -1 for none; size and set of each conformer."""
    sets, conformers = [], []
    for s, members in enumerate(altloc_groups):
        if not isinstance(members, Iterable) or not all(isinstance(member, Iterable) for member in members):
            raise ValueError(
                f"altloc_groups[{s}] must be a list of conformers, each a list of atom indices: [[0, 1], [2, 3]]"
            )
        members = list(members)
        if len(members) < (2 if wholes[s] == 1 else 1):
            raise ValueError(
                f"altloc_groups[{s}] has {len(members)} conformer(s); alternatives need at least two, and a group that "
                "is free from 0 to 1 belongs into sharing_groups"
            )
        sets += [(s, m) for m in range(len(members))]
        conformers += members

    def where(i):
        return "altloc_groups[{}][{}]".format(*sets[i])

    advice = "an atom belongs to one conformer of one set"
    conformer_of_atom, sizes = _partition(conformers, n_atoms, where, advice)
    childless = np.bincount([sets[i][0] for i in np.flatnonzero(sizes == 0) if sets[i] not in parents], minlength=1)
    if childless.max() > 1:
        raise ValueError(
            f"altloc_groups[{childless.argmax()}] has {childless.max()} conformers without atoms that parent no other "
            "set; one can stand for the rest of the crystal, more can't be told apart"
        )
    return conformer_of_atom, sizes, np.array([s for s, _ in sets], np.int32)


def check_list(value: Any, argument: str) -> list:
    """Turn an optional iterable with one entry per set into a list."""
    if value is None:
        return []
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"{argument} must be a list with one entry per set, not {value!r}")
    return list(value)


def check_complete(complete: Any, n_sets: int) -> np.ndarray:
    """Spread `complete` over the sets."""
    array = host_array(complete, "complete")
    if array.dtype != bool and array.size:
        raise TypeError(f"complete must be a bool or one bool per set, not {complete!r}")
    if array.ndim and array.shape != (n_sets,):
        raise ValueError(
            f"complete has {array.size} entries for {n_sets} sets in altloc_groups; give one each, or one bool"
        )
    return np.broadcast_to(array, (n_sets,)).astype(bool)


def check_wholes(wholes: Any, parents: list) -> np.ndarray:
    """Spread what there is to share over the sets; those with a parent share out what that has."""
    array = host_array(wholes, "wholes")
    if array.dtype.kind not in "iuf":
        raise TypeError(f"wholes must be a number or one number per set, not {wholes!r}")
    array = array.astype(np.float64)
    if array.ndim and array.shape != (len(parents),):
        raise ValueError(
            f"wholes has shape {array.shape} for {len(parents)} sets in altloc_groups; give one each, or one number"
        )
    array = np.broadcast_to(array, (len(parents),)).copy()
    nested = np.array([parent is not None for parent in parents], bool)
    wrong = ~((array > 0) & (array <= 1)) | (nested & (array != 1))
    if wrong.any():
        raise ValueError(
            f"wholes must be above 0 and at most 1, and 1 for sets with a parent, not {first_five(array[wrong])}"
        )
    return array


def check_parents(parents: Any, n_sets: int) -> list[int | tuple[int, int] | None]:
    """Check the form of `parents`: one entry per set, None, a sharing group, or (set, member)."""
    if parents is None:
        return [None] * n_sets
    parents = check_list(parents, "parents")
    if len(parents) != n_sets:
        raise ValueError(
            f"parents has {len(parents)} entries for {n_sets} sets in altloc_groups; give one each (or None)"
        )
    checked: list[int | tuple[int, int] | None] = []
    for s, parent in enumerate(parents):
        try:
            if parent is None:
                checked.append(None)
            elif isinstance(parent, Sequence):
                above, member = (operator.index(part) for part in parent)
                checked.append((above, member))
            else:
                checked.append(operator.index(parent))
        except (TypeError, ValueError):
            raise TypeError(
                f"parents[{s}] must be None, a sharing group's index, or (set, member), not {parent!r}"
            ) from None
    return checked


def _groups_from_labels(labels: np.ndarray, n_atoms: int) -> tuple[np.ndarray, int]:
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"sharing_groups given as labels must be integers, one per atom, not {labels.dtype}; "
            "pandas.factorize numbers names"
        )
    if labels.shape != (n_atoms,):
        raise ValueError(
            f"sharing_groups given as labels must have shape ({n_atoms},), one per atom, not {labels.shape}"
        )
    group_of_atom = np.full(n_atoms, -1)
    present, group_of_atom[labels >= 0] = np.unique(labels[labels >= 0], return_inverse=True)
    return group_of_atom, present.size


def _partition(
    lists: list[Any], n_atoms: int, where: Callable[[int], str], advice: str
) -> tuple[np.ndarray, np.ndarray]:
    """The list that names each atom, -1 for none, and the lengths of the lists; an atom may be named once."""
    flat = list(itertools.chain.from_iterable(lists)) if all(type(one) is list for one in lists) else [None]
    if set(map(type, flat)) <= {int}:
        # Lists of Python integers: an array of each would take seconds for a million.
        atoms, sizes = np.array(flat, dtype=None if flat else int), np.array([len(one) for one in lists], int)
    else:
        arrays = [_index_array(one, where(i)) for i, one in enumerate(lists)]
        atoms, sizes = np.concatenate(arrays), np.array([array.size for array in arrays])
    owner = np.repeat(np.arange(sizes.size), sizes)
    outside = (atoms < 0) | (atoms >= n_atoms)
    if outside.any():
        i = owner[outside][0]
        offenders = first_five(atoms[outside & (owner == i)])
        raise ValueError(f"{where(i)} names atoms outside 0...{n_atoms - 1}: {offenders}")
    twice = np.flatnonzero(np.bincount(atoms, minlength=1) > 1)
    if twice.size:

        def show(atom):
            return f"atom {atom} in " + " and ".join(where(i) for i in owner[atoms == atom][:2])

        raise ValueError(f"{twice.size} atom(s) are listed twice ({first_five(twice, show)}); {advice}")
    list_of_atom = np.full(n_atoms, -1)
    list_of_atom[atoms] = owner
    return list_of_atom, sizes


def _index_array(group: Any, where: str) -> np.ndarray:
    array = host_array(group, where)
    if array.ndim != 1:
        raise ValueError(f"{where} must be a list of atom indices, not {group!r:.60}")
    if array.size and array.dtype.kind not in "iu":
        raise TypeError(f"{where} must hold integer atom indices, not {array.dtype} ({first_five(array)})")
    return array.astype(np.int64)
