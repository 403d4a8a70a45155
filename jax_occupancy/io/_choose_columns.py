"""Which columns hold the measured amplitudes or intensities, their σ and the free flags."""

from typing import NamedTuple

from jax_occupancy.io._column_names import (
    AMPLITUDES,
    FREE,
    INTENSITIES,
    friedel_mate,
    is_calculated,
    plain,
    sigma_names,
)
from jax_occupancy.io._reflection_table import STATUS, Column, ReflectionTable

_NOUN = {"amplitude": "amplitudes", "intensity": "intensities"}
_TYPES = {"amplitude": "FG", "intensity": "JK"}
_SIGMA_TYPES = {"F": "Q", "J": "Q", "G": "LQ", "K": "MQ"}
# Means before pairs; of each, amplitudes before intensities.
_ORDER = "FJGK"


class Measurement(NamedTuple):
    """Columns that make up one set of data: one, or the two Friedel mates; σ is None where there is none."""

    quantity: str  # "amplitude" or "intensity"
    values: tuple[Column, ...]
    sigmas: tuple[Column | None, ...]

    @property
    def label(self) -> str:
        """The columns as a reader knows them."""
        return " and ".join(column.label for column in self.values)

    @property
    def sigma_label(self) -> str:
        return " and ".join(column.label for column in self.sigmas if column is not None)


class ChosenColumns(NamedTuple):
    """The columns to read and what was decided on the way."""

    measured: Measurement
    free: Column | None
    notes: tuple[str, ...]


def choose_columns(
    table: ReflectionTable, *, amplitude: str | None, intensity: str | None, sigma: str | None, free: str | None
) -> ChosenColumns:
    """Take the named columns; find by type and usual name those that are not named."""
    if amplitude is not None and intensity is not None:
        raise ValueError(f"amplitude={amplitude!r} and intensity={intensity!r} are both given; choose one of them")
    notes: list[str] = []
    role, name = ("intensity", intensity) if intensity is not None else ("amplitude", amplitude)
    sigma_column = None if sigma is None else _named(table, sigma, "QLM", "sigma")
    if name is not None:
        measured = _measurement(table, _named(table, name, _TYPES[role], role), sigma_column)
    else:
        measured = _find_measured(table, sigma_column, notes)
    if None in measured.sigmas:
        raise ValueError(
            f"{table.where}: no sigma (type Q) belongs to the {_NOUN[measured.quantity]} {measured.label}, and "
            f"refinement needs them; name the column with sigma=..., or add sigmas to the file. "
            f"Columns: {table.listed()}"
        )
    if len(measured.values) == 2:
        notes.append(f"{measured.label} merged into their mean, weighted with 1/σ²")
    flags = _find_free(table, notes) if free is None else _named(table, free, None, "free")
    if flags is None:
        notes.append("no column of free flags: every reflection is used for refinement, there is no R-free")
    return ChosenColumns(measured, flags, tuple(notes))


def _kind(column: Column) -> str:
    """The type; a mean by its type that is a Friedel mate by its name is one."""
    signed = column.label.endswith(("(+)", "(-)"))
    return {"F": "G", "J": "K"}.get(column.kind, column.kind) if signed else column.kind


def _partner(table: ReflectionTable, column: Column) -> Column | None:
    """The σ of a column: by its name (SIGFP of FP), else the column of that type right behind it."""
    types = _SIGMA_TYPES[_kind(column)]
    names = sigma_names(column.label)
    fitting = [c for c in table.columns if c.kind in "QLM" and plain(c.label) in names]
    same_dataset = [c for c in fitting if c.dataset == column.dataset]
    if same_dataset or fitting:
        return (same_dataset or fitting)[0]
    after = table.columns.index(column) + 1
    if after < len(table.columns) and table.columns[after].kind in types:
        neighbour = table.columns[after]
        others = (c for c in table.columns if c.kind in _ORDER and c is not column)
        # SIGI behind FP belongs to I, wherever that is
        if not any(plain(neighbour.label) in sigma_names(other.label) for other in others):
            return neighbour
    return None


def _measurement(table: ReflectionTable, column: Column, sigma: Column | None) -> Measurement:
    """A column with its σ, and with its Friedel mate unless a σ for the one is named."""
    columns = (column,) if sigma is not None else _with_mate(table, column)
    quantity = "amplitude" if _kind(column) in _TYPES["amplitude"] else "intensity"
    return Measurement(quantity, columns, tuple(sigma or _partner(table, c) for c in columns))


def _with_mate(table: ReflectionTable, column: Column) -> tuple[Column, ...]:
    """A Friedel mate with the other one, (+) first; any other column by itself."""
    own = friedel_mate(column.label)
    if _kind(column) not in "GK" or own is None:
        return (column,)
    same = [c for c in table.columns if _kind(c) == _kind(column) and c.dataset == column.dataset]
    mates = {mate[1]: c for c in same if (mate := friedel_mate(c.label)) and mate[0] == own[0]}
    return tuple(mates[sign] for sign in "+-" if sign in mates)


def _named(table: ReflectionTable, label: str, types: str | None, role: str) -> Column:
    """The column the caller asked for."""
    for column in table.columns:
        if column.label == label.removeprefix("_refln."):
            if types is None or column.kind in types:
                return column
            raise ValueError(
                f"{table.where}: column {label} ({role}) has type {column.kind}, wanted one of "
                f"{', '.join(types)}. Columns: {table.listed()}"
            )
    raise ValueError(f"{table.where} has no column {label!r} ({role}). Columns: {table.listed()}")


def _candidates(table: ReflectionTable, sigma: Column | None = None) -> list[Measurement]:
    """Everything measured, one entry for each mean and each pair of mates."""
    columns = [c for c in table.columns if c.kind in tuple(_ORDER) and not is_calculated(c.label)]
    found = [_measurement(table, column, sigma) for column in columns]
    return [m for m, column in zip(found, columns, strict=True) if m.values[0] is column]


def _find_measured(table: ReflectionTable, sigma: Column | None, notes: list[str]) -> Measurement:
    """The measured data: those with σ, means before pairs, usual names first, then the order of the file."""
    candidates = _candidates(table, sigma)
    if not candidates:
        raise ValueError(
            f"{table.where} has no measured amplitudes or intensities (types F, J, G, K). Name the column with "
            f"amplitude=... or intensity=... if its name looks calculated. Columns: {table.listed()}"
        )
    known = {name: rank for names in (AMPLITUDES, INTENSITIES) for rank, name in enumerate(names)}

    def rank(measured: Measurement) -> tuple[bool, int, int, int]:
        column = measured.values[0]
        own = _partner(table, column)
        unsuited = None in measured.sigmas if sigma is None else own is not sigma
        return (
            unsuited,
            _ORDER.index(_kind(column)),
            known.get(plain(column.label), len(known)),
            table.columns.index(column),
        )

    best, *others = sorted(candidates, key=rank)
    noun, kind = _NOUN[best.quantity], _kind(best.values[0])
    same = [m.label for m in others if _kind(m.values[0]) == kind]
    if same:
        notes.append(f"{noun} {best.label} taken; the file also has {', '.join(same[:5])}")
    unused = [m for m in others if m.quantity == "intensity"]
    if best.quantity == "amplitude" and unused:
        label = unused[0].values[0].label
        notes.append(
            f"amplitudes {best.label} taken, not the intensities {unused[0].label}: choose those with intensity={label}"
        )
    return best


def _find_free(table: ReflectionTable, notes: list[str]) -> Column | None:
    """The free flags: mmCIF's status, then usual names, then columns of integers that have "free" in their name."""
    known = {name: rank for rank, name in enumerate(FREE)}
    candidates = [
        column
        for column in table.columns
        if column.kind == STATUS
        or (column.kind == "I" and ("FREE" in plain(column.label) or plain(column.label) in known))
        or (column.kind in ("I", "R") and plain(column.label) in known)
    ]
    order = {STATUS: 0, "I": 1}
    candidates.sort(key=lambda column: (order.get(column.kind, 2), known.get(plain(column.label), len(known))))
    if len(candidates) > 1:
        others = ", ".join(column.label for column in candidates[1:6])
        notes.append(f"free flags {candidates[0].label} taken; the file also has {others}")
    return candidates[0] if candidates else None
