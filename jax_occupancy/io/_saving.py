"""Saving an OccupancyTensor and loading it again, to the bit."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jax_occupancy.core import OccupancyTensor, Topology
from jax_occupancy.core._difference import describe_difference
from jax_occupancy.core._tensor import _assemble
from jax_occupancy.io._archive import read_archive, write_archive

_KIND = "tensor"


def save_tensor(path: str | os.PathLike[str], tensor: OccupancyTensor) -> None:
    """Save a tensor, its topology and its logits, in one file.

    Nothing is pickled: the file is a zip archive of numpy arrays with a header in JSON (format version, library
    version, digest of the topology), which `numpy.load` opens as well; the extension .npz fits. It appears under its
    name only when it is complete.

    Args:
        path: The file to write; an existing one is replaced.
        tensor: A tensor with concrete logits; leading axes are kept.

    Raises:
        TypeError: If the logits are traced or are no array.
        FileNotFoundError: If the folder of `path` does not exist.
        IsADirectoryError: If `path` is a folder.

    Example:
        >>> import pathlib, tempfile
        >>> occ = OccupancyTensor([0.6, 0.4, 1.0], altloc_groups=[[[0], [1]]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tensor(pathlib.Path(folder, "occ.npz"), occ)
        ...     again = load_tensor(pathlib.Path(folder, "occ.npz"))
        >>> again.topology == occ.topology, bool((again.logits == occ.logits).all())
        (True, True)
    """
    write_archive(path, _KIND, *take_apart(tensor))


def load_tensor(
    path: str | os.PathLike[str], like: OccupancyTensor | None = None, *, dtype: Any = None
) -> OccupancyTensor:
    """Load a tensor that `save_tensor` saved.

    Args:
        path: The file.
        like: A tensor whose topology (atoms, groups, sets, mask, names) the file must have.
        dtype: Float type of the logits; by default the saved one.

    Returns:
        A tensor equal to the saved one in every bit.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, none of ours, of another format, or has another topology than `like`
            (the message says what differs); or if it holds float64 and JAX is in 32-bit mode.
        TypeError: If `dtype` is not float32 or float64.

    Example:
        >>> import pathlib, tempfile
        >>> from jax_occupancy.io import save_tensor
        >>> occ = OccupancyTensor([0.6, 0.4, 1.0], altloc_groups=[[[0], [1]]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tensor(pathlib.Path(folder, "occ.npz"), occ)
        ...     loaded = load_tensor(pathlib.Path(folder, "occ.npz"), like=occ)
        >>> [round(q, 3) for q in loaded().tolist()]
        [0.6, 0.4, 1.0]
    """
    return put_together(path, *read_archive(path, _KIND), like=like, dtype=dtype)


def take_apart(tensor: OccupancyTensor) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays that a tensor is saved as.

    Raises:
        TypeError: If the logits are traced or are no array.
    """
    logits, topology = tensor.logits, tensor.topology
    if isinstance(logits, Tracer) or not isinstance(logits, jax.Array | np.ndarray):
        raise TypeError(
            f"the logits are {type(logits).__name__}, not an array of numbers; save the tensor outside of jit, grad "
            "and vmap, and before its leaf is replaced"
        )
    fields = {field.name: getattr(topology, field.name) for field in dataclasses.fields(topology) if field.init}
    arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
    plain = {name: value for name, value in fields.items() if name not in arrays}
    header = {"digest": topology.digest.hex(), "topology": plain}
    return header, {**arrays, "logits": np.asarray(logits)}


def put_together(
    path: str | os.PathLike[str],
    header: Mapping[str, Any],
    arrays: Mapping[str, np.ndarray],
    *,
    like: OccupancyTensor | None,
    dtype: Any,
) -> OccupancyTensor:
    """The tensor that `take_apart` took apart; the arguments and errors are those of `load_tensor`."""
    arrays = dict(arrays)
    logits = arrays.pop("logits", None)
    try:
        topology = Topology(**{**header["topology"], "labels": tuple(header["topology"]["labels"]), **arrays})
        digest = header["digest"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold all parts of a topology ({error})") from error
    if topology.digest.hex() != digest:
        raise ValueError(f"{path} was changed after it was saved: its topology does not have the digest in its header")
    if logits is None or logits.shape[-1:] != (topology.n_collapsed,):
        raise ValueError(f"{path} has no logits for the {topology.n_collapsed} entries of its topology")
    if like is not None and topology != like.topology:
        difference = describe_difference(topology, like.topology)
        raise ValueError(
            f"{path} does not fit the tensor it is loaded for; the file's topology differs in: {difference}. "
            "Load it without like= to have it as it was saved"
        )
    return _assemble(jnp.asarray(logits.astype(_checked_dtype(dtype, logits, path))), topology)


def _checked_dtype(dtype: Any, logits: np.ndarray, path: Any) -> np.dtype:
    wanted = logits.dtype if dtype is None else jnp.dtype(dtype)
    if wanted not in (np.float32, np.float64):
        raise TypeError(f"dtype must be float32 or float64, not {wanted}")
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise ValueError(
            f"{path}: float64 needs 64-bit JAX: jax.config.update('jax_enable_x64', True), or load it with "
            "dtype='float32'"
        )
    return np.dtype(wanted)
