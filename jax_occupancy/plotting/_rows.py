"""Where each group goes in a picture of many: the lines of a page."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from jax_occupancy.groups import Grouping

# Between two sets, in lines.
GAP = 0.5


@dataclass(frozen=True)
class SetRow:
    """The row of a set: one line for each of its groups.

    Attributes:
        number: of the set in the grouping.
        top: where the first line begins.
        groups: which rows of the solution's table its groups are.
    """

    number: int
    top: float
    groups: range

    @property
    def lines(self) -> list[float]:
        """The middle of each line."""
        return [self.top + 0.5 + i for i in range(len(self.groups))]

    @property
    def bottom(self) -> float:
        """Where the last line ends."""
        return self.top + len(self.groups)


def columns_of_rows(grouping: Grouping, sets: Iterable[int], n_lines: float) -> list[list[SetRow]]:
    """Distribute sets over columns of so many lines; a set is never torn apart.

    A set that is longer than a column gets one of its own.
    """
    first, total = [], 0
    for group_set in grouping.sets:
        first.append(total)
        total += len(group_set.groups)
    columns: list[list[SetRow]] = []
    for number in sets:
        size = len(grouping.sets[number].groups)
        top = columns[-1][-1].bottom + GAP if columns else 0.0
        if not columns or top + size > n_lines:
            columns.append([])
            top = 0.0
        columns[-1].append(SetRow(number, top, range(first[number], first[number] + size)))
    return columns


def balanced(grouping: Grouping, sets: Sequence[int], *, n_columns: int, most: float) -> list[list[SetRow]]:
    """Distribute sets over columns of about the same length, at most `most` lines; the rest goes into more columns."""
    total = sum(len(grouping.sets[number].groups) + GAP for number in sets)
    n_lines = total / n_columns
    while len(columns := columns_of_rows(grouping, sets, min(n_lines, most))) > n_columns and n_lines < most:
        n_lines += 1
    return columns


def n_lines_of(columns: Iterable[Sequence[SetRow]]) -> float:
    """Length of the longest column; at least two lines, so that there is something to see."""
    return max([2.0, *(column[-1].bottom for column in columns if column)])
