"""What a training did: metrics of each step, evaluations and seconds of each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, repr=False)
class TrainHistory:
    """The history of one `fit`.

    Attributes:
      metrics: each scalar metric of the step, by name, with one value for each step; float64
        [steps]. ``metrics["loss"]`` is always there.
      evaluations: what the evaluation gave after each epoch.
      epoch_seconds: the seconds of each epoch's steps, evaluation not counted.
    """

    metrics: Mapping[str, np.ndarray]
    evaluations: tuple[Mapping[str, float], ...]
    epoch_seconds: tuple[float, ...]

    def __repr__(self) -> str:
        last = {name: float(values[-1]) for name, values in self.metrics.items()}
        return f"TrainHistory({self.steps} steps, {len(self.evaluations)} epochs, last {last})"

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self.metrics["loss"])

    def to_dict(self) -> dict[str, Any]:
        """The history as plain values."""
        return {
            "metrics": {name: values.tolist() for name, values in self.metrics.items()},
            "evaluations": [dict(evaluation) for evaluation in self.evaluations],
            "epoch_seconds": list(self.epoch_seconds),
        }
