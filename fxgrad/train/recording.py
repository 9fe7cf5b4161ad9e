"""The recording: a training's history while it is made, and its form within a checkpoint."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from fxgrad.train.clock import TimeSpent
from fxgrad.train.history import TrainHistory
from fxgrad.train.metrics import Metrics, packed, unpacked


class Entry(NamedTuple):
    """What the log has a line for: the metrics of a step, or an evaluation after it.

    Attributes:
      step: how many steps had been made, from 1.
      epoch: the epoch, from 1.
      metrics: name -> value.
      is_evaluation: whether it is an evaluation.
    """

    step: int
    epoch: int
    metrics: Mapping[str, float]
    is_evaluation: bool


class Recording:
    """Metrics and evaluations in the order in which they came.

    Attributes:
      metrics: what each step told.
      evaluations: what each evaluation gave.
      evaluation_steps: the number of steps made before each.
      epoch_ends: the number of steps made by the end of each epoch.
      epoch_seconds: the seconds of each epoch.
    """

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.evaluations: list[dict[str, float]] = []
        self.evaluation_steps: list[int] = []
        self.epoch_ends: list[int] = []
        self.epoch_seconds: list[float] = []

    @property
    def steps(self) -> int:
        """How many steps are recorded."""
        return len(self.metrics)

    @property
    def epoch_start(self) -> int:
        """How many steps had been made when the epoch began."""
        return self.epoch_ends[-1] if self.epoch_ends else 0

    def add_step(self, metrics: Mapping[str, float]) -> Entry:
        """Record the metrics of one more step."""
        self.metrics.add(metrics)
        return self._entry(self.steps, metrics, is_evaluation=False)

    def add_evaluation(self, step: int, evaluation: dict[str, float]) -> Entry:
        """Record an evaluation that was made after `step` steps."""
        self.evaluations.append(evaluation)
        self.evaluation_steps.append(step)
        return self._entry(step, evaluation, is_evaluation=True)

    def has_evaluation_at(self, step: int) -> bool:
        """Whether the last evaluation was made after `step` steps."""
        return self.evaluation_steps[-1:] == [step]

    def evaluation_at(self, step: int) -> Mapping[str, float]:
        """The last evaluation, if it was made after `step` steps; else nothing."""
        return self.evaluations[-1] if self.has_evaluation_at(step) else {}

    def means(self, since: int) -> dict[str, float]:
        """The mean of each metric over the steps from number `since` on; see `Metrics.means`."""
        return self.metrics.means(since)

    def recent_means(self, every: int | None) -> dict[str, float]:
        """The means of the last `every` steps, or of the last epoch that has any."""
        if every is not None:
            return self.means(max(0, self.steps - every))
        starts = [0, *self.epoch_ends]
        return self.means(max((start for start in starts if start < self.steps), default=0))

    def last(self) -> dict[str, float]:
        """The metrics of the last step; nothing before the first."""
        return self.metrics.last()

    def end_epoch(self, seconds: float) -> int:
        """Record that an epoch has ended after so many seconds; returns its number of steps."""
        steps = self.steps - self.epoch_start
        self.epoch_ends.append(self.steps)
        self.epoch_seconds.append(seconds)
        return steps

    def entries(self) -> Iterator[Entry]:
        """All that is recorded, in its order."""
        evaluations = list(zip(self.evaluation_steps, self.evaluations, strict=True))
        for step, metrics in enumerate(self.metrics, 1):
            yield self._entry(step, metrics, is_evaluation=False)
            while evaluations and evaluations[0][0] == step:
                yield self._entry(*evaluations.pop(0), is_evaluation=True)

    def history(self, time: TimeSpent, stopped: str | None) -> TrainHistory:
        """The history so far."""
        return TrainHistory(
            metrics=self.metrics.by_name(),
            evaluations=tuple(self.evaluations),
            evaluation_steps=tuple(self.evaluation_steps),
            epoch_seconds=tuple(self.epoch_seconds),
            time=time,
            stopped=stopped,
        )

    def to_record(self) -> dict[str, Any]:
        """The recording as JSON can hold it, bit for bit, values that are not finite included."""
        names = sorted({name for evaluation in self.evaluations for name in evaluation})
        return {
            "metrics": self.metrics.to_record(),
            "evaluations": {
                name: packed([e.get(name, float("nan")) for e in self.evaluations])
                for name in names
            },
            "evaluated": [[name for name in names if name in e] for e in self.evaluations],
            "evaluation_steps": self.evaluation_steps,
            "epoch_ends": self.epoch_ends,
            "epoch_seconds": self.epoch_seconds,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Recording:
        """The recording that `to_record` told of."""
        made = cls()
        made.metrics = Metrics.from_record(record["metrics"])
        values = {name: unpacked(floats) for name, floats in record["evaluations"].items()}
        made.evaluations = [
            {name: values[name][i] for name in names} for i, names in enumerate(record["evaluated"])
        ]
        made.evaluation_steps = list(record["evaluation_steps"])
        made.epoch_ends = list(record["epoch_ends"])
        made.epoch_seconds = list(record["epoch_seconds"])
        return made

    def _entry(self, step: int, metrics: Mapping[str, float], *, is_evaluation: bool) -> Entry:
        epoch = bisect.bisect_left(self.epoch_ends, step) + 1
        return Entry(step, epoch, metrics, is_evaluation)
