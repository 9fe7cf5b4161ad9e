"""Choices: the mode to take among those measured. Why, in words, belongs to `reason`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fxgrad.comparison.break_even import is_tie
from fxgrad.comparison.cheapest import Stage, stages
from fxgrad.comparison.timing import Timing
from fxgrad.modes import MODES, Mode


@dataclass(frozen=True)
class Choice:
    """A mode, and what it was chosen by.

    Attributes:
      mode: the cheapest for the planned calls, without a plan the one with the cheapest steady
        call. Of those that cost the same within their spread the simplest (eager, static,
        replay), and without a plan first the one with the cheapest first calls.
      alike: the modes that cost the same, `mode` among them.
      timings: of each mode that ran.
      planned_calls: how many calls it is for, or None.
    """

    mode: Mode
    alike: tuple[Mode, ...]
    timings: Mapping[Mode, Timing]
    planned_calls: int | None

    @property
    def ties(self) -> tuple[Mode, ...]:
        """The modes that cost the same as the one that was chosen."""
        return tuple(mode for mode in MODES if mode in self.alike and mode != self.mode)

    @property
    def others(self) -> tuple[Mode, ...]:
        """The modes that cost more than the one that was chosen, but for those of no stage."""
        return tuple(m for m in self.distinct if m not in self.alike)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Which mode is the cheapest for how many calls; a tie has no stage of its own."""
        return stages(self.distinct)

    @property
    def distinct(self) -> dict[Mode, Timing]:
        """The modes without those whose steady call is no other than that of one that stays."""
        dropped = self.ties if self.planned_calls is None else ()
        return {
            mode: timing
            for mode, timing in self.timings.items()
            if mode not in dropped and not self._is_another_again(mode)
        }

    def _is_another_again(self, mode: Mode) -> bool:
        own = self.timings[mode]
        return mode != self.mode and any(
            other != mode and is_tie(own, timing) and self._comes_first(other, mode)
            for other, timing in self.timings.items()
        )

    def _comes_first(self, a: Mode, b: Mode) -> bool:
        """Whether the first calls of `a` are cheaper; of equal ones it is the chosen or simpler."""
        heads = max(len(timing.head_seconds) for timing in self.timings.values())
        if _cost_the_same(self.timings[a], self.timings[b], heads):
            return min(a, b, key=lambda mode: (mode != self.mode, MODES.index(mode))) == a
        return self.timings[a].seconds_of(heads) < self.timings[b].seconds_of(heads)


def choose(timings: Mapping[Mode, Timing], planned_calls: int | None) -> Choice:
    """The choice among at least one mode."""
    if planned_calls is not None:
        alike = _cheapest_of(timings, planned_calls)
        return Choice(_simplest(alike), tuple(alike), timings, planned_calls)
    alike = _cheapest(timings, lambda timing: timing.median_seconds, is_tie)
    heads = max(len(timing.head_seconds) for timing in alike.values())
    begin_alike = _cheapest_of(alike, heads)
    return Choice(_simplest(begin_alike), tuple(alike), timings, None)


def _cheapest_of(timings: Mapping[Mode, Timing], calls: int) -> dict[Mode, Timing]:
    return _cheapest(
        timings, lambda t: t.seconds_of(calls), lambda a, b: _cost_the_same(a, b, calls)
    )


def _cheapest(
    timings: Mapping[Mode, Timing],
    seconds_of: Callable[[Timing], float],
    are_alike: Callable[[Timing, Timing], bool],
) -> dict[Mode, Timing]:
    """The mode of the least cost, and those that cost the same."""
    first = min(timings.values(), key=seconds_of)
    return {
        m: timing for m, timing in timings.items() if timing is first or are_alike(timing, first)
    }


def _cost_the_same(a: Timing, b: Timing, calls: int) -> bool:
    """Whether the totals are as near as first calls vary, and steady ones were seen to."""
    per_call = math.hypot(a.sampling_margin, b.sampling_margin)
    if is_tie(a, b):
        per_call = max(per_call, abs(a.median_seconds - b.median_seconds))
    steady = max(calls - min(len(a.head_seconds), len(b.head_seconds)), 0)
    margin = math.hypot(a.head_margin_of(calls), b.head_margin_of(calls), steady * per_call)
    return abs(a.seconds_of(calls) - b.seconds_of(calls)) <= margin


def _simplest(timings: Mapping[Mode, Timing]) -> Mode:
    return min(timings, key=MODES.index)
