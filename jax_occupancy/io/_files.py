"""The bytes of a file: read, told what they look like, and written so that the file is complete or not there."""

import gzip
import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PathLike = str | os.PathLike[str]
_PDB_RECORDS = ("HEADER", "CRYST1", "ATOM", "HETATM", "REMARK", "TITLE", "COMPND", "MODEL", "SCALE1", "LINK", "SEQRES")


def check_file(path: PathLike) -> Path:
    """The path of a file that is there."""
    file = Path(path)
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; give the name of a file in it")
    if not file.exists():
        raise FileNotFoundError(f"{file} does not exist")
    return file


def is_gzipped(path: PathLike) -> bool:
    """Whether a file is gzipped, by its first bytes, not by its name."""
    with open(path, "rb") as handle:
        return handle.read(2) == b"\x1f\x8b"


def read_source(path: PathLike) -> bytes:
    """All bytes of a file, decompressed if it is gzipped."""
    file = check_file(path)
    data = file.read_bytes()
    if is_gzipped(file):
        try:
            data = gzip.decompress(data)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{file} is a damaged or truncated gzip file ({error}); copy it again") from error
    if not data.strip():
        raise ValueError(f"{file} is empty")
    # A byte order mark would hide the name of the first record.
    return data.removeprefix(b"\xef\xbb\xbf")


def kind_of_content(data: bytes) -> str:
    """What a file holds by its look: "mtz", "binary", "mmcif", "pdb" or "unknown"."""
    if data.startswith(b"MTZ "):
        return "mtz"
    if b"\0" in data:
        return "binary"
    lines = [line.strip() for line in data[:200_000].decode("latin-1").splitlines()]
    words = [line for line in lines if line and not line.startswith("#")]
    if words and words[0].lower().startswith("data_"):
        return "mmcif"
    if any(line.upper().startswith(_PDB_RECORDS) for line in words):
        return "pdb"
    return "unknown"


def model_format_of(path: PathLike, data: bytes) -> str:
    """The format of a model file ("pdb" or "mmcif"): its content decides, then its name."""
    kind = kind_of_content(data)
    if kind in ("mtz", "binary"):
        what = "an MTZ file of reflections" if kind == "mtz" else "a binary file"
        raise ValueError(f"{path} is {what}; a model (PDB or mmCIF) is wanted here")
    found = format_of_name(path) if kind == "unknown" else kind
    if found is None:
        raise ValueError(f"{path} is neither PDB nor mmCIF: no PDB record and no data_ block was found in it")
    return found


def format_of_name(path: PathLike) -> str | None:
    """The format that a file name promises: "pdb", "mmcif" or None; a final .gz is looked through.

    Example:
        >>> format_of_name("a.ent.gz"), format_of_name("a.CIF"), format_of_name("a.txt")
        ('pdb', 'mmcif', None)
    """
    name = Path(path).name.lower().removesuffix(".gz")
    return {".pdb": "pdb", ".ent": "pdb", ".cif": "mmcif", ".mmcif": "mmcif"}.get(Path(name).suffix)


@contextmanager
def atomic_writer(path: PathLike) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under its name only when all of it is on the disk.

    Whatever ends the block early, an interrupt from the keyboard included, leaves what was there before. A symbolic
    link is followed, and an existing file keeps its permissions.

    Raises:
        IsADirectoryError, FileNotFoundError: If `path` is a folder, or its folder does not exist.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder of {path} does not exist; make it first")
    # "xb" and not mkstemp, whose files nobody else may read
    temporary = target.parent / f".{target.name[:40]}.{secrets.token_hex(6)}.tmp"
    try:
        with open(temporary, "xb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        # a KeyboardInterrupt, too, must not leave half a file behind
        temporary.unlink(missing_ok=True)
        raise
