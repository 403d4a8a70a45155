"""Writing a file so that it is either complete or not there."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_writer(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
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
