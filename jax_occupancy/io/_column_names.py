"""What the name of a column of reflections says about it: measured or calculated, its σ, its Friedel mate."""

import re
from collections.abc import Container

# In order of preference, without case and punctuation: F-obs is FOBS.
AMPLITUDES = ("FP", "FOBS", "FOBSFILTERED", "F", "FO", "FMEAS", "FMEASAU", "FNAT", "FMEAN")
INTENSITIES = ("IMEAN", "IOBS", "IOBSFILTERED", "I", "INTENSITYMEAS", "FSQUAREDMEAS", "IMEAS")
# fmt: off
FREE = (
    "FREERFLAG", "FREERFLAGS", "RFREEFLAGS", "RFREEFLAG", "FREE", "RFREE", "FREER", "FREEFLAG", "FREEFLAGS",
    "TEST", "TESTSET", "STATUS",
)
# fmt: on
# Whole words, with _ for any punctuation: FC_ALL is calculated, F_Cu and F_DMSO are crystals with copper or DMSO.
_CALCULATED = re.compile(
    r"(PDBX_)?("
    r"F_?(SQUARED_)?CALC|F_?(MODEL|(PART|MASK|BULK|SOLV(ENT)?)\d*)|(INTENSITY|I)_?CALC|I_?MODEL|"
    r"FC(CALC|ALL|SOLV)?|[23]?M?FO_?D?FC(WT)?|FWT|F?DEL(F?WT|FAN)?|FDM|FAN|FCOMB|FOM|IC)(?![A-Z0-9])"
)
# Differences between data sets or Friedel mates.
_DIFFERENCE = re.compile(
    r"(SIG)?(ANOM|D?ANO|DISANO|DF|DELF|DELTAF|DP|DJ|FOFO|Q?F?DIFF)|.*(DIFF|DIFFERENCE|DELTA|MINUSF)$"
)


def plain(label: str) -> str:
    """A label without case and punctuation, FOBS for F-obs; the sign of a Friedel mate becomes a word: SIGFPLUS."""
    words = re.sub(r"\(\+\)|\+$", "PLUS", re.sub(r"\(-\)|-$", "MINUS", label))
    return re.sub(r"[^A-Z0-9]", "", words.upper())


def usual_quantity(label: str) -> str | None:
    """What a column of a usual name holds, amplitudes or intensities; None if its name is not telling."""
    mate = friedel_mate(label)
    name = plain(label) if mate is None else mate[0].removeprefix("PDBX")
    if name in AMPLITUDES:
        return "amplitude"
    return "intensity" if name in INTENSITIES else None


def is_calculated(label: str) -> bool:
    """Whether amplitudes or intensities of this name come from a model, not from the experiment."""
    return _CALCULATED.match(re.sub(r"[^A-Z0-9]", "_", label.upper())) is not None


def is_difference(label: str, others: Container[str]) -> bool:
    """Whether amplitudes of this name are differences, in words or as F_on-F_off of one of the others (plain names)."""
    signs = re.finditer("-|minus", label, re.IGNORECASE)
    pairs = [(plain(label[: sign.start()]), plain(label[sign.end() :])) for sign in signs]
    # F-obs-filtered is no difference between F-obs and filtered
    named = any(b and (b in others or (a in others and a not in (*AMPLITUDES, *INTENSITIES))) for a, b in pairs)
    return named or _DIFFERENCE.match(plain(label)) is not None


def ending(label: str) -> str:
    """What tells columns of one data set from those of another: ON of F_on, OBS of SIGF-obs(+), nothing of FP."""
    found = re.search(r"[_.-]([A-Za-z0-9]+)(\([+-]\))?$", label)
    return found[1].upper() if found else ""


def radiation_of_label(label: str) -> str | None:
    """The radiation that a column is named after, as those of joint refinements are."""
    return next((one for one in ("neutron", "electron", "xray") if one.upper() in plain(label)), None)


def sigma_names(label: str) -> set[str]:
    """The plain names that the σ of a column may have."""
    name = plain(label)
    names = {f"SIG{name}", f"SIGMA{name}", f"{name}SIG", f"{name}SIGMA", f"SD{name}"}
    if name.endswith("AU"):
        names.add(f"{name[:-2]}SIGMAAU")
    if name.endswith("MEAS"):
        # intensity_meas has intensity_sigma
        names.add(f"{name[:-4]}SIGMA")
    return names


def friedel_mate(label: str) -> tuple[str, str] | None:
    """What a column shares with its mate, and which of the two it is: "+" or "-"; None if the name has no sign.

    >>> friedel_mate("F-obs(+)"), friedel_mate("pdbx_I_minus"), friedel_mate("FP")
    (('FOBS', '+'), ('PDBXI', '-'), None)
    """
    name = plain(label)
    for word, sign in (("PLUS", "+"), ("MINUS", "-")):
        if word in name:
            return name.replace(word, "", 1), sign
    return None


def guessed_kind(label: str) -> str:
    """The type that a column of this name has in an MTZ file, R if its name is not telling."""
    name = plain(label)
    mate = friedel_mate(label)
    if "FREE" in name or name in FREE:
        return "I"
    if name.startswith("SIG") or name.endswith(("SIGMA", "SIGMAAU")):
        if mate is None:
            return "Q"
        of = mate[0].removeprefix("SIGMA").removeprefix("SIG").removesuffix("SIGMA").removeprefix("PDBX")
        return "M" if of.startswith("I") else "L"
    if name.startswith(("PH", "PDBXPH")) or name == "PHASECALC":
        return "P"
    if name in INTENSITIES or (mate is not None and mate[0] in (*INTENSITIES, "PDBXI")):
        return "J" if mate is None else "K"
    if name.startswith(("F", "PDBXF", "PDBXDELF", "DELF")) and not name.startswith("FOM"):
        return "F" if mate is None else "G"
    return "R"
