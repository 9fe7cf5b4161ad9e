"""Choices: the mode to take among those measured. Why, in words, belongs to `reason`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

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
        """The modes that cost more than the one that was chosen."""
        return tuple(mode for mode in self.timings if mode not in self.alike)


class _Cost(NamedTuple):
    seconds: float
    margin: float


def choose(timings: Mapping[Mode, Timing], planned_calls: int | None) -> Choice:
    """The choice among at least one mode."""
    if planned_calls is not None:
        alike = _cheapest(timings, lambda timing: _total(timing, planned_calls))
        return Choice(_simplest(alike), tuple(alike), timings, planned_calls)
    alike = _cheapest(timings, lambda timing: _Cost(timing.median_seconds, timing.median_margin))
    heads = max(len(timing.head_seconds) for timing in alike.values())
    begin_alike = _cheapest(alike, lambda timing: _total(timing, heads))
    return Choice(_simplest(begin_alike), tuple(alike), timings, None)


def _total(timing: Timing, calls: int) -> _Cost:
    return _Cost(timing.seconds_of(calls), timing.margin_of(calls))


def _cheapest(
    timings: Mapping[Mode, Timing], cost_of: Callable[[Timing], _Cost]
) -> dict[Mode, Timing]:
    """The mode of the least cost, and in order those after it that are within the spread."""
    costs = {mode: cost_of(timing) for mode, timing in timings.items()}
    first, *rest = sorted(timings, key=lambda mode: costs[mode].seconds)
    found: dict[Mode, Timing] = {first: timings[first]}
    for mode in rest:
        margin = math.hypot(costs[first].margin, costs[mode].margin)
        if costs[mode].seconds - costs[first].seconds > margin:
            break
        found[mode] = timings[mode]
    return found


def _simplest(timings: Mapping[Mode, Timing]) -> Mode:
    return min(timings, key=MODES.index)
