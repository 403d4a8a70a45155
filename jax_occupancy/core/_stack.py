"""Many tensors as one: a stack of models of the same topology, a concatenation of different ones, and back."""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jax_occupancy.core._tensor import OccupancyTensor
from jax_occupancy.core._topology import Topology


def stack(tensors: Iterable[OccupancyTensor]) -> OccupancyTensor:
    """Put models that differ in their logits alone side by side, as one tensor with a leading axis of models.

    The stack is evaluated in one go, and every method takes and gives one value per model. Logits may be traced.

    Raises:
        ValueError: there are none, or their topologies or shapes differ.
        TypeError: their dtypes differ, or something is not an OccupancyTensor.

    Example:
        >>> models = [OccupancyTensor([q, q, 1.0], [[0, 1]]) for q in (0.2, 0.6)]
        >>> print(np.asarray(stack(models)()).round(3))
        [[0.2 0.2 1. ]
         [0.6 0.6 1. ]]
    """
    tensors = _checked(tensors, "stack")
    first = tensors[0]
    for i, tensor in enumerate(tensors):
        if tensor.topology != first.topology:
            raise ValueError(
                f"a stack needs one topology, but tensors[0] and tensors[{i}] differ in "
                f"{first.topology.describe_difference(tensor.topology)}; give them the same, or use concatenate"
            )
        if tensor.logits.shape != first.logits.shape:
            raise ValueError(
                f"a stack needs one shape, but tensors[0] has {first.shape} and tensors[{i}] has {tensor.shape}; "
                "unstack the stacks among them first"
            )
    return OccupancyTensor.from_logits(jnp.stack([tensor.logits for tensor in tensors]), first.topology)


def unstack(tensor: OccupancyTensor) -> list[OccupancyTensor]:
    """Take the models of a stack, shape (models, ..., atoms), apart, the inverse of `stack`.

    Raises:
        ValueError: the tensor has no axis of models.

    Example:
        >>> models = OccupancyTensor([0.5, 1.0]).with_occupancies([[0.2, 0.9], [0.6, 0.8]])
        >>> [one.shape for one in unstack(models)]
        [(2,), (2,)]
    """
    if tensor.logits.ndim < 2:
        raise ValueError(f"the tensor is a single model, shape {tensor.shape}: there is no leading axis to unstack")
    return [OccupancyTensor.from_logits(logits, tensor.topology) for logits in jnp.unstack(tensor.logits)]


def concatenate(tensors: Iterable[OccupancyTensor], *, name: str | None = None) -> OccupancyTensor:
    """Join structures of any topologies into one tensor, shape (..., atoms of all), the atoms of one after the other.

    Groups, sets, parents, masks, labels and every occupancy are kept; `split` takes the result apart again. Collapsed
    space holds the groups of all parts, then their independent atoms, then their entries without atoms. Stacks are
    joined model by model. Logits may be traced. `name` is that of the whole, for messages.

    Raises:
        ValueError: there are none, they differ in `use_sigmoid`, or their leading axes differ.
        TypeError: their dtypes differ, or something is not an OccupancyTensor.

    Example:
        >>> protein = OccupancyTensor([1.0, 0.7, 0.3], altloc_groups=[[[1], [2]]])
        >>> water = OccupancyTensor([0.9, 0.9], [[0, 1]])
        >>> whole = concatenate([protein, water])
        >>> print(whole.expansion_mask, np.asarray(whole()).round(3))
        [3 0 1 2 2] [1.  0.7 0.3 0.9 0.9]
    """
    tensors = _checked(tensors, "concatenate")
    first = tensors[0]
    for i, tensor in enumerate(tensors):
        if tensor.topology.use_sigmoid != first.topology.use_sigmoid:
            raise ValueError(f"use_sigmoid must be the same in all tensors, but tensors[0] and tensors[{i}] differ")
        if tensor.logits.shape[:-1] != first.logits.shape[:-1]:
            raise ValueError(
                f"all tensors must have the same leading axes, but tensors[0] has shape {first.shape} and tensors[{i}] "
                f"{tensor.shape}; a stack of copies of a single model has the axis of the others"
            )
    parts = [tensor.topology for tensor in tensors]
    entries = _entries(parts)
    order = np.argsort(np.concatenate(entries))
    logits = jnp.concatenate([tensor.logits for tensor in tensors], axis=-1)
    return OccupancyTensor.from_logits(logits[..., order], _joined(parts, entries, name))


def split(tensor: OccupancyTensor, like: Iterable[OccupancyTensor | Topology]) -> list[OccupancyTensor]:
    """Take a concatenation apart with its present logits and masks; it may have been trained, frozen or stacked since.

    Args:
        like: the tensors that were concatenated, or their topologies, in the same order.

    Raises:
        ValueError: the parts do not make up the tensor; the message says where they differ.

    Example:
        >>> protein, water = OccupancyTensor([1.0, 0.7]), OccupancyTensor([0.9])
        >>> whole = concatenate([protein, water]).freeze([True, False, True])
        >>> [part.refinable_mask.tolist() for part in split(whole, [protein, water])]
        [[False, True], [False]]
    """
    parts = [part.topology if isinstance(part, OccupancyTensor) else part for part in like]
    if not parts:
        raise ValueError("like must name at least one part")
    entries = _entries(parts)
    whole = tensor.topology
    expected = _joined(parts, entries, whole.name)
    if expected.n_collapsed == whole.n_collapsed:
        expected = expected.with_refinable(whole.refinable)
    if expected != whole:
        raise ValueError(
            f"the parts in `like` do not make up the tensor: together they have "
            f"{expected.describe_difference(whole)}; give what was concatenated, in the same order"
        )
    return [
        OccupancyTensor.from_logits(tensor.logits[..., index], part.with_refinable(whole.refinable[index]))
        for part, index in zip(parts, entries, strict=True)
    ]


def _checked(tensors: Iterable[Any], verb: str) -> list[OccupancyTensor]:
    tensors = list(tensors)
    if not tensors:
        raise ValueError(f"there is nothing to {verb}: give at least one OccupancyTensor")
    for i, tensor in enumerate(tensors):
        if not isinstance(tensor, OccupancyTensor):
            raise TypeError(f"tensors[{i}] must be an OccupancyTensor, not {type(tensor).__name__}")
        if tensor.dtype != tensors[0].dtype:
            raise TypeError(
                f"can't {verb} dtypes {tensors[0].dtype} and {tensor.dtype} (tensors[{i}]); "
                "construct them with the same dtype="
            )
    return tensors


def _entries(parts: Sequence[Topology]) -> list[np.ndarray]:
    """Where each part's entries stand in the collapsed space of the whole: groups, independent atoms, no atoms."""
    kinds = [np.where(part.atom_counts == 0, 2, np.arange(part.n_collapsed) >= part.n_groups) for part in parts]
    place = np.argsort(np.argsort(np.concatenate(kinds), kind="stable"))
    return np.split(place, np.cumsum([part.n_collapsed for part in parts])[:-1])


def _joined(parts: Sequence[Topology], entries: Sequence[np.ndarray], name: str | None) -> Topology:
    """The topology of the whole; a parent of -1, the whole crystal, stays."""
    pairs = list(zip(parts, entries, strict=True))
    first_set = np.cumsum([0, *(part.n_sets for part in parts)])
    sets = [part.set_of_member + first for part, first in zip(parts, first_set[:-1], strict=True)]
    parents = [np.where(part.parent >= 0, index[part.parent], -1) for part, index in pairs]
    return Topology(
        expansion_index=np.concatenate([index[part.expansion_index] for part, index in pairs]).astype(np.int32),
        refinable=np.concatenate([part.refinable for part in parts])[np.argsort(np.concatenate(entries))],
        n_groups=sum(part.n_groups for part in parts),
        members=np.concatenate([index[part.members] for part, index in pairs]).astype(np.int32),
        set_of_member=np.concatenate(sets).astype(np.int32),
        complete=np.concatenate([part.complete for part in parts]),
        parent=np.concatenate(parents).astype(np.int32),
        whole=np.concatenate([part.whole for part in parts]),
        use_sigmoid=parts[0].use_sigmoid,
        name=name,
        labels=_labels(parts),
    )


def _labels(parts: Sequence[Topology]) -> tuple[str, ...]:
    """Labels of all groups if any part has some; what has none is numbered, as in messages."""
    if not any(part.labels for part in parts):
        return ()
    owned = itertools.chain.from_iterable(part.labels or [None] * part.n_groups for part in parts)
    return tuple(f"group {number}" if label is None else label for number, label in enumerate(owned))
