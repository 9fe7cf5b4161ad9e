"""The timetable of a training: when it ends, and what is due at which step.

Doing what is due belongs to `loop`.
"""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass
from numbers import Integral
from typing import Final

from fxgrad.data.source import AnySource, reads_once
from fxgrad.errors import DataError, OptionError

NEVER: Final = 2**62


@dataclass(frozen=True)
class Timetable:
    """How many epochs and steps a training has, and how often it evaluates and saves.

    Attributes:
      epochs: how many epochs, or None for as many as `steps` needs.
      steps: how many steps, or None for as many as `epochs` has.
      evaluate_every: steps from one evaluation to the next; None for the end of each epoch.
      save_every: steps from one checkpoint to the next; None for the end of each epoch.

    Raises:
      OptionError: one of them is less than 1 or no whole number, or neither `epochs` nor
        `steps` is given.
    """

    epochs: int | None
    steps: int | None
    evaluate_every: int | None = None
    save_every: int | None = None

    def __post_init__(self) -> None:
        check_epochs(self.epochs)
        for option in ("steps", "evaluate_every", "save_every"):
            _check_count(option, getattr(self, option))
        if self.epochs is None and self.steps is None:
            raise OptionError("fit is not told when to end: write epochs=10.", option="epochs")

    def check_used(self, *, evaluates: bool, saves: bool) -> None:
        """Refuse a period of what never happens.

        Raises:
          OptionError: `evaluate_every` without an evaluation, or `save_every` without checkpoints.
        """
        for option, other, happens in (
            ("evaluate_every", "evaluate=…", evaluates),
            ("save_every", "checkpoints=…", saves),
        ):
            every = getattr(self, option)
            if every is not None and not happens:
                message = f"{option}={every} does nothing without {other}: pass that too."
                raise OptionError(message, option=option)

    def is_over(self, step: int, epoch: int) -> bool:
        """Whether nothing is left to do after `step` steps, in epoch number `epoch`."""
        return step >= (self.steps or NEVER) or epoch >= (self.epochs or NEVER)

    def pause_after(self, step: int) -> int:
        """The number of steps after which something is due, the next such after `step`."""
        every = (self.evaluate_every, self.save_every)
        due = [(step // count + 1) * count for count in every if count is not None]
        return min([self.steps or NEVER, *due])

    def evaluates_at(self, step: int) -> bool:
        """Whether an evaluation is due after `step` steps, within an epoch."""
        return _is_due(step, self.evaluate_every)

    def saves_at(self, step: int) -> bool:
        """Whether a checkpoint is due after `step` steps, within an epoch."""
        return _is_due(step, self.save_every)

    def total(self, steps_per_epoch: int | None) -> int | None:
        """The number of steps in all, where it is known."""
        by_epochs = self.epochs and steps_per_epoch and self.epochs * steps_per_epoch
        known = [count for count in (self.steps, by_epochs) if count]
        return min(known, default=None) if self.epochs is None or by_epochs else None

    def epochs_in_all(self, steps_per_epoch: int | None) -> int | None:
        """The number of epochs that will be begun, where it is known."""
        total = self.total(steps_per_epoch)
        return (
            self.epochs if not (total and steps_per_epoch) else math.ceil(total / steps_per_epoch)
        )


def check_epochs(epochs: int | None) -> None:
    """Refuse a training without epochs.

    Raises:
      OptionError: `epochs` is less than 1 or no whole number.
    """
    _check_count("epochs", epochs)


def check_has_batches(steps: int, epoch: int) -> None:
    """Refuse an epoch that ended after no step at all.

    Raises:
      DataError: `steps` is 0.
    """
    if not steps:
        raise DataError(f"epoch {epoch} has no batches.", path=None, field="batches")


def check_batches(batches: AnySource, epochs: int | None) -> None:
    """Refuse what can be read only once where it has to be read again.

    Raises:
      DataError: `batches` is an iterator, and `epochs` is more than 1.
    """
    if epochs is not None and epochs > 1 and reads_once(batches):
        raise DataError(
            f"{batches!r} can be read once, and epochs={epochs}. Pass a list, a Batches, or an "
            "object whose epoch(number) gives the batches of each epoch.",
            path=None,
            field="batches",
        )


def count_batches(batches: AnySource) -> int | None:
    """The number of batches in an epoch, where it is known before."""
    return len(batches) if isinstance(batches, Sized) else None


def _is_due(step: int, every: int | None) -> bool:
    return every is not None and step > 0 and step % every == 0


def _check_count(option: str, count: int | None) -> None:
    if count is None:
        return
    if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
        message = f"{option}={count!r}: write a whole number, {option}=1 or more."
        raise OptionError(message, option=option)
