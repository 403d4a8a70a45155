"""Reading measured reflections from a file of any format."""

import gemmi

from jax_occupancy.io._files import PathLike, kind_of_content, read_source
from jax_occupancy.io._mtz import read_mtz
from jax_occupancy.io._reflection_table import ReflectionTable
from jax_occupancy.io._reflections import Reflections
from jax_occupancy.io._reflections_of_table import fields_of_table
from jax_occupancy.io._refln import refln_table


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
        d_min: Highest resolution to keep, in Å.
        d_max: Lowest resolution to keep, in Å.
        block: Name of the data block of an mmCIF file; without it the first one with measured data.
        cell: The unit cell, for a file that states none.
        spacegroup: The space group, for a file that states none.

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
