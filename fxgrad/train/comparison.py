"""One training in every mode, step by step in turn, and what each cost and reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import optax

from fxgrad.comparison.entrant import Entrant
from fxgrad.comparison.environment import this_environment
from fxgrad.comparison.record import TrainingRun
from fxgrad.comparison.result import Comparison
from fxgrad.comparison.timing import Timing
from fxgrad.modes import MODES, Mode
from fxgrad.modes import mode as within_mode
from fxgrad.train.batches import Batches
from fxgrad.train.loop import Evaluate
from fxgrad.train.progress import report
from fxgrad.train.state import TrainState
from fxgrad.train.step import make_step


def compare_training(
    loss: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batches: Batches,
    *,
    epochs: int,
    modes: Sequence[Mode] = MODES,
    evaluate: Evaluate | None = None,
    progress: bool | None = None,
    title: str = "training",
) -> Comparison:
    """Train from the same state on the same batches in every mode, and compare.

    The modes make each step in turn, in an order that rotates, and every step is waited for.

    Args:
      loss: as for `make_step`.
      optimizer: an Optax optimizer.
      state: where each mode begins.
      batches: the data; each mode sees the same batches in the same order.
      epochs: how many.
      modes: the modes to compare.
      evaluate: a function of the last state that returns named scalars.
      progress: as for `fit`.
      title: what the comparison is called.

    Returns:
      A `Comparison` whose `training` holds the losses and the evaluation of each mode.
    """
    trainees: dict[Mode, _Trainee] = {
        mode: _Trainee(mode, loss, optimizer, state) for mode in modes
    }
    turns = list(trainees.values())
    with report("training", epochs, len(batches) * len(turns), progress) as reporter:
        for number in range(epochs):
            before = sum(trainee.entrant.seconds for trainee in turns)
            for batch in batches.epoch(number):
                for trainee in turns:
                    trainee.step(batch)
                    reporter.advance()
                turns.append(turns.pop(0))
            losses = {f"{mode} loss": trainee.losses[-1] for mode, trainee in trainees.items()}
            reporter.epoch(number, losses, sum(t.entrant.seconds for t in turns) - before)
    runs: dict[Mode, TrainingRun] = {
        mode: trainee.run(evaluate) for mode, trainee in trainees.items()
    }
    last_batch = next(batches.epoch(epochs - 1))
    return Comparison(
        title=title,
        unit="step",
        timings={mode: trainee.timing(last_batch) for mode, trainee in trainees.items()},
        failures={},
        largest_difference=_largest_loss_difference(list(runs.values())),
        environment=this_environment(),
        training=runs,
    )


class _Trainee:
    """The training of one mode."""

    def __init__(
        self,
        mode: Mode,
        loss: Callable[..., Any],
        optimizer: optax.GradientTransformation,
        state: TrainState,
    ) -> None:
        self.entrant = Entrant(mode, make_step(loss, optimizer).in_mode(mode))
        self.losses: list[float] = []
        self._state = state

    def step(self, batch: Any) -> None:
        self._state, metrics = self.entrant.call(self._state, batch)
        self.losses.append(float(metrics["loss"]))

    def run(self, evaluate: Evaluate | None) -> TrainingRun:
        with within_mode(self.entrant.mode):
            evaluation = {} if evaluate is None else evaluate(self._state)
        return TrainingRun(
            losses=tuple(self.losses),
            evaluation={name: float(value) for name, value in evaluation.items()},
        )

    def timing(self, batch: Any) -> Timing:
        return self.entrant.timing(self._state, batch, warmup=1, memory=True)


def _largest_loss_difference(runs: Sequence[TrainingRun]) -> float | None:
    """The largest relative difference of a step's loss between any mode and the first."""
    if len(runs) < 2:
        return None
    first = np.array(runs[0].losses)
    return max(float(np.max(np.abs(np.array(r.losses) - first) / np.abs(first))) for r in runs[1:])
