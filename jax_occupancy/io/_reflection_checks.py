"""What the arrays of a set of reflections must be, whoever made them."""

from collections.abc import Mapping

import numpy as np

# Each kind of data and its σ.
PAIRS = {"amplitude": "sigma", "intensity": "intensity_sigma"}


def check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse shapes and values that no later step could work with.

    Args:
        arrays: "hkl", "free" and those of amplitude, intensity and their σ that are there.

    Raises:
        ValueError: If lengths differ, there is nothing in them, a value is not finite, an amplitude negative, a σ not
            positive, or a value without its σ.
    """
    hkl = arrays["hkl"]
    if hkl.ndim != 2 or hkl.shape[1] != 3:
        raise ValueError(f"hkl has shape {hkl.shape}; wanted (reflections, 3)")
    shapes = {name: values.shape for name, values in arrays.items() if name != "hkl"}
    if any(shape != (len(hkl),) for shape in shapes.values()):
        raise ValueError(f"every array must have one row for each of the {len(hkl)} hkl; got {shapes}")
    if not len(hkl):
        raise ValueError("no reflections: give at least one")
    for name, sigma in PAIRS.items():
        if (name in arrays) != (sigma in arrays):
            raise ValueError(f"{name} and {sigma} belong together; got only one of them")
    if not any(name in arrays for name in PAIRS):
        raise ValueError("no data: give amplitude and sigma, or intensity and intensity_sigma")
    for name, values in arrays.items():
        wanted, good = _expectation(name, values)
        if not good.all():
            rows = ", ".join(str(tuple(row.tolist())) for row in hkl[~good][:5])
            raise ValueError(f"{name} must be {wanted}; wrong for {(~good).sum()} hkl, first {rows}")


def _expectation(name: str, values: np.ndarray) -> tuple[str, np.ndarray]:
    """What a field must be, and for each row whether it is."""
    if name in PAIRS.values():
        return "finite and positive", np.isfinite(values) & (values > 0)
    if name == "amplitude":
        return "finite and not negative", np.isfinite(values) & (values >= 0)
    return "finite", np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1))
