"""From selections, in the language they are written in, to atoms."""

from collections.abc import Sequence

import numpy as np

from jax_occupancy.groups._phenix_selection import PhenixSelections
from jax_occupancy.groups._refmac_selection import RefmacSelections
from jax_occupancy.groups._table import AtomTable
from jax_occupancy.groups._user import Select

_FOREIGN = ("phenix", "refmac")


class Resolver:
    """Finds the atoms of selections: those of phenix and Refmac in the table, all others by ``select``."""

    def __init__(self, table: AtomTable, select: Select | None):
        self._n_atoms, self._select = table.n_atoms, select
        self._foreign = {"phenix": PhenixSelections(table).select, "refmac": RefmacSelections(table).select}

    def atoms(self, selections: Sequence[str], what: str) -> np.ndarray:
        """The sorted positions of the union of some selections of ``what``; each must match something."""
        chosen = np.zeros(self._n_atoms, bool)
        for text in selections:
            said = as_written(text)
            positions = self._positions(text, said, what)
            if positions.size == 0:
                raise ValueError(
                    f"the selection {said!r} of {what} matches no atom; look up chain, number and letter in the table "
                    "of groups, or remove it."
                )
            chosen[positions] = True
        return np.flatnonzero(chosen)

    def _positions(self, text: str, said: str, what: str) -> np.ndarray:
        """The atoms of one selection."""
        select = self._foreign[text.split(":", 1)[0]] if said is not text else self._select
        if select is None:
            raise ValueError(f"the selection {said!r} of {what} cannot be read without a model: give select=.")
        try:
            return np.asarray(select(said), np.int64).reshape(-1)
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"the selection {said!r} of {what} cannot be read: {error}") from error


def as_written(selection: str) -> str:
    """A selection in the user's words, without the language before it."""
    language, _, rest = selection.partition(": ")
    return rest if language in _FOREIGN else selection
