"""The running totals of a comparison and where they cross, as the data of its plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from fxgrad.comparison.break_even import BreakEven
from fxgrad.comparison.record import Record
from fxgrad.modes import Mode

# A prediction further away would squeeze what was measured into a corner.
FURTHEST: Final = 10


@dataclass(frozen=True)
class Curve:
    """The running total of one mode.

    Attributes:
      mode: the mode.
      measured: seconds after each call.
      predicted: the last call of a straight line that goes on from there, and the seconds after
        it; None if nothing further is to be seen.
    """

    mode: Mode
    measured: tuple[float, ...]
    predicted: tuple[int, float] | None


@dataclass(frozen=True)
class Crossing:
    """A point where one curve comes to lie below another.

    Attributes:
      label: what happens there, in words.
      call: from this call on.
      seconds: the total of the faster mode there.
      is_measured: whether the measured calls show it; else it is predicted.
    """

    label: str
    call: int
    seconds: float
    is_measured: bool


def curves(comparison: Record) -> tuple[Curve, ...]:
    """One for each mode; straight lines go on past the predicted crossings."""
    last = max((c.call for c in crossings(comparison) if not c.is_measured), default=0)
    last += last // 5  # so that the crossing is seen to be one
    return tuple(
        Curve(
            mode=mode,
            measured=tuple(np.cumsum(timing.all_seconds).tolist()),
            predicted=(last, timing.seconds_of(last)) if last else None,
        )
        for mode, timing in comparison.timings.items()
    )


def crossings(comparison: Record) -> tuple[Crossing, ...]:
    """The break-evens that a plot shows: after the first call, not too far, and no ties."""
    calls = max((len(t.all_seconds) for t in comparison.timings.values()), default=0)
    return tuple(
        _crossing(comparison, break_even, break_even.call)
        for break_even in comparison.break_evens
        if break_even.call is not None
        and 1 < break_even.call <= FURTHEST * calls
        and not break_even.is_tie
    )


def _crossing(comparison: Record, break_even: BreakEven, call: int) -> Crossing:
    is_measured = break_even.measured is not None
    words = f"{break_even.mode} overtakes\nat {comparison.unit} {call}"
    return Crossing(
        label=words if is_measured else f"{words}, predicted",
        call=call,
        seconds=comparison.timings[break_even.mode].seconds_of(call),
        is_measured=is_measured,
    )
