"""What a training did: metrics of each step, evaluations, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fxgrad.train.clock import TimeSpent


@dataclass(frozen=True, repr=False)
class TrainHistory:
    """The history of one training; a resumed one has the history of all its runs.

    Attributes:
      metrics: each scalar metric of the step, by name, with one value for each step; float64
        [steps]. ``metrics["loss"]`` is always there; where the steps of one run did not tell of a
        metric that those of another do, it is NaN.
      evaluations: what each evaluation gave.
      evaluation_steps: how many steps had been made at each evaluation.
      epoch_seconds: the seconds of each epoch, evaluations and checkpoints not counted.
      time: where the seconds went. A run that was killed is counted up to its last checkpoint.
      stopped: why the training ended before its last step, or None.
    """

    metrics: Mapping[str, np.ndarray]
    evaluations: tuple[Mapping[str, float], ...]
    evaluation_steps: tuple[int, ...]
    epoch_seconds: tuple[float, ...]
    time: TimeSpent
    stopped: str | None = None

    def __repr__(self) -> str:
        last = {name: float(values[-1]) for name, values in self.metrics.items()}
        stopped = f", stopped: {self.stopped}" if self.stopped else ""
        return (
            f"TrainHistory({self.steps} steps, {len(self.epoch_seconds)} epochs, last {last}, "
            f"{self.time.total:.2f} s{stopped})"
        )

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self.metrics["loss"])

    def to_dict(self) -> dict[str, Any]:
        """The history as plain values."""
        return {
            "metrics": {name: values.tolist() for name, values in self.metrics.items()},
            "evaluations": [dict(evaluation) for evaluation in self.evaluations],
            "evaluation_steps": list(self.evaluation_steps),
            "epoch_seconds": list(self.epoch_seconds),
            "time": self.time.to_dict(),
            "stopped": self.stopped,
        }
