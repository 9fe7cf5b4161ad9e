"""Early stopping: end a training whose metric no longer improves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from fxgrad.errors import OptionError
from fxgrad.train.callbacks import Training


class EarlyStopping:
    """A callback that ends the training when a metric has not improved `patience` times in a row.

    What it has seen is part of every checkpoint. A value that is not finite is no improvement.

    Args:
      metric: its name.
      patience: how many values without an improvement end the training, at least 1.
      best_is: whether the smallest or the largest value is the best.
      min_change: a smaller change than this is no improvement.
      of: what to look at: what `evaluate` returns, or the means over each epoch's steps.

    Raises:
      OptionError: an option has another value; or, in `fit`, there is no such metric.
    """

    def __init__(
        self,
        metric: str,
        *,
        patience: int,
        best_is: Literal["min", "max"] = "min",
        min_change: float = 0.0,
        of: Literal["evaluations", "epochs"] = "evaluations",
    ) -> None:
        if patience < 1:
            raise OptionError(f"patience={patience}: write 1 or more.", option="patience")
        if best_is not in ("min", "max"):
            raise OptionError(f"best_is={best_is!r}: write 'min' or 'max'.", option="best_is")
        if of not in ("evaluations", "epochs"):
            raise OptionError(f"of={of!r}: write 'evaluations' or 'epochs'.", option="of")
        self._metric = metric
        self._patience = patience
        self._best_is = best_is
        self._min_change = min_change
        self._of = of
        self._best: float | None = None
        self._waited = 0

    def on_start(self, training: Training) -> None:
        """End at once what was ended before."""
        if self._of == "evaluations" and not training.evaluates:
            message = f"EarlyStopping({self._metric!r}) looks at evaluations, and fit has none"
            remedy = "pass evaluate=…, or of='epochs' to look at the steps' means"
            raise OptionError(f"{message}: {remedy}.", option="callbacks")
        self._stop_if_spent(training)

    def on_evaluation(self, training: Training, evaluation: Mapping[str, float]) -> None:
        """Look at an evaluation."""
        if self._of == "evaluations":
            self._look(training, evaluation)

    def on_epoch_end(self, training: Training, means: Mapping[str, float]) -> None:
        """Look at an epoch's means."""
        if self._of == "epochs":
            self._look(training, means)

    def state_dict(self) -> dict[str, Any]:
        """The best value, how many have come since, and of what."""
        return {"best": self._best, "waited": self._waited, "of": self._looks_at()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned.

        Raises:
          OptionError: that was an early stopping by something else.
        """
        if state["of"] != self._looks_at():
            message = f"EarlyStopping by {self._looks_at()} cannot go on from one by {state['of']}"
            remedy = "give the callbacks in the same order, or begin anew in another folder"
            raise OptionError(f"{message}: {remedy}.", option="callbacks")
        self._best, self._waited = state["best"], state["waited"]

    def _looks_at(self) -> list[str]:
        return [self._metric, self._best_is, self._of]

    def _look(self, training: Training, metrics: Mapping[str, float]) -> None:
        if self._metric not in metrics:
            message = f"EarlyStopping({self._metric!r}): there is only {[*metrics]}."
            raise OptionError(message, option="metric")
        value = metrics[self._metric]
        if self._is_better(value):
            self._best, self._waited = value, 0
        else:
            self._waited += 1
        self._stop_if_spent(training)

    def _is_better(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        if self._best is None:
            return True
        change = self._best - value if self._best_is == "min" else value - self._best
        return change > self._min_change

    def _stop_if_spent(self, training: Training) -> None:
        if self._waited >= self._patience:
            times = f"{self._waited} time{'s' if self._waited > 1 else ''}"
            how = "been finite" if self._best is None else f"improved on {self._best}"
            training.stop(f"{self._metric} has not {how} {times} in a row")
