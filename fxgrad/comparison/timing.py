"""Timings of one mode: what its calls cost, what more of them would, and how far that may be off.

What becomes of the timings of several modes belongs to `break_even` and `recommendation`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fxgrad.execution.stats import Stats

# What the calls before the steady ones, and the median steady call, differ by from one process to
# another. Measured by benchmarks/break_even.py.
HEAD_VARIES: Final = 0.1
MEDIAN_VARIES: Final = 0.05


@dataclass(frozen=True)
class Timing:
    """What the calls of one mode cost; every call was waited for.

    Attributes:
      first_seconds: the first call, with all tracing and compiling.
      warmup_seconds: the calls after it that are not counted as steady.
      steady_seconds: all further calls, in order.
      programs: XLA programs built in these calls, inner Functions' included.
      compile_seconds: seconds spent on tracing, lowering and building them.
      stats: exact counts of the Function over all these calls.
      memory_bytes: device memory at its worst, arguments and outputs included: of static what the
        compiled program takes, of eager what is held when most is; None where it is not known.
      new_first_seconds: of eager what the first call costs in a new process: as it was, or
        reckoned by the kinds of operations, where most had been compiled in this one before; None
        where they were not counted, and of other modes.
    """

    first_seconds: float
    warmup_seconds: tuple[float, ...]
    steady_seconds: tuple[float, ...]
    programs: int
    compile_seconds: float
    stats: Stats
    memory_bytes: int | None
    new_first_seconds: float | None = None

    @property
    def median_seconds(self) -> float:
        """The median steady call."""
        return float(np.median(self.steady_seconds))

    @property
    def sampling_margin(self) -> float:
        """Seconds that the median may be off by its own calls.

        It is half the interval that holds the median of 95 % of such samples, by their order.
        """
        ordered, count = np.sort(self.steady_seconds), len(self.steady_seconds)
        below = max(0, math.floor((count - 1.96 * math.sqrt(count)) / 2))
        return float(ordered[count - 1 - below] - ordered[below]) / 2

    @property
    def median_margin(self) -> float:
        """Seconds that the median may be off: by its own calls, and from process to process."""
        return math.hypot(self.sampling_margin, MEDIAN_VARIES * self.median_seconds)

    @property
    def spread_seconds(self) -> tuple[float, float]:
        """The 10th and the 90th percentile of the steady calls."""
        low, high = np.percentile(self.steady_seconds, (10, 90))
        return float(low), float(high)

    @property
    def all_seconds(self) -> tuple[float, ...]:
        """Every call, the first included, in order."""
        return (self.first_seconds, *self.warmup_seconds, *self.steady_seconds)

    @property
    def head_seconds(self) -> tuple[float, ...]:
        """The calls before the steady ones."""
        return (self.first_seconds, *self.warmup_seconds)

    @property
    def total_seconds(self) -> float:
        """The sum over every call."""
        return math.fsum(self.all_seconds)

    def seconds_of(self, calls: int) -> float:
        """The total of `calls` calls: as measured, and a median call for each further one."""
        known = self.all_seconds[:calls]
        return math.fsum(known) + (calls - len(known)) * self.median_seconds

    def head_margin_of(self, calls: int) -> float:
        """Seconds that the calls before the steady ones may take more or less in a new process."""
        return HEAD_VARIES * math.fsum(self.head_seconds[:calls])

    def margin_of(self, calls: int) -> float:
        """Seconds that `seconds_of` may be off, were the calls made again in a new process."""
        steady = calls - len(self.head_seconds[:calls])
        return math.hypot(self.head_margin_of(calls), steady * self.median_margin)

    def to_dict(self) -> dict[str, Any]:
        """The timing as plain values."""
        return {
            "first_seconds": self.first_seconds,
            "warmup_seconds": list(self.warmup_seconds),
            "steady_seconds": list(self.steady_seconds),
            "median_seconds": self.median_seconds,
            "median_margin": self.median_margin,
            "spread_seconds": list(self.spread_seconds),
            "total_seconds": self.total_seconds,
            "programs": self.programs,
            "compile_seconds": self.compile_seconds,
            "stats": self.stats.to_dict(),
            "memory_bytes": self.memory_bytes,
            "new_first_seconds": self.new_first_seconds,
        }
