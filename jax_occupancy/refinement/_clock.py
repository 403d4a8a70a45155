"""Wall-clock time of the stages of a refinement."""

import time
from collections.abc import Callable


class Clock:
    """Adds up the time of stages that may come more than once; `progress` is told the name of each as it begins."""

    def __init__(self, progress: Callable[[str], None] | None):
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self.stage: str | None = None
        self.since = time.perf_counter()

    def begin(self, stage: str) -> None:
        """End the present stage and begin another."""
        self.end()
        self.stage = stage
        if self.progress is not None:
            self.progress(stage)

    def end(self) -> None:
        """End the present stage."""
        now = time.perf_counter()
        if self.stage is not None:
            self.seconds[self.stage] = self.seconds.get(self.stage, 0.0) + now - self.since
        self.stage, self.since = None, now
