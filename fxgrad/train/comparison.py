"""One training in every mode, step by step in turn, and what each cost and reached."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax

from fxgrad.comparison.entrant import Entrant, rotated
from fxgrad.comparison.environment import this_environment
from fxgrad.comparison.record import TrainingRun, check_planned_calls
from fxgrad.comparison.result import Comparison
from fxgrad.comparison.subject import Subject
from fxgrad.comparison.timing import Timing
from fxgrad.data.source import AnySource, batches_from
from fxgrad.errors import ArgumentError, ValueDependenceError
from fxgrad.execution.function import copied
from fxgrad.modes import MODES, Mode, check_modes
from fxgrad.modes import mode as within_mode
from fxgrad.train.evaluation import Evaluate, floats
from fxgrad.train.progress import report
from fxgrad.train.state import TrainState
from fxgrad.train.step import make_step
from fxgrad.train.timetable import check_batches, check_epochs, check_has_batches, count_batches


def compare_training(
    loss: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    state: TrainState,
    batches: AnySource,
    *,
    epochs: int,
    modes: Mode | Sequence[Mode] = MODES,
    evaluate: Evaluate | None = None,
    progress: bool | None = None,
    title: str = "training",
    planned_calls: int | None = None,
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
      planned_calls: how many steps the recommendation is for; by default those of all epochs.

    Returns:
      A `Comparison` whose `training` holds the losses and the evaluation of each mode. A mode that
      cannot run the loss, because Python needs a value or the mode cannot take an argument, is
      listed in its `failures`.

    Raises:
      DataError: there are no batches, or they can be read only once.
      OptionError: `epochs` or `planned_calls` is less than 1.
      ArgumentError: no mode could take an argument.
      ValueDependenceError: no mode could run the loss.
    """
    check_epochs(epochs)
    check_planned_calls(planned_calls)
    trainees: dict[Mode, _Trainee] = {
        mode: _Trainee(mode, loss, optimizer, state) for mode in check_modes(modes)
    }
    check_batches(batches, epochs)
    batch = None
    failures: dict[Mode, str] = {}
    steps, made = count_batches(batches), 0
    total = steps and steps * len(trainees) * epochs
    with report("training", epochs, total, progress) as reporter:
        for number in range(epochs):
            seconds = {mode: t.entrant.seconds for mode, t in trainees.items()}
            for turn, batch in enumerate(batches_from(batches, number)):
                for mode in rotated(list(trainees), turn):
                    _step(trainees, mode, batch, failures)
                    made += 1
                reporter.steps(made, lambda: "")
            check_has_batches(made, number)
            means = {f"{mode} loss": t.mean_loss() for mode, t in trainees.items()}
            spent = sum(t.entrant.seconds - seconds[mode] for mode, t in trainees.items())
            reporter.epoch(number, means, spent, "")
    runs: dict[Mode, TrainingRun] = {
        mode: trainee.run(evaluate) for mode, trainee in trainees.items()
    }
    return Comparison(
        title=title,
        unit="step",
        timings={mode: trainee.timing(batch) for mode, trainee in trainees.items()},
        failures=failures,
        largest_difference=_largest_loss_difference(list(runs.values())),
        environment=this_environment(),
        training=runs,
        planned_calls=planned_calls or len(next(iter(runs.values())).losses),
        subject=_subject(loss, optimizer, state, batch),
    )


def _subject(
    loss: Callable[..., Any], optimizer: optax.GradientTransformation, state: TrainState, batch: Any
) -> Subject:
    """The step and copies of what it takes: the caller's own steps may take over the state."""
    return Subject(make_step(loss, optimizer), jax.tree.map(copied, (state, batch)))


def _step(
    trainees: dict[Mode, _Trainee], mode: Mode, batch: Any, failures: dict[Mode, str]
) -> None:
    """One step in one mode; a mode that cannot make it is taken out, with the reason."""
    try:
        trainees[mode].step(batch)
    except (ArgumentError, ValueDependenceError) as error:
        del trainees[mode]
        failures[mode] = str(error)
        if not trainees:
            raise


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
        self._told = 0
        self._state = state

    def step(self, batch: Any) -> None:
        self._state, metrics = self.entrant.call(self._state, batch)
        self.losses.append(float(metrics["loss"]))

    def mean_loss(self) -> float:
        """The mean over the steps since it was last asked for."""
        recent, self._told = self.losses[self._told :], len(self.losses)
        return float(np.mean(recent))

    def run(self, evaluate: Evaluate | None) -> TrainingRun:
        with within_mode(self.entrant.mode):
            evaluation = {} if evaluate is None else evaluate(self._state)
        return TrainingRun(losses=tuple(self.losses), evaluation=floats(evaluation))

    def timing(self, batch: Any) -> Timing:
        half = len(self.losses) // 2  # a new shape or path may come late, and is no warm-up
        return self.entrant.timing(self._state, batch, warmup=1, settling=half, memory=True)


def _largest_loss_difference(runs: Sequence[TrainingRun]) -> float | None:
    """The largest relative difference of a step's loss between any mode and the first."""
    if len(runs) < 2:
        return None
    first, *others = (np.array(run.losses) for run in runs)
    return max(float(np.max(_relative(first, losses))) for losses in others)


def _relative(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The relative difference of each pair; 0 for pairs that are equal, not finite ones too."""
    is_same = (a == b) | (np.isnan(a) & np.isnan(b))
    return np.where(is_same, 0.0, np.abs(a - b) / np.where(is_same, 1.0, np.abs(a)))
