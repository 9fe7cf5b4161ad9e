"""Timings of one mode, and the call at which one mode's total overtakes another's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fxgrad.execution.stats import Stats
from fxgrad.modes import Mode


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
      program_bytes: device memory that the compiled program takes at most, arguments and outputs
        included; None where there is no one program, or the backend does not tell.
    """

    first_seconds: float
    warmup_seconds: tuple[float, ...]
    steady_seconds: tuple[float, ...]
    programs: int
    compile_seconds: float
    stats: Stats
    program_bytes: int | None

    @property
    def median_seconds(self) -> float:
        """The median steady call."""
        return float(np.median(self.steady_seconds))

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

    def to_dict(self) -> dict[str, Any]:
        """The timing as plain values."""
        return {
            "first_seconds": self.first_seconds,
            "warmup_seconds": list(self.warmup_seconds),
            "steady_seconds": list(self.steady_seconds),
            "median_seconds": self.median_seconds,
            "spread_seconds": list(self.spread_seconds),
            "total_seconds": self.total_seconds,
            "programs": self.programs,
            "compile_seconds": self.compile_seconds,
            "stats": self.stats.to_dict(),
            "program_bytes": self.program_bytes,
        }


@dataclass(frozen=True)
class BreakEven:
    """From which call on the total of `mode` is less than that of `over`, and stays so.

    Attributes:
      measured: from the calls as they were; None if not within them.
      predicted: from the calls before the steady ones, with the median for every steady one; where
        the measured calls had no break-even, from their total and the medians. None if never.
    """

    mode: Mode
    over: Mode
    predicted: int | None
    measured: int | None

    def to_dict(self) -> dict[str, Any]:
        """The break-even as plain values."""
        return {
            "mode": self.mode,
            "over": self.over,
            "predicted": self.predicted,
            "measured": self.measured,
        }


def break_evens(timings: Mapping[Mode, Timing]) -> tuple[BreakEven, ...]:
    """One for every pair of modes: the one with the faster steady call over the other."""
    found = []
    for a, b in itertools.combinations(timings, 2):
        fast, slow = sorted((a, b), key=lambda mode: timings[mode].median_seconds)
        measured = measured_break_even(timings[fast].all_seconds, timings[slow].all_seconds)
        found.append(
            BreakEven(
                mode=fast,
                over=slow,
                predicted=predict_break_even(timings[fast], timings[slow], measured),
                measured=measured,
            )
        )
    return tuple(found)


def predict_break_even(fast: Timing, slow: Timing, measured: int | None) -> int | None:
    """The call from which `fast` is ahead if every further call costs its median."""
    known = (timing.head_seconds if measured else timing.all_seconds for timing in (fast, slow))
    fast_known, slow_known = known
    calls = min(len(fast_known), len(slow_known))
    behind = math.fsum(fast_known[:calls]) - math.fsum(slow_known[:calls])
    gain = slow.median_seconds - fast.median_seconds
    if behind < 0:
        return measured_break_even(fast_known, slow_known)
    return None if gain <= 0 else calls + 1 + math.floor(behind / gain)


def measured_break_even(fast: Sequence[float], slow: Sequence[float]) -> int | None:
    """The call, from 1, from which the running total of `fast` stays below that of `slow`."""
    length = min(len(fast), len(slow))
    behind = np.cumsum(fast[:length]) >= np.cumsum(slow[:length])
    if behind[-1]:
        return None
    return 1 if not behind.any() else int(np.flatnonzero(behind)[-1]) + 2
