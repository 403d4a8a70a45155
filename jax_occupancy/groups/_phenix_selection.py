"""The part of phenix's atom selections that says which atoms share an occupancy, in gemmi's words."""

import re
from itertools import product

_TOKEN = re.compile(r"""\(|\)|"[^"]*"|'[^']*'|[^\s()]+""")
_KEYS = {"chain": "chain", "resseq": "number", "resid": "number", "resi": "number", "resname": "resname"}
_KEYS |= {"name": "name", "altloc": "altloc", "altid": "altloc", "element": "element"}
_PLACE = re.compile(r"(-?\d+)([A-Za-z]?)(?::(-?\d+)([A-Za-z]?))?")
_WATER = "HOH,DOD,WAT,H2O"
# "not" of long alternatives multiplies: 3 labels in each of 9 alternatives are 20,000 selections already
_MOST_TERMS = 10_000
Term = dict[str, str]


def translate_selection(text: str) -> tuple[str, ...]:
    """Turn a phenix selection into selections in gemmi's syntax whose union it is."""
    tokens = _TOKEN.findall(text)
    try:
        terms, rest = _either(text, tokens)
    except RecursionError as error:
        raise _too_much(text) from error
    if rest:
        raise _not_understood(text, rest[0])
    return tuple(_to_gemmi(term) for term in terms)


def _not_understood(text: str, word: str) -> ValueError:
    """The error for a selection that is not understood."""
    return ValueError(
        f"the phenix selection {text!r} is not understood at {word!r}; wanted chain, resseq, resid, resname, name, "
        "altloc, element, water or all, joined by and, or, not (before anything but numbers) and parentheses. Write "
        "the group as TOML instead."
    )


def _too_much(text: str) -> ValueError:
    """The error for a selection that is too deep or too long."""
    return ValueError(f"the phenix selection {text[:60]!r}... is too complex; write the group as TOML instead.")


def _either(text: str, tokens: list[str]) -> tuple[list[Term], list[str]]:
    """Terms joined by or, and what is left of the tokens."""
    terms, rest = _both(text, tokens)
    while rest and rest[0].lower() == "or":
        more, rest = _both(text, rest[1:])
        terms = terms + more
    return terms, rest


def _both(text: str, tokens: list[str]) -> tuple[list[Term], list[str]]:
    """Terms joined by and, or standing side by side."""
    terms, rest = _one(text, tokens)
    while rest and rest[0].lower() not in ("or", ")"):
        more, rest = _one(text, rest[1:] if rest[0].lower() == "and" else rest)
        terms = _all_of(text, terms, more)
    return terms, rest


def _all_of(text: str, terms: list[Term], more: list[Term]) -> list[Term]:
    """Every term with every other: what both lists match."""
    if len(terms) * len(more) > _MOST_TERMS:
        raise _too_much(text)
    return [_merge(text, a, b) for a, b in product(terms, more)]


def _one(text: str, tokens: list[str]) -> tuple[list[Term], list[str]]:
    """A parenthesis, or a key with its value."""
    if not tokens:
        raise _not_understood(text, "the end")
    word = tokens[0].lower()
    if word == "(":
        terms, rest = _either(text, tokens[1:])
        if not rest or rest[0] != ")":
            raise _not_understood(text, rest[0] if rest else "the end")
        return terms, rest[1:]
    if word == "not":
        terms, rest = _one(text, tokens[1:])
        return _opposite(text, terms), rest
    if word in ("water", "all"):
        return [{"resname": _WATER} if word == "water" else {}], tokens[1:]
    if word not in _KEYS or len(tokens) < 2:
        raise _not_understood(text, tokens[0])
    value, rest = tokens[1][1:-1] if tokens[1][0] in "\"'" else tokens[1], tokens[2:]
    if _KEYS[word] == "number":
        if len(rest) > 1 and rest[0].lower() in ("through", "thru"):
            value, rest = f"{value}:{rest[1]}", rest[2:]
        return [{"number": _numbers(text, value.replace(" ", ""))}], rest
    if any(sign in value for sign in "*?\\"):
        raise _not_understood(text, value)
    return [{_KEYS[word]: value.strip()}], rest


def _opposite(text: str, terms: list[Term]) -> list[Term]:
    """What none of the terms matches: from each of them, one label differs."""
    if any(not term or "number" in term for term in terms):
        raise _not_understood(text, "not")
    result: list[Term] = [{}]
    for term in terms:
        others = [{key: value[1:] if value[:1] == "!" else f"!{value}"} for key, value in term.items()]
        result = _all_of(text, result, others)
    return result


def _numbers(text: str, value: str) -> str:
    """A residue number or a range."""
    match = _PLACE.fullmatch(value)
    if match is None:
        raise _not_understood(text, value)
    last = f"-{match[3]}.{match[4]}" if match[3] else ""
    return f"{match[1]}.{match[2]}{last}"


def _merge(text: str, first: Term, second: Term) -> Term:
    """Two terms that must both hold."""
    both = first.keys() & second.keys()
    # Excluded twice is a list of what is excluded, in gemmi as here.
    excluded = {k: f"{first[k]},{second[k][1:]}" for k in both if first[k][:1] == second[k][:1] == "!"}
    clash = [key for key in both - excluded.keys() if first[key] != second[key]]
    if clash:
        raise _not_understood(text, f"{clash[0]} {second[clash[0]]}")
    return first | second | excluded


def _to_gemmi(term: Term) -> str:
    """One term in gemmi's syntax."""
    resname = f"({term['resname']})" if "resname" in term else ""
    element = f"[{term['element']}]" if "element" in term else ""
    letter = f":{term['altloc']}" if "altloc" in term else ""
    return f"//{term.get('chain', '*')}/{term.get('number', '*')}{resname}/{term.get('name', '*')}{element}{letter}"
