"""Which value of a column of free flags means the free set."""

import numpy as np
from jaxtyping import Bool, Float


def free_set(
    flags: Float[np.ndarray, " reflections"], *, free_value: int | None, label: str
) -> tuple[Bool[np.ndarray, " reflections"], int | None, tuple[str, ...]]:
    """Find the free set from a column of integer flags.

    CCP4 numbers the sets from 0 to 19 and leaves out set 0; phenix and CNS write 1 for free and 0 for work, some
    programs the reverse. So with two values the rarer one is free, with more the value 0.
    Flags are NaN where the file has none. Returns the mask, the value that was taken (None: there is no free set) and
    notes.
    """
    known = ~np.isnan(flags)
    values, counts = np.unique(flags[known], return_counts=True)
    if (values != np.rint(values)).any():
        odd = ", ".join(f"{value:g}" for value in values[values != np.rint(values)][:5])
        raise ValueError(f"{label} holds {odd}; free flags are integers: name the right column with free=...")
    notes = []
    if not known.all():
        notes.append(f"{(~known).sum()} reflections without a flag in {label} are used for refinement")
    value = free_value if free_value is not None else _decide(values, counts, label)
    if free_value is None and value is not None and value in values:
        notes.append(_convention(value, len(values)))
    if value is not None and value not in values:
        shown = ", ".join(f"{v:g}" for v in values[:5]) + (", ..." if len(values) > 5 else "")
        raise ValueError(f"{label} has no value {value}; it has {shown}: choose one with free_value=...")
    if value is None:
        notes.append(f"{label} has one value only: every reflection is used for refinement, there is no R-free")
    free = np.zeros(len(flags), bool) if value is None else flags == value
    if free.all():
        raise ValueError(f"{label} is {value} for every reflection, so none is left to refine against")
    return free, value, tuple(notes)


def _convention(value: int, n_values: int) -> str:
    """How the value was decided on."""
    if n_values > 2:
        return f"free set: flag {value}, one of {n_values} values (CCP4 convention)"
    program = {0: "CCP4 convention", 1: "convention of phenix and CNS"}.get(value, "no usual convention")
    return f"free set: flag {value}, the rarer of two values ({program})"


def _decide(values: np.ndarray, counts: np.ndarray, label: str) -> int | None:
    """The value that means free, by the conventions in use."""
    if len(values) < 2:
        return None
    if len(values) > 2:
        return 0
    if counts[0] == counts[1]:
        raise ValueError(
            f"{label} has as many {values[0]:g} as {values[1]:g}, so which is free? Say it with free_value=..."
        )
    return int(values[np.argmin(counts)])
