"""Which value of a column of free flags means the free set."""

import numpy as np
from jaxtyping import Bool, Float


def free_set(
    flags: Float[np.ndarray, " reflections"],
    *,
    all_flags: Float[np.ndarray, " rows"],
    free_value: int | None,
    codes: bool,
    label: str,
) -> tuple[Bool[np.ndarray, " reflections"], int | None, tuple[str, ...]]:
    """Find the free set from the integer flags of the measured reflections, NaN where there is none.

    CCP4 numbers the sets from 0 to 19 and leaves out set 0; phenix and CNS write 1 for free and 0 for work, some
    programs the reverse. So with two values among `all_flags` the rarer one is free, with more the value 0, unless
    most reflections have it. Where mmCIF's codes have become flags, 0 is the code f.

    Returns the mask, the value that was taken (None: there is no free set) and notes.
    """
    known = ~np.isnan(flags)
    values, counts = np.unique(all_flags[~np.isnan(all_flags)], return_counts=True)
    if (values != np.rint(values)).any():
        odd = ", ".join(f"{value:g}" for value in values[values != np.rint(values)][:5])
        raise ValueError(f"{label} holds {odd}; free flags are integers: name the right column with free=...")
    notes = []
    if not known.all():
        notes.append(f"{(~known).sum()} reflections without a flag in {label} are used for refinement")
    nobody = np.zeros(len(flags), bool)
    value = 0 if codes else free_value
    if value is None and len(values) > 1:
        value = _decide(values, counts, label)
    if value is None:
        alone = f"{label} has one value only: every reflection is used for refinement, there is no R-free"
        return nobody, None, (*notes, alone)
    if value not in values:
        shown = ", ".join(f"{v:g}" for v in values[:5]) + (", ..." if len(values) > 5 else "")
        raise ValueError(f"{label} has no value {value}; it has {shown}: choose one with free_value=...")
    free, name = flags == value, "status f" if codes else f"flag {value}"
    if free_value is None and free.sum() > 0.5 * known.sum():
        choose = "name other flags with free=..." if codes else "choose another with free_value=..."
        most = f"{label} has {name} for {free.sum()} of {known.sum()} reflections, which is no free set"
        return nobody, None, (*notes, f"{most}, so there is no R-free: {choose}")
    if not free.any():
        return nobody, None, (*notes, f"no reflection with {name} in {label} was measured: there is no R-free")
    if free.all():
        raise ValueError(f"{label} is {value} for every reflection, so none is left to refine against")
    if free_value is None:
        notes.append("free set: status f in status (mmCIF convention)" if codes else _convention(value, len(values)))
    return free, value, tuple(notes)


def _convention(value: int, n_values: int) -> str:
    """How the value was decided on."""
    if n_values > 2:
        return f"free set: flag {value}, one of {n_values} values (CCP4 convention)"
    program = {0: "CCP4 convention", 1: "convention of phenix and CNS"}.get(value, "no usual convention")
    return f"free set: flag {value}, the rarer of two values ({program})"


def _decide(values: np.ndarray, counts: np.ndarray, label: str) -> int:
    """The value that means free, by the conventions in use."""
    if len(values) > 2:
        return 0
    if counts[0] == counts[1]:
        raise ValueError(
            f"{label} has as many {values[0]:g} as {values[1]:g}, so which is free? Say it with free_value=..."
        )
    return int(values[np.argmin(counts)])
