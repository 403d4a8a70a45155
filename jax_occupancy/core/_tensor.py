"""OccupancyTensor: collapsed logits and a static topology."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from jax_occupancy.core import _edit
from jax_occupancy.core._arguments import check_dtype, check_index, check_margin, check_occupancies
from jax_occupancy.core._build import build_topology, start_values
from jax_occupancy.core._residues import residue_labels
from jax_occupancy.core._simplex import atom_occupancies, group_occupancies, to_logits
from jax_occupancy.core._topology import Topology

# How far a refinable start value is kept from a bound, where its gradient would vanish.
MARGIN = 1e-4


class OccupancyTensor(eqx.Module):
    """Occupancies of the atoms of a structure, stored once per group of atoms that share one.

    An immutable pytree with one float leaf, `logits` (collapsed space), and one static, hashable `topology`: new logits
    never recompile. Calling it gives the occupancies in atom space, where conformers that exclude each other sum to
    one, or to at most one. Methods that change something return a new tensor. Train it through `refinable_only`.

    Args:
        initial_values: occupancy of each atom, from 0 to 1, shape (atoms,). A group starts at the mean of its atoms.
            Float types are kept; ints and bools become JAX' default float.
        sharing_groups: lists of atom indices, one list per group of atoms that share one occupancy; or one integer
            label per atom, shape (atoms,) (groups in the order of their labels, a negative label means independent).
        altloc_groups: sets of mutually exclusive conformers, each set a list of conformers, each conformer a list of
            atom indices that is one of the sharing groups or becomes one. A conformer may be an empty list: an entry
            without atoms, such as a state that other sets name as their parent, or (one per set) its absence.
        complete: whether the conformers of a set sum to their whole (True) or to at most that (False): one bool, or
            one per set.
        parents: for nested sets, one entry per set: None (it shares out the whole crystal), the index of a sharing
            group, or (set, member) for a conformer; the set then sums to its parent's occupancy.
        wholes: what the sets without a parent share out, one number, or one per set: 1, or less where what they hold
            leaves no room for its own symmetry images (0.5 across a 2-fold axis). Such a set may have one conformer.
        refinable_mask: which atoms may change, bool, shape (atoms,). A group is refinable if any of its atoms is.
        requires_grad: False starts with every entry fixed, as after `freeze_all()`.
        dtype: float32 or float64; by default the type of `initial_values`. float64 needs JAX' 64-bit mode.
        device: where the logits live, a `jax.Device` or sharding.
        name: name of the tensor, for messages.
        labels: names of the sharing groups (those given, then those made from conformers), for messages and tables.
        use_sigmoid: False stores the occupancies themselves, unbounded; not with altloc_groups.
        margin: a refinable start value closer to 0 or 1 than this is lifted to it, else it could never move.

    Raises:
        ValueError: values outside 0...1, wrong shapes, atoms in two groups, indices out of range, a set with one
            conformer, fixed members that sum above one; the message names the first offenders.
        TypeError: traced or non-numeric arguments, non-integer indices, a mask that is not boolean.

    Example:
        >>> import numpy as np
        >>> occ = OccupancyTensor([1.0, 1.0, 0.6, 0.6, 0.4], altloc_groups=[[[2, 3], [4]]])
        >>> occ.shape, occ.collapsed_shape
        ((5,), (4,))
        >>> print(np.asarray(occ.set_group_occupancy(0, 0.7)()).round(3))
        [1.  1.  0.7 0.7 0.3]
    """

    logits: Float[Array, "*models collapsed"]
    topology: Topology = eqx.field(static=True)

    def __init__(
        self,
        initial_values: Any,
        sharing_groups: Any = None,
        *,
        altloc_groups: Any = None,
        complete: Any = True,
        parents: Any = None,
        wholes: Any = 1.0,
        refinable_mask: Any = None,
        requires_grad: bool = True,
        dtype: Any = None,
        device: Any = None,
        name: str | None = None,
        labels: Sequence[str] | None = None,
        use_sigmoid: bool = True,
        margin: float | int = MARGIN,
    ):
        values = check_occupancies(initial_values, use_sigmoid=use_sigmoid)
        dtype = check_dtype(dtype, values)
        if not requires_grad:
            refinable_mask = np.zeros(values.size, bool)
        topology = build_topology(
            values.size,
            sharing_groups,
            altloc_groups,
            complete=complete,
            parents=parents,
            wholes=wholes,
            refinable_mask=refinable_mask,
            use_sigmoid=use_sigmoid,
            name=name,
            labels=labels,
        )
        q = start_values(values.astype(np.float64), topology)
        logits = to_logits(q, topology, check_margin(margin)).astype(dtype)
        self.topology = topology
        self.logits = jax.device_put(logits, device)

    def __check_init__(self):
        # The leaf may be a tracer or a placeholder here, so only a shape that exists is compared.
        shape = getattr(self.logits, "shape", None)
        if shape is not None and shape[-1:] != (self.topology.n_collapsed,):
            raise ValueError(
                f"logits must have {self.topology.n_collapsed} entries on the last axis, not shape {shape}"
            )

    @classmethod
    def from_residue_groups(cls, initial_values: Any, pdb_dataframe: Any, **kwargs: Any):
        """Share one occupancy within each conformer of each residue, in the order they first appear.

        Args:
            initial_values: occupancy of each atom, shape (atoms,).
            pdb_dataframe: one row per atom, in atom order whatever its index, with the columns `resname`, `resseq`,
                `chainid`, `altloc` and optionally `icode`; or as biopandas or mmCIF (`_atom_site`) name them. A
                missing altloc may be NaN, None, "", " ", "." or "?".
            **kwargs: passed on to the constructor.

        Raises:
            ValueError: a column is missing (named), or the number of rows is not the number of values.

        Example:
            >>> import pandas as pd
            >>> atoms = pd.DataFrame({"resname": ["ALA"] * 3 + ["SER"], "resseq": [1, 1, 1, 2],
            ...                       "chainid": ["A"] * 4, "altloc": ["", "A", "B", None]})
            >>> OccupancyTensor.from_residue_groups([1.0, 0.5, 0.5, 1.0], atoms).expansion_mask
            array([0, 1, 2, 3], dtype=int32)
        """
        labels, names = residue_labels(pdb_dataframe, n_atoms=np.size(initial_values))
        altlocs = kwargs.get("altloc_groups")
        return cls(initial_values, labels, labels=kwargs.pop("labels", None if altlocs else names), **kwargs)

    @classmethod
    def from_logits(cls, logits: Any, topology: Topology, *, dtype: Any = None) -> "OccupancyTensor":
        """Put logits, shape (..., collapsed), traced or placeholders too, and the topology of another tensor together.

        `jax.export` serialises functions of arrays: export one of the logits, which puts them together, or of the
        leaves that `jax.tree.flatten` finds, which unflattens them; the topology is written with it.

        Args:
            dtype: float32 or float64; None takes the logits as they are.

        Raises:
            ValueError: there is not one logit per entry of the topology, or `dtype` is float64 and JAX has 32 bits.
            TypeError: `dtype` is not a float type that occupancies can have.

        Example:
            >>> occ = OccupancyTensor([0.5, 0.5, 1.0], [[0, 1]])
            >>> OccupancyTensor.from_logits(jnp.zeros(2), occ.topology)().tolist()
            [0.5, 0.5, 0.5]
            >>> from jax import export
            >>> of_logits = jax.jit(lambda logits: OccupancyTensor.from_logits(logits, occ.topology)())
            >>> export.export(of_logits)(occ.logits).call(jnp.zeros(2)).tolist()
            [0.5, 0.5, 0.5]
        """
        if dtype is not None:
            logits = jnp.asarray(logits, check_dtype(dtype, logits))
        # `eqx.tree_at` and `dataclasses.replace` can't exchange a static field of a module with its own `__init__`.
        tensor = object.__new__(cls)
        object.__setattr__(tensor, "logits", logits)
        object.__setattr__(tensor, "topology", topology)
        tensor.__check_init__()
        return tensor

    def __call__(self) -> Float[Array, "*models atoms"]:
        """Evaluate the occupancies in atom space, shape (..., atoms)."""
        self.__check_init__()
        return atom_occupancies(self.logits, self.topology)

    def __repr__(self):
        topology = self.topology
        sets = f"{topology.n_sets} ({int(topology.complete.sum())} complete)" if topology.n_sets else "0"
        name = f"{topology.name!r}, " if topology.name else ""
        return (
            f"OccupancyTensor({name}atoms={topology.n_atoms}, collapsed_shape={getattr(self.logits, 'shape', None)}, "
            f"groups={topology.n_groups}, sets={sets}, refinable={self.get_refinable_count()}, "
            f"fixed={self.get_fixed_count()}, dtype={getattr(self.logits, 'dtype', type(self.logits).__name__)})"
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in atom space, (..., atoms)."""
        return (*self.logits.shape[:-1], self.topology.n_atoms)

    @property
    def collapsed_shape(self) -> tuple[int, ...]:
        """Shape in collapsed space, (..., collapsed)."""
        return self.logits.shape

    @property
    def dtype(self) -> Any:
        """Float type of the logits and of the occupancies."""
        return self.logits.dtype

    @property
    def expansion_mask(self) -> Int[np.ndarray, " atoms"]:
        """Index into collapsed space that each atom reads."""
        return self.topology.expansion_index

    @property
    def sharing_groups(self) -> tuple[Int[np.ndarray, " _"], ...]:
        """Atom indices of each sharing group."""
        return self.topology.sharing_groups

    @property
    def group_map(self) -> Int[np.ndarray, " atoms"]:
        """Sharing group of each atom, -1 for an independent atom."""
        return self.topology.group_map

    @property
    def refinable_mask(self) -> Bool[np.ndarray, " collapsed"]:
        """Whether each entry of collapsed space may change."""
        return self.topology.refinable

    @property
    def refinable_params(self) -> Float[Array, "*models refinable"]:
        """Logits of the refinable entries alone: the reduced vector for L-BFGS and line searches."""
        return self.logits[..., np.flatnonzero(self.topology.refinable)]

    @property
    def fixed_values(self) -> Float[Array, "*models collapsed"]:
        """Logits of the fixed entries in collapsed space, zero where an entry is refinable."""
        return jnp.where(self.topology.refinable, 0, self.logits)

    @property
    def group_occupancies(self) -> Float[Array, "*models collapsed"]:
        """Occupancies in collapsed space, one per entry."""
        return group_occupancies(self.logits, self.topology)

    def get_refinable_count(self) -> int:
        """Number of refinable entries of collapsed space."""
        return int(self.topology.refinable.sum())

    def get_fixed_count(self) -> int:
        """Number of fixed entries of collapsed space."""
        return self.topology.n_collapsed - self.get_refinable_count()

    def get_refinable_atoms(self) -> Bool[np.ndarray, " atoms"]:
        """Whether each atom's occupancy may change."""
        return self.topology.refinable[self.topology.expansion_index]

    def get_frozen_atoms(self) -> Bool[np.ndarray, " atoms"]:
        """Whether each atom's occupancy is fixed."""
        return ~self.get_refinable_atoms()

    def get_group_occupancy(self, group_idx: Any) -> Float[Array, "*models"]:
        """Occupancy of one sharing group; an IndexError if there is no such group."""
        return self.group_occupancies[..., self._entry(group_idx)]

    def with_refinable_params(self, vector: ArrayLike) -> "OccupancyTensor":
        """Put a reduced vector of logits, shape (..., refinable), back, the inverse of `refinable_params`.

        Raises:
            ValueError: the last axis does not have one logit per refinable entry.

        Example:
            >>> occ = OccupancyTensor([0.3, 1.0], refinable_mask=[False, True])
            >>> occ.with_refinable_params(occ.refinable_params) == occ
            Array(True, dtype=bool)
        """
        vector = jnp.asarray(vector, self.dtype)
        if vector.shape[-1:] != (self.get_refinable_count(),):
            raise ValueError(
                f"vector must have {self.get_refinable_count()} entries on its last axis, one per refinable entry, "
                f"not shape {vector.shape}"
            )
        _edit.refuse(jnp.isnan(vector), lambda: "vector holds NaN")
        models = jnp.broadcast_shapes(vector.shape[:-1], self.logits.shape[:-1])
        whole = jnp.broadcast_to(self.logits, (*models, self.topology.n_collapsed))
        return self._with_logits(whole.at[..., np.flatnonzero(self.topology.refinable)].set(vector))

    def with_occupancies(self, values: Any, *, margin: float | int = MARGIN) -> "OccupancyTensor":
        """Take new occupancies in atom space; may be traced, so it works under jit and vmap.

        Fixed entries keep their values, below a parent their fractions of it. A group takes the mean of its atoms, and
        a set whose members don't sum to what they must is normalised. Leading axes make a stack of models.

        Args:
            values: occupancies, shape (..., atoms).
            margin: how far refinable entries are kept from 0 and 1; 0 keeps them exactly on the bound.

        Raises:
            ValueError: wrong shape, or (outside a trace) values outside 0...1.

        Example:
            >>> occ = OccupancyTensor([0.5, 0.5, 1.0], [[0, 1]])
            >>> print(np.asarray(occ.with_occupancies([0.2, 0.4, 0.9])()).round(3))
            [0.3 0.3 0.9]
        """
        values = _edit.checked_values(values, self.topology, self.topology.n_atoms, self.dtype)
        new = _edit.with_atom_occupancies(self.logits, values, self.topology, check_margin(margin))
        return self._with_logits(new)

    def with_group_occupancies(self, values: Any, *, margin: float | int = MARGIN) -> "OccupancyTensor":
        """Take new occupancies in collapsed space, shape (..., collapsed); otherwise as `with_occupancies`."""
        values = _edit.checked_values(values, self.topology, self.topology.n_collapsed, self.dtype)
        new = _edit.with_group_occupancies(self.logits, values, self.topology, check_margin(margin))
        return self._with_logits(new)

    def set_group_occupancy(self, group_idx: Any, value: ArrayLike) -> "OccupancyTensor":
        """Set the occupancy of one sharing group, also of a fixed one.

        In a complete set the refinable siblings share the rest in proportion to what they had; in an incomplete one
        they keep theirs as long as there is room. Other sets nested under the group keep their shares of it. A
        refinable group set to exactly 0 or 1 stops short of it by the margin of 1e-4. The value, from 0 to 1, is a
        scalar or one per model of a stack; it may be traced.

        Raises:
            IndexError, TypeError: there is no such group, or the index is no integer.
            ValueError: the value is outside 0...1, or its set has no room for it or nobody to take the rest.

        Example:
            >>> occ = OccupancyTensor([0.5, 0.3, 0.2], altloc_groups=[[[0], [1], [2]]])
            >>> print(np.asarray(occ.set_group_occupancy(0, 0.75)()).round(3))
            [0.75 0.15 0.1 ]
        """
        return self._with_logits(_edit.set_group(self.logits, self.topology, self._entry(group_idx), value, MARGIN))

    def clamp(self, min_value: float | int = 0.0, max_value: float | int = 1.0) -> "OccupancyTensor":
        """Bring the refinable occupancies between two bounds; sets keep their sums, fixed entries their values.

        A bound of exactly 0 or 1 means that less the margin of 1e-4 which keeps refinable entries movable.

        Raises:
            ValueError: the bounds are not ordered or not from 0 to 1, or a set can't keep its sum between them.

        Example:
            >>> print(np.asarray(OccupancyTensor([0.05, 0.5, 0.99]).clamp(0.1, 0.9)()).round(3))
            [0.1 0.5 0.9]
        """
        if not self.topology.use_sigmoid and min_value <= max_value:
            clipped = jnp.clip(self.logits, min_value, max_value)
            return self._with_logits(jnp.where(self.topology.refinable, clipped, self.logits))
        if not 0 <= min_value <= max_value <= 1:
            raise ValueError(
                f"bounds must be ordered and from 0 to 1, not min_value={min_value}, max_value={max_value}"
            )
        return self._with_logits(_edit.clamp(self.logits, self.topology, min_value, max_value, MARGIN))

    def freeze(self, mask: Any = None) -> "OccupancyTensor":
        """Fix the groups of some atoms at their present occupancies.

        Args:
            mask: atoms to fix, bool, shape (atoms,); one atom acts for its group. By default all, including entries
                without atoms.

        Raises:
            TypeError, ValueError: the mask is not boolean, or not one entry per atom.

        Example:
            >>> OccupancyTensor([0.5, 0.5, 1.0], [[0, 1]]).freeze([True, False, False]).refinable_mask
            array([False,  True])
        """
        return self._with_mask(self.topology.refinable & ~_edit.entries_of(self.topology, mask))

    def unfreeze(self, mask: Any = None) -> "OccupancyTensor":
        """Let the groups of some atoms be refined, the inverse of `freeze`; exact zeros and ones are lifted."""
        return self._with_mask(self.topology.refinable | _edit.entries_of(self.topology, mask))

    def freeze_all(self) -> "OccupancyTensor":
        """Fix every entry."""
        return self.freeze()

    def unfreeze_all(self) -> "OccupancyTensor":
        """Let every entry be refined."""
        return self.unfreeze()

    def update_refinable_mask(self, new_mask: Any) -> "OccupancyTensor":
        """Replace the mask, bool, shape (atoms,): one atom acts for its group; entries without atoms stay."""
        without_atoms = self.topology.atom_counts == 0
        return self._with_mask(_edit.entries_of(self.topology, new_mask) | (without_atoms & self.topology.refinable))

    def _entry(self, group_idx: Any) -> int:
        index = check_index(group_idx, "group_idx")
        if not 0 <= index < self.topology.n_groups:
            raise IndexError(f"group_idx={index} is outside the {self.topology.n_groups} sharing groups")
        return index

    def _with_mask(self, refinable: Bool[np.ndarray, " collapsed"]) -> "OccupancyTensor":
        topology = self.topology.with_refinable(refinable)
        return OccupancyTensor.from_logits(_edit.change_mask(self.logits, self.topology, topology, MARGIN), topology)

    def _with_logits(self, logits: Array) -> "OccupancyTensor":
        return OccupancyTensor.from_logits(logits, self.topology)
