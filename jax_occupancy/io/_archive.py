"""One file for arrays and a header that says what they are: a zip archive of JSON and .npy files, no pickle."""

import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from jax_occupancy.io._atomic import atomic_writer
from jax_occupancy.io._source import read_source

FORMAT_VERSION = 1
_HEADER = "header.json"
_DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, RuntimeError, ValueError, KeyError)


def write_archive(
    path: str | os.PathLike[str], kind: str, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write arrays and a header to one file, which appears under its name only when it is complete.

    The same content gives the same bytes. `numpy.load` opens the file, too.

    Args:
        path: The file to write; an existing one is replaced.
        kind: What the file holds, such as "tensor"; `read_archive` asks for it.
        header: Whatever JSON can say.
        arrays: Arrays by name, of numbers, bools or fixed-length strings.

    Raises:
        TypeError: If the header holds what JSON can't say, or an array holds Python objects.
        FileNotFoundError: If the folder of `path` does not exist.
        IsADirectoryError: If `path` is a folder.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "one.npz")
        ...     write_archive(file, "example", {"unit": "Å"}, {"length": np.arange(3)})
        ...     read_archive(file, "example")
        ({'unit': 'Å'}, {'length': array([0, 1, 2])})
    """
    from jax_occupancy import __version__

    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects ({array.dtype}); give numbers, bools or strings")
    top = {"format": "jax_occupancy", "format_version": FORMAT_VERSION, "library_version": __version__}
    text = json.dumps({**top, "kind": kind, "header": dict(header), "arrays": list(arrays)}, indent=1)
    # the name alone makes an entry without the time of day
    with atomic_writer(path) as handle, zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(_HEADER, "w") as entry:
            entry.write(text.encode())
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)


def read_archive(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Read the header and the arrays that `write_archive` wrote.

    Args:
        path: The file.
        kind: What it must hold.

    Returns:
        The header, and the arrays by name.

    Raises:
        FileNotFoundError: If there is no such file.
        IsADirectoryError: If `path` is a folder.
        ValueError: If the file is damaged, is none of ours, holds something else, or was written in another format.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder, "one.npz")
        ...     write_archive(file, "example", {"unit": "Å"}, {"length": np.zeros(2)})
        ...     header, arrays = read_archive(file, "example")
        >>> header["unit"], arrays["length"].tolist()
        ('Å', [0.0, 0.0])
    """
    data = read_source(path)
    if not data.startswith(b"PK"):
        raise ValueError(f"{path} was not saved by jax_occupancy; a saved {kind} is wanted here")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # the checksum of the archive vouches for all that is read from it
            top = json.loads(archive.read(_HEADER)) if _HEADER in archive.namelist() else {}
            _check_top(top, path, kind)
            arrays = {name: _array(archive.read(f"{name}.npy")) for name in top["arrays"]}
            return top["header"], arrays
    except _ForeignError:
        raise
    except _DAMAGE as error:
        raise ValueError(f"{path} is damaged or truncated ({error}); save it again") from error


class _ForeignError(ValueError):
    """A file in good order that is not what is wanted."""


def _array(data: bytes) -> np.ndarray:
    return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)


def _check_top(top: Any, path: Any, kind: str) -> None:
    if not isinstance(top, dict) or top.get("format") != "jax_occupancy":
        raise _ForeignError(f"{path} was not saved by jax_occupancy; a saved {kind} is wanted here")
    if top["format_version"] != FORMAT_VERSION:
        raise _ForeignError(
            f"{path} has format version {top['format_version']} (jax_occupancy {top['library_version']}), and this is "
            f"jax_occupancy with format version {FORMAT_VERSION}; read it with the version that wrote it"
        )
    if top["kind"] != kind:
        raise _ForeignError(f"{path} holds a saved {top['kind']}; a saved {kind} is wanted here")
