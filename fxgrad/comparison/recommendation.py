"""Recommendations: which mode to take, for how many calls, why, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fxgrad.comparison.cheapest import Stage
from fxgrad.comparison.choice import choose
from fxgrad.comparison.new_process import compiled_before, in_a_new_process
from fxgrad.comparison.reason import FEW_CALLS, reason
from fxgrad.comparison.timing import Timing
from fxgrad.modes import Mode


@dataclass(frozen=True)
class Recommendation:
    """Which mode to take. Printing it prints the sentence.

    Attributes:
      mode: the one to take: the cheapest for the planned calls, without a plan the one with the
        cheapest steady call; of those that cost the same within their spread the simplest.
      sentence: that and its reasons in words.
      planned_calls: how many calls it is for; None for one by the number of calls.
      predicted_seconds: the total of each mode over the planned calls in a new process: as
        measured, and a median call for each further one. Empty without a plan.
      margin_seconds: how much each of these totals may be off in a new process.
      stages: which mode has the smallest total for how many calls; modes that cost the same in
        the steady call, within their spread, have one stage together.
      ties: the other modes that cost the same within their spread.
      is_sure: no mode ties with it, and it is by more than a few steady calls.
    """

    mode: Mode
    sentence: str
    planned_calls: int | None
    predicted_seconds: Mapping[Mode, float]
    margin_seconds: Mapping[Mode, float]
    stages: tuple[Stage, ...]
    ties: tuple[Mode, ...]
    is_sure: bool

    def __str__(self) -> str:
        return self.sentence

    def to_dict(self) -> dict[str, Any]:
        """The recommendation as plain values."""
        return {
            **vars(self),
            "predicted_seconds": dict(self.predicted_seconds),
            "margin_seconds": dict(self.margin_seconds),
            "stages": [stage.to_dict() for stage in self.stages],
            "ties": list(self.ties),
        }


def recommend(
    timings: Mapping[Mode, Timing],
    failures: Mapping[Mode, str],
    *,
    planned_calls: int | None = None,
    unit: str = "call",
) -> Recommendation:
    """The recommendation from what was measured, for a new process.

    A first call whose operations this process had compiled before counts as it would be in a new
    one.

    Args:
      timings: of each mode that ran, at least one.
      failures: the reason of each mode that could not.
      planned_calls: how many calls will be made.
      unit: what a call is: ``"call"`` or ``"step"``.
    """
    before, timings = timings, in_a_new_process(timings)
    choice = choose(timings, planned_calls)
    planned = {} if planned_calls is None else timings
    calls = planned_calls or 0
    steady_calls = len(timings[choice.mode].steady_seconds)
    return Recommendation(
        mode=choice.mode,
        sentence=reason(choice, failures, unit, compiled_before(before)),
        planned_calls=planned_calls,
        predicted_seconds={mode: timing.seconds_of(calls) for mode, timing in planned.items()},
        margin_seconds={mode: timing.margin_of(calls) for mode, timing in planned.items()},
        stages=choice.stages,
        ties=choice.ties,
        is_sure=not choice.ties and (steady_calls > FEW_CALLS or len(timings) == 1),
    )
