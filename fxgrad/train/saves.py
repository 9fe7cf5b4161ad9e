"""Saves: what of a training goes into its checkpoints, and how it is found again there.

Writing and verifying them belongs to `fxgrad.checkpoints`; when to save, to `loop`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fxgrad.checkpoints import Checkpoints
from fxgrad.checkpoints.folder import damaged_steps
from fxgrad.data.source import AnySource, Position, fingerprint_of
from fxgrad.errors import CheckpointError, TrainingWarning
from fxgrad.train.recording import Recording

_FORMAT: Final = 1

# Steps made, epochs ended and evaluations made: the three say whether anything is new.
Mark = tuple[int, int, int]


@dataclass
class Place:
    """Where in its data a training is.

    Attributes:
      epoch: the epoch, from 0.
      batches: how many batches of it were given.
      position: the next batch's, as `fxgrad.data.source` understands it.
      seconds: what the epoch has taken.
    """

    epoch: int = 0
    batches: int = 0
    position: Position = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Found:
    """A training as a checkpoint held it.

    Attributes:
      state: what the step takes.
      step: how many steps were made.
      place: where in the data it goes on.
      fingerprint: of its data, or None where that has none.
      recording: as `Recording.to_record` told of it.
      callbacks: as `Callbacks.state_dict` told of them.
      seconds: as `TimeSpent.to_dict` told of them.
    """

    state: Any
    step: int
    place: Place
    fingerprint: str | None
    recording: Mapping[str, Any]
    callbacks: Mapping[str, Any]
    seconds: Mapping[str, float]

    @property
    def mark(self) -> Mark:
        """When in the training this was."""
        return self.step, self.place.epoch, len(self.recording["evaluation_steps"])


class Saves:
    """The checkpoints of a training, or none."""

    def __init__(self, checkpoints: Checkpoints | None) -> None:
        self._checkpoints = checkpoints
        self._last: Mark | None = None

    @property
    def folder(self) -> Path | None:
        """Where they are."""
        return None if self._checkpoints is None else self._checkpoints.folder

    @property
    def last_step(self) -> int:
        """The step of the newest save; 0 before the first."""
        return self._last[0] if self._last else 0

    @property
    def are_wanted(self) -> bool:
        """Whether there are checkpoints at all."""
        return self._checkpoints is not None

    def find(self, like: Any, source: AnySource, *, resume: bool) -> Found | None:
        """The newest good checkpoint, of the structure of `like`; None if there is none.

        Raises:
          CheckpointError: there is one and `resume` is False, it was made with other data or not by
            `fit`, or it does not fit `like`.
        """
        if self._checkpoints is None:
            return None
        # Before the first batch in every run: a global that its making fills counts as it was then.
        fingerprint = fingerprint_of(source)
        steps = self._checkpoints.steps()
        if not steps and not damaged_steps(self._checkpoints.folder):
            return None
        if not resume:
            message = f"{self.folder} holds a training, steps {list(steps)}"
            self._refuse(f"{message}: pass resume=True to go on, or another folder.")
        restored = self._checkpoints.restore(like)
        record = restored.record
        if record.get("fit") != _FORMAT:
            self._refuse(f"step {restored.step} of {self.folder} was not saved by this fit.")
        self._check_data(record["fingerprint"], fingerprint, restored.step)
        found = Found(
            state=restored.state,
            step=restored.step,
            place=Place(**record["place"]),
            fingerprint=record["fingerprint"],
            recording=record["recording"],
            callbacks=record["callbacks"],
            seconds=record["seconds"],
        )
        self._last = found.mark
        return found

    def save(self, found: Found, metrics: Mapping[str, float]) -> None:
        """Save all that `find` will need; it is durable after `wait`."""
        assert self._checkpoints is not None, "no checkpoints"
        record = {
            "fit": _FORMAT,
            "place": vars(found.place),
            "fingerprint": found.fingerprint,
            "callbacks": found.callbacks,
            "recording": found.recording,
            "seconds": found.seconds,
        }
        self._checkpoints.save(found.state, step=found.step, record=record, metrics=metrics)
        self._last = found.mark

    def has(self, mark: Mark) -> bool:
        """Whether the newest save was made at that moment."""
        return self._last == mark

    def wait(self) -> None:
        """Wait until all saves are durable."""
        if self._checkpoints is not None:
            self._checkpoints.wait()

    def _check_data(self, saved: str | None, given: str | None, step: int) -> None:
        if saved is not None and saved == given:
            return
        if saved and given:
            self._refuse(
                f"step {step} of {self.folder} was trained on other batches: the data, batch_size, "
                "seed or shuffle differ, or a value that a transformation reads. Pass the same, or "
                "begin anew in another folder."
            )
        text = "the batches, or those of the checkpoint, have no fingerprint: are they the same?"
        warnings.warn(text, TrainingWarning, stacklevel=2)

    def _refuse(self, message: str) -> None:
        assert self.folder is not None
        raise CheckpointError(message, path=self.folder, step=None)


def comparable(recording: Recording, every: int | None, *, evaluates: bool) -> dict[str, float]:
    """The metrics by which a checkpoint is compared with the others: each name has one meaning.

    They are those of the evaluation of its own state, and the means of the last `every` steps, or
    of the epoch, under names that no evaluation gives. Before the first evaluation there are none.
    """
    if evaluates and not recording.evaluations:
        return {}
    names = {name for evaluation in recording.evaluations for name in evaluation}
    means = recording.recent_means(every)
    of_steps = {name: mean for name, mean in means.items() if name not in names}
    return {**of_steps, **recording.evaluation_at(recording.steps)}
