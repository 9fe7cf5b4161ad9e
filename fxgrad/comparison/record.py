"""The record of a comparison: what was measured, as frozen data. Its views belong to others."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fxgrad.comparison.break_even import BreakEven, break_evens
from fxgrad.comparison.environment import Environment
from fxgrad.comparison.recommendation import Recommendation, recommend
from fxgrad.comparison.timing import Timing
from fxgrad.errors import OptionError
from fxgrad.modes import Mode


@dataclass(frozen=True)
class TrainingRun:
    """What training in one mode reached.

    Attributes:
      losses: the loss of each step.
      evaluation: what the evaluation after the last step gave, by name.
    """

    losses: tuple[float, ...]
    evaluation: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The run as plain values."""
        return {"losses": list(self.losses), "evaluation": dict(self.evaluation)}


@dataclass(frozen=True)
class Record:
    """One function in every mode: what each cost, and how far their results are apart.

    Attributes:
      title: what was compared.
      unit: what a call is: ``"call"`` or ``"step"``.
      timings: for each mode that could run it.
      failures: for each mode that could not, the reason.
      largest_difference: the largest relative difference between the modes' outputs (of a
        training: between their losses); None for fewer than two modes or outputs without numbers.
      environment: device and versions.
      training: for a training, what each mode reached.
      planned_calls: how many calls the recommendation is for; None if that is not known.
    """

    title: str
    unit: str
    timings: Mapping[Mode, Timing]
    failures: Mapping[Mode, str]
    largest_difference: float | None
    environment: Environment
    training: Mapping[Mode, TrainingRun] = field(default_factory=dict)
    planned_calls: int | None = None

    @property
    def break_evens(self) -> tuple[BreakEven, ...]:
        """Which mode overtakes which, and when."""
        return break_evens(self.timings)

    @property
    def recommendation(self) -> Recommendation:
        """Which mode that ran to take, for the planned calls or by the number of calls, and why."""
        return recommend(
            self.timings, self.failures, planned_calls=self.planned_calls, unit=self.unit
        )

    def to_dict(self) -> dict[str, Any]:
        """All that was measured, as plain values."""
        return {
            "title": self.title,
            "unit": self.unit,
            "timings": {mode: timing.to_dict() for mode, timing in self.timings.items()},
            "failures": dict(self.failures),
            "break_evens": [break_even.to_dict() for break_even in self.break_evens],
            "recommendation": self.recommendation.to_dict() if self.timings else None,
            "planned_calls": self.planned_calls,
            "largest_difference": self.largest_difference,
            "environment": self.environment.to_dict(),
            "training": {mode: run.to_dict() for mode, run in self.training.items()},
        }

    def to_json(self) -> str:
        """`to_dict` as JSON; numbers that are not finite, which JSON lacks, are null."""
        return json.dumps(_finite(self.to_dict()), indent=1, allow_nan=False)


def check_planned_calls(planned_calls: int | None) -> None:
    """Refuse a plan of no calls.

    Raises:
      OptionError: `planned_calls` is less than 1.
    """
    if planned_calls is not None and planned_calls < 1:
        raise OptionError(
            f"planned_calls={planned_calls}: a plan has at least 1 call. Leave it out for a "
            "recommendation by the number of calls.",
            option="planned_calls",
        )


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
