"""Which columns of an MTZ file hold the measured amplitudes, their σ and the free flags."""

import re
from typing import NamedTuple

import gemmi

# in order of preference, without case and punctuation: F-obs is FOBS
_AMPLITUDES = ("FP", "FOBS", "FOBSFILTERED", "F", "FO", "FMEAS", "FMEASAU", "FNAT", "FMEAN")
_CALCULATED = re.compile(r"FC|[23]?M?FOD?FC|FWT|FDELWT|F?DEL|FMODEL|FPART|FMASK|FBULK|FSOLV|FDM|FAN|FCOMB|FOM")
_FREE = (
    "FREERFLAG",
    "FREERFLAGS",
    "RFREEFLAGS",
    "RFREEFLAG",
    "FREE",
    "RFREE",
    "FREER",
    "FREEFLAG",
    "FREEFLAGS",
    "TEST",
    "TESTSET",
)


class ChosenColumns(NamedTuple):
    """The columns to read and what was decided on the way."""

    amplitude: gemmi.Mtz.Column
    sigma: gemmi.Mtz.Column
    free: gemmi.Mtz.Column | None
    notes: tuple[str, ...]


def choose_columns(
    mtz: gemmi.Mtz, *, amplitude: str | None, sigma: str | None, free: str | None, path: object
) -> ChosenColumns:
    """Take the named columns; find by type and usual name those that are not named.

    Raises:
        ValueError: If a name is not in the file or of the wrong type, or nothing fits.
    """
    notes: list[str] = []
    f_column = _named(mtz, amplitude, "FG", "amplitude", path) or _find_amplitude(mtz, sigma, notes, path)
    s_column = _named(mtz, sigma, "QLM", "sigma", path) or partner_sigma(mtz, f_column)
    if s_column is None:
        raise ValueError(
            f"{path}: no sigma (type Q) belongs to the amplitudes {f_column.label}, and refinement needs them; "
            f"name the column with sigma=..., or add sigmas to the file. Columns: {listed(mtz)}"
        )
    flags = _named(mtz, free, None, "free", path) or _find_free(mtz, notes)
    if flags is None:
        notes.append("no column of free flags: every reflection is used for refinement, there is no R-free")
    return ChosenColumns(f_column, s_column, flags, tuple(notes))


def listed(mtz: gemmi.Mtz) -> str:
    """All columns with their types, for messages."""
    return ", ".join(f"{column.label} ({column.type})" for column in mtz.columns)


def partner_sigma(mtz: gemmi.Mtz, amplitude: gemmi.Mtz.Column) -> gemmi.Mtz.Column | None:
    """The σ of an amplitude: by name (SIGFP of FP), else the column of type Q right behind it."""
    name = _plain(amplitude.label)
    names = {f"SIG{name}", f"SIGMA{name}", f"{name}SIG", f"{name}SIGMA", f"SD{name}"}
    fitting = [c for c in mtz.columns if c.type in "QL" and _plain(c.label) in names]
    same_dataset = [c for c in fitting if c.dataset_id == amplitude.dataset_id]
    if same_dataset or fitting:
        return (same_dataset or fitting)[0]
    after = amplitude.idx + 1
    if after < len(mtz.columns) and mtz.columns[after].type == "Q":
        return mtz.columns[after]
    return None


def is_calculated(label: str) -> bool:
    """Whether amplitudes of this name come from a model, not from the experiment.

    >>> [is_calculated(name) for name in ("FC_ALL", "2FOFCWT", "F-model", "DELFWT", "FP", "F-obs-filtered")]
    [True, True, True, True, False, False]
    """
    return _CALCULATED.match(_plain(label)) is not None


def _plain(label: str) -> str:
    """A label without case and punctuation."""
    return re.sub(r"[^A-Z0-9]", "", label.upper())


def _named(mtz: gemmi.Mtz, label: str | None, types: str | None, role: str, path: object) -> gemmi.Mtz.Column | None:
    """The column the caller asked for; None if none was asked for."""
    if label is None:
        return None
    for column in mtz.columns:
        if column.label == label:
            if types is None or column.type in types:
                return column
            raise ValueError(
                f"{path}: column {label} ({role}) has type {column.type}, wanted one of "
                f"{', '.join(types)}. Columns: {listed(mtz)}"
            )
    raise ValueError(f"{path} has no column {label!r} ({role}). Columns: {listed(mtz)}")


def _find_amplitude(mtz: gemmi.Mtz, sigma: str | None, notes: list[str], path: object) -> gemmi.Mtz.Column:
    """The measured amplitudes: usual names first, then the order of the file; those with a σ before those without."""
    candidates = [column for column in mtz.columns if column.type == "F" and not is_calculated(column.label)]
    if not candidates:
        raise ValueError(f"{path} has no measured amplitudes (type F).{_advice(mtz)} Columns: {listed(mtz)}")
    known = {name: rank for rank, name in enumerate(_AMPLITUDES)}

    def rank(column: gemmi.Mtz.Column) -> tuple[bool, int, int]:
        lacks_sigma = sigma is None and partner_sigma(mtz, column) is None
        return lacks_sigma, known.get(_plain(column.label), len(known)), column.idx

    candidates.sort(key=rank)
    if len(candidates) > 1:
        others = ", ".join(column.label for column in candidates[1:6])
        notes.append(f"amplitudes {candidates[0].label} taken; the file also has {others}")
    return candidates[0]


def _advice(mtz: gemmi.Mtz) -> str:
    """What to do with a file that has other data than mean amplitudes."""
    types = {column.type for column in mtz.columns}
    if "G" in types:
        return " It has F(+) and F(-): merge them into mean amplitudes first, or name one with amplitude=... ."
    if types & {"J", "K"}:
        return " It has intensities: convert them to amplitudes first (ctruncate, phenix.french_wilson)."
    return " Name the column with amplitude=... if its name looks calculated."


def _find_free(mtz: gemmi.Mtz, notes: list[str]) -> gemmi.Mtz.Column | None:
    """The free flags: usual names first, then columns of integers (type I) that have "free" in their name."""
    known = {name: rank for rank, name in enumerate(_FREE)}
    candidates = [
        column
        for column in mtz.columns
        if (column.type == "I" and ("FREE" in _plain(column.label) or _plain(column.label) in known))
        or (column.type in "IR" and _plain(column.label) in known)
    ]
    candidates.sort(key=lambda column: (column.type != "I", known.get(_plain(column.label), len(known)), column.idx))
    if len(candidates) > 1:
        others = ", ".join(column.label for column in candidates[1:6])
        notes.append(f"free flags {candidates[0].label} taken; the file also has {others}")
    return candidates[0] if candidates else None
