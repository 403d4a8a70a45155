"""What a series of refinements returns: the same groups over many data sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from jax_occupancy.refinement._solution import Solution

COLUMNS = ("start", "occupancy", "esd", "esd_fixed", "sum", "sum_esd", "at_bound", "limit", "delta_b", "delta_b_esd")
COLUMNS += ("llg_absent", "llg_full", "note")


@dataclass(frozen=True, eq=False)
class SeriesSolution:
    """The occupancies of one model in many data sets.

    Attributes:
        table: in long form, one row per data set and group: dataset, group, set, start, occupancy, esd (B factors and
            positions marginalised), esd_fixed (with them held), sum and sum_esd (see `Solution`), at_bound, the
            one-sided 95 % limit there, delta_b and delta_b_esd (Å²), llg_absent, llg_full, note, and of the data set
            r_work, r_free and result. NaN where something does not apply.
        solutions: what `refine` would return for each data set that could be refined, by name, in the order given.
        failed: why the others could not be, by name.

    Example:
        >>> from jax_occupancy import refine_series
        >>> from jax_occupancy.example import read_example
        >>> model, reflections = read_example()
        >>> series = refine_series(model, [reflections, reflections], names=[0, 10], starts=0)
        >>> series.datasets["result"].tolist()
        ['converged', 'converged']
    """

    table: pd.DataFrame
    solutions: Mapping[Any, Solution]
    failed: Mapping[Any, str]

    @classmethod
    def from_solutions(cls, solutions: Mapping[Any, Solution], failed: Mapping[Any, str]) -> "SeriesSolution":
        """Put the solutions together.

        Args:
            solutions: by the name of the data set.
            failed: messages by the name of the data set.
        """
        rows = [_rows(*item) for item in solutions.items()]
        return cls(pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(), solutions, failed)

    def __repr__(self) -> str:
        return f"SeriesSolution({len(self.solutions)} data sets, {len(self.failed)} failed, {len(self.table)} rows)"

    @property
    def datasets(self) -> pd.DataFrame:
        """One row per data set: columns of its file, number of reflections, resolution, R factors, result, message."""
        rows = []
        for name, solution in self.solutions.items():
            low, high = solution.data.resolution
            numbers = {"n_reflections": solution.data.n_reflections, "n_free": solution.data.n_free}
            numbers |= {} if solution.fsc is None else {"fsc": solution.fsc.end}
            numbers |= {"d_max": low, "d_min": high, "r_work": solution.r_work.end, "r_free": solution.r_free.end}
            labels = ", ".join(label for label in solution.data.labels.values() if label)
            rows.append(
                {"dataset": name, "columns": labels}
                | numbers
                | {"result": solution.result, "message": solution.message}
            )
        rows += [{"dataset": name, "result": "failed", "message": message} for name, message in self.failed.items()]
        return pd.DataFrame(rows)

    def plot(self, *, groups: Sequence[str] | None = None) -> Any:
        """Draw the occupancies with their error bars against the data sets.

        Args:
            groups: names of the groups to draw; None draws as many as a page holds.

        Returns:
            A matplotlib figure, see `jax_occupancy.plotting.plot_series`.
        """
        # Refinements need no pictures: the import waits until one is wanted.
        from jax_occupancy.plotting import plot_series

        return plot_series(self.table, groups=groups)

    def to_csv(self, path: Any = None) -> str | None:
        """Write the table as CSV; without a path return it as text."""
        return self.table.to_csv(path, index=False, lineterminator="\n")

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain numbers: `Solution.to_dict` of each data set, and the messages of those that failed."""
        solutions = {str(name): solution.to_dict() for name, solution in self.solutions.items()}
        return {"datasets": solutions, "failed": {str(name): message for name, message in self.failed.items()}}


def _rows(name: Any, solution: Solution) -> pd.DataFrame:
    table = solution.table
    rows = {"dataset": name, "group": table["name"], "set": table["set"]} | {key: table[key] for key in COLUMNS}
    of_dataset = {"r_work": solution.r_work.end, "r_free": solution.r_free.end, "result": solution.result}
    return pd.DataFrame(rows | of_dataset)
