"""One file for a value, a zip archive of JSON and .npy files: no pickle, and only classes that the reader asks for."""

import dataclasses
import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import gemmi
import jax
import numpy as np
import pandas as pd

from jax_occupancy.core import OccupancyTensor, Topology
from jax_occupancy.io._files import PathLike, atomic_writer, read_source

FORMAT_VERSION = 3
_HEADER = "header.json"
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, TypeError, ValueError, KeyError)
# Arrays as short as the atoms of a group stand in the header: thousands of files would take longer than all the rest.
_SHORT = 64
# What a text or a list can say: its type, how it is said and how it is read.
_SAID = {
    "float": (float, str, float),
    "path": (Path, str, Path),
    "cell": (gemmi.UnitCell, lambda cell: list(cell.parameters), lambda numbers: gemmi.UnitCell(*numbers)),
    "spacegroup": (gemmi.SpaceGroup, lambda group: group.xhm(), gemmi.SpaceGroup),
}


def save_tensor(path: PathLike, tensor: OccupancyTensor) -> None:
    """Save a tensor, its topology and its logits, in one file, which appears under its name only when it is complete.

    It is a zip archive of numpy arrays with a header in JSON, which `numpy.load` opens as well; .npz fits as its end.

    Raises:
        TypeError: something in it can't be saved, such as traced logits; the message names it.
        FileNotFoundError, IsADirectoryError: the folder of `path` does not exist, or `path` is one.

    Example:
        >>> import tempfile
        >>> occ = OccupancyTensor([0.6, 0.4, 1.0], altloc_groups=[[[0], [1]]])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tensor(f"{folder}/occ.npz", occ)
        ...     bool((load_tensor(f"{folder}/occ.npz", like=occ).logits == occ.logits).all())
        True
    """
    write_archive(path, "tensor", tensor)


def load_tensor(path: PathLike, like: OccupancyTensor | None = None, *, dtype: Any = None) -> OccupancyTensor:
    """Load a tensor that `save_tensor` saved, equal in every bit.

    Args:
        like: a tensor whose topology (atoms, groups, sets, mask, names) the file must have.
        dtype: float type of the logits; by default the saved one.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file, or it is a folder.
        ValueError: the file is damaged, none of ours, holds something else, was saved in another format or version, or
            has another topology than `like`; the message says what differs. Or it holds float64 and JAX has 32 bits.
        TypeError: `dtype` is not float32 or float64.
    """
    return read_archive(path, "tensor", OccupancyTensor, like=like, dtype=dtype)


def write_archive(path: PathLike, kind: str, value: Any) -> None:
    """Write a value to one file, in which `read_archive` finds that kind; otherwise as `save_tensor`.

    The value is made of numbers, text, arrays, tables, paths, unit cells, space groups and tensors, in lists, tuples,
    dictionaries, dataclasses and named tuples. The same value gives the same bytes.
    """
    from jax_occupancy import __version__

    arrays: dict[str, np.ndarray] = {}
    top = {"format": "jax_occupancy", "format_version": FORMAT_VERSION, "library_version": __version__, "kind": kind}
    text = json.dumps({**top, "value": _pack(value, kind, arrays)}, indent=1)
    # A name alone makes an entry without the time of day.
    with atomic_writer(path) as handle, zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(_HEADER), text, zipfile.ZIP_DEFLATED)
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def read_archive(path: PathLike, kind: str, wanted: Any, *, like: Any = None, dtype: Any = None) -> Any:
    """Read what `write_archive` wrote; `wanted`, the type of the value, and those of its fields say what is made."""
    data = read_source(path)
    try:
        # read() and not open(): the checksum of the archive vouches for all that is read from it.
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = {name.removesuffix(".npy"): io.BytesIO(archive.read(name)) for name in archive.namelist()}
        top = json.load(files.pop(_HEADER))
        version, library, found = top["format_version"], top["library_version"], top["kind"]
        arrays = {name: np.lib.format.read_array(file, allow_pickle=False) for name, file in files.items()}
    except _DAMAGE as error:
        what = f"was not saved by jax_occupancy, or is damaged or truncated ({error})"
        raise ValueError(f"{path} {what}; a saved {kind} is wanted here") from error
    if (found, version) != (kind, FORMAT_VERSION):
        raise ValueError(
            f"{path} holds a saved {found} in format {version} (jax_occupancy {library}); a saved {kind} is wanted "
            f"here, in format {FORMAT_VERSION}"
        )
    try:
        return _unpack(top["value"], wanted, arrays, like, dtype)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{path} can't be loaded: {error}") from error


def _pack(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Say a value in JSON: dictionaries with one key say what kind of thing it is, arrays are collected by name."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.size <= _SHORT and value.dtype.kind == "i":
        return {"integers": [value.dtype.str, value.tolist()]}
    if isinstance(value, np.ndarray | jax.Array) and not value.dtype.hasobject:
        arrays[name] = np.asarray(value)
        return {"array": name}
    if isinstance(value, OccupancyTensor) and not hasattr(value.logits, "dtype"):
        name, value = f"{name}.logits", value.logits
    if isinstance(value, OccupancyTensor):
        parts = {"topology": value.topology, "logits": value.logits, "digest": value.topology.digest.hex()}
        return {"tensor": {key: _pack(part, f"{name}.{key}", arrays) for key, part in parts.items()}}
    if isinstance(value, pd.DataFrame):
        columns = {key: one.to_numpy() if one.dtype.kind in "biuf" else one.to_list() for key, one in value.items()}
        rows = len(value) if isinstance(value.index, pd.RangeIndex) else value.index.to_list()
        return {"table": [_pack(columns, name, arrays), rows]}
    if fields := _fields(type(value)):
        return {"fields": {key: _pack(getattr(value, key), f"{name}.{key}", arrays) for key in fields}}
    if isinstance(value, tuple | list):
        items = [_pack(item, f"{name}.{number}", arrays) for number, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        # Pairs, because keys need not be text.
        return {"dict": [[_pack(key, name, arrays), _pack(one, f"{name}.{key}", arrays)] for key, one in value.items()]}
    for kind, (said, say, _) in _SAID.items():
        if isinstance(value, said):
            return {kind: say(value)}
    raise TypeError(f"{name} is a {type(value).__name__}, which can't be saved; wanted numbers, text, arrays or tables")


def _unpack(node: Any, wanted: Any, arrays: Mapping[str, np.ndarray], like: OccupancyTensor | None, dtype: Any) -> Any:

    def value(node: Any, wanted: Any = Any) -> Any:
        return _unpack(node, wanted, arrays, like, dtype)

    if get_origin(wanted) in (Union, UnionType):
        kinds = [one for one in get_args(wanted) if one is not type(None)]
        names = set(node.get("fields", ())) if isinstance(node, dict) else set()
        wanted = next((one for one in kinds if names and names == set(_fields(one))), kinds[0])
    inner = next((one for one in reversed(get_args(wanted)) if one is not Ellipsis), Any)
    if isinstance(node, list):
        return [value(item, inner) for item in node]
    if not isinstance(node, dict):
        return node
    [(kind, content)] = node.items()
    match kind:
        case "array":
            return arrays[content]
        case "integers":
            return np.array(content[1], content[0])
        case "tuple":
            return tuple(value(item, inner) for item in content)
        case "dict":
            return {value(key): value(item, inner) for key, item in content}
        case "table":
            columns, rows = value(content[0]), content[1]
            index = pd.RangeIndex(rows) if isinstance(rows, int) else pd.Index(rows)
            # pandas decides about the type of text, as it did when the table was made.
            return pd.DataFrame({key: pd.Series(one, index=index) for key, one in columns.items()}, index=index)
        case "tensor":
            topology, logits = value(content["topology"], Topology), value(content["logits"])
            return _tensor(topology, logits, content["digest"], like, dtype)
        case "fields":
            if differing := sorted(set(content) ^ set(_fields(wanted))):
                differ = f"a {wanted.__name__} of its version and of this one differ in"
                raise ValueError(f"{differ}: {', '.join(differing)}")
            types = get_type_hints(wanted)
            return wanted(**{key: value(node, types[key]) for key, node in content.items()})
    return _SAID[kind][2](content)


def _tensor(topology: Topology, logits: Any, digest: str, like: OccupancyTensor | None, dtype: Any) -> OccupancyTensor:
    if topology.digest.hex() != digest:
        raise ValueError("its topology was changed after it was saved: it does not have the digest in the header")
    if like is not None and topology != like.topology:
        difference = topology.describe_difference(like.topology)
        raise ValueError(f"its topology differs in: {difference}. Load it without like= to have it as it was saved")
    return OccupancyTensor.from_logits(logits, topology, dtype=dtype or logits.dtype)


def _fields(one: type) -> list[str]:
    if dataclasses.is_dataclass(one):
        return [field.name for field in dataclasses.fields(one) if field.init]
    return list(getattr(one, "_fields", ()))
