"""Which mode is the cheapest for how many calls: the first calls count, so that it changes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fxgrad.comparison.timing import Timing
from fxgrad.modes import Mode


@dataclass(frozen=True)
class Stage:
    """For so many calls, from `start` up to the next stage's, `mode` has the smallest total."""

    mode: Mode
    start: int

    def to_dict(self) -> dict[str, object]:
        """The stage as plain values."""
        return dict(vars(self))


def stages(timings: Mapping[Mode, Timing]) -> tuple[Stage, ...]:
    """The stages from call 1 on: as measured, then with the median for every further call."""
    calls = max(len(timing.all_seconds) for timing in timings.values())
    found = _measured_stages(timings, calls)
    while (following := _next(timings, found[-1], calls)) is not None:
        if following.start == found[-1].start:
            found.pop()
        found.append(following)
    return tuple(found)


def _measured_stages(timings: Mapping[Mode, Timing], calls: int) -> list[Stage]:
    modes, totals = list(timings), [_running(timing, calls) for timing in timings.values()]
    cheapest = np.argmin(totals, axis=0)
    changes = [0, *(np.flatnonzero(np.diff(cheapest)) + 1).tolist()]
    return [Stage(modes[cheapest[index]], index + 1) for index in changes]


def _running(timing: Timing, calls: int) -> np.ndarray:
    further = [timing.median_seconds] * (calls - len(timing.all_seconds))
    return np.cumsum([*timing.all_seconds, *further])


def _next(timings: Mapping[Mode, Timing], stage: Stage, calls: int) -> Stage | None:
    """The stage after the last one that is known, beyond the measured calls."""
    own = timings[stage.mode]
    overtaking = []
    for mode, timing in timings.items():
        gain = own.median_seconds - timing.median_seconds
        if gain > 0:
            behind = timing.seconds_of(calls) - own.seconds_of(calls)
            overtaking.append((calls + 1 + math.floor(behind / gain), timing.median_seconds, mode))
    if not overtaking:
        return None
    start, _, mode = min(overtaking)
    return Stage(mode, max(start, stage.start))
