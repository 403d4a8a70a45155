"""Measured amplitudes or intensities of unique reflections, from a file, a table or gemmi."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import gemmi
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from jax_occupancy.io._files import PathLike, kind_of_content, read_source
from jax_occupancy.io._mtz import read_mtz
from jax_occupancy.io._reflection_table import ReflectionTable, frame_table
from jax_occupancy.io._reflections_of_table import fields_of_table
from jax_occupancy.io._refln import refln_table

# In Å: electrons of 100 to 300 kV have 0.037 to 0.020, X-rays and neutrons of any crystallographer are longer.
_LONGEST_OF_ELECTRONS = 0.1
# Each kind of data and its σ.
_PAIRS = {"amplitude": "sigma", "intensity": "intensity_sigma"}

Values = Float[np.ndarray, " reflections"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Reflections:
    """Amplitudes or intensities, their standard uncertainties and the free set, one row for each unique reflection.

    What was not measured is None. Arrays are copied and read-only.

    Attributes:
        hkl: Miller indices in the asymmetric unit of the space group.
        free: True for reflections of the free (test) set.
        amplitude: |F|, on the scale of the file, not negative.
        sigma: Standard uncertainty of the amplitude, positive.
        intensity: Intensity, on the scale of the file; weak ones may be negative.
        intensity_sigma: Standard uncertainty of the intensity, positive.
        wavelength: In Å; None if it is not known.
        radiation: "xray", "neutron" or "electron", as the file states it or the wavelength tells; None if neither does.
        labels: The columns they were read from: "amplitude" or "intensity", "sigma" and "free" (None: no such column).
        free_value: The flag that means "free"; None without a free column.
        left_out: How many reflections of the file were left out or merged, by reason.
        notes: Choices made on the way that the reader should know of.
        path: The file; None if made in memory.

    Raises:
        ValueError: If lengths differ, there is nothing in it, a value is not finite, an amplitude negative, a σ not
            positive or a value without its σ.

    Example:
        >>> crystal = {"cell": gemmi.UnitCell(10, 20, 30, 90, 90, 90), "spacegroup": gemmi.SpaceGroup("P 2 2 2")}
        >>> hkl, free = np.array([[1, 0, 0], [0, 0, 2]]), np.array([False, True])
        >>> data = Reflections(hkl=hkl, amplitude=np.array([9.0, 2]), sigma=np.array([1.0, 1]), free=free, **crystal)
        >>> data.kind, data.n_reflections, data.n_free, data.resolution
        ('amplitudes', 2, 1, (15.0, 10.0))
    """

    hkl: Int[np.ndarray, "reflections 3"]
    free: Bool[np.ndarray, " reflections"]
    cell: gemmi.UnitCell
    spacegroup: gemmi.SpaceGroup
    amplitude: Values | None = None
    sigma: Values | None = None
    intensity: Values | None = None
    intensity_sigma: Values | None = None
    wavelength: float | None = None
    radiation: str | None = None
    labels: Mapping[str, str | None] = field(default_factory=dict)
    free_value: int | str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    path: Path | None = None

    def __post_init__(self) -> None:
        dtypes = {"hkl": np.int32, "free": np.bool_} | dict.fromkeys((*_PAIRS, *_PAIRS.values()), np.float64)
        arrays = {}
        for name, dtype in dtypes.items():
            if getattr(self, name) is not None:
                arrays[name] = np.array(getattr(self, name), dtype=dtype)
                arrays[name].flags.writeable = False
                object.__setattr__(self, name, arrays[name])
        _check_arrays(arrays)
        if self.wavelength is not None and not 0 < self.wavelength < np.inf:
            raise ValueError(f"wavelength is {self.wavelength}; wanted a positive number of Å, or None if unknown")
        if self.radiation is None and self.wavelength is not None and self.wavelength < _LONGEST_OF_ELECTRONS:
            object.__setattr__(self, "radiation", "electron")

    @property
    def kind(self) -> Literal["amplitudes", "intensities"]:
        """What was measured: "intensities" if there are any, also when amplitudes were derived from them."""
        return "amplitudes" if self.intensity is None else "intensities"

    @property
    def n_reflections(self) -> int:
        """Number of reflections, the free set included."""
        return len(self.hkl)

    @property
    def n_free(self) -> int:
        """Number of reflections in the free set."""
        return int(self.free.sum())

    @property
    def resolution(self) -> tuple[float, float]:
        """The low and the high limit, in Å."""
        d = self.d_spacing()
        return float(d.max()), float(d.min())

    def d_spacing(self) -> Values:
        """Distance of the lattice planes of each reflection, in Å."""
        return self.cell.calculate_d_array(np.array(self.hkl))

    def select(self, mask: np.ndarray) -> "Reflections":
        """The reflections where `mask` is True, for example `data.d_spacing() > 2.0`, in the same order.

        Raises:
            ValueError: If the mask has another length, is not bool or selects nothing.
        """
        mask = np.asarray(mask)
        if mask.shape != (self.n_reflections,) or mask.dtype != np.bool_:
            raise ValueError(
                f"mask is {mask.dtype}{mask.shape}; wanted bool({self.n_reflections},), one for each reflection"
            )
        arrays = {name: getattr(self, name) for name in ("hkl", "free", *_PAIRS, *_PAIRS.values())}
        return replace(self, **{name: values[mask] for name, values in arrays.items() if values is not None})

    def with_amplitudes(self, amplitude: Values, sigma: Values) -> "Reflections":
        """The same with amplitudes, such as French & Wilson derive from the intensities, which are kept."""
        return replace(self, amplitude=amplitude, sigma=sigma)

    def to_dataframe(self) -> pd.DataFrame:
        """A pandas table with the index H, K, L and the columns F and SIGF, I and SIGI (those that are there).

        FreeR_flag is 0 for the free set and 1 for the working set, and left out if no reflection is free.
        `reciprocalspaceship.DataSet(data.to_dataframe(), cell=data.cell, spacegroup=data.spacegroup)
        .infer_mtz_dtypes()` makes a DataSet of it.
        """
        names = {"F": self.amplitude, "SIGF": self.sigma, "I": self.intensity, "SIGI": self.intensity_sigma}
        columns: dict[str, np.ndarray] = {name: np.array(v) for name, v in names.items() if v is not None}
        if self.n_free:
            columns["FreeR_flag"] = np.where(self.free, 0, 1).astype(np.int32)
        index = pd.MultiIndex.from_arrays(np.array(self.hkl.T), names=["H", "K", "L"])
        return pd.DataFrame(columns, index=index)

    @staticmethod
    def from_dataframe(
        frame: pd.DataFrame,
        *,
        cell: gemmi.UnitCell | None = None,
        spacegroup: gemmi.SpaceGroup | None = None,
        wavelength: float | None = None,
        **choice: Any,
    ) -> "Reflections":
        """Reflections from a pandas table or a reciprocalspaceship DataSet, cleaned as a file's are.

        Args:
            frame: H, K, L as index levels or columns, and columns named as in an MTZ file. Their types are what the
                dtypes say (those of reciprocalspaceship do), else the names.
            cell, spacegroup: Those of the frame if left out.
            wavelength: In Å, if it is known.
            choice: amplitude, intensity, sigma, free, free_value, d_min and d_max as in `read_reflections`.

        Raises:
            ValueError: If H, K, L, the cell, the space group or usable data are missing, or the data are unmerged.

        Example:
            >>> index = pd.MultiIndex.from_tuples([(1, 0, 0), (0, 0, 2)], names=["H", "K", "L"])
            >>> frame = pd.DataFrame({"I": [-3.0, 20.0], "SIGI": [2.0, 1.0]}, index=index)
            >>> cell, spacegroup = gemmi.UnitCell(10, 20, 30, 90, 90, 90), gemmi.SpaceGroup("P 2 2 2")
            >>> data = Reflections.from_dataframe(frame, cell=cell, spacegroup=spacegroup)
            >>> data.kind, data.intensity.tolist()
            ('intensities', [-3.0, 20.0])
        """
        table = frame_table(frame, cell=cell, spacegroup=spacegroup, wavelength=wavelength)
        return Reflections(**fields_of_table(table, **choice))

    @staticmethod
    def from_gemmi(
        mtz: gemmi.Mtz, *, cell: gemmi.UnitCell | None = None, spacegroup: gemmi.SpaceGroup | None = None, **choice: Any
    ) -> "Reflections":
        """Reflections from an MTZ file that is in memory already; otherwise as `read_reflections`, errors included.

        Example:
            >>> import tempfile
            >>> from jax_occupancy.example import write_example
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     mtz = gemmi.read_mtz_file(str(write_example(folder).reflections))
            >>> Reflections.from_gemmi(mtz, d_min=2.0).n_reflections
            1524
        """
        table = ReflectionTable(mtz, "the Mtz", cell=cell, spacegroup=spacegroup)
        return Reflections(**fields_of_table(table, **choice))

    def __repr__(self) -> str:
        low, high = self.resolution
        return (
            f"Reflections({self.kind} of {self.n_reflections} reflections, {self.n_free} free, "
            f"{low:.2f} to {high:.2f} Å, {self.spacegroup.hm})"
        )


def read_reflections(
    path: PathLike,
    *,
    amplitude: str | None = None,
    intensity: str | None = None,
    sigma: str | None = None,
    free: str | None = None,
    free_value: int | None = None,
    d_min: float | None = None,
    d_max: float | None = None,
    block: str | None = None,
    cell: gemmi.UnitCell | None = None,
    spacegroup: gemmi.SpaceGroup | None = None,
) -> Reflections:
    """Read amplitudes or intensities, their σ and the free set from an MTZ or mmCIF file.

    Columns that are not named are found by their type and usual names: mean amplitudes, else mean intensities, else
    Friedel mates merged into their mean, never calculated ones. Reflections without a measurement are left out, the
    rest is moved into the asymmetric unit, systematic absences are dropped and repeated reflections merged; `left_out`
    counts all of this and `notes` tells every choice.

    Args:
        path: MTZ or mmCIF with a `_refln` loop, also gzipped; the content decides.
        amplitude: Label of the amplitudes, such as "FP". One Friedel mate stands for both, unless `sigma` names the σ
            of the one.
        intensity: Label of the intensities, such as "IMEAN"; or give `amplitude`.
        sigma: Label of their σ, such as "SIGFP".
        free: Label of the free flags, such as "FreeR_flag" or "status".
        free_value: The flag that means free. Without it the rarer of two values, 0 of more than two.
        d_min, d_max: Highest and lowest resolution to keep, in Å.
        block: Name of the data block of an mmCIF file; without it the first one with measured data.
        cell, spacegroup: For a file that states none.

    Returns:
        The reflections; without free flags `free` is False everywhere and `labels["free"]` is None.

    Raises:
        FileNotFoundError, IsADirectoryError: If there is no such file, or it is a folder.
        ValueError: If it is neither format, is damaged or unmerged, lacks a column, a block, a cell, a space group or
            any usable reflection, or options contradict each other.

    Example:
        >>> import tempfile
        >>> from jax_occupancy.example import write_example
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     data = read_reflections(write_example(folder).reflections)
        >>> data.n_reflections, data.n_free, data.labels["amplitude"]
        (5293, 432, 'FP')
    """
    source = read_source(path)
    kind = kind_of_content(source)
    if kind not in ("mmcif", "mtz"):
        looks = {"pdb": "a model (PDB)", "binary": "an unknown binary file"}.get(kind, "neither MTZ nor mmCIF")
        raise ValueError(
            f"{path} looks like {looks}; reflections are wanted here, MTZ (starts with 'MTZ ') or mmCIF (a data_ block "
            "with a _refln loop). Convert other formats to MTZ"
        )
    if kind == "mtz" and block is not None:
        raise ValueError(f"{path} is an MTZ file and has no block {block!r}; leave block out")
    names = {"amplitude": amplitude, "intensity": intensity, "sigma": sigma, "free": free}
    try:
        if kind == "mtz":
            table = ReflectionTable(read_mtz(path, source), str(path), path=path, cell=cell, spacegroup=spacegroup)
        else:
            items = tuple(names.values())
            table = refln_table(path, source, block=block, names=items, cell=cell, spacegroup=spacegroup)
        return Reflections(**fields_of_table(table, **names, free_value=free_value, d_min=d_min, d_max=d_max))
    except (RuntimeError, UnicodeDecodeError) as error:
        # what gemmi finds wrong only when it is asked for it
        raise ValueError(f"{path} is damaged ({error}); copy it again") from error


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    hkl = arrays["hkl"]
    if hkl.ndim != 2 or hkl.shape[1] != 3:
        raise ValueError(f"hkl has shape {hkl.shape}; wanted (reflections, 3)")
    shapes = {name: values.shape for name, values in arrays.items() if name != "hkl"}
    if any(shape != (len(hkl),) for shape in shapes.values()):
        raise ValueError(f"every array must have one row for each of the {len(hkl)} hkl; got {shapes}")
    if not len(hkl):
        raise ValueError("no reflections: give at least one")
    for name, sigma in _PAIRS.items():
        if (name in arrays) != (sigma in arrays):
            raise ValueError(f"{name} and {sigma} belong together; got only one of them")
    if not any(name in arrays for name in _PAIRS):
        raise ValueError("no data: give amplitude and sigma, or intensity and intensity_sigma")
    for name, values in arrays.items():
        wanted, good = "finite", np.isfinite(values).reshape(len(values), -1).all(axis=1)
        if name in _PAIRS.values():
            wanted, good = "finite and positive", good & (values > 0)
        elif name == "amplitude":
            wanted, good = "finite and not negative", good & (values >= 0)
        if not good.all():
            rows = ", ".join(str(tuple(row.tolist())) for row in hkl[~good][:5])
            raise ValueError(f"{name} must be {wanted}; wrong for {(~good).sum()} hkl, first {rows}")
