"""`fit`: a training from its options. The loop itself is in `run`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import Any

import jax

from fxgrad.checkpoints import Checkpoints
from fxgrad.data.source import AnySource
from fxgrad.train.callbacks import Callbacks
from fxgrad.train.clock import Clock
from fxgrad.train.evaluation import Evaluate
from fxgrad.train.history import TrainHistory
from fxgrad.train.in_flight import InFlight
from fxgrad.train.logs import Logs
from fxgrad.train.nonfinite import NonFinite, OnNonFinite
from fxgrad.train.progress import report
from fxgrad.train.recording import Recording
from fxgrad.train.run import Run, StepFunction
from fxgrad.train.saves import Place, Saves
from fxgrad.train.signals import Signals
from fxgrad.train.telling import Telling
from fxgrad.train.timetable import Timetable, check_batches, count_batches

Folder = str | os.PathLike[str]


def fit(
    step: StepFunction,
    state: Any,
    batches: AnySource | Iterable[Any],
    *,
    epochs: int | None = None,
    steps: int | None = None,
    evaluate: Evaluate | None = None,
    evaluate_every: int | None = None,
    callbacks: Sequence[Any] = (),
    checkpoints: Checkpoints | Folder | None = None,
    save_every: int | None = None,
    resume: bool = True,
    log_file: Folder | None = None,
    tensorboard: Folder | None = None,
    on_nonfinite: OnNonFinite = "warn",
    progress: bool | None = None,
    title: str = "train",
) -> tuple[Any, TrainHistory]:
    """Train for a number of epochs or steps.

    The loop does not wait for the device: a step's metrics are read while later steps are made. It
    waits before an evaluation, before a checkpoint, and at the end of an epoch.

    Args:
      step: from `make_step`, or any function of that shape; the metrics hold ``"loss"``.
      state: where to begin; any pytree that `step` takes.
      batches: `Batches` or another source; or anything with its ``epoch(number)``, or a collection
        of batches that can be read once for each epoch.
      epochs: how many, at least 1.
      steps: how many, in as many epochs as that takes. With both, whichever ends first.
      evaluate: a function of the state that returns named scalars; called after each epoch and
        after the last step.
      evaluate_every: call it after every so many steps, and not after each epoch.
      callbacks: objects with some of the methods ``on_start``, ``on_step_end``, ``on_metrics``,
        ``on_evaluation``, ``on_epoch_end``, ``on_save``, ``on_end``; see `callbacks` in the guide.
      checkpoints: a `Checkpoints`, or its folder, which is this training's alone until it ends, and
        open afterwards only if it was before. The state, the place in the data, the history and
        the callbacks' states are saved after each epoch and at the end. A training whose folder has
        a checkpoint goes on from there, to the same bits as one that never stopped. SIGTERM and
        SIGINT end the step, save, and raise `Interrupted`.
      save_every: save after every so many steps, and not after each epoch.
      resume: False refuses a folder that has a checkpoint.
      log_file: a JSON line for each step and evaluation goes there; ``metrics.jsonl`` in the
        checkpoints' folder, if there is one.
      tensorboard: a folder for TensorBoard's files.
      on_nonfinite: what a loss that is not finite does. ``"warn"`` tells at the end of the epoch;
        ``"skip"`` counts the steps that ``make_step(…, skip_nonfinite=True)`` has skipped;
        ``"stop"`` saves the step's batch beside the checkpoints or the log and ends the training;
        ``"raise"`` raises, the batch saved. In none of them a bad state is saved.
      progress: True for a bar, False for nothing; None for a bar on a terminal and lines elsewhere.
        It goes to standard error.
      title: the word before the bar.

    Returns:
      The last state, and a `TrainHistory`.

    Raises:
      CheckpointError: the checkpoint to go on from does not fit, or was made with other data.
      DataError: there are no batches, or `batches` can be read only once and has to be again.
      Interrupted: SIGTERM or SIGINT came, and all is saved. Exit code 75.
      LossError: the metrics are not the same scalars at each step, or are named like a field of the
        log; or `evaluate` returns no dict.
      MissingExtraError: `tensorboard` without tensorboardX.
      NonFiniteError: a loss is not finite, with ``on_nonfinite="raise"``; or the training has ended
        and no state of it was worth a checkpoint.
      OptionError: an option makes no sense or does nothing, or no end is given.

    Warns:
      TrainingWarning: the mean loss of an epoch is not finite, steps were skipped, or a bad state
        was not saved.
    """
    timetable = Timetable(epochs, steps, evaluate_every, save_every)
    timetable.check_used(evaluates=evaluate is not None, saves=checkpoints is not None)
    check_batches(batches, epochs)
    heard = Callbacks(callbacks)
    is_first = jax.process_index() == 0
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals(enabled=checkpoints is not None))
        if isinstance(checkpoints, str | os.PathLike):
            checkpoints = Checkpoints(checkpoints)
        if checkpoints is not None:  # before anything is read that another may be writing
            stack.enter_context(checkpoints.held())
        saves = Saves(checkpoints)
        found = saves.find(state, batches, resume=resume)
        recording = Recording.from_record(found.recording) if found else Recording()
        logs = Logs(
            log_file,
            tensorboard,
            checkpoints=saves.folder,
            recording=recording,
            writes=is_first,
        )
        stack.enter_context(contextlib.closing(logs))
        nonfinite = NonFinite(on_nonfinite, saves.folder or logs.folder)
        total = timetable.total(count_batches(batches))
        shown_epochs = timetable.epochs_in_all(count_batches(batches))
        reporter = report(title, shown_epochs, total, progress if is_first else False)
        clock = Clock(found.seconds if found else None)
        if found:
            heard.load_state_dict(found.callbacks)
        return Run(
            step_function=step,
            state=found.state if found else state,
            batches=batches,
            timetable=timetable,
            evaluate=evaluate,
            callbacks=heard,
            saves=saves,
            logs=logs,
            nonfinite=nonfinite,
            signals=signals,
            in_flight=InFlight(
                nonfinite.check_step,
                keeps_batches=nonfinite.keeps_batches,
                is_shared=jax.process_count() > 1,
            ),
            recording=recording,
            clock=clock,
            reporter=stack.enter_context(reporter),
            telling=Telling(step, clock, recording.steps, total),
            place=found.place if found else Place(),
            step=recording.steps,
        ).train()
