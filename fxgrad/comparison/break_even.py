"""Break-evens: the call at which one mode's total overtakes another's, measured and predicted."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fxgrad.comparison.timing import Timing
from fxgrad.modes import Mode


@dataclass(frozen=True)
class BreakEven:
    """From which call on the total of `mode` is less than that of `over`, and stays so.

    Attributes:
      mode: the one with the faster median steady call.
      over: the other one.
      predicted: from the calls before the steady ones, with the median for every steady one; where
        the measured calls had no break-even, from their total and the medians. None if never.
      measured: from the calls as they were; None if not within them.
      between: the earliest and the latest call that the prediction may mean, by how much first
        calls and medians may be off; the latest is None if it may never come. None without a
        prediction.
      is_tie: the two medians are the same within their spread: see `is_tie`.
    """

    mode: Mode
    over: Mode
    predicted: int | None
    measured: int | None
    between: tuple[int, int | None] | None
    is_tie: bool

    @property
    def call(self) -> int | None:
        """The measured one, or else the predicted one."""
        return self.predicted if self.measured is None else self.measured

    def to_dict(self) -> dict[str, Any]:
        """The break-even as plain values."""
        return {**vars(self), "between": None if self.between is None else list(self.between)}


def break_evens(timings: Mapping[Mode, Timing]) -> tuple[BreakEven, ...]:
    """One for every pair of modes: the one with the faster steady call over the other."""
    return tuple(_between(timings, pair) for pair in itertools.combinations(timings, 2))


def _between(timings: Mapping[Mode, Timing], pair: tuple[Mode, ...]) -> BreakEven:
    mode, over = sorted(pair, key=lambda mode: timings[mode].median_seconds)
    fast, slow = timings[mode], timings[over]
    measured = measured_break_even(fast.all_seconds, slow.all_seconds)
    predicted = predict_break_even(fast, slow, measured)
    return BreakEven(
        mode=mode,
        over=over,
        predicted=predicted,
        measured=measured,
        between=None if predicted is None else _range(fast, slow, predicted),
        is_tie=is_tie(fast, slow),
    )


def is_tie(a: Timing, b: Timing) -> bool:
    """Whether two medians are the same within the spread that was measured.

    Each lies within the other's 10–90 % range, or they are no further apart than so few calls tell.
    """
    if _is_within(a, b) and _is_within(b, a):
        return True
    margin = math.hypot(a.sampling_margin, b.sampling_margin)
    return abs(a.median_seconds - b.median_seconds) <= margin


def _is_within(a: Timing, b: Timing) -> bool:
    low, high = b.spread_seconds
    return low <= a.median_seconds <= high


def predict_break_even(fast: Timing, slow: Timing, measured: int | None) -> int | None:
    """The call from which `fast` is ahead if every further call costs its median.

    What is known is the calls before the steady ones, or all where they had no break-even: what
    they have refuted is not predicted.
    """
    known = [t.head_seconds if measured else t.all_seconds for t in (fast, slow)]
    calls = max(map(len, known))
    ahead = [
        (*seconds, *[t.median_seconds] * (calls - len(seconds)))
        for seconds, t in zip(known, (fast, slow), strict=True)
    ]
    found = measured_break_even(*ahead)
    if found is not None:
        return found
    behind = math.fsum(ahead[0]) - math.fsum(ahead[1])
    gain = slow.median_seconds - fast.median_seconds
    return None if gain <= 0 else calls + 1 + math.floor(behind / gain)


def _range(fast: Timing, slow: Timing, predicted: int) -> tuple[int, int | None]:
    """The break-evens of heads and medians that are off in favour of either."""
    heads = max(len(fast.head_seconds), len(slow.head_seconds))
    behind = fast.seconds_of(heads) - slow.seconds_of(heads)
    behind_margin = math.hypot(fast.margin_of(heads), slow.margin_of(heads))
    gain = slow.median_seconds - fast.median_seconds
    gain_margin = math.hypot(fast.median_margin, slow.median_margin)
    earliest = heads + 1 + math.floor(max(behind - behind_margin, 0) / (gain + gain_margin))
    if gain <= gain_margin:
        return min(earliest, predicted), None
    latest = heads + 1 + math.floor(max(behind + behind_margin, 0) / (gain - gain_margin))
    return min(earliest, predicted), max(latest, predicted)


def measured_break_even(fast: Sequence[float], slow: Sequence[float]) -> int | None:
    """The call, from 1, from which the running total of `fast` stays below that of `slow`."""
    length = min(len(fast), len(slow))
    behind = np.cumsum(fast[:length]) >= np.cumsum(slow[:length])
    if behind[-1]:
        return None
    return 1 if not behind.any() else int(np.flatnonzero(behind)[-1]) + 2
