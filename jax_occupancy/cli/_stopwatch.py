"""Where the time goes: stages that add up to the whole."""

import time
from collections.abc import Mapping

STAGES = {
    "start": "starting",
    "simulate": "simulating",
    "read": "reading",
    "groups": "choosing groups",
    "structure_factors": "computing structure factors",
    "scale": "scaling",
    "solve": "solving for the occupancies",
    "starts": "trying other starts",
    "settle": "moving B factors and positions",
    "assess": "standard uncertainties",
    "finish": "finishing",
    "write": "writing",
}


class Stopwatch:
    """Wall-clock time of the stages of a command that began at a time of `time.perf_counter`."""

    def __init__(self, begin: float):
        self.begin = self.since = begin
        self.seconds = dict.fromkeys(STAGES, 0.0)

    def lap(self, stage: str, *, parts: Mapping[str, float] | None = None) -> None:
        """End a stage that began with the end of the one before; parts that were timed already do not count in it."""
        now = time.perf_counter()
        spent = dict(parts or {})
        rest = now - self.since - sum(spent.values())
        for name, seconds in [*spent.items(), (stage, rest)]:
            self.seconds[name] += seconds
        self.since = now

    @property
    def total(self) -> float:
        """Seconds from the beginning to the last lap."""
        return self.since - self.begin

    def report(self) -> str:
        """Say how long each stage took."""
        stages = ", ".join(f"{STAGES[stage]} {seconds:.1f}" for stage, seconds in self.seconds.items() if seconds)
        return f"Seconds: {stages}; in all {self.total:.1f}"
