"""Where an interrupted refinement can go on: the variables after its last cycle, in a file."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from jax_occupancy.io import Model, Reflections, read_archive, write_archive
from jax_occupancy.refinement._setup import Setup

_KIND = "checkpoint"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The file of one refinement and what was in it.

    Attributes:
        path: the file.
        identity: digests of model, data and groups, and the options that the answer depends on.
        variables: the solver's variables to go on from; None where there was no file yet.
        history: the cycles that led there.
    """

    path: Path
    identity: Mapping[str, Any]
    variables: Float[np.ndarray, " variables"] | None
    history: tuple[Mapping[str, float], ...]

    def write(self, x: Float[Array, " variables"], history: Sequence[Mapping[str, float]]) -> None:
        """Keep the state after a cycle; the file is replaced as a whole.

        Args:
            x: the solver's variables: occupancies, vacancies and, if they are refined, B shifts.
            history: of all cycles so far.
        """
        header = {"identity": dict(self.identity), "history": [dict(row) for row in history]}
        write_archive(self.path, _KIND, header, {"variables": np.asarray(x, np.float64)})

    def remove(self) -> None:
        """Remove the file, if there is one."""
        self.path.unlink(missing_ok=True)


def check_checkpoint(path: str | os.PathLike) -> None:
    """Refuse a path that can hold no checkpoint before the work begins.

    Raises:
        FileNotFoundError: its folder does not exist.
        ValueError: it is another file, which would be overwritten.
    """
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(f"the folder of the checkpoint {path} does not exist; make it first")
    if Path(path).exists():
        read_archive(path, _KIND)


def open_checkpoint(path: str | os.PathLike, setup: Setup, **options: Any) -> Checkpoint:
    """The checkpoint of a refinement, with the state in the file if there is one.

    Args:
        path: the file; it need not exist.
        setup: the problem, before outliers are left out.
        options: what else the answer depends on: arrays, or what JSON can say.

    Returns:
        The checkpoint.

    Raises:
        ValueError: the file is that of another refinement; the message says what differs.
    """
    identity = _identity(setup, options)
    if not Path(path).exists():
        return Checkpoint(Path(path), identity, None, ())
    header, arrays = read_archive(path, _KIND)
    saved = header["identity"]
    different = [
        f"{name} ({saved.get(name)} in the file, {identity.get(name)} now)"
        for name in identity | saved
        if saved.get(name) != identity.get(name)
    ]
    if different:
        raise ValueError(
            f"the checkpoint {path} is that of another refinement, which differs in: {', '.join(different)}. Repeat "
            "what it was written for to go on, or remove it or name another file to begin anew"
        )
    return Checkpoint(Path(path), identity, arrays["variables"], tuple(header["history"]))


def _identity(setup: Setup, options: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: _digest(value) if isinstance(value, np.ndarray) else value for name, value in options.items()}
    groups = setup.tensor.topology.digest.hex()[:8]
    return {"model": _model_digest(setup.model), "data": _data_digest(setup.data), "groups": groups, **plain}


def _model_digest(model: Model) -> str:
    """Of all that the file says of its atoms, whatever it is called."""
    return _digest(*(model.atoms[name].to_numpy() for name in sorted(model.atoms.columns)))


def _data_digest(data: Reflections) -> str:
    measured = [data.amplitude, data.sigma, data.intensity, data.intensity_sigma]
    there = [np.zeros(0) if values is None else values for values in measured]
    return _digest(data.hkl, data.free, np.array(data.cell.parameters), np.array(data.spacegroup.xhm()), *there)


def _digest(*arrays: np.ndarray) -> str:
    """Eight letters that other values would not have."""
    total = hashlib.blake2b(digest_size=4)
    for array in arrays:
        # Objects, such as columns of text, have no bytes of their own.
        plain = array.astype(str) if array.dtype.hasobject else array
        total.update(f"{plain.dtype.str}{plain.shape}".encode())
        total.update(np.ascontiguousarray(plain).tobytes())
    return total.hexdigest()
