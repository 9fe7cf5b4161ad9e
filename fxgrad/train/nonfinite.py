"""Losses and states that are not finite: what becomes of the training, and of its checkpoints."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from fxgrad.errors import NonFiniteError, OptionError, TrainingWarning
from fxgrad.train.kept_batch import not_finite_in, save_batch
from fxgrad.train.soundness import Beginning

OnNonFinite = Literal["warn", "skip", "stop", "raise"]

_ADVICE: Final = (
    "To find where it came from: restore the last checkpoint, make the steps before this one, and "
    "write fx.diverge(step, state, batch), with batch = train.load_batch(file, like=another batch)."
)


class NonFinite:
    """What `fit` does about losses that are not finite.

    Attributes:
      keeps_batches: whether a step's batch is needed until its loss is known.
    """

    def __init__(self, policy: OnNonFinite, folder: Path | None) -> None:
        if policy not in get_args(OnNonFinite):
            names = ", ".join(map(repr, get_args(OnNonFinite)))
            raise OptionError(f"on_nonfinite={policy!r}: write {names}.", option="on_nonfinite")
        self._policy = policy
        self._folder = folder
        self._beginning: Beginning | None = None
        self.keeps_batches = policy in ("stop", "raise")

    def check_step(self, metrics: Mapping[str, Any]) -> None:
        """Refuse a step that cannot skip where it should.

        Raises:
          OptionError: its metrics do not say whether it was skipped.
        """
        if self._policy == "skip" and "skipped" not in metrics:
            raise OptionError(
                "on_nonfinite='skip', and the step cannot skip: make it with "
                "train.make_step(loss, optimizer, skip_nonfinite=True).",
                option="on_nonfinite",
            )

    def look(self, step: int, metrics: Mapping[str, float], batch: Any) -> str | None:
        """Look at a step's metrics; returns why the training ends, if it does.

        Args:
          step: the number of the step, from 1.
          metrics: what the step told.
          batch: its batch, if batches are kept.

        Raises:
          NonFiniteError: the loss is not finite, and the policy is to raise.
        """
        is_harmless = math.isfinite(metrics["loss"]) or metrics.get("skipped")
        if is_harmless or not self.keeps_batches:
            return None
        return self._end(f"the loss of step {step} is {metrics['loss']}", step, batch)

    def begin(self, state: Any) -> None:
        """Look at the state before the first step: what is not finite there is so on purpose."""
        self._beginning = Beginning(state)

    def flaw(self, state: Any, last: Mapping[str, float]) -> str | None:
        """Why a state may not be saved, or None; after `begin`.

        Args:
          state: that of the training now.
          last: the metrics of the last step; the loss of a skipped step does not count.
        """
        assert self._beginning is not None, "no beginning to compare with"
        if last and not math.isfinite(last["loss"]) and not last.get("skipped"):
            return f"a loss that is {last['loss']}"
        worse = self._beginning.worsened(state)
        return worse and f"infinities or NaN in {worse}"

    def tell_of_state(self, made: int, flaw: str, batch: Any) -> str | None:
        """Act on a bad state after `made` steps; returns why the training ends, if it does.

        Raises:
          NonFiniteError: the policy is to raise.
        """
        if self.keeps_batches:
            return self._end(f"the state after step {made} has {flaw}", made, batch)
        text = f"the state after {made} steps is not saved: it has {flaw}."
        warnings.warn(text, TrainingWarning, stacklevel=2)
        return None

    def refuse_to_end_unsaved(self, made: int) -> None:
        """Refuse the end of a training, after `made` steps, of which no state was worth saving.

        Raises:
          NonFiniteError: always.
        """
        raise NonFiniteError(
            f"{made} steps were made and no checkpoint: every state that was due was bad, as was "
            'warned. on_nonfinite="stop" ends at the step that does it and saves its batch.',
            step=made,
        )

    def _end(self, fact: str, step: int, batch: Any) -> str:
        where, saved = self._keep(batch, step)
        given = not_finite_in(batch)
        cause = (
            f"The batch itself holds NaN or infinity in {', '.join(given)}." if given else _ADVICE
        )
        message = f"{fact}. {where} {cause}"
        if self._policy == "raise":
            raise NonFiniteError(message, step=step, saved=saved)
        warnings.warn(message, TrainingWarning, stacklevel=2)
        return fact

    def _keep(self, batch: Any, step: int) -> tuple[str, Path | None]:
        """Save a batch; returns what there is to say, and the file."""
        if self._folder is None:
            return "Pass checkpoints or log_file to have its batch saved.", None
        path = self._folder / f"nonfinite-step-{step}.npz"
        try:
            left_out = save_batch(batch, path)
        except Exception as error:  # what the step did must be told in any case
            return f"Its batch could not be saved in {path}: {error!r}.", None
        without = f", without {', '.join(left_out)}, which no array can hold" if left_out else ""
        return f"Its batch is in {path}{without}.", path

    def warn_of_epoch(self, number: int, means: Mapping[str, float], steps: int) -> None:
        """Warn of an epoch, by its number from 0, whose mean loss is lost or had skipped steps."""
        skipped = round(means.get("skipped", 0) * steps)
        is_searching = "loss_scale" in means and skipped < steps  # skips are how it finds its scale
        if skipped and not is_searching:
            text = f"{skipped} of {steps} steps of epoch {number + 1} were skipped: not finite."
            warnings.warn(text, TrainingWarning, stacklevel=2)
        elif not math.isfinite(means["loss"]):
            warnings.warn(
                f"the mean loss of epoch {number + 1} is {means['loss']}: is a label out of range, "
                "or the learning rate too high?",
                TrainingWarning,
                stacklevel=2,
            )
