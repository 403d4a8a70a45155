"""A note on hydrogens that a model lacks."""

from collections.abc import Iterable


def hydrogen_note(elements: Iterable[str]) -> str | None:
    """A sentence if a model has no hydrogens: they hold about a tenth of the electrons of a protein.

    Args:
        elements: Element symbols of the atoms, in any case; deuterium counts.

    Returns:
        The sentence, None if there is a hydrogen or no atom.

    Example:
        >>> hydrogen_note(["C", "H"]) is None, hydrogen_note(["C", "N"])[:27]
        (True, 'The model has no hydrogens:')
    """
    found = {element.strip().upper() for element in elements}
    if not found or found & {"H", "D"}:
        return None
    return (
        "The model has no hydrogens: they hold about a tenth of the electrons of a protein; unless they were left out "
        "on purpose, add them at their calculated places (with reduce or `gemmi h`, for example)."
    )
