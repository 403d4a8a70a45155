"""Results as what JSON can say and arrays, and back: no pickle, and only the classes listed here."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pandas as pd

from jax_occupancy.groups import Group, Grouping, GroupSet
from jax_occupancy.io import Reflections
from jax_occupancy.refinement._solution import StartEnd
from jax_occupancy.refinement._starts import Minimum
from jax_occupancy.xray import Scale, SigmaA, Sites

_KNOWN = (StartEnd, Minimum, Grouping, GroupSet, Group, Reflections, Sites, Scale, SigmaA)
_CLASSES: dict[str, type] = {one.__name__: one for one in _KNOWN}
# The atoms of a group: thousands of files inside the archive would take longer than all the rest.
_SHORT = 64


def pack(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """Say a value in JSON.

    Args:
        value: a number, text, array, table, unit cell, space group, path, one of the classes of a solution, or a tuple,
            list or dictionary of these.
        name: where it comes from; arrays get names that begin with it.
        arrays: gets the arrays.

    Returns:
        What JSON can say; dictionaries with one key say what kind of thing it is.

    Raises:
        TypeError: the value is something else.

    Example:
        >>> arrays = {}
        >>> pack((0.5, Path("a.mtz"), np.zeros(2)), "x", arrays), list(arrays)
        ({'tuple': [0.5, {'path': 'a.mtz'}, {'array': 'x.2'}]}, ['x.2'])
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if type(value).__name__ in _CLASSES:
        return {"class": [type(value).__name__, pack_fields(value, name, arrays)]}
    if isinstance(value, np.ndarray):
        return _pack_array(value, name, arrays)
    if isinstance(value, pd.DataFrame):
        return {"frame": _pack_frame(value, name, arrays)}
    if isinstance(value, tuple | list):
        items = [pack(item, f"{name}.{i}", arrays) for i, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        return {"dict": {key: pack(item, f"{name}.{key}", arrays) for key, item in value.items()}}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, gemmi.UnitCell):
        return {"cell": list(value.parameters)}
    if isinstance(value, gemmi.SpaceGroup):
        return {"spacegroup": value.xhm()}
    raise TypeError(f"{name} is a {type(value).__name__}, which can't be saved; wanted numbers, text, arrays or tables")


def unpack(node: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The value that `pack` has said.

    Args:
        node: what `pack` returned.
        arrays: what it collected.

    Returns:
        The value.

    Raises:
        ValueError: a class has other attributes than the present version knows.
        KeyError: the kind is unknown, or an array is missing.

    Example:
        >>> unpack({"tuple": [0.5, {"path": "a.mtz"}, {"float": "nan"}]}, {})
        (0.5, PosixPath('a.mtz'), nan)
    """
    if isinstance(node, list):
        return [unpack(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    [(kind, content)] = node.items()
    if kind == "class":
        return unpack_fields(_CLASSES[content[0]], content[1], arrays)
    if kind == "frame":
        return _unpack_frame(content, arrays)
    return {
        "float": lambda: float(content),
        "array": lambda: arrays[content],
        "integers": lambda: np.array(content[1], content[0]),
        "tuple": lambda: tuple(unpack(item, arrays) for item in content),
        "dict": lambda: {key: unpack(item, arrays) for key, item in content.items()},
        "path": lambda: Path(content),
        "cell": lambda: gemmi.UnitCell(*content),
        "spacegroup": lambda: gemmi.SpaceGroup(content),
    }[kind]()


def pack_fields(value: Any, name: str, arrays: dict[str, np.ndarray], *, but: str = "") -> dict[str, Any]:
    """What an object is built from, one attribute of it left out on request; as `pack`."""
    wanted = [key for key in _fields(type(value)) if key != but]
    return {key: pack(getattr(value, key), f"{name}.{key}", arrays) for key in wanted}


def unpack_fields(wanted: type, packed: Mapping[str, Any], arrays: Mapping[str, np.ndarray], **given: Any) -> Any:
    """Build an object from what `pack_fields` said and attributes that come from elsewhere; as `unpack`."""
    differing = sorted({*packed, *given} ^ set(_fields(wanted)))
    if differing:
        raise ValueError(f"a {wanted.__name__} of its version and of this one differ in: {', '.join(differing)}")
    return wanted(**given, **{key: unpack(value, arrays) for key, value in packed.items()})


def _pack_array(array: np.ndarray, name: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    if array.ndim == 1 and array.size <= _SHORT and array.dtype.kind == "i":
        return {"integers": [array.dtype.str, array.tolist()]}
    arrays[name] = array
    return {"array": name}


def _pack_frame(frame: pd.DataFrame, name: str, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Columns one by one; text and missing values as they are, numbers as arrays."""
    columns = []
    for number, (label, column) in enumerate(frame.items()):
        values = column.to_numpy()
        if values.dtype.kind not in "biuf":
            values = [None if value is None or value is pd.NA or value != value else value for value in values]
        columns.append([label, pack(values, f"{name}.{number}", arrays)])
    plain = isinstance(frame.index, pd.RangeIndex)
    return {"columns": columns, "index": len(frame) if plain else list(frame.index)}


def _unpack_frame(content: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> pd.DataFrame:
    columns, index = content["columns"], content["index"]
    index = pd.RangeIndex(index) if isinstance(index, int) else pd.Index(index)
    # pandas decides about the type of text, as it did when the table was made.
    series = {label: pd.Series(unpack(values, arrays), index=index) for label, values in columns}
    return pd.DataFrame(series, index=index)


def _fields(one: type) -> list[str]:
    """What the class is built from."""
    if dataclasses.is_dataclass(one):
        return [field.name for field in dataclasses.fields(one) if field.init]
    return list(one._fields)  # pyright: ignore[reportAttributeAccessIssue]
