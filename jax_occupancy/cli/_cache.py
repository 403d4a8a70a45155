"""Compiled programs are kept between runs: compiling takes most of the time of a small refinement."""

import os
from pathlib import Path

import jax

# What compiles faster than this many seconds is not worth a file.
WORTH_KEEPING = 0.2


def use_compilation_cache() -> None:
    """Let JAX keep compiled programs in the user's cache folder, unless the environment says where.

    Where the folder can't be made or written to, nothing is kept and nothing is said.
    """
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    folder = cache_folder()
    if folder is None:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)


def cache_folder() -> Path | None:
    """The folder of this program in $XDG_CACHE_HOME or ~/.cache, made if need be; None if it can't be used."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    try:
        # Relative paths are to be ignored (XDG base directory specification).
        base = Path(given) if os.path.isabs(given) else Path.home() / ".cache"
        folder = base / "jax-occupancy"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # Path.home() finds no home
        return None
    return folder if os.access(folder, os.W_OK | os.X_OK) else None
