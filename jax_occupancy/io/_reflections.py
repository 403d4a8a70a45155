"""Measured amplitudes of unique reflections."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import gemmi
import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True, eq=False)
class Reflections:
    """Amplitudes, their standard uncertainties and the free set, one row for each unique reflection.

    Arrays are copied and read-only.

    Attributes:
        hkl: Miller indices, shape (reflections, 3), int32, in the asymmetric unit of the space group.
        amplitude: |F|, on the scale of the file.
        sigma: Standard uncertainty of the amplitude, positive.
        free: True for reflections of the free (test) set.
        cell: The unit cell.
        spacegroup: The space group.
        labels: The columns they were read from: "amplitude", "sigma" and "free" (None: no such column).
        free_value: The flag that means "free"; None without a free column.
        left_out: How many reflections of the file were left out or merged, by reason.
        notes: Choices made on the way that the reader should know of.
        path: The file; None if made in memory.

    Raises:
        ValueError: If lengths differ, there is nothing in it, or a value is not finite or a σ not positive.

    Example:
        >>> import gemmi
        >>> import numpy as np
        >>> data = Reflections(
        ...     hkl=np.array([[1, 0, 0], [0, 0, 2]]),
        ...     amplitude=np.array([10.0, 20.0]),
        ...     sigma=np.array([1.0, 1.0]),
        ...     free=np.array([False, True]),
        ...     cell=gemmi.UnitCell(10, 20, 30, 90, 90, 90),
        ...     spacegroup=gemmi.SpaceGroup("P 2 2 2"),
        ... )
        >>> data.n_reflections, data.n_free, data.resolution
        (2, 1, (15.0, 10.0))
    """

    hkl: Int[np.ndarray, "reflections 3"]
    amplitude: Float[np.ndarray, " reflections"]
    sigma: Float[np.ndarray, " reflections"]
    free: Bool[np.ndarray, " reflections"]
    cell: gemmi.UnitCell
    spacegroup: gemmi.SpaceGroup
    labels: Mapping[str, str | None] = field(default_factory=dict)
    free_value: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    path: Path | None = None

    def __post_init__(self) -> None:
        dtypes = {"hkl": np.int32, "amplitude": np.float64, "sigma": np.float64, "free": np.bool_}
        for name, dtype in dtypes.items():
            values = np.array(getattr(self, name), dtype=dtype)
            values.flags.writeable = False
            object.__setattr__(self, name, values)
        _check(self.hkl, self.amplitude, self.sigma, self.free)

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

    def d_spacing(self) -> Float[np.ndarray, " reflections"]:
        """Distance of the lattice planes of each reflection, in Å."""
        return self.cell.calculate_d_array(np.array(self.hkl))

    def select(self, mask: np.ndarray) -> "Reflections":
        """The reflections where `mask` is True, in the same order.

        Args:
            mask: One bool for each reflection, for example `data.d_spacing() > 2.0`.

        Returns:
            A new object; `left_out` still counts what was left out on reading.

        Raises:
            ValueError: If the mask has another length, is not bool or selects nothing.
        """
        mask = np.asarray(mask)
        if mask.shape != (self.n_reflections,) or mask.dtype != np.bool_:
            raise ValueError(
                f"mask is {mask.dtype}{mask.shape}; wanted bool({self.n_reflections},), one for each reflection"
            )
        arrays = {name: getattr(self, name)[mask] for name in ("hkl", "amplitude", "sigma", "free")}
        return replace(self, **arrays)

    def __repr__(self) -> str:
        low, high = self.resolution
        return (
            f"Reflections({self.n_reflections} reflections, {self.n_free} free, {low:.2f} to {high:.2f} Å, "
            f"{self.spacegroup.hm})"
        )


def _check(hkl: np.ndarray, amplitude: np.ndarray, sigma: np.ndarray, free: np.ndarray) -> None:
    """Shapes and values that every later step relies on."""
    if hkl.ndim != 2 or hkl.shape[1] != 3:
        raise ValueError(f"hkl has shape {hkl.shape}; wanted (reflections, 3)")
    shapes = {"amplitude": amplitude.shape, "sigma": sigma.shape, "free": free.shape}
    if any(shape != (len(hkl),) for shape in shapes.values()):
        raise ValueError(f"amplitude, sigma and free must have one row for each of the {len(hkl)} hkl; got {shapes}")
    if not len(hkl):
        raise ValueError("no reflections: give at least one")
    for name, wanted, good in (
        ("amplitude", "finite", np.isfinite(amplitude)),
        ("sigma", "finite and positive", np.isfinite(sigma) & (sigma > 0)),
    ):
        if not good.all():
            rows = ", ".join(str(tuple(row.tolist())) for row in hkl[~good][:5])
            raise ValueError(f"{name} must be {wanted}; wrong for {(~good).sum()} hkl, first {rows}")
