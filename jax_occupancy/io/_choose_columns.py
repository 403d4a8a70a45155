"""Which columns hold the measured amplitudes or intensities, their σ and the free flags.

Values are looked at before names: a column without any is no candidate, nor are differences, which are negative in
half of the reflections or say so by their name.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from jax_occupancy.io import _column_names as naming
from jax_occupancy.io._reflection_table import STATUS, Column, ReflectionTable

_NOUN = {"amplitude": "amplitudes", "intensity": "intensities"}
_TYPES = {"amplitude": "FG", "intensity": "JK"}
_SIGMAS = frozenset("QLM")
_SIGMA_TYPES = {"F": "Q", "J": "Q", "G": "LQ", "K": "MQ"}
# Means before pairs; of each, amplitudes before intensities.
_ORDER = "FJGK"
_DATA = frozenset(_ORDER)
# Data with fewer reflections than this part of the fullest ones come after them.
_FULL = 0.9
# Amplitudes of which more than this part is negative are differences.
_NEGATIVE = 0.25
_EMPTY, _CALCULATED = "no values", "calculated by its name"
_RANKS = {name: rank for names in (naming.AMPLITUDES, naming.INTENSITIES) for rank, name in enumerate(names)}


class Measurement(NamedTuple):
    """Columns that make up one set of data: one, or the two Friedel mates; σ is None where there is none."""

    quantity: str  # "amplitude" or "intensity"
    values: tuple[Column, ...]
    sigmas: tuple[Column | None, ...]

    @property
    def label(self) -> str:
        return " and ".join(column.label for column in self.values)

    def usable(self) -> Bool[np.ndarray, " rows"]:
        """Rows with a value and, where there is a σ, a positive one."""
        return np.any([_usable(*pair) for pair in zip(self.values, self.sigmas, strict=True)], axis=0)

    @property
    def n_usable(self) -> int:
        return int(self.usable().sum())


def choose_columns(
    table: ReflectionTable,
    *,
    amplitude: str | None = None,
    intensity: str | None = None,
    sigma: str | None = None,
    free: str | None = None,
) -> tuple[Measurement, Column | None, tuple[str, ...]]:
    """Take the named columns; find by values, type and usual name those that are not named: data, free flags, notes."""
    if amplitude is not None and intensity is not None:
        raise ValueError(f"amplitude={amplitude!r} and intensity={intensity!r} are both given; choose one of them")
    notes: list[str] = []
    role, name = ("intensity", intensity) if intensity is not None else ("amplitude", amplitude)
    sigma_column = None if sigma is None else _named(table, sigma, "QLM", "sigma")
    if name is not None:
        measured = _measurement(table, _named(table, name, "".join(_TYPES.values()), role), sigma_column)
        if measured.quantity != role:
            of_type = _NOUN[measured.quantity]
            notes.append(f"{measured.label} taken as {_NOUN[role]}, although its type is that of {of_type}")
            measured = measured._replace(quantity=role)
        if negative := _negative(measured):
            raise ValueError(f"{table.where}: {name} holds no amplitudes but a {negative}; name another column")
    else:
        measured = _find_measured(table, sigma_column, notes)
        first = measured.values[0].label
        if (of_name := naming.usual_quantity(first) or measured.quantity) != measured.quantity:
            notes.append(
                f"{measured.label} taken as {_NOUN[measured.quantity]} by its type, although its name is that of "
                f"{_NOUN[of_name]}: {of_name}={first} takes it as these"
            )
    if None in measured.sigmas:
        there = any(column.type in _SIGMAS for column in table.columns)
        way_out = "name the column with sigma=..., or add sigmas to the file" if there else "add sigmas to the file"
        raise ValueError(
            f"{table.where}: no sigma (type Q) belongs to the {_NOUN[measured.quantity]} {measured.label}, and "
            f"refinement needs them; {way_out}. Columns: {table.listed()}"
        )
    if len(measured.values) == 2:
        notes.append(f"{measured.label} merged into their mean, weighted with 1/σ²")
    flags = _find_free(table, measured, notes) if free is None else _named(table, free, None, "free")
    if flags is None:
        notes.append("no column of free flags: every reflection is used for refinement, there is no R-free")
    return measured, flags, tuple(notes)


def _usable(column: Column, sigma: Column | None) -> Bool[np.ndarray, " rows"]:
    has_value = np.isfinite(column.array)
    if sigma is None:
        return has_value & (column.array != 0)
    return has_value & np.isfinite(sigma.array) & (sigma.array > 0)


def _kind(column: Column) -> str:
    """The type; a mean by its type that is a Friedel mate by its name is one."""
    signed = column.label.endswith(("(+)", "(-)"))
    return {"F": "G", "J": "K"}.get(column.type, column.type) if signed else column.type


def _named(table: ReflectionTable, label: str, types: str | None, role: str) -> Column:
    column = next((column for column in table.columns if column.label == label.removeprefix("_refln.")), None)
    if column is None:
        raise ValueError(f"{table.where} has no column {label!r} ({role}). Columns: {table.listed()}")
    if types is not None and column.type not in types:
        raise ValueError(
            f"{table.where}: column {label} ({role}) has type {column.type}, wanted one of "
            f"{', '.join(types)}. Columns: {table.listed()}"
        )
    return column


def _measurement(table: ReflectionTable, column: Column, sigma: Column | None) -> Measurement:
    """A column with its σ, and with its Friedel mate, (+) first, unless a σ for the one is named."""
    columns, own = (column,), naming.friedel_mate(column.label)
    if sigma is None and own is not None and _kind(column) in "GK":
        same = [c for c in table.columns if _kind(c) == _kind(column) and c.dataset_id == column.dataset_id]
        mates = {mate[1]: c for c in same if (mate := naming.friedel_mate(c.label)) and mate[0] == own[0]}
        columns = tuple(mates[sign] for sign in "+-" if sign in mates)
    quantity = "amplitude" if _kind(column) in _TYPES["amplitude"] else "intensity"
    return Measurement(quantity, columns, tuple(sigma or _partner(table, c) for c in columns))


def _partner(table: ReflectionTable, column: Column) -> Column | None:
    """The σ of a column: by its name (SIGFP of FP) or ending, else the column of that type right behind it."""
    names, end = naming.sigma_names(column.label), naming.ending(column.label)
    sigmas = [c for c in table.columns if c.type in _SIGMAS]
    owners = {id(c): [o for o in table.columns if _owns(o, c) and o is not column] for c in sigmas}
    fitting = [c for c in sigmas if naming.plain(c.label) in names]
    own = [c for c in fitting if c.dataset_id == column.dataset_id]
    lent = [c for c in fitting if all(o.dataset_id != c.dataset_id for o in owners[id(c)])]
    if own or lent:
        return (own or lent)[0]
    # SIGI behind FP belongs to I, wherever that is
    types = _SIGMA_TYPES[_kind(column)]
    free = [c for c in sigmas if c.type in types and c.dataset_id == column.dataset_id and not owners[id(c)]]
    alike = [c for c in free if end and naming.ending(c.label) == end and naming.plain(c.label).startswith("SIG")]
    behind = table.columns[min(table.columns.index(column) + 1, len(table.columns) - 1)]
    return alike[0] if len(alike) == 1 else next((c for c in free if c is behind), None)


def _owns(column: Column, sigma: Column) -> bool:
    return column.type in _DATA and naming.plain(sigma.label) in naming.sigma_names(column.label)


def _negative(measured: Measurement) -> str:
    """What is wrong with amplitudes many of which are negative; empty if nothing is."""
    if measured.quantity == "intensity":
        return ""
    for column, sigma in zip(measured.values, measured.sigmas, strict=True):
        values = column.array[_usable(column, sigma)]
        if (n_negative := int((values < 0).sum())) > _NEGATIVE * len(values):
            return f"difference: {n_negative} of {len(values)} values are negative"
    return ""


def _objection(table: ReflectionTable, measured: Measurement) -> str:
    if any(naming.is_calculated(column.label) for column in measured.values):
        return _CALCULATED
    others = {naming.plain(c.label) for c in table.columns if c.type in _DATA and c not in measured.values}
    if any(naming.is_difference(column.label, others) for column in measured.values):
        return "difference by its name"
    return _negative(measured) or ("" if measured.usable().any() else _EMPTY)


def _find_measured(table: ReflectionTable, sigma: Column | None, notes: list[str]) -> Measurement:
    """The measured data: those with σ, the fullest, means before pairs, usual names first, the order of the file."""
    data = [c for c in table.columns if c.type in _DATA]
    found = [(_measurement(table, column, sigma), column) for column in data]
    # one entry for each pair of mates
    objections = [(m, _objection(table, m)) for m, column in found if m.values[0] is column]
    # what has no σ is calculated indeed
    doubtful = [(m, why) for m, why in objections if why and not (why == _CALCULATED and None in m.sigmas)]
    refused = [f"{m.label} ({why})" for m, why in doubtful]
    not_taken = f"; not taken: {', '.join(refused[:5])}" if refused else ""
    # without anything better the reader is told what is missing in them
    candidates = [m for m, objection in objections if not objection] or [m for m, o in objections if o == _EMPTY]
    if not candidates:
        calculated = "Name the column with amplitude=... or intensity=... if its name looks calculated"
        raise ValueError(
            f"{table.where} has no measured amplitudes or intensities (types F, J, G, K){not_taken}. "
            f"{calculated if data else 'Give the file that scaling and merging wrote'}. Columns: {table.listed()}"
        )

    def unsuited(measured: Measurement) -> bool:
        return None in measured.sigmas if sigma is None else _partner(table, measured.values[0]) is not sigma

    most = max((m.n_usable for m in candidates if not unsuited(m)), default=0)

    def rank(measured: Measurement) -> tuple[bool, bool, int, int, int]:
        column = measured.values[0]
        usual = _RANKS.get(naming.plain(column.label), len(_RANKS))
        too_few = measured.n_usable < _FULL * most
        return unsuited(measured), too_few, _ORDER.index(_kind(column)), usual, table.columns.index(column)

    best, *others = sorted(candidates, key=rank)
    listed = ", ".join(f"{_NOUN[m.quantity]} {m.label} ({m.n_usable})" for m in others[:5])
    options = [f"{quantity}=..." for quantity in _NOUN if quantity in {m.quantity for m in others}]
    if len(others) == 1:
        options = [f"{others[0].quantity}={others[0].values[0].label}"]
    also = f"; the file also has {listed}: choose with {' or '.join(options)}" if others else ""
    if also or not_taken:
        notes.append(f"{_NOUN[best.quantity]} {best.label} taken ({best.n_usable} reflections){also}{not_taken}")
    return best


def _find_free(table: ReflectionTable, measured: Measurement, notes: list[str]) -> Column | None:
    """The free flags: those that tell measured reflections apart, of the same data set or ending, usual names first."""
    # Before others come mmCIF's status, then columns of integers that have "free" in their name.
    known = {name: rank for rank, name in enumerate(naming.FREE)}

    def is_flag(column: Column) -> bool:
        name = naming.plain(column.label)
        usual = column.type in ("I", "R") and name in known
        return usual or column.type == STATUS or (column.type == "I" and "FREE" in name)

    candidates = [column for column in table.columns if is_flag(column)]
    if not candidates:
        return None
    rows = measured.usable()
    dataset, end = measured.values[0].dataset_id, naming.ending(measured.values[0].label)
    elsewhere = {naming.ending(c.label) for c in table.columns if c.type in _DATA} - {end, ""}

    def flagged(column: Column) -> np.ndarray:
        return column.array[rows & np.isfinite(column.array)]

    def rank(column: Column) -> tuple[bool, bool, bool, bool, int, int]:
        own_end = naming.ending(column.label)
        kind = {STATUS: 0, "I": 1}.get(column.type, 2)
        tells_nothing = len(np.unique(flagged(column))) < 2
        ends = (own_end in elsewhere, not (end and own_end == end))
        usual = known.get(naming.plain(column.label), len(known))
        return tells_nothing, *ends, column.dataset_id != dataset, kind, usual

    best, *others = sorted(candidates, key=rank)
    if others:
        listed = ", ".join(f"{column.label} ({len(flagged(column))})" for column in others[:5])
        notes.append(
            f"free flags {best.label} taken ({len(flagged(best))} reflections); the file also has {listed}: "
            f"choose with free={others[0].label if len(others) == 1 else '...'}"
        )
    return best
